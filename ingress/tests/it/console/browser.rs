//! A browser of the tests: keeps cookies, follows no redirect, sends forms. Pages are not
//! part of the API's description, so its answers are not held against that.

use regimen_common::db::console::ConsoleRole;
use regimen_common::test_support::TestDatabase;
use regimen_ingress::console::sign_in_link;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};

use crate::harness::Ingress;

/// What came back.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Page {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The value of the first hidden field of this name.
    pub(crate) fn hidden(&self, name: &str) -> &str {
        let start = format!("name=\"{name}\" value=\"");
        let rest = self.text.split(&start).nth(1);
        rest.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("{name}: {self:?}"))
    }
}

/// A browser at one ingress.
pub(crate) struct Browser {
    client: Client,
    url: String,
    pub(crate) cookie: Option<String>,
}

impl Browser {
    /// One without a session.
    pub(crate) fn new(ingress: &Ingress) -> Self {
        let client = Client::builder().redirect(Policy::none()).build().unwrap();
        Self { client, url: ingress.url.clone(), cookie: None }
    }

    /// One that an operator is signed in with.
    pub(crate) async fn of(ingress: &Ingress, role: ConsoleRole) -> Self {
        let mut browser = Self::new(ingress);
        browser.use_link(&ingress.database, role).await;
        browser
    }

    /// Signs in by a link.
    pub(crate) async fn use_link(&mut self, database: &TestDatabase, role: ConsoleRole) {
        let client = database.client().await;
        let link = sign_in_link(&client, "link:test", role).await.unwrap();
        let page = self.get(&link.path).await;
        let secret = page.hidden("secret").to_owned();
        let page = self.post("/console/link", &[("secret", &secret)]).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{page:?}");
        assert!(self.cookie.is_some(), "{page:?}");
    }

    /// A request with this browser's cookie.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    /// Sends it, and keeps the cookie that comes back.
    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for line in headers.get_all("set-cookie") {
            let pair = line.to_str().unwrap().split(';').next().unwrap().to_owned();
            if pair.starts_with("regimen_console=") {
                self.cookie = Some(pair).filter(|pair| !pair.ends_with('='));
            }
        }
        Page { status, headers, text: response.text().await.unwrap() }
    }

    /// Opens a page.
    pub(crate) async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path).header("sec-fetch-site", "same-origin");
        self.send(request).await
    }

    /// Sends a form from a page of ours.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = self.form(path, fields).header("sec-fetch-site", "same-origin");
        self.send(request).await
    }

    /// A form, from wherever.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(fields);
        self.request(Method::POST, path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body.finish())
    }

    /// The token of this session's forms.
    pub(crate) async fn token(&mut self) -> String {
        self.get("/console/jobs").await.hidden("token").to_owned()
    }

    /// Carries out an action, as its page does.
    pub(crate) async fn act(&mut self, query: &str) -> Page {
        let path = format!("/console/act?{query}");
        let asked = self.get(&path).await;
        assert_eq!(asked.status, StatusCode::OK, "{asked:?}");
        let token = asked.hidden("token").to_owned();
        self.post(&path, &[("token", &token), ("reason", "a test")]).await
    }
}
