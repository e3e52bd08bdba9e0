//! A client of the ingress: JSON requests, and events as they happen.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body};

/// How long the ingress may take to answer; events may take longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    /// The ingress did not answer, or not in HTTP.
    #[error("{method} {url}: {source}")]
    Transport {
        /// The request's method.
        method: &'static str,
        /// Its URL.
        url: String,
        /// The error.
        source: Box<ureq::Error>,
    },
    /// The ingress refused the request.
    #[error("{method} {url} was answered with {status}: {detail}")]
    Refused {
        /// The request's method.
        method: &'static str,
        /// Its URL.
        url: String,
        /// The answer's status.
        status: u16,
        /// The answer's detail.
        detail: String,
    },
}

/// A client of one user and one ingress.
#[derive(Clone)]
pub(crate) struct Client {
    agent: Agent,
    base: String,
    token: String,
}

/// A server-sent event (HTML standard, section 9.2).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Its number, for resuming the stream after it.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its data.
    pub(crate) data: Value,
}

impl Client {
    /// A client of the ingress at `base` with a user's access token.
    pub(crate) fn new(base: &str, token: &str) -> Self {
        let config = Agent::config_builder()
            // The ingress is on this machine, which no proxy of the environment must
            // serve.
            .proxy(None)
            .http_status_as_error(false)
            .timeout_recv_response(Some(ANSWER_WITHIN))
            .build();
        Self { agent: config.into(), base: base.to_owned(), token: token.to_owned() }
    }

    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn get(&self, path: &str) -> Result<Value, HttpError> {
        let request = Request { method: "GET", url: format!("{}{path}", self.base) };
        let sent = self.agent.get(&request.url).header("authorization", self.bearer()).call();
        request.json(sent)
    }

    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Result<Value, HttpError> {
        let request = Request { method: "POST", url: format!("{}{path}", self.base) };
        let post = self.agent.post(&request.url).header("authorization", self.bearer());
        request.json(post.send_json(body))
    }

    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn delete(&self, path: &str) -> Result<Value, HttpError> {
        let request = Request { method: "DELETE", url: format!("{}{path}", self.base) };
        let sent = self.agent.delete(&request.url).header("authorization", self.bearer()).call();
        request.json(sent)
    }

    /// The version (ETag) of what is at `path`, if it has one.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn version(&self, path: &str) -> Result<Option<String>, HttpError> {
        let request = Request { method: "GET", url: format!("{}{path}", self.base) };
        let sent = self.agent.get(&request.url).header("authorization", self.bearer()).call();
        let response = request.accepted(sent)?;
        let version = response.headers().get("etag");
        Ok(version.and_then(|version| version.to_str().ok()).map(str::to_owned))
    }

    /// The text at `path`.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn text(&self, path: &str) -> Result<String, HttpError> {
        let request = Request { method: "GET", url: format!("{}{path}", self.base) };
        let mut response = request.accepted(self.agent.get(&request.url).call())?;
        response.body_mut().read_to_string().map_err(|source| request.transport(source))
    }

    /// The events at `path` after the one numbered `after`, until the ingress ends the
    /// stream or it breaks.
    ///
    /// # Errors
    /// No answer, or a refusal.
    pub(crate) fn events(
        &self,
        path: &str,
        after: &str,
    ) -> Result<impl Iterator<Item = Event> + use<>, HttpError> {
        let request = Request { method: "GET", url: format!("{}{path}", self.base) };
        let mut get = self.agent.get(&request.url).header("authorization", self.bearer());
        if !after.is_empty() {
            get = get.header("last-event-id", after);
        }
        let response = request.accepted(get.call())?;
        Ok(parse_events(BufReader::new(response.into_body().into_reader())))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.token)
    }
}

struct Request {
    method: &'static str,
    url: String,
}

impl Request {
    fn json(self, sent: Result<Response<Body>, ureq::Error>) -> Result<Value, HttpError> {
        let mut response = self.accepted(sent)?;
        response.body_mut().read_json().map_err(|source| self.transport(source))
    }

    fn accepted(
        &self,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, HttpError> {
        let mut response = sent.map_err(|source| self.transport(source))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let detail = response.body_mut().read_to_string().unwrap_or_default();
        Err(HttpError::Refused {
            method: self.method,
            url: self.url.clone(),
            status: status.as_u16(),
            detail,
        })
    }

    fn transport(&self, source: ureq::Error) -> HttpError {
        HttpError::Transport { method: self.method, url: self.url.clone(), source: source.into() }
    }
}

/// Ends with the stream; an incomplete event is dropped.
fn parse_events(input: impl BufRead) -> impl Iterator<Item = Event> {
    let mut lines = input.lines().map_while(Result::ok);
    std::iter::from_fn(move || {
        let (mut id, mut name, mut data) = (String::new(), String::new(), String::new());
        loop {
            let line = lines.next()?;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" if line.is_empty() && !(name.is_empty() && data.is_empty()) => {
                    let data = serde_json::from_str(&data).unwrap_or(Value::Null);
                    return Some(Event { id, name, data });
                }
                "id" => value.clone_into(&mut id),
                "event" => value.clone_into(&mut name),
                "data" => data.push_str(value),
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn events_are_read_past_comments_and_an_unfinished_end() {
        let stream = ": hello\n\nid: 1\nevent: accepted\ndata: {\"at\":1}\n\n\
                      :\n\nretry: 1000\nid:2\nevent:saved\ndata: {\"a\":\ndata: 2}\n\n\
                      id: 3\nevent: lost\n";
        let events: Vec<_> = parse_events(stream.as_bytes()).collect();
        let event = |id: &str, name: &str, data| Event { id: id.into(), name: name.into(), data };
        let accepted = event("1", "accepted", json!({"at": 1}));
        assert_eq!(events, [accepted, event("2", "saved", json!({"a": 2}))]);
    }
}
