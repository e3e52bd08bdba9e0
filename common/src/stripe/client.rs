//! Calls to Stripe: requests built by async-stripe's types, sent by our own
//! client.
//!
//! The library's client sends a request with a given idempotency key only once,
//! retries with a new key, reads replies of any length, and refuses a whole
//! reply because of one unexpected field, when money may already have moved.
//! This client retries under one key, within a time limit, and parses only the
//! needed fields of a reply.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::RngExt;
use rand::rngs::StdRng;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use reqwest::{Client, Method};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stripe_client_core::{IdempotencyKey, RequestBuilder, StripeMethod};
use tokio::time::{Instant, sleep};

use super::StripeError;
use crate::backoff::{backoff, jittered};
use crate::billing::{API_VERSION, StripeAccess};

/// The highest number of calls per request.
const ATTEMPTS: u32 = 3;
const CONNECT: Duration = Duration::from_secs(3);
/// The wait before the second call; it doubles, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The smallest share of a wait after jitter.
const LEAST_WAIT: f64 = 0.5;
/// Larger replies are not read; a page of 100 events is about 1 MB.
const MAX_REPLY: usize = 16 * 1024 * 1024;

/// Stripe's API. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StripeClient {
    access: StripeAccess,
    client: Client,
    /// The time limit of one call; all of a request's may take twice that.
    timeout: Duration,
    rng: Arc<Mutex<StdRng>>,
}

/// A reply of Stripe.
#[derive(Debug)]
pub struct Reply<T> {
    /// The object.
    pub value: T,
    /// Whether an earlier call with the same key made the change.
    pub replayed: bool,
    /// When it was made, by Stripe's clock; none when the reply has no `Date`.
    pub made_at: Option<DateTime<Utc>>,
}

/// A failed call, and whether a retry may help.
struct Failed {
    error: StripeError,
    again: bool,
}

impl StripeClient {
    /// Calls with the given access.
    ///
    /// # Errors
    /// The HTTP client could not be set up.
    pub fn new(
        access: StripeAccess,
        timeout: Duration,
        rng: StdRng,
    ) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("regimen/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { access, client, timeout, rng: Arc::new(Mutex::new(rng)) })
    }

    /// Whether there is a key to call with.
    pub fn is_configured(&self) -> bool {
        self.access.key.is_some()
    }

