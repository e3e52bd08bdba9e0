//! One HTTP call to a provider: sends it, and returns the whole reply or the
//! failure. The adapters ([`Wire`]) interpret the bytes.

use std::error::Error;
use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::{HeaderMap, HeaderValue, header};
use http_body_util::Full;
use regimen_common::causes;
use regimen_common::clock::Clock;
use regimen_common::roots::public_roots;
use regimen_common::telemetry::trace_context::TraceContext;
use reqwest::{Response, redirect};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;

use super::body::{Arrived, Body};
use super::error::{Phase, cut_short};
use super::feature::Names;
use super::sse::Event;
use super::{ProviderError, RawReply, Timeouts, failure};
use crate::json;

/// TCP and TLS together; a provider that takes longer is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Servers and load balancers close idle connections after 30 s or more; a connection
/// kept for less is still open for the next request.
const IDLE: Duration = Duration::from_secs(20);
/// A shorter key is not a real one, and may occur in ordinary text.
const SHORTEST_KEY: usize = 8;

/// The format-specific part of a call.
pub trait Wire: Send + Sync {
    /// The header with the provider's id for a call.
    fn request_id_header(&self) -> &'static str;

    /// The parts of its requests that a host may refuse, with their names; see [`Names`].
    fn features(&self) -> Names;

    /// A new assembler for one stream.
    fn assembler(&self) -> Box<dyn Assemble>;
}

/// Assembles a whole reply from the events of a stream.
pub trait Assemble: Send + Sync {
    /// Adds one event; true once it was the last one.
    ///
    /// # Errors
    /// The event reports a failure, or cannot be part of this stream.
    fn push(&mut self, event: &Event) -> Result<bool, ProviderError>;

    /// Whether the model has reported a finish reason.
    fn has_stopped(&self) -> bool;

    /// Whether the reply is complete: its text is, or the model finished for another
    /// reason than a normal end.
    fn is_whole(&self) -> bool;

    /// Whether the text is complete and the reply not refused. Later events do not change
    /// that.
    fn is_said(&self) -> bool;

    /// The reply in the provider's format without streaming.
    fn finish(self: Box<Self>) -> Value;
}

/// A response that is not a success.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The start of the body, with our key removed in case it is quoted.
    pub body: String,
    /// The provider's id for the call.
    pub request_id: Option<String>,
    /// When the response arrived, for a retry-after that is an instant.
    pub now: DateTime<Utc>,
}

/// The request to send.
pub struct Outgoing {
    /// The full URL.
    pub url: Url,
    /// The provider's headers except the key.
    pub headers: HeaderMap,
    /// The header for the key, the text before it, and the key.
    pub key: (header::HeaderName, &'static str, SecretString),
    /// The JSON body, serialised in advance.
    pub body: String,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outgoing").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

/// The HTTP client that all adapters share. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Transport {
    client: reqwest::Client,
    clock: Clock,
}

impl Transport {
    /// A client with our limits. TLS trusts the system's roots and Mozilla's, so that it
    /// works in an image without any.
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

    /// Sends the request once and reads the whole reply, streamed or not.
    ///
    /// # Errors
    /// As the errors of the call that [`super::Provider::prepare`] returns.
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
        let is_stream = is_event_stream(response.headers());
        let headers = response.headers().clone();
        let mut body = Body::new(response, first_byte, timeouts);
        let without_key = |text: String| match secret.expose_secret() {
            key if key.len() >= SHORTEST_KEY => text.replace(key, "[key]"),
            _ => text,
        };
        let failure = |body| {
            let (request_id, now) = (request_id.clone(), self.clock.now());
            let failure = Failure { status, headers: headers.clone(), body, request_id, now };
            failure::classify(&failure, wire.features())
        };
        if !(200..300).contains(&status) {
            return Err(failure(without_key(body.start_of_text().await)));
        }
        let read = body.read(is_stream, wire.assembler()).await;
        let body = match read.map_err(|error| error.naming(wire.features()))? {
            Arrived::Assembled(reply) => reply.to_string(),
            Arrived::Whole(text) => whole(without_key(text), wire, failure)?,
        };
        Ok(RawReply { status, body: without_key(body).into(), request_id })
    }

    async fn send(&self, outgoing: Outgoing) -> Result<Response, ProviderError> {
        let (name, prefix, secret) = outgoing.key;
        let mut key = HeaderValue::from_str(&format!("{prefix}{}", secret.expose_secret()))
            .map_err(|_| ProviderError::Connect {
                detail: "the API key is no header value".to_owned(),
            })?;
        key.set_sensitive(true);
        let mut request = self
            .client
            .post(outgoing.url)
            .headers(outgoing.headers)
            .header(name, key)
            .header(header::CONTENT_TYPE, "application/json")
            // A body that can be cloned would be kept, for redirects, until the answer comes.
            .body(reqwest::Body::wrap(Full::new(Bytes::from(outgoing.body))));
        for (name, value) in TraceContext::current().iter().flat_map(TraceContext::headers) {
            request = request.header(name, value);
        }
        request.send().await.map_err(|error| {
            if refuses_certificate(&error) {
                ProviderError::Certificate { detail: causes(error) }
            } else if error.is_connect() || error.is_builder() {
                ProviderError::Connect { detail: causes(error) }
            } else {
                ProviderError::Cut { detail: causes(error) }
            }
        })
    }
}

/// A body that is not a stream of events: a reply, an error, or the pieces of a stream as
/// a list or as lines.
fn whole(
    text: String,
    wire: &dyn Wire,
    failure: impl Fn(String) -> ProviderError,
) -> Result<String, ProviderError> {
    let Ok(documents) = json::documents(&text) else {
        let words = failure::words_of(&text);
        return Err(ProviderError::Cut { detail: format!("no reply but: {words}") });
    };
    if documents.iter().any(failure::is_complaint) {
        return Err(failure(text));
    }
    if let [Value::Object(_)] = documents.as_slice() {
        return Ok(text);
    }
    let mut assembler = wire.assembler();
    let list = |document| match document {
        Value::Array(list) => list,
        single => vec![single],
    };
    for piece in documents.into_iter().flat_map(list) {
        if assembler.push(&Event { name: String::new(), data: piece.to_string() })? {
            return Ok(assembler.finish().to_string());
        }
    }
    if assembler.has_stopped() || assembler.is_whole() {
        return Ok(assembler.finish().to_string());
    }
    Err(ProviderError::Cut { detail: "the pieces do not make a whole reply".to_owned() })
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    header_text(headers, "content-type")
        .is_some_and(|kind| kind.to_ascii_lowercase().contains("event-stream"))
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(cut_short(headers.get(name)?.to_str().ok()?, 200))
}

/// Whether the server's certificate is the cause of `error`.
fn refuses_certificate(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // What an `io::Error` carries is not its source.
            Some(carried) => Some(carried),
            None => error.source(),
        };
    }
    false
}

/// The chain of causes without the URL, which may contain private data.
pub(crate) fn causes(error: reqwest::Error) -> String {
    cut_short(&causes::causes(&error.without_url()), 300)
}
