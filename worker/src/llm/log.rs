//! The caller's side of a fallback run: the log of attempts, and the judge of
//! replies.

use std::future::Future;
use std::time::Duration;

use super::error::cut_short;
use super::{ProviderError, ProviderName, RawReply, Reply, TokenUsage};

/// Follows a run, attempt by attempt. The worker writes it to Postgres and
/// reserves and settles money in it; tests keep it in memory.
///
/// When the run is cancelled (its future dropped), an attempt may stay
/// without an end; what was reserved for it is the log's to settle.
pub trait AttemptLog: Send + Sync {
    /// Why the run has to stop: no budget, the job taken away, the log broken.
    type Stop: Send;

    /// A call is about to be made; `start.most_micros` is what it may cost.
    /// Gives the attempt its number within the job.
    fn started(&self, start: &Start) -> impl Future<Output = Result<i32, Self::Stop>> + Send;

    /// The raw reply is here. Once this returns it must be safe: it was paid for.
    fn replied(
        &self,
        n: i32,
        raw: &RawReply,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// The attempt is over.
    fn finished(&self, n: i32, end: &End) -> impl Future<Output = Result<(), Self::Stop>> + Send;

    /// The next provider takes over.
    fn fell_back(
        &self,
        from: ProviderName,
        to: ProviderName,
    ) -> impl Future<Output = Result<(), Self::Stop>> + Send;
}

/// The beginning of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// Who is asked.
    pub provider: ProviderName,
    /// Which model.
    pub model: String,
    /// The model is set or listed here, and not only what a user typed.
    pub known: bool,
    /// The most it can cost, in millionths of a US dollar.
    pub most_micros: u64,
    /// What has to be said about the model, such as that it is retired.
    pub warning: Option<String>,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// `ok`, or the class of the failure.
    pub outcome: &'static str,
    /// The failure in words; empty when it went well.
    pub detail: String,
    /// The HTTP status, where there was one.
    pub http_status: Option<u16>,
    /// The provider's id for the call.
    pub request_id: Option<String>,
    /// When the same provider is asked again.
    pub retry_in: Option<Duration>,
    /// What it took, as far as the provider said.
    pub usage: TokenUsage,
    /// What it cost, in millionths of a US dollar.
    pub cost_micros: u64,
    /// The provider did not say what it took, or said what cannot be: the cost
    /// is an estimate, or the most it can have been where no reply came.
    pub estimated: bool,
}

/// Decides on replies: parses, verifies, repairs.
pub trait Judge: Send + Sync {
    /// What an accepted reply becomes.
    type Plan: Send;

    /// Looks at one reply.
    fn judge(&self, reply: &Reply) -> impl Future<Output = Judgement<Self::Plan>> + Send;
}

/// What a judge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement<T> {
    /// Good: the run is over.
    Accept(T),
    /// Not what was asked for; says why.
    Invalid(String),
    /// Nearly right; this is the precise correction to ask for.
    Correct(String),
}

/// A failed attempt of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptFailure {
    /// Its number within the job.
    pub n: i32,
    /// Who was asked.
    pub provider: ProviderName,
    /// Which model.
    pub model: String,
    /// What went wrong.
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
