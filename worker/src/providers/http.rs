//! One HTTP call to a provider: sends, watches for stalls, assembles a stream,
//! bounds what it reads. What the bytes mean is for the adapters ([`Wire`]).

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header};
use regimen_common::clock::Clock;
use reqwest::{Response, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::error::{Phase, cut_short};
use super::sse::{Decoder, Event};
use super::{ProviderError, RawReply, Timeouts};

/// TCP and TLS together; a provider that takes longer is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers and load balancers close idle connections after 30 s and more; one
/// that is kept for less is not found closed by the next request.
const IDLE: Duration = Duration::from_secs(20);
/// A plan is some tens of kilobytes; a reply a hundred times that is a fault.
const REPLY_LIMIT: usize = 8 * 1024 * 1024;
/// Enough of an error body for every known error shape.
const ERROR_LIMIT: usize = 64 * 1024;
/// How long to wait for the end of a stream whose last event is in, so that
/// the connection can be used again.
const DRAIN: Duration = Duration::from_millis(250);

/// What an adapter knows and the transport does not.
pub trait Wire: Send + Sync {
    /// The header that carries the provider's id for a call.
    fn request_id_header(&self) -> &'static str;

    /// Names the failure behind a status that is no success.
    fn classify(&self, failure: &Failure) -> ProviderError;

    /// A fresh assembler for one stream.
    fn assembler(&self) -> Box<dyn Assemble>;
}

/// Builds a whole reply out of the events of a stream.
pub trait Assemble: Send {
    /// Takes one event; true once it was the last one.
    ///
    /// # Errors
    /// The event reports a failure, or cannot be part of this stream.
    fn push(&mut self, event: &Event) -> Result<bool, ProviderError>;

    /// The reply in the shape the provider uses without streaming.
    fn finish(self: Box<Self>) -> Value;
}

/// An answer that is no success.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The start of the body, with our key taken out should it be quoted.
    pub body: String,
    /// The provider's id for the call.
    pub request_id: Option<String>,
    /// When the answer came, for hints that name an instant.
    pub now: DateTime<Utc>,
}