    /// Sends a request that changes nothing, up to three times.
    ///
    /// # Errors
    /// As [`StripeError`] lists them.
    pub async fn read<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
    ) -> Result<T, StripeError> {
        Ok(self.read_reply(&request).await?.value)
    }

    /// The same, with the reply's metadata.
    ///
    /// # Errors
    /// As [`StripeError`] lists them.
    pub async fn read_reply<T: DeserializeOwned>(
        &self,
        request: &RequestBuilder,
    ) -> Result<Reply<T>, StripeError> {
        self.call(request, None).await
    }

    /// Makes a change, once per `key`.
    ///
    /// # Errors
    /// As [`StripeError`] lists them.
    pub async fn write<T: DeserializeOwned>(
        &self,
        request: RequestBuilder,
        key: &IdempotencyKey,
    ) -> Result<Reply<T>, StripeError> {
        self.call(&request, Some(key)).await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        request: &RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<Reply<T>, StripeError> {
        measured(async { self.until_answered(request, key).await?.typed() }).await
    }

    /// Sends a request that changes nothing once, without retries.
    ///
    /// # Errors
    /// As [`StripeError`] lists them.
    pub async fn read_once<T: DeserializeOwned>(
        &self,
        request: &RequestBuilder,
    ) -> Result<Reply<T>, StripeError> {
        let once = async { self.once(request, None, self.timeout).await };
        measured(async { once.await.map_err(|failed| failed.error)?.typed() }).await
    }

    async fn until_answered(
        &self,
        request: &RequestBuilder,
        key: Option<&IdempotencyKey>,
    ) -> Result<Reply<Value>, StripeError> {
        let give_up = Instant::now() + 2 * self.timeout;
        let mut calls = 0;
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let Failed { error, again } =
                match self.once(request, key, left.min(self.timeout)).await {
                    Ok(reply) => return Ok(reply),
                    Err(failed) => failed,
                };
            calls += 1;
            let wait = self.wait_after(calls);
            if !again || calls >= ATTEMPTS || Instant::now() + wait >= give_up {
                return Err(error);
            }
            tracing::debug!(%error, calls, "calling Stripe again");
            sleep(wait).await;
        }
    }

    fn wait_after(&self, calls: u32) -> Duration {
        let draw = self.rng.lock().unwrap_or_else(PoisonError::into_inner).random();
        jittered(backoff(calls, FIRST_WAIT, LONGEST_WAIT), LEAST_WAIT, draw)
    }

    async fn once(
        &self,
        request: &RequestBuilder,
        key: Option<&IdempotencyKey>,
        timeout: Duration,
    ) -> Result<Reply<Value>, Failed> {
        let secret = self.access.key.as_ref().ok_or(Failed::for_good(StripeError::NoKey))?;
        let mut url = self.access.url(&format!("/v1{}", request.path));
        url.set_query(request.query.as_deref().filter(|query| !query.is_empty()));
        let method = match request.method {
            StripeMethod::Get => Method::GET,
            StripeMethod::Post => Method::POST,
            StripeMethod::Delete => Method::DELETE,
        };
        let mut call = self
            .client
            .request(method, url)
            .timeout(timeout)
            .bearer_auth(secret.expose_secret())
            .header("Stripe-Version", API_VERSION);
        if let Some(body) = &request.body {
            let form = "application/x-www-form-urlencoded";
            call = call.header(CONTENT_TYPE, form).body(body.clone());
        }
        if let Some(key) = key {
            call = call.header("Idempotency-Key", key.as_str());
        }
        let mut response = call.send().await.map_err(Failed::away)?;
        let (status, told) = (response.status(), told_to_repeat(response.headers()));
        let replayed = response.headers().get("idempotent-replayed").is_some_and(|v| v == "true");
        let made_at = made_at(response.headers());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Failed::away)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_REPLY {
                return Err(Failed::for_good(StripeError::Unreadable));
            }
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        if status.is_success() {
            return if value.is_object() {
                Ok(Reply { value, replayed, made_at })
            } else {
                Err(Failed::for_good(StripeError::Unreadable))
            };
        }
        let usual = status.is_server_error() || status.as_u16() == 409;
        Err(Failed { error: StripeError::of_reply(status, &value), again: told.unwrap_or(usual) })
    }
}

impl Reply<Value> {
    fn typed<T: DeserializeOwned>(self) -> Result<Reply<T>, StripeError> {
        let Self { value, replayed, made_at } = self;
        let value = serde_json::from_value(value).map_err(|_| StripeError::Unreadable)?;
        Ok(Reply { value, replayed, made_at })
    }
}

impl Failed {
    fn for_good(error: StripeError) -> Self {
        Self { error, again: false }
    }

    /// The URL may contain ids, and is not needed to understand the failure.
    fn away(error: reqwest::Error) -> Self {
        Self { error: StripeError::Away(error.without_url()), again: true }
    }
}

async fn measured<T>(call: impl Future<Output = Result<T, StripeError>>) -> Result<T, StripeError> {
    let started = Instant::now();
    let called = call.await;
    let outcome = called.as_ref().err().map_or("ok", StripeError::label);
    metrics::counter!("regimen_stripe_calls_total", "outcome" => outcome).increment(1);
    metrics::histogram!("regimen_stripe_call_seconds").record(started.elapsed());
    called
}

fn made_at(headers: &HeaderMap) -> Option<DateTime<Utc>> {
    let date = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(date).ok().map(DateTime::from)
}

/// Stripe's header that tells whether to retry.
fn told_to_repeat(headers: &HeaderMap) -> Option<bool> {
    headers.get("stripe-should-retry")?.to_str().ok()?.parse().ok()
}
