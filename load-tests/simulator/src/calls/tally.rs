//! Counts of calls by provider, model or marker.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::clock::millis;
use crate::wire::usage::Usage;

/// The highest number of stored arrival times; later calls are only counted.
const ARRIVALS: usize = 10_000;

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The kind of answer: answered, status, hang …; `rejected` or `aborted`.
    pub(crate) label: &'static str,
    /// The HTTP status, 0 when none was sent.
    pub(crate) status: u16,
    /// The tokens that were billed.
    pub(crate) usage: Usage,
}

impl Outcome {
    /// The caller closed the connection before it had its answer.
    pub(crate) const ABORTED: Self = Self { label: "aborted", status: 0, usage: Usage::NONE };
}

/// Counts of calls.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Tally {
    /// Calls that arrived, with any outcome.
    pub(crate) calls: u64,
    /// Calls without an answer yet.
    pub(crate) open: u64,
    /// Calls answered with a complete good plan.
    pub(crate) answered: u64,
    /// Calls whose caller closed the connection.
    pub(crate) aborted: u64,
    /// Calls refused as invalid.
    pub(crate) rejected: u64,
    /// Finished calls by outcome.
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// Finished calls by HTTP status.
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Tokens billed.
    pub(crate) usage: Usage,
    /// When calls arrived, milliseconds since the Unix epoch.
    pub(crate) arrivals_ms: Vec<f64>,
}

impl Tally {
    /// Counts an arrival.
    pub(crate) fn arrive(&mut self, at_micros: u64) {
        self.calls += 1;
        self.open += 1;
        if self.arrivals_ms.len() < ARRIVALS {
            self.arrivals_ms.push(millis(at_micros));
        }
    }

    /// Counts the end of a call.
    pub(crate) fn finish(&mut self, outcome: Outcome) {
        self.open = self.open.saturating_sub(1);
        match outcome.label {
            "answered" | "held" | "slow_drip" => self.answered += 1,
            "aborted" => self.aborted += 1,
            "rejected" => self.rejected += 1,
            _ => {}
        }
        *self.outcomes.entry(outcome.label).or_default() += 1;
        if outcome.status > 0 {
            *self.statuses.entry(outcome.status).or_default() += 1;
        }
        self.usage += outcome.usage;
    }
}
