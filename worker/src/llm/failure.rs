//! Classifies a host's failure of any shape: by its status, by a code or a type
//! in the body, and by its text where those say too little. One parser for all
//! formats, because compatible hosts, gateways and proxies mix them.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::content::{is_there, word};
use super::error::{ErrorReply, cut_short};
use super::failure_words::{
    guess, is_bad_key, is_money, is_no_model, is_unwanted, refuses, says_it_is_spent,
    speaks_of_key, speaks_of_model, speaks_of_money, speaks_of_unwanted, status_in, status_of,
    too_long,
};
use super::feature::{Features, Names, spoken_of};
use super::http::Failure;
use super::scrub::{scrubbed, without_paths};
use super::{ProviderError, retry_after};
use crate::json;

/// Fields of a reply; an object with one of them is not an error because of its other
/// fields.
const REPLY: [&str; 9] = [
    "choices",
    "candidates",
    "content",
    "delta",
    "content_block",
    "text",
    "usage",
    "usageMetadata",
    "promptFeedback",
];

/// The fields with error texts of hosts.
const SAYINGS: [&str; 19] = [
    "message",
    "Message",
    "msg",
    "error_message",
    "errorMessage",
    "error_msg",
    "errmsg",
    "status_msg",
    "faultstring",
    "detail",
    "error",
    "err",
    "errors",
    "error_description",
    "description",
    "reason",
    "base",
    "title",
    "text",
];

/// Classifies a failure by its status, or by the body of a 200. `names` are the parts of
/// the request that a host may refuse.
pub fn classify(failure: &Failure, names: Names) -> ProviderError {
    let body = json::document(&failure.body).ok();
    let complaint = match &body {
        Some(body) => Complaint::of(body, Some(failure.now)),
        None => Complaint::in_words(&failure.body),
    };
    let wait = complaint.wait.or_else(|| retry_after::in_headers(&failure.headers, failure.now));
    let reply = ErrorReply {
        request_id: failure.request_id.clone().or_else(|| complaint.request_id.clone()),
        wait: wait.or_else(|| retry_after::in_words(&complaint.message)),
        should_retry: retry_after::should_retry(&failure.headers),
        ..complaint.reply(failure.status, names)
    };
    complaint.class(reply)
}

/// The failure in `document`, an event of a stream. The time of the event is unknown, so
/// an instant in it is ignored.
pub fn in_stream(document: &Value) -> ProviderError {
    let complaint = Complaint::of(document, None);
    let reply = ErrorReply {
        request_id: complaint.request_id.clone(),
        wait: complaint.wait.or_else(|| retry_after::in_words(&complaint.message)),
        ..complaint.reply(200, &[])
    };
    complaint.class(reply)
}

/// The first words of a body that is not JSON, or the title of a page.
pub fn words_of(body: &str) -> String {
    cut_short(&scrubbed(&Complaint::in_words(body).message), 200)
}

/// Whether `document` is an error and not (part of) a reply.
pub fn is_complaint(document: &Value) -> bool {
    if let Value::Array(list) = document {
        return list.first().is_some_and(is_complaint);
    }
    let has = |name: &str| is_there(&document[name]);
    let says = |name: &str, word: &str| document[name].as_str().is_some_and(|text| text == word);
    if ["error", "errors", "err", "fault"].into_iter().any(has)
        || is_there(&document["choices"][0]["error"])
        || is_there(&document["base_resp"]["status_code"])
    {
        return true;
    }
    // An Anthropic message is a reply even when it is empty.
    if !document.is_object() || says("type", "message") || REPLY.into_iter().any(has) {
        return false;
    }
    let told =
        ["message", "Message", "msg", "error_msg", "errmsg", "error_message", "errorMessage"];
    says("type", "error")
        || says("object", "error")
        || says("status", "error")
        || document["success"] == false
        || has("detail")
        || told.iter().any(|name| document[*name].is_string() && has(name))
}

/// The contents of an error body.
#[derive(Debug, Default)]
struct Complaint {
    /// The status in its body.
    status: Option<u16>,
    /// Its codes, types and reasons, in lower case with underscores.
    words: Vec<String>,
    /// The most specific of those, as written.
    code: String,
    message: String,
    /// Its whole text in lower case, for the names of refused parts.
    text: String,
    request_id: Option<String>,
    wait: Option<std::time::Duration>,
    /// A quota that is renewed tomorrow.
    daily: bool,
}

impl Complaint {
    /// For a body that is not JSON: the title of a page, or its first words.
    fn in_words(body: &str) -> Self {
        let small = body.to_ascii_lowercase();
        let title = small.find("<title>").and_then(|at| {
            let from = at + "<title>".len();
            let length = small.get(from..)?.find("</title>")?;
            body.get(from..from + length)
        });
        let message = match title {
            Some(title) => title.trim().to_owned(),
            None => without_tags(body),
        };
        Self { text: message.to_lowercase(), message, ..Self::default() }
    }

