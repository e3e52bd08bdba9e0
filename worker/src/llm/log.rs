//! The caller's side of a fallback run: the log of attempts, and the judge of
//! replies.

use std::future::Future;
use std::time::Duration;

use super::error::cut_short;
use super::{ProviderError, ProviderName, RawReply, Reply, TokenUsage};

/// Follows a run, attempt by attempt. The worker writes to Postgres and reserves and
/// settles costs in it; tests keep it in memory.
///
/// When the run is cancelled (its future dropped), an attempt may have no end; the log
/// settles what was reserved for it.
pub trait AttemptLog: Send + Sync {
    /// Why the run has to stop: over budget, stale claim, failed log.
    type Stop: Send;

    /// A call is about to be made; `start.most_micros` is its highest cost. Returns the
    /// number of the attempt within the job.
    fn started(&self, start: &Start) -> impl Future<Output = Result<i32, Self::Stop>> + Send;

    /// The raw reply has arrived. Once this returns it must be stored, because it is paid
    /// for.
    fn replied(
        &self,
        n: i32,
        raw: &RawReply,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// The attempt has ended.
    fn finished(&self, n: i32, end: &End) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// The run falls back to the next provider.
    fn fell_back(
        &self,
        from: ProviderName,
        to: ProviderName,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;
}

/// The start of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The provider.
    pub provider: ProviderName,
    /// The model.
    pub model: String,
    /// The model is configured or in the catalogue, and not only the user's text.
    pub known: bool,
    /// Its highest cost, in millionths of a US dollar.
    pub most_micros: u64,
    /// A warning about the model, for example that it is retired.
    pub warning: Option<String>,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `ok`, or the class of the failure.
    pub outcome: &'static str,
    /// The error text; empty after a success.
    pub detail: String,
    /// The HTTP status, if there was one.
    pub http_status: Option<u16>,
    /// The provider's id for the call.
    pub request_id: Option<String>,
    /// When the same provider is called again.
    pub retry_in: Option<Duration>,
    /// The token counts, as far as the provider reported them.
    pub usage: TokenUsage,
    /// The cost, in millionths of a US dollar.
    pub cost_micros: u64,
    /// The provider's counts were missing or impossible: the cost is an estimate, or
    /// without a reply the highest possible cost.
    pub estimated: bool,
}

/// Judges replies: parses, verifies, repairs.
pub trait Judge: Send + Sync {
    /// What an accepted reply becomes.
    type Plan: Send;

    /// Judges one reply.
    fn judge(&self, reply: &Reply) -> impl Future<Output = Judgement<Self::Plan>> + Send;
}

/// The judgement of a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement<T> {
    /// Valid: the run ends.
    Accept(T),
    /// Invalid, for this reason.
    Invalid(String),
    /// Nearly valid; this is the correction to request.
    Correct(String),
}

/// A failed attempt of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptFailure {
    /// Its number within the job.
    pub n: i32,
    /// The provider.
    pub provider: ProviderName,
    /// The model.
    pub model: String,
    /// The error.
    pub error: ProviderError,
}

impl End {
    /// The end of an attempt whose reply was accepted.
    pub(crate) fn ok(reply: &Reply, cost_micros: u64) -> Self {
        Self {
            outcome: "ok",
            detail: String::new(),
            http_status: None,
            request_id: reply.request_id.clone(),
            retry_in: None,
            usage: reply.usage,
            cost_micros,
            estimated: reply.usage.estimated,
        }
    }

    /// The end of an attempt that failed.
    pub(crate) fn failed(error: &ProviderError, retry_in: Option<Duration>) -> Self {
        let reply = error.reply();
        Self {
            outcome: error.class(),
            detail: cut_short(&error.to_string(), 500),
            http_status: reply.map(|reply| reply.status),
            request_id: reply.and_then(|reply| reply.request_id.clone()),
            retry_in,
            usage: TokenUsage::default(),
            cost_micros: 0,
            estimated: false,
        }
    }
}
