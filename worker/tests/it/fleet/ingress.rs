//! An ingress as a process, and a client that speaks to it.

use regimen_common::billing::signature::sign;
use regimen_common::clock::Clock;
use regimen_common::test_support::Binary;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::answers;

pub(crate) struct Ingress {
    pub(crate) binary: Binary,
    http: reqwest::Client,
    key: &'static str,
}

/// A client's side of an ingress, which may be gone.
#[derive(Clone)]
pub(crate) struct Door {
    url: String,
    http: reqwest::Client,
    key: &'static str,
}

impl Ingress {
    pub(super) fn new(binary: Binary, http: reqwest::Client, key: &'static str) -> Self {
        Self { binary, http, key }
    }

    /// What a client needs, for tasks of their own.
    pub(crate) fn door(&self) -> Door {
        let url = self.binary.address("INGRESS_URL").to_owned();
        Door { url, http: self.http.clone(), key: self.key }
    }

    /// Submits the sample quiz; returns the accepted jobs in the order of `kinds`.
    pub(crate) async fn submit(&self, user: Uuid, kinds: &[&str]) -> Vec<Uuid> {
        self.submit_body(user, &body(kinds)).await
    }

    /// Submits a body of the test's own; returns the accepted jobs.
    pub(crate) async fn submit_body(&self, user: Uuid, body: &Value) -> Vec<Uuid> {
        let answer = self.door().post_plans(user, body, None).await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        job_ids(&body)
    }

    /// One meal plan for a user of its own: the user and the job.
    pub(crate) async fn submit_one(&self) -> (Uuid, Uuid) {
        let user = Uuid::new_v4();
        (user, self.submit(user, &["meal"]).await[0])
    }

    /// What a path answers a user who may have it.
    pub(crate) async fn get(&self, user: Uuid, path: &str) -> Value {
        let answer = self.door().request(Method::GET, user, path).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    /// Waits for a job's end and returns its view.
    pub(crate) async fn ended(&self, user: Uuid, job: Uuid) -> Value {
        loop {
            let request = self.door().request(Method::GET, user, &format!("/v1/jobs/{job}"));
            let answer = request.header("prefer", "wait=60").send().await.unwrap();
            let (status, view) = (answer.status(), answer.json::<Value>().await.unwrap());
            assert_eq!(status, StatusCode::OK, "{view}");
            if !matches!(view["status"].as_str(), Some("queued" | "running")) {
                return view;
            }
        }
    }

    /// The same while answers may still be refused for a moment.
    pub(crate) async fn ended_after_faults(&self, user: Uuid, job: Uuid) -> Value {
        let path = format!("/v1/jobs/{job}");
        loop {
            let answer = self.door().request(Method::GET, user, &path).send().await.unwrap();
            if answer.status() == StatusCode::OK {
                return self.ended(user, job).await;
            }
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }

    /// Waits until a job has had an event of this kind; returns its data.
    pub(crate) async fn event(&self, user: Uuid, job: Uuid, kind: &str) -> Value {
        let request = self.door().request(Method::GET, user, &format!("/v1/jobs/{job}/events"));
        let mut stream = request.send().await.unwrap();
        let wanted = format!("event: {kind}\n");
        let mut text = String::new();
        loop {
            let found = text.split("\n\n").find(|event| event.contains(&wanted));
            // A frame that ends with the text so far may still be growing.
            if let Some(event) = found.filter(|_| text.ends_with("\n\n")) {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                return serde_json::from_str(data).unwrap();
            }
            let chunk = stream.chunk().await.unwrap();
            let chunk = chunk.unwrap_or_else(|| panic!("no event {kind} in\n{text}"));
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Asks to cancel a job; returns the status of the answer.
    pub(crate) async fn cancel(&self, user: Uuid, job: Uuid) -> StatusCode {
        let request = self.door().request(Method::DELETE, user, &format!("/v1/jobs/{job}"));
        request.send().await.unwrap().status()
    }
}

impl Door {
    /// Delivers a Stripe event as Stripe does, signed with `secret`.
    pub(crate) async fn deliver(&self, event: &Value, secret: &str) -> Response {
        let body = event.to_string();
        let now = Clock::system().now().timestamp();
        let signature = sign(&SecretString::from(secret), body.as_bytes(), now);
        let post = self.http.post(format!("{}/api/stripe/webhook", self.url));
        post.header("stripe-signature", signature).body(body).send().await.unwrap()
    }

    pub(crate) fn request(&self, method: Method, user: Uuid, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(self.key)
            .header("x-user-id", user.to_string())
    }

    pub(crate) async fn post_plans(
        &self,
        user: Uuid,
        body: &Value,
        idempotency_key: Option<&str>,
    ) -> reqwest::Result<Response> {
        let mut headers = HeaderMap::new();
        if let Some(key) = idempotency_key {
            headers.insert("idempotency-key", HeaderValue::from_str(key).unwrap());
        }
        let request = self.request(Method::POST, user, "/v1/plans").headers(headers);
        request.json(body).send().await
    }
}

/// A request for plans with the sample quiz.
pub(crate) fn body(kinds: &[&str]) -> Value {
    json!({ "kinds": kinds, "answers": answers() })
}

/// The jobs of an answer to a submission.
pub(crate) fn job_ids(answer: &Value) -> Vec<Uuid> {
    let jobs = answer["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["id"].as_str().unwrap().parse().unwrap()).collect()
}
