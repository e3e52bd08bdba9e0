//! Sends one callback: signed, to a checked address, once, within its time
//! limit.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use regimen_common::callbacks::{AddressRefused, Rules, Signer, UrlRefused};
use regimen_common::clock::Clock;
use regimen_common::db::callbacks::ClaimedCallback;
use regimen_common::roots::public_roots;
use regimen_common::telemetry::trace_context::{TRACEPARENT, TraceContext};
use reqwest::{Response, redirect};
use tokio::time::timeout;

use super::config::WebhookConfig;
use super::resolver::{Lookup, PublicResolver, ResolveError};
use crate::llm::http::causes;

/// TCP and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The part of a response's body that is read, so that its sender can finish; its content
/// is ignored.
const BODY_LIMIT: usize = 16 * 1024;
/// The time limit of that.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// The random deviation of a wait, as a share of it in both directions.
const JITTER: f64 = 0.2;

/// Why a callback did not arrive. The job's owner sees these texts: they name no address
/// of our network.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// The URL may not be called, whatever it resolves to.
    #[error("callback_url {0}")]
    Refused(#[from] UrlRefused),
    /// The name resolves to an internal address.
    #[error("the host name does not resolve to public addresses only")]
    NotPublic(AddressRefused),
    /// No connection, no response, or an incomplete one.
    #[error("{detail}")]
    Unreachable {
        /// The cause.
        detail: String,
    },
    /// It exceeded its time limit.
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    /// The receiver answered with another status than a success.
    #[error("the receiver answered with status {0}")]
    Status(u16),
}

impl DeliveryError {
    /// The status of the response, if there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Refused(_)
            | Self::NotPublic(_)
            | Self::Unreachable { .. }
            | Self::TimedOut(_) => None,
        }
    }
}

/// Sends callbacks.
#[derive(Debug)]
pub struct WebhookSender {
    client: reqwest::Client,
    signer: Signer,
    rules: Arc<Rules>,
    timeout: Duration,
    retries: Vec<Duration>,
    clock: Clock,
    rng: Mutex<StdRng>,
}

impl WebhookSender {
    /// A sender with these settings; `None` without a signing secret.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn new(
        settings: &WebhookConfig,
        lookup: Arc<dyn Lookup>,
        clock: Clock,
        rng: StdRng,
    ) -> Result<Option<Self>, reqwest::Error> {
        let Some(signer) = settings.signer.clone() else { return Ok(None) };
        let rules = Arc::new(settings.rules.clone());
        let client = reqwest::Client::builder()
            .dns_resolver(Arc::new(PublicResolver::new(Arc::clone(&rules), lookup)))
            // A proxy would resolve names itself.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            // Each connection goes to an address that was checked for it.
            .pool_max_idle_per_host(0)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(settings.timeout)
            .user_agent(concat!("regimen/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(public_roots())
            .build()?;
        let (timeout, retries) = (settings.timeout, settings.retries.clone());
        Ok(Some(Self { client, signer, rules, timeout, retries, clock, rng: Mutex::new(rng) }))
    }

    /// Sends once; returns the status of a receiver that accepted it.
    ///
    /// # Errors
    /// It did not arrive, or the receiver did not accept it.
    pub async fn deliver(&self, claimed: &ClaimedCallback) -> Result<u16, DeliveryError> {
        let url = self.rules.check_url(&claimed.url)?;
        // Plain data: serialising it cannot fail.
        let body = serde_json::to_vec(&claimed.message).unwrap_or_default();
        let (id, now) = (claimed.message.message_id(), self.clock.now().timestamp());
        let mut request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.signer.sign(&id, now, &body))
            .body(body);
        if let Some(trace) = TraceContext::current() {
            request = request.header(TRACEPARENT, trace.traceparent());
        }
        let response = request.send().await.map_err(|error| self.failure(error))?;
        let status = response.status();
        read_some(response).await;
        let code = status.as_u16();
        if status.is_success() { Ok(code) } else { Err(DeliveryError::Status(code)) }
    }

    fn failure(&self, error: reqwest::Error) -> DeliveryError {
        if let Some(ResolveError::NotPublic(refused)) = cause(&error) {
            return DeliveryError::NotPublic(refused.clone());
        }
        if error.is_timeout() && !error.is_connect() {
            return DeliveryError::TimedOut(self.timeout);
        }
        DeliveryError::Unreachable { detail: causes(error) }
    }

    /// How long to wait after try number `attempts` failed; none after the last one. The
    /// waits are randomised so that a receiver that recovers does not get all callbacks
    /// at once.
    pub fn wait_after(&self, attempts: i32) -> Option<Duration> {
        let place = usize::try_from(attempts.checked_sub(1)?).ok()?;
        let wait = self.retries.get(place)?;
        let draw: f64 = self.rng.lock().unwrap_or_else(PoisonError::into_inner).random();
        Some(wait.mul_f64(1.0 + JITTER * (2.0 * draw - 1.0)))
    }

    /// Whether this number of claims is too high: workers that are lost while they send
    /// must not try forever.
    pub fn is_exhausted(&self, attempts: i32) -> bool {
        usize::try_from(attempts).is_ok_and(|attempts| attempts > self.retries.len() + 1)
    }
}

fn cause(error: &reqwest::Error) -> Option<&ResolveError> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<ResolveError>() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

async fn read_some(mut response: Response) {
    let read = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read >= BODY_LIMIT {
                return;
            }
        }
    };
    let _ = timeout(BODY_TIMEOUT, read).await;
}

#[cfg(test)]
#[path = "sender_tests.rs"]
mod tests;
