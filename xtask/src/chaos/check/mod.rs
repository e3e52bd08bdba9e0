//! The independent checker: compares what the clients wrote down with what
//! Postgres holds at the end. It knows the promises and nothing of how they
//! are kept.

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
mod standstill;
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

/// How many examples of a broken promise are shown.
const EXAMPLES: usize = 5;

/// What the run itself knows, besides Postgres.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Of all clients.
    pub(super) notes: Vec<Note>,
    pub(super) faults: Vec<Fault>,
    /// Processes that ended although nobody touched them.
    pub(super) unexpected: Vec<String>,
    /// The load, microseconds since 1970.
    pub(super) load: (u64, u64),
    /// Writes of stale holders that were refused, as the workers counted them.
    pub(super) stale_writes: f64,
    /// Ids that workers took for lost and pushed again, as they counted them.
    pub(super) pushed_again: f64,
    /// How many ids stood in Redis for how many jobs.
    pub(super) backlog: Vec<Sample>,
    /// Whose clocks were wrong, if any were.
    pub(super) clocks: Option<String>,
    /// Calls the simulator took, and those it answered with a whole good plan.
    pub(super) calls: (u64, u64),
    /// Events of Stripe's.
    pub(super) sent: BTreeMap<String, Sent>,
    /// What users have paid for.
    pub(super) due: BTreeMap<Uuid, Due>,
}

/// A line of the report.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub(super) what: &'static str,
    pub(super) value: String,
    /// What is promised, where something is.
    pub(super) promise: Option<&'static str>,
    pub(super) kept: bool,
    /// What breaks it, by example.
    pub(super) examples: Vec<String>,
}

impl Line {
    /// A figure that is only told.
    fn told(what: &'static str, value: impl Display) -> Self {
        Self { what, value: value.to_string(), promise: None, kept: true, examples: Vec::new() }
    }

    /// Things of which there must be none.
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
    lines.extend(backlog::check(records, facts.jobs.len()));
    lines.extend(claims::check(facts, records));
    lines.extend(replies::check(facts, records));
    lines.extend(recovery::check(facts, records));
    lines.extend(billing::check(facts, records));
    lines.push(Line::none("processes that ended by themselves", records.unexpected.clone()));
    lines
}

/// Whether a state cannot change any more.
fn is_terminal(state: &str) -> bool {
    matches!(state, "succeeded" | "failed" | "cancelled" | "expired")
}

/// The state an event leaves a job in for good, if it does.
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
