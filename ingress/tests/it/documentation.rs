//! The description is true: every answer of every test here is held against
//! it, so that no route and no status in use is missing from it.

use std::sync::OnceLock;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{Ingress, Send};

/// Of the binary under test, which is the same in all tests.
static DOCUMENT: OnceLock<Value> = OnceLock::new();

/// Reads the document from the first ingress that is there.
pub(crate) async fn load(client: &Client, url: &str) {
    if DOCUMENT.get().is_none() {
        let answer = client.get(format!("{url}/openapi.json")).send().await.unwrap();
        let _ = DOCUMENT.set(answer.json().await.unwrap());
    }
}

/// Sends `request`; fails when the description does not tell of its answer.
pub(crate) async fn send(request: RequestBuilder) -> Response {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    let (method, path) = (request.method().clone(), request.url().path().to_owned());
    let response = client.execute(request).await.unwrap();
    must_describe(&method, &path, &response);
    response
}

fn must_describe(method: &Method, path: &str, answer: &Response) {
    let document = DOCUMENT.get().unwrap();
    let described_as = if method == Method::HEAD { Method::GET } else { method.clone() };
    let operation = item(document, path)
        .map(|item| &item[described_as.as_str().to_ascii_lowercase()])
        .filter(|operation| operation.is_object());
    let status = answer.status();
    let Some(operation) = operation else {
        let refused = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED];
        assert!(refused.contains(&status), "{method} {path} is not described: {answer:?}");
        return;
    };
    let response = &operation["responses"][status.as_str()];
    assert!(response.is_object(), "{status} of {method} {path} is not described");
    let media_type = answer.headers().get(CONTENT_TYPE).map(|value| value.to_str().unwrap());
    if let Some(media_type) = media_type.and_then(|value| value.split(';').next()) {
        let described = response["content"][media_type].is_object();
        assert!(described, "{media_type} is not described for {status} of {method} {path}");
    }
}

/// The described path that fits; a literal segment wins over a placeholder.
fn item<'a>(document: &'a Value, path: &str) -> Option<&'a Value> {
    let paths = document["paths"].as_object().unwrap();
    let fits = |template: &str| {
        let (mut of_template, mut of_path) = (template.split('/'), path.split('/'));
        loop {
            match (of_template.next(), of_path.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) if a == b || (a.starts_with('{') && !b.is_empty()) => {}
                _ => return false,
            }
        }
    };
    let mut fitting: Vec<_> = paths.iter().filter(|(template, _)| fits(template)).collect();
    fitting.sort_by_key(|(template, _)| template.matches('{').count());
    fitting.first().map(|(_, item)| *item)
}

#[tokio::test]
async fn every_operation_is_described_completely() {
    let ingress = Ingress::start(&[]).await;
    let document = ingress.anonymous(Method::GET, "/openapi.json").answer().await.body;
    assert_eq!(document["openapi"], "3.1.0");
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert!(operation["tags"][0].is_string(), "{name} has no tag");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with('2')),
                "{name} never succeeds"
            );
            for (status, response) in responses {
                assert_ne!(response["description"], "", "{name} {status}");
                let media_type = response["content"].as_object().and_then(|c| c.keys().next());
                let refusal = status.starts_with(['4', '5']) && path != "/readyz";
                if refusal {
                    assert_eq!(media_type.unwrap(), "application/problem+json", "{name} {status}");
                }
            }
        }
    }
    assert!(operations >= 18, "{operations}");
    let ended = &document["webhooks"]["jobEnded"]["post"];
    assert!(ended["requestBody"]["content"]["application/json"]["example"]["data"].is_object());
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(document.pointer(&format!("/{reference}")).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_page_lists_every_route_and_runs_nothing() {
    let ingress = Ingress::start(&[]).await;
    let page = ingress.anonymous(Method::GET, "/docs").answer().await;
    assert_eq!(page.media_type(), Some("text/html"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
    let html = page.body.as_str().unwrap();
    for path in DOCUMENT.get().unwrap()["paths"].as_object().unwrap().keys() {
        assert!(html.contains(&format!("<code>{path}</code>")), "{path}");
    }
    assert!(!html.contains("<script") && !html.contains("http://"), "self-contained");
}

#[tokio::test]
async fn the_described_example_is_accepted() {
    let ingress = Ingress::start(&[]).await;
    let document = ingress.anonymous(Method::GET, "/openapi.json").answer().await.body;
    for path in ["/v1/plans", "/generate-plans"] {
        let content = &document["paths"][path]["post"]["requestBody"]["content"];
        let example = &content["application/json"]["example"];
        let answer = ingress.post(path, Uuid::new_v4(), example).await;
        assert!(answer.status.is_success(), "{path}: {answer:?}");
    }
}
