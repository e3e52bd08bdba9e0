//! What the parsers of all formats share: a document, an event, and the
//! judgement of a text with its finish reason.

use serde_json::Value;

use super::content::count;
use super::error::{ErrorReply, cut_short};
use super::finish::Finish;
use super::sse::Event;
use super::{ProviderError, ProviderName, RawReply, Reply, TokenUsage, failure};
use crate::json::{self, NoObject, only_object};

/// Low on purpose, so that estimates of tokens are not too small.
pub(super) const BYTES_PER_TOKEN: usize = 3;

/// The document of a stored reply.
///
/// # Errors
/// It is not JSON, or an error in place of a reply.
pub(super) fn document(raw: &RawReply) -> Result<Value, ProviderError> {
    let document = json::document(&raw.body).map_err(|_| ProviderError::Cut {
        detail: format!("no reply but: {}", failure::words_of(&raw.body)),
    })?;
    if failure::is_complaint(&document) {
        return Err(failure::in_stream(&document));
    }
    Ok(document)
}

/// An event of a stream.
pub(super) enum Piece {
    /// A part of the reply.
    Part(Value),
    /// A keep-alive.
    Nothing,
    /// The end mark of a stream.
    End,
}

/// Parses one event.
///
/// # Errors
/// It reports a failure, or is incomplete.
pub(super) fn piece(event: &Event) -> Result<Piece, ProviderError> {
    let mut data = event.data.trim();
    // A proxy may repeat the field name.
    while let Some(inner) = data.strip_prefix("data:") {
        data = inner.trim_start();
    }
    if is_end(data) {
        return Ok(Piece::End);
    }
    if !opens_json(data) {
        let words = data.trim_start_matches(|letter: char| !letter.is_alphanumeric());
        let says_error = words.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("error"));
        if says_error || (event.name == "error" && !data.is_empty()) {
            return Err(failure::in_stream(&Value::String(data.to_owned())));
        }
        return Ok(Piece::Nothing);
    }
    let document = json::document(data).map_err(|_| ProviderError::Cut {
        detail: "an event of the stream is not JSON".to_owned(),
    })?;
    if event.name == "error" || failure::is_complaint(&document) {
        return Err(failure::in_stream(&document));
    }
    Ok(Piece::Part(document))
}

/// `[DONE]`, whatever surrounds the word.
fn is_end(data: &str) -> bool {
    data.trim_matches(|letter: char| !letter.is_alphanumeric()).eq_ignore_ascii_case("done")
}

/// A word in brackets, such as `[PING]`, is not JSON.
fn opens_json(data: &str) -> bool {
    let word = data
        .strip_prefix('[')
        .is_some_and(|rest| rest.trim_start().starts_with(char::is_alphabetic));
    data.starts_with(['{', '[', '\u{feff}']) && !word
}

/// The events in `event`: hosts that forget the blank line between them send several as
/// one, each on its own line.
pub(super) fn parts(event: Event) -> Vec<Event> {
    let lines = || event.data.lines().map(str::trim).filter(|line| !line.is_empty());
    let whole = |line: &str| is_end(line) || (opens_json(line) && json::document(line).is_ok());
    if lines().nth(1).is_none() || !lines().all(whole) {
        return vec![event];
    }
    let part = |line: &str| Event { name: event.name.clone(), data: line.to_owned() };
    lines().map(part).collect()
}

/// Whether a stream with this text and finish reason has delivered its text.
pub(super) fn is_said(text: &str, finish: &str) -> bool {
    Finish::of(finish) == Finish::Done && only_object(text).is_ok()
}

/// Whether a stream with this text and finish reason is complete.
pub(super) fn is_whole(text: &str, finish: &str) -> bool {
    Finish::of(finish) != Finish::Done || only_object(text).is_ok()
}

/// What an adapter has parsed.
pub(super) struct Spoken {
    pub(super) provider: ProviderName,
    pub(super) model: String,
    pub(super) text: String,
    pub(super) finish: String,
    /// The model's refusal.
    pub(super) refusal: Option<String>,
    pub(super) usage: TokenUsage,
    pub(super) request_id: Option<String>,
}

/// The reply, or its error.
///
/// # Errors
/// As [`super::interpret`].
pub(super) fn verdict(spoken: Spoken) -> Result<Reply, ProviderError> {
    let Spoken { provider, model, text, finish, refusal, usage, request_id } = spoken;
    let written = u64::try_from(text.len().div_ceil(BYTES_PER_TOKEN)).unwrap_or(u64::MAX);
    let usage = TokenUsage { written, ..usage };
    if let Some(reason) = refusal.filter(|reason| !reason.is_empty()) {
        return Err(ProviderError::Refused { reason: cut_short(&reason, 200), usage });
    }
    let finish = cut_short(&finish, 80);
    let meaning = Finish::of(&finish);
    match meaning {
        Finish::Truncated => return Err(ProviderError::Truncated { usage }),
        Finish::Refused => return Err(ProviderError::Refused { reason: finish, usage }),
        Finish::Failed => {
            let message = "the host gave up in the middle of the reply".to_owned();
            let reply = ErrorReply {
                status: 500,
                code: finish,
                message,
                request_id,
                ..ErrorReply::default()
            };
            return Err(ProviderError::Unavailable(reply));
        }
        Finish::Done | Finish::Broken => {}
    }
    match only_object(&text) {
        Ok((text, _)) if meaning == Finish::Done => {
            Ok(Reply { provider, model, text, finish, usage, request_id })
        }
        Err(NoObject::Empty) if meaning == Finish::Done => {
            Err(ProviderError::Empty { finish, usage })
        }
        // There was no end mark.
        Err(problem @ NoObject::CutOff) if finish.is_empty() => {
            Err(ProviderError::Cut { detail: problem.to_string() })
        }
        Err(problem) if meaning == Finish::Done => {
            Err(ProviderError::Invalid { detail: problem.to_string(), usage })
        }
        Ok(_) | Err(_) => {
            let detail = format!("the model stopped with {finish:?}");
            Err(ProviderError::Invalid { detail, usage })
        }
    }
}

/// The first of these counts that is not zero.
pub(super) fn first_count<'a>(values: impl IntoIterator<Item = &'a Value>) -> u64 {
    values.into_iter().map(count).find(|count| *count > 0).unwrap_or_default()
}