    fn of(body: &Value, now: Option<DateTime<Utc>>) -> Self {
        let body = if body.is_array() { &body[0] } else { body };
        let error = error_in(body);
        let codes = [
            &error["details"]["error_code"],
            &error["code"],
            &error["error_code"],
            &error["type"],
            &error["error_type"],
            &error["status"],
            &error["reason"],
            &error["__type"],
            &error["detail"]["errorcode"],
            &body["code"],
            &body["error_code"],
            &body["type"],
            &body["status"],
            &error["metadata"]["error_type"],
        ];
        let details = error["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        let reasons = details.iter().map(|detail| &detail["reason"]);
        let written: Vec<String> =
            codes.into_iter().chain(reasons).map(word).filter(|code| !code.is_empty()).collect();
        let statuses = ["code", "status", "status_code", "statusCode", "http_status", "httpStatus"];
        let status = statuses
            .iter()
            .flat_map(|name| [&error[*name], &body[*name]])
            .find_map(|value| status_in(&word(value)));
        let is_word = |code: &&String| code.parse::<f64>().is_err() && **code != "error";
        let words = written.iter().filter(is_word).map(|code| underscored(code)).collect();
        let message = message_of(error, body);
        let text = format!("{message} {} {}", written.join(" "), word(&error["param"]));
        Self {
            status,
            words,
            code: written.iter().find(is_word).or(written.first()).cloned().unwrap_or_default(),
            wait: retry_after::in_body(
                &[error, &error["metadata"], &error["metadata"]["headers"], body],
                now,
            ),
            text: text.to_lowercase(),
            request_id: ["request_id", "requestId"]
                .iter()
                .find_map(|name| Some(cut_short(body[*name].as_str()?, 200))),
            daily: is_daily(details),
            message,
        }
    }

    /// The error reply with `status`, or the status in its body.
    fn reply(&self, status: u16, names: Names) -> ErrorReply {
        let in_success = (200..300).contains(&status);
        let named = || self.words.iter().find_map(|word| status_of(word));
        let status = match status {
            _ if in_success => {
                self.status.or_else(named).or_else(|| guess(&self.text)).unwrap_or(500)
            }
            // Not implemented: the request needs something that the host cannot do.
            405 | 501 => 400,
            status => status,
        };
        // The path of a page to read is not about the request.
        let refused = match too_long(&self.text) {
            true => Features::default(),
            false => spoken_of(names, &without_paths(&self.text)),
        };
        // Some hosts fail because of a part of a request instead of refusing it.
        let failed_over = status >= 500 && !refused.is_empty() && refuses(&self.text);
        ErrorReply {
            status: if failed_over { 400 } else { status },
            code: cut_short(&scrubbed(&self.code), 80),
            message: cut_short(&scrubbed(&self.message), 300),
            refused,
            ..ErrorReply::default()
        }
    }

    fn class(&self, reply: ErrorReply) -> ProviderError {
        let word_is = |test: fn(&str) -> bool| self.words.iter().any(|word| test(word));
        let faulty = matches!(reply.status, 400 | 401 | 402 | 403 | 422 | 429);
        let rate = word_is(|word| status_of(word) == Some(429));
        let declines = matches!(reply.status, 400 | 403 | 422);
        if declines && (word_is(is_unwanted) || speaks_of_unwanted(&self.text)) {
            return ProviderError::Declined(reply);
        }
        let spent = says_it_is_spent(&self.text) || (!rate && speaks_of_money(&self.text));
        if word_is(is_money) || (faulty && spent) {
            return ProviderError::OutOfMoney(reply);
        }
        match reply.status {
            429 if self.daily => ProviderError::QuotaSpent(reply),
            400 | 422 if word_is(is_bad_key) || speaks_of_key(&self.text) => {
                ProviderError::Unauthorized(reply)
            }
            400 | 422 if word_is(is_no_model) || speaks_of_model(&self.text) => {
                ProviderError::ModelNotFound(reply)
            }
            _ => ProviderError::by_status(reply),
        }
    }
}

/// The part of a body that holds the error.
fn error_in(body: &Value) -> &Value {
    let inner = &body["error"];
    let candidates = [
        &inner["error"],
        inner,
        &inner[0],
        &body["errors"][0],
        &body["choices"][0]["error"],
        &body["fault"],
        &body["detail"]["error"],
        &body["detail"],
        &body["base_resp"],
    ];
    candidates.into_iter().find(|value| value.is_object()).unwrap_or(body)
}

fn message_of(error: &Value, body: &Value) -> String {
    let fields = [error, body].into_iter().flat_map(|part| SAYINGS.iter().map(|name| &part[*name]));
    let whole = Some(error).filter(|error| error.is_string());
    let mut message =
        whole.into_iter().chain(fields).map(said).find(|text| !text.is_empty()).unwrap_or_default();
    // A router passes on the error of the host behind it.
    let behind = said(&error["metadata"]["raw"]);
    if !behind.is_empty() {
        message = format!("{message} ({behind})");
    }
    message
}

/// A text, or the texts of a list, each with its place: FastAPI says
/// `[{"loc": ["body", "max_tokens"], "msg": "Field required"}]`.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Array(list) => {
            let lines: Vec<String> =
                list.iter().map(said).filter(|line| !line.is_empty()).collect();
            lines.join("; ")
        }
        Value::Object(fields) => {
            let text = |name: &&str| fields.get(*name).map(said).unwrap_or_default();
            let text = SAYINGS.iter().map(text).find(|text| !text.is_empty());
            let place: Vec<String> = fields
                .get("loc")
                .and_then(Value::as_array)
                .map(|steps| steps.iter().map(word).collect())
                .unwrap_or_default();
            match text {
                Some(text) if !place.is_empty() => format!("{}: {text}", place.join(".")),
                text => text.unwrap_or_default(),
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn without_tags(page: &str) -> String {
    let (mut text, mut inside) = (String::new(), false);
    for letter in page.chars().take(4_000) {
        match letter {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            _ if !inside => text.push(letter),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn underscored(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut before = ' ';
    for letter in code.chars() {
        if letter.is_uppercase() && before.is_lowercase() {
            out.push('_');
        }
        let plain = if letter.is_alphanumeric() { letter } else { '_' };
        out.extend(plain.to_lowercase());
        before = letter;
    }
    out
}

/// The id of a daily quota takes precedence over a delay.
fn is_daily(details: &[Value]) -> bool {
    details
        .iter()
        .filter_map(|detail| detail["violations"].as_array())
        .flatten()
        .any(|violation| word(&violation["quotaId"]).contains("PerDay"))
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
