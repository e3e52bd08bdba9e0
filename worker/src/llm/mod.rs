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
pub mod models;
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
pub mod test_call;
pub mod usage;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// One provider behind its wire format.
pub trait Provider: Send + Sync + fmt::Debug {
    /// Its name.
    fn name(&self) -> ProviderName;

    /// Builds the request, and sends it once when the call is awaited; the call returns
    /// the raw reply. Dropping the call's future closes the connection, which cancels the
    /// generation at the provider.
    ///
    /// The call's error says why no complete reply arrived. [`interpret`] judges the
    /// reply itself (refused, truncated …).
    fn prepare<'a>(&'a self, request: &'a GenerateRequest) -> PreparedCall<'a>;
}

/// A prepared call, with these timeouts.
pub type PreparedCall<'a> =
    Box<dyn FnOnce(Timeouts) -> BoxFuture<'a, Result<RawReply, ProviderError>> + Send + 'a>;

/// The prompt of a plan job, the same for every provider.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// The instructions.
    pub system: String,
    /// The user's data, delimited as data.
    pub user: String,
    /// The JSON schema of the reply, as each provider accepts it.
    pub schema: Arc<ReplySchema>,
    /// The name of the schema, for providers that require one: a-z A-Z 0-9 _ -, at most
    /// 64.
    pub schema_name: String,
    /// The user's hash for providers; see [`hashed_user`].
    pub user_hash: String,
}

/// A prompt that is built when it is read, or ahead of that during another wait. It is
/// kept until it is forgotten: while a provider answers, nobody needs it.
pub struct LazyPrompt {
    written: Mutex<Option<Arc<Prompt>>>,
    write: Box<dyn Fn() -> Prompt + Send + Sync>,
}

impl LazyPrompt {
    /// The prompt that `write` builds, the same each time.
    pub fn new(write: impl Fn() -> Prompt + Send + Sync + 'static) -> Self {
        Self { written: Mutex::default(), write: Box::new(write) }
    }

    /// Builds it on a blocking thread.
    pub async fn write(self: &Arc<Self>) {
        if self.written().is_none() {
            let prompt = Arc::clone(self);
            // If that panics, so does the first reader.
            let _ = tokio::task::spawn_blocking(move || prompt.read()).await;
        }
    }

    /// The prompt.
    pub fn read(&self) -> Arc<Prompt> {
        Arc::clone(self.written().get_or_insert_with(|| Arc::new((self.write)())))
    }

    /// Frees its memory; a later reader builds it again.
    pub fn forget(&self) {
        self.written().take();
    }

    fn written(&self) -> MutexGuard<'_, Option<Arc<Prompt>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for LazyPrompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LazyPrompt").field(&*self.written()).finish()
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
    /// The prompt.
    pub prompt: Arc<LazyPrompt>,
    /// The provider's own id of the model.
    pub model: String,
    /// The cap on output tokens, reasoning included.
    pub max_output_tokens: u32,
    /// The reasoning setting.
    pub reasoning: Reasoning,
    /// Set to request a correction of an earlier reply.
    pub correction: Option<Correction>,
    /// The features that this host and model refuse.
    pub without: Features,
}

impl GenerateRequest {
    /// The instructions; with the schema as text if it cannot be sent as a field.
    fn system<'a>(&self, prompt: &'a Prompt, subset: Subset) -> Cow<'a, str> {
        let system = &prompt.system;
        let in_words = self.without.has(Feature::Schema) || self.without.has(Feature::JsonMode);
        if !in_words {
            return Cow::Borrowed(system);
        }
        let schema = prompt.schema.of(subset);
        Cow::Owned(format!(
            "{system}\n\nAnswer with one JSON object and nothing else. It satisfies this JSON Schema:\n{schema}"
        ))
    }
}

/// The reasoning setting of a model.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Reasoning {
    /// Send nothing: the model has no such setting, or it is unknown.
    Unset,
    /// A named effort or level.
    Effort(String),
    /// A budget in tokens; 0 switches reasoning off.
    Budget(u32),
}

/// A follow-up turn: the earlier reply and its errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// The text of the reply to correct.
    pub previous: String,
    /// The correction.
    pub instruction: String,
}

/// Time limits of the parts of a call. Connecting has its own limit in [`http`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From sending the request to the first byte of the body.
    pub first_byte: Duration,
    /// Between two reads after that.
    pub stall: Duration,
    /// The whole call.
    pub total: Duration,
}

/// A complete reply as it arrived; a stream is assembled into the provider's format
/// without streaming.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawReply {
    /// The HTTP status, always a success.
    pub status: u16,
    /// The reply's JSON.
    pub body: Arc<str>,
    /// The provider's id for this call.
    pub request_id: Option<String>,
}

/// A reply that holds JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The provider.
    pub provider: ProviderName,
    /// The model, as the reply names it.
    pub model: String,
    /// The JSON text. Well-formed, but not validated further.
    pub text: String,
    /// The finish reason, as the provider names it.
    pub finish: String,
    /// The token counts.
    pub usage: TokenUsage,
    /// The provider's id for the call.
    pub request_id: Option<String>,
}

/// Parses a raw reply. Pure, so that a stored reply can be parsed again.
///
/// # Errors
/// The reply is refused, truncated, empty or not JSON, one variant each; each has the
/// usage, because it was paid for. `Cut` if it is not the provider's reply but a proxy's
/// page, or is incomplete; the reported failure if it is an error in place of a reply.
pub fn interpret(provider: ProviderName, raw: &RawReply) -> Result<Reply, ProviderError> {
    match provider {
        ProviderName::Openai | ProviderName::Llama => openai::reply::interpret(provider, raw),
        ProviderName::Anthropic => anthropic::reply::interpret(raw),
        ProviderName::Gemini => gemini::reply::interpret(raw),
    }
}

/// A user id for providers: stable, so that abuse can be attributed, and not reversible
/// to the account.
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
