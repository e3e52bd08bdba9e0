//! The independent checker: compares the clients' records with the final state
//! of Postgres. It knows the promises and shares no code with the service.

mod answers;
mod backlog;
mod billing;
mod claims;
#[cfg(test)]
mod database_tests;
mod facts;
mod jobs;
mod recovery;
mod replies;
mod restarts;
mod standstill;
mod streams;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use uuid::Uuid;

pub(super) use facts::{Facts, count};

use super::backlog::Sample;
use super::billing::{Due, Sent};
use super::clients::Note;
use super::faults::Fault;

/// The number of examples shown for a broken promise.
const EXAMPLES: usize = 5;

/// What the run recorded, besides Postgres.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The notes of all clients.
    pub(super) notes: Vec<Note>,
    pub(super) faults: Vec<Fault>,
    /// Processes that ended unexpectedly.
    pub(super) unexpected: Vec<String>,
    /// How long after each failover every process was ready again, microseconds.
    pub(super) returns: Vec<u64>,
    /// Whether it was a rolling restart, in which no request may be refused.
    pub(super) restarts: bool,
    /// The period of the load, microseconds since 1970.
    pub(super) load: (u64, u64),
    /// Refused writes of stale leaseholders, as counted by the workers.
    pub(super) stale_writes: f64,
    /// Ids that seemed lost and were pushed again, as counted by the workers.
    pub(super) pushed_again: f64,
    /// Samples of the ids in Redis and the queued jobs.
    pub(super) backlog: Vec<Sample>,
    /// The processes with wrong clocks, if any.
    pub(super) clocks: Option<String>,
    /// The calls to the simulator, and those it answered with a complete, good plan.
    pub(super) calls: (u64, u64),
    /// Stripe's events.
    pub(super) sent: BTreeMap<String, Sent>,
    /// What users have paid for.
    pub(super) due: BTreeMap<Uuid, Due>,
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) value: String,
    /// The promise, if there is one.
    pub(super) promise: Option<&'static str>,
    pub(super) kept: bool,
    /// Examples of what breaks it.
    pub(super) examples: Vec<String>,
}

impl Line {
    /// A figure without a promise.
    fn told(what: &'static str, value: impl Display) -> Self {
        Self { what, value: value.to_string(), promise: None, kept: true, examples: Vec::new() }
    }

    /// A promise that there are none of these.
    fn none(what: &'static str, broken: impl IntoIterator<Item = String>) -> Self {
        let mut broken = broken.into_iter();
        let examples: Vec<String> = broken.by_ref().take(EXAMPLES).collect();
        let found = examples.len() + broken.count();
        let kept = found == 0;
        Self { what, value: found.to_string(), promise: Some("0"), kept, examples }
    }
}

/// All findings, in the order of the report.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let mut lines = jobs::check(facts, records);
    lines.extend(answers::check(records));
    lines.extend(streams::check(facts, records));
    lines.extend(restarts::check(records));
    lines.extend(backlog::check(records, facts.jobs.len()));
    lines.extend(claims::check(facts, records));
    lines.extend(replies::check(facts, records));
    lines.extend(recovery::check(facts, records));
    lines.extend(billing::check(facts, records));
    lines.push(Line::none("processes that ended by themselves", records.unexpected.clone()));
    lines
}

/// Whether a state is terminal.
fn is_terminal(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "cancelled" | "expired")
}

/// The terminal state that an event leads to, if it does.
fn end_of(event: &str) -> Option<&'static str> {
    match event {
        "saved" => Some("succeeded"),
        "failed" => Some("failed"),
        "cancelled" => Some("cancelled"),
        "expired" => Some("expired"),
        _ => None,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn seconds(micros: u64) -> String {
    format!("{:.1} s", micros as f64 / 1e6)
}
