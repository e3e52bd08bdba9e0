//! Requests to any of the ingresses, with every answer as it came.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

use super::super::chance::Chance;
use super::super::scale::IDLE;
use crate::clock;

/// How long a client waits for an answer before it tries another ingress: longer than any
/// answer may take, so that a slow one is recorded.
const PATIENCE: Duration = Duration::from_secs(20);

/// An HTTP client for this machine with a short time limit.
pub(in crate::chaos) fn agent() -> Agent {
    Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(2)))
        .timeout_global(Some(PATIENCE))
        .max_idle_age(IDLE)
        .build()
        .into()
}

/// An answer.
pub(in crate::chaos) struct Answer {
    pub(in crate::chaos) status: u16,
    pub(in crate::chaos) body: Value,
    pub(in crate::chaos) replayed: bool,
    /// Whether it has a Retry-After.
    pub(in crate::chaos) retry_after: bool,
}

impl Answer {
    /// Whether it is a failure that does not say when to retry: only 503 with a
    /// Retry-After does.
    pub(in crate::chaos) fn is_blunt(&self) -> bool {
        self.status >= 500 && (self.status != 503 || !self.retry_after)
    }
}

/// The result of a request to one of the ingresses.
pub(in crate::chaos) struct Sent {
    /// Or the request and why no whole answer came.
    pub(in crate::chaos) answer: Result<Answer, String>,
    /// The number of the ingress, from 0.
    pub(in crate::chaos) door: usize,
    /// When it was sent, and how long until its end, microseconds.
    pub(in crate::chaos) at: u64,
    pub(in crate::chaos) took: u64,
}

/// A part of an event stream.
pub(in crate::chaos) struct Streamed {
    pub(in crate::chaos) status: u16,
    /// The numbers of its events.
    pub(in crate::chaos) events: Vec<i64>,
    /// Whether it broke off: neither did the ingress end it, nor was the client's patience
    /// over.
    pub(in crate::chaos) broke: bool,
}

/// A request, identical each time it is sent.
#[derive(Debug, Clone, Copy)]
pub(in crate::chaos) struct Request<'a> {
    pub(in crate::chaos) method: &'static str,
    pub(in crate::chaos) path: &'a str,
    pub(in crate::chaos) headers: &'a [(&'a str, &'a str)],
    pub(in crate::chaos) body: &'a str,
}

/// The ingresses, for one client.
pub(in crate::chaos) struct Doors<'a> {
    agent: Agent,
    urls: &'a [String],
}

impl<'a> Doors<'a> {
    /// A client of these.
    pub(in crate::chaos) fn new(urls: &'a [String]) -> Self {
        Self { agent: agent(), urls }
    }

    /// Sends the request to one of them.
    pub(in crate::chaos) fn send(&self, chance: &mut Chance, request: Request<'_>) -> Sent {
        let door = chance.below(self.urls.len());
        let at = clock::micros_since_1970();
        let answer = self.ask(door, request);
        let took = clock::micros_since_1970().saturating_sub(at);
        let answer = answer.map_err(|error| unanswered(request, took, &error));
        Sent { answer, door, at, took }
    }

    /// The events that one of them sends, until the stream ends; or why there is no answer.
    pub(in crate::chaos) fn stream(
        &self,
        chance: &mut Chance,
        request: Request<'_>,
    ) -> Result<Streamed, String> {
        let door = chance.below(self.urls.len());
        let at = clock::micros_since_1970();
        let reply = self.begin(door, request).map_err(|error| {
            unanswered(request, clock::micros_since_1970().saturating_sub(at), &error)
        })?;
        let status = reply.status().as_u16();
        let (mut events, mut number) = (Vec::new(), None::<i64>);
        for line in BufReader::new(reply.into_body().into_reader()).lines() {
            match line {
                // An event is complete with the empty line after it.
                Ok(line) if line.is_empty() => events.extend(number.take()),
                Ok(line) => {
                    let id = line.strip_prefix("id:").and_then(|id| id.trim().parse().ok());
                    number = id.or(number);
                }
                Err(error) => {
                    let ours = error.get_ref().and_then(|error| error.downcast_ref());
                    let broke = !matches!(ours, Some(ureq::Error::Timeout(_)));
                    return Ok(Streamed { status, events, broke });
                }
            }
        }
        Ok(Streamed { status, events, broke: false })
    }

    fn ask(&self, door: usize, request: Request<'_>) -> Result<Answer, ureq::Error> {
        let mut reply = self.begin(door, request)?;
        let status = reply.status().as_u16();
        let replayed = reply.headers().get("idempotency-replayed").is_some();
        let retry_after = reply.headers().get("retry-after").is_some();
        let text = reply.body_mut().read_to_string()?;
        // A body that is not JSON is recorded as text.
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, body, replayed, retry_after })
    }

    fn begin(&self, door: usize, request: Request<'_>) -> Result<Response<Body>, ureq::Error> {
        let base = self.urls.get(door).map_or("", String::as_str);
        let url = format!("{base}{}", request.path);
        let mut head = ureq::http::Request::builder().method(request.method).uri(url);
        for (name, value) in request.headers {
            head = head.header(*name, *value);
        }
        if request.body.is_empty() {
            self.agent.run(head.body(())?)
        } else {
            self.agent.run(head.body(request.body.to_owned())?)
        }
    }
}

/// A request that no whole answer came to, for the report.
fn unanswered(request: Request<'_>, took: u64, error: &ureq::Error) -> String {
    format!("{} {}, after {} ms: {error}", request.method, request.path, took / 1_000)
}
