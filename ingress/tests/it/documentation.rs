//! The description is true: every answer of every test here is held against
//! it, so that no route and no status in use is missing from it.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
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
    let mut names = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations += 1;
            let name = format!("{method} {path}");
            assert!(names.insert(operation["operationId"].as_str().unwrap()), "{name}: not unique");
            assert!(operation["summary"].is_string(), "{name} has no summary");
            assert!(operation["tags"][0].is_string(), "{name} has no tag");
            let responses = operation["responses"].as_object().unwrap();
            assert!(
                responses.keys().any(|status| status.starts_with(['2', '3'])),
                "{name} never succeeds"
            );
            for (status, response) in responses {
                assert_ne!(response["description"], "", "{name} {status}");
                let media_type = response["content"].as_object().and_then(|c| c.keys().next());
                let refusal = status.starts_with(['4', '5'])
                    && !["/livez", "/readyz"].contains(&path.as_str());
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

/// Set to write the file anew instead of comparing it.
const UPDATE: &str = "UPDATE_OPENAPI";

#[tokio::test]
async fn the_clients_copy_is_this_description() {
    let ingress = Ingress::start(&[]).await;
    let document = ingress.anonymous(Method::GET, "/openapi.json").answer().await.body;
    let text = format!("{document:#}\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../clients/typescript/openapi.json");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == text,
        "clients/typescript/openapi.json is not what the ingress serves: run this test with \
         {UPDATE}=1, then `npm run generate` in clients/typescript"
    );
}

#[tokio::test]
async fn the_page_comes_whole_from_here() {
    let ingress = Ingress::start(&[]).await;
    let follow_none = reqwest::redirect::Policy::none();
    let client = Client::builder().redirect(follow_none).build().unwrap();
    let start = ingress.anonymous(Method::GET, "/docs").build().unwrap();
    let start = client.execute(start).await.unwrap();
    must_describe(&Method::GET, "/docs", &start);
    assert_eq!(start.headers()["location"], "/docs/");

    let html = page_file(&ingress, "").await;
    let mut named: Vec<&str> = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        named.extend(html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()));
    }
    named.retain(|name| *name != "../openapi.json");
    assert_eq!(named.len(), 5, "two styles, two scripts and an icon: {html}");
    for name in named {
        assert!(!name.contains([':', '/']), "{name} lies beside the page");
        let content = page_file(&ingress, name).await;
        assert!(!content.is_empty(), "{name}");
    }
    for none in ["/docs/index.html", "/docs/..%2fopenapi.json", "/docs/swagger-ui.css.gz"] {
        let answer = ingress.anonymous(Method::GET, none).answer().await;
        assert_eq!((answer.status, answer.problem()), (StatusCode::NOT_FOUND, "not-found"));
    }
}

/// A file of the page as a browser reads it. Its policy lets the page run its
/// own script and ask this API, and nothing else.
async fn page_file(ingress: &Ingress, name: &str) -> String {
    let file = send(ingress.anonymous(Method::GET, &format!("/docs/{name}"))).await;
    assert_eq!(file.status(), StatusCode::OK, "{name}");
    let policy = file.headers()["content-security-policy"].to_str().unwrap();
    let mut words: Vec<&str> = policy.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    assert_eq!(words[..2], ["default-src", "'none'"]);
    words.retain(|word| !word.ends_with("-src") && !["'none'", "'self'", "data:"].contains(word));
    assert_eq!(words, ["base-uri", "form-action", "frame-ancestors"], "{policy}");
    let media_type = file.headers()[CONTENT_TYPE].to_str().unwrap();
    assert_eq!(media_type.starts_with("text/html"), name.is_empty(), "{name}: {media_type}");
    let gzipped = file.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
    let bytes = file.bytes().await.unwrap();
    let mut content = Vec::new();
    if gzipped {
        GzDecoder::new(&*bytes).read_to_end(&mut content).unwrap();
    } else {
        content.extend(&bytes);
    }
    String::from_utf8_lossy(&content).into_owned()
}

#[tokio::test]
async fn only_the_page_may_run_a_script() {
    let ingress = Ingress::start(&[]).await;
    for path in ["/openapi.json", "/docs/nothing.js", "/health", "/v1/jobs"] {
        let answer = ingress.anonymous(Method::GET, path).answer().await;
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, Some("default-src 'none'; frame-ancestors 'none'"), "{path}");
    }
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
