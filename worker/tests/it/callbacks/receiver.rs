//! A caller's own server: takes callbacks over real HTTP and answers as told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::fleet::soon;

/// How the receiver answers one request.
#[derive(Clone)]
pub(crate) enum Reply {
    Status(u16),
    Redirect(String),
    Hang,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Delivery {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether `secret` made one of the signatures, by the letter of the
    /// specification and not by our own code.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
        let signed =
            [self.id().as_bytes(), b".", self.header("webhook-timestamp").as_bytes(), b"."];
        signed.iter().for_each(|part| mac.update(part));
        mac.update(&self.body);
        let expected = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
        self.header("webhook-signature").split(' ').any(|signature| signature == expected)
    }
}

struct Shared {
    script: Mutex<VecDeque<Reply>>,
    then: Reply,
    deliveries: watch::Sender<Vec<Delivery>>,
}

/// The server; it ends with the test's runtime.
pub(crate) struct Receiver {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) async fn new() -> Self {
        Self::with(&[], Reply::Status(204)).await
    }

    /// One that answers by `script`, and after it with `then`.
    pub(crate) async fn with(script: &[Reply], then: Reply) -> Self {
        let script = Mutex::new(script.iter().cloned().collect());
        let shared = Arc::new(Shared { script, then, deliveries: watch::Sender::default() });
        let app = Router::new().fallback(take).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?of=me", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    /// What has come so far.
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.borrow().clone()
    }

    /// Waits until `count` requests have come; returns them all.
    pub(crate) async fn until(&self, count: usize) -> Vec<Delivery> {
        let mut deliveries = self.shared.deliveries.subscribe();
        let what = format!("{count} callbacks");
        let come = soon(&what, deliveries.wait_for(|all| all.len() >= count)).await;
        come.unwrap().clone()
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let reply = shared.script.lock().unwrap().pop_front().unwrap_or_else(|| shared.then.clone());
    shared.deliveries.send_modify(|all| all.push(Delivery { headers, body }));
    match reply {
        Reply::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Reply::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Reply::Hang => std::future::pending().await,
    }
}
