//! The AI providers: requests, replies, and the fallback to the next provider
//! when one fails. This module uses neither the database nor the queue; a
//! caller follows a run through [`log::AttemptLog`].
//!
//! A call has two halves so that no reply is paid for twice:
//! [`Provider::prepare`] gives a call that returns the raw reply, which the
//! caller stores, and [`interpret`] parses it, now or again after a crash.

pub mod anthropic;
pub(crate) mod attempt;
mod body;
pub mod breaker;
pub mod catalogue;
pub mod config;
mod content;
pub mod error;
pub mod failure;
mod failure_words;
pub mod fallback;
pub mod feature;
pub mod finish;
pub mod gemini;
pub mod http;
pub mod log;
pub mod openai;
pub mod outcome;
pub mod paused;
pub mod policy;
mod reading;
pub mod retirement;
pub mod retry;
pub mod retry_after;
mod run;
pub mod schema;
pub mod scrub;
pub mod slice;
pub mod slot;
pub mod sse;
pub mod usage;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use self::feature::{Feature, Features};
use self::schema::Subset;

pub use error::ProviderError;
pub use regimen_common::provider::ProviderName;
pub use schema::ReplySchema;
pub use usage::TokenUsage;

/// One provider behind its real wire format.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Which one it is.
    fn name(&self) -> ProviderName;

    /// Writes the request, and asks once when the call is made: it brings back
    /// the raw reply. Dropping the call's future closes the connection, which
    /// cancels the generation at the provider.
    ///
    /// The call's error is whatever kept a complete reply from arriving. What the
    /// reply says (refused, truncated …) is for [`interpret`].
    fn prepare<'a>(&'a self, request: &'a GenerateRequest) -> PreparedCall<'a>;
}

/// A call that only waits to be made, within these timeouts.
pub type PreparedCall<'a> =
    Box<dyn FnOnce(Timeouts) -> BoxFuture<'a, Result<RawReply, ProviderError>> + Send + 'a>;

/// What a plan job asks, whichever provider answers.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The instructions.
    pub system: String,
    /// The user's data, delimited as data.
    pub user: String,
    /// The JSON schema of the reply, as each provider accepts it.
    pub schema: Arc<ReplySchema>,
    /// Names the schema where a provider wants that: a-z A-Z 0-9 _ -, at most 64.
    pub schema_name: String,
    /// The user as providers may know them; see [`hashed_user`].
    pub user_hash: String,
}

/// A prompt that is written when it is first read, so that this can be done
/// while something else is waited for.
pub struct LazyPrompt {
    written: OnceLock<Prompt>,
    write: Box<dyn Fn() -> Prompt + Send + Sync>,
}

impl LazyPrompt {
    /// The prompt that `write` will write.
    pub fn new(write: impl Fn() -> Prompt + Send + Sync + 'static) -> Self {
        Self { written: OnceLock::new(), write: Box::new(write) }
    }

    /// Has it written by a thread that has nothing else to do.
    pub async fn write(self: &Arc<Self>) {
        if self.written.get().is_none() {
            let prompt = Arc::clone(self);
            // Should that panic, so does the first reader.
            let _ = tokio::task::spawn_blocking(move || {
                prompt.read();
            })
            .await;
        }
    }

    fn read(&self) -> &Prompt {
        self.written.get_or_init(|| (self.write)())
    }
}

impl fmt::Debug for LazyPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyPrompt").field(&self.written).finish()
    }
}

impl Deref for LazyPrompt {
    type Target = Prompt;

    fn deref(&self) -> &Prompt {
        self.read()
    }
}

impl From<Prompt> for LazyPrompt {
    fn from(prompt: Prompt) -> Self {
        Self::new(move || prompt.clone())
    }
}

/// One call, prepared for one model.
#[derive(Debug, Clone)]
pub struct GenerateRequest {
    /// What is asked.
    pub prompt: Arc<LazyPrompt>,
    /// The provider's own id of the model.
    pub model: String,
    /// The cap on output tokens, reasoning included.
    pub max_output_tokens: u32,
    /// How much the model may think.
    pub reasoning: Reasoning,
    /// Set when an earlier reply is to be corrected.
    pub correction: Option<Correction>,
    /// What this host and model are known to refuse.
    pub without: Features,
}

impl GenerateRequest {
    /// The instructions; with the schema in words where it cannot be sent as a field.
    fn system(&self, subset: Subset) -> Cow<'_, str> {
        let system = &self.prompt.system;
        let in_words = self.without.has(Feature::Schema) || self.without.has(Feature::JsonMode);
        if !in_words {
            return Cow::Borrowed(system);
        }
        let schema = self.prompt.schema.of(subset);
        Cow::Owned(format!(
            "{system}\n\nAnswer with one JSON object and nothing else. It satisfies this JSON Schema:\n{schema}"
        ))
    }
}

/// The reasoning setting a model takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reasoning {
    /// Send nothing: the model has no such setting, or we do not know it.
    Unset,
    /// A named effort or level.
    Effort(String),
    /// A budget in tokens; 0 switches reasoning off.
    Budget(u32),
}

/// A follow-up turn: what came back, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The text of the reply to correct.
    pub previous: String,
    /// The precise correction.
    pub instruction: String,
}

/// How long the parts of a call may take. Connecting has its own limit in [`http`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From sending the request to the first byte of the body.
    pub first_byte: Duration,
    /// Between two reads after that.
    pub stall: Duration,
    /// The whole call.
    pub total: Duration,
}

/// A complete reply as it arrived; a stream is assembled into the shape the
/// provider uses when it does not stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReply {
    /// The HTTP status, always a success.
    pub status: u16,
    /// The reply's JSON.
    pub body: String,
    /// The provider's id for this call, for their support and our log.
    pub request_id: Option<String>,
}

/// A reply that holds JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Who wrote it.
    pub provider: ProviderName,
    /// The model, in the words of the reply.
    pub model: String,
    /// The JSON text. Well-formed; nothing more is known about it.
    pub text: String,
    /// Why the model stopped, in its provider's words.
    pub finish: String,
    /// What it took.
    pub usage: TokenUsage,
    /// The provider's id for the call.
    pub request_id: Option<String>,
}

/// Reads a raw reply. Pure, so that a stored reply can be read again.
///
/// # Errors
/// The reply is refused, truncated, empty or not JSON, told apart by variant;
/// each carries the usage, because it was paid for. `Cut` when it is not the
/// provider's reply at all, but a page of some edge, or ends in the middle; the
/// failure it reports when it is an error in the place of a reply.
pub fn interpret(provider: ProviderName, raw: &RawReply) -> Result<Reply, ProviderError> {
    match provider {
        ProviderName::Openai | ProviderName::Llama => openai::reply::interpret(provider, raw),
        ProviderName::Anthropic => anthropic::reply::interpret(raw),
        ProviderName::Gemini => gemini::reply::interpret(raw),
    }
}

/// A user id as providers see it: stable, so that abuse can be told apart,
/// and no way back to the account.
pub fn hashed_user(user: Uuid) -> String {
    hex::encode(
        Sha256::new().chain_update(b"regimen-user:").chain_update(user.as_bytes()).finalize(),
    )
}

#[cfg(test)]
mod fallback_tests;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_user_is_stable_short_enough_and_tells_nothing() {
        let user = Uuid::from_u128(7);
        assert_eq!(hashed_user(user), hashed_user(user));
        assert_ne!(hashed_user(user), hashed_user(Uuid::from_u128(8)));
        assert_eq!(hashed_user(user).len(), 64);
        assert!(!hashed_user(user).contains(&user.simple().to_string()));
    }
}