/// Where to and what to send.
pub struct Outgoing {
    /// The full address.
    pub url: Url,
    /// The provider's headers but for the key.
    pub headers: HeaderMap,
    /// The header for the key, the text before it, and the key.
    pub key: (header::HeaderName, &'static str, SecretString),
    /// The JSON body, written out: sending has nothing left to prepare.
    pub body: String,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// The HTTP client all adapters share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    client: reqwest::Client,
    clock: Clock,
}

impl Transport {
    /// A client with our limits. TLS trusts the system's roots and Mozilla's,
    /// so that it works in an image without any.
    ///
    /// # Errors
    /// The TLS set-up failed; the process cannot call any provider.
    pub fn new(clock: Clock) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE)
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .user_agent(concat!("regimen/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(public_roots())
            .build()?;
        Ok(Self { client, clock })
    }

    /// Sends once and reads the whole reply, streamed or not.
    ///
    /// # Errors
    /// As those of the call that [`super::Provider::prepare`] writes.
    pub async fn post(
        &self,
        outgoing: Outgoing,
        timeouts: Timeouts,
        wire: &dyn Wire,
    ) -> Result<RawReply, ProviderError> {
        let exchange = self.exchange(outgoing, timeouts, wire);
        timeout(timeouts.total, exchange)
            .await
            .unwrap_or(Err(ProviderError::Timeout { phase: Phase::Total, after: timeouts.total }))
    }

    async fn exchange(
        &self,
        outgoing: Outgoing,
        timeouts: Timeouts,
        wire: &dyn Wire,
    ) -> Result<RawReply, ProviderError> {
        let first_byte = Instant::now() + timeouts.first_byte;
        let secret = outgoing.key.2.clone();
        let late = ProviderError::Timeout { phase: Phase::FirstByte, after: timeouts.first_byte };
        let response = match timeout_at(first_byte, self.send(outgoing)).await {
            Ok(response) => response?,
            Err(_) => return Err(late),
        };
        let status = response.status().as_u16();
        let request_id = header_text(response.headers(), wire.request_id_header());
        let mut body = Body { response, first_byte, timeouts, started: false };
        if !(200..300).contains(&status) {
            let headers = body.response.headers().clone();
            let text = body.start_of_text().await.replace(secret.expose_secret(), "[key]");
            let now = self.clock.now();
            return Err(wire.classify(&Failure { status, headers, body: text, request_id, now }));
        }
        let body = if is_event_stream(body.response.headers()) {
            body.assemble(wire.assembler()).await?.to_string()
        } else {
            body.whole_text().await?
        };
        Ok(RawReply { status, body, request_id })
    }

    async fn send(&self, outgoing: Outgoing) -> Result<Response, ProviderError> {
        let (name, prefix, secret) = outgoing.key;
        let mut key = HeaderValue::from_str(&format!("{prefix}{}", secret.expose_secret()))
            .map_err(|_| ProviderError::Connect {
                detail: "the API key is no header value".to_owned(),
            })?;
        key.set_sensitive(true);
        let request = self
            .client
            .post(outgoing.url)
            .headers(outgoing.headers)
            .header(name, key)
            .header(header::CONTENT_TYPE, "application/json")
            .body(outgoing.body);
        request.send().await.map_err(|error| {
            if error.is_connect() || error.is_builder() {
                ProviderError::Connect { detail: causes(error) }
            } else {
                ProviderError::Cut { detail: causes(error) }
            }
        })
    }
}

/// Mozilla's roots, for images that have none.
pub(crate) fn public_roots() -> impl Iterator<Item = reqwest::Certificate> {
    let roots = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    roots.filter_map(|root| reqwest::Certificate::from_der(root).ok())
}

/// A response body, read piece by piece under the timeouts.
struct Body {
    response: Response,
    first_byte: Instant,
    timeouts: Timeouts,
    started: bool,
}

impl Body {
    async fn next(&mut self) -> Result<Option<Bytes>, ProviderError> {
        let (deadline, phase, after) = if self.started {
            (Instant::now() + self.timeouts.stall, Phase::Stall, self.timeouts.stall)
        } else {
            (self.first_byte, Phase::FirstByte, self.timeouts.first_byte)
        };
        let chunk = timeout_at(deadline, self.response.chunk())
            .await
            .map_err(|_| ProviderError::Timeout { phase, after })?;
        self.started = true;
        chunk.map_err(|error| ProviderError::Cut { detail: causes(error) })
    }

    async fn assemble(mut self, mut assembler: Box<dyn Assemble>) -> Result<Value, ProviderError> {
        let mut decoder = Decoder::new(REPLY_LIMIT);
        let mut read = 0;
        while let Some(chunk) = self.next().await? {
            read += chunk.len();
            if read > REPLY_LIMIT {
                return Err(ProviderError::TooLarge { limit: REPLY_LIMIT });
            }
            let mut events = Vec::new();
            decoder
                .push(&chunk, &mut events)
                .map_err(|error| ProviderError::Cut { detail: error.to_string() })?;
            for event in &events {
                if assembler.push(event)? {
                    self.drain().await;
                    return Ok(assembler.finish());
                }
            }
        }
        Err(ProviderError::Cut { detail: "the stream ended without its last event".to_owned() })
    }

    async fn drain(mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        // Not reaching the end only costs the connection.
        let _ = timeout(DRAIN, rest).await;
    }

    async fn whole_text(mut self) -> Result<String, ProviderError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next().await? {
            if body.len() + chunk.len() > REPLY_LIMIT {
                return Err(ProviderError::TooLarge { limit: REPLY_LIMIT });
            }
            body.extend_from_slice(&chunk);
        }
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(ProviderError::Cut { detail: "the body is empty".to_owned() });
        }
        String::from_utf8(body)
            .map_err(|_| ProviderError::Cut { detail: "the body is not UTF-8".to_owned() })
    }

    /// As much of an error body as arrives; the status counts even without it.
    async fn start_of_text(&mut self) -> String {
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = self.next().await {
            body.extend_from_slice(&chunk);
            if body.len() >= ERROR_LIMIT {
                body.truncate(ERROR_LIMIT);
                break;
            }
        }
        String::from_utf8_lossy(&body).into_owned()
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    header_text(headers, "content-type").is_some_and(|kind| kind.starts_with("text/event-stream"))
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(cut_short(headers.get(name)?.to_str().ok()?, 200))
}

/// The chain of causes without the address, which may hold what is private.
pub(crate) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    cut_short(&text, 300)
}
