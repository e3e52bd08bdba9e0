//! A server that is measured by requests, ours or another one: how many it answers, how
//! soon, and the processor time of each process meanwhile.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::BenchError;
use super::cpu::{Processes, Used};
use super::load::{Load, Outcome, Pace, Request};

/// The figures of one round, by name.
pub(super) type Round = BTreeMap<String, f64>;

/// Answers, rows or jobs per second.
pub(super) const PER_SECOND: &str = "per second";
/// Median of a time, ms.
pub(super) const P50: &str = "p50 ms";
/// 99th percentile of a time, ms.
pub(super) const P99: &str = "p99 ms";
/// The processor time of the load generator, in cores.
pub(super) const LOAD: &str = "load generator, cores";
/// The processor time of a process for each answer, µs: this and its name.
pub(super) const CPU: &str = "CPU µs, ";

/// A server under load.
pub(super) struct Subject {
    /// Its name in the results.
    pub(super) name: &'static str,
    url: String,
    requests: Vec<Request>,
    status: u16,
    processes: Processes,
    turn: Cell<usize>,
}

impl Subject {
    /// The server at `url`, which answers these requests with this status.
    pub(super) fn new(
        name: &'static str,
        url: &str,
        requests: Vec<Request>,
        status: u16,
        processes: Processes,
    ) -> Self {
        Self { name, url: url.to_owned(), requests, status, processes, turn: Cell::new(0) }
    }

    /// As many requests as the connections carry, for a time.
    ///
    /// # Errors
    /// A request failed, or was answered with another status.
    pub(super) fn flat_out(&self, connections: usize, time: Duration) -> Result<Round, BenchError> {
        let (outcome, used) = self.load(connections, Pace::For(time))?;
        Ok(figures(&outcome, &outcome.times, &used))
    }

    /// The same for a server that goes on working for its requests after their answers: the
    /// rate and the processor time until `finished` returns.
    ///
    /// # Errors
    /// A request failed, or was answered with another status; or the work did not end.
    pub(super) fn flat_out_until(
        &self,
        connections: usize,
        time: Duration,
        finished: impl FnOnce() -> Result<(), BenchError>,
    ) -> Result<Round, BenchError> {
        let (before, begun) = (self.used(), Instant::now());
        let (outcome, _) = self.load(connections, Pace::For(time))?;
        finished()?;
        let (used, seconds) = (self.used().since(&before), begun.elapsed().as_secs_f64());
        let mut round = figures(&outcome, &outcome.times, &used);
        round.insert(PER_SECOND.to_owned(), outcome.answers as f64 / seconds);
        add_cpu(&mut round, &used, outcome.answers, seconds);
        Ok(round)
    }

    /// `per_second` requests for a time; times count from when each was due.
    ///
    /// # Errors
    /// A request failed, or was answered with another status.
    pub(super) fn steady(
        &self,
        connections: usize,
        per_second: f64,
        time: Duration,
    ) -> Result<Round, BenchError> {
        let per_second = per_second.max(1.0);
        let gap = Duration::from_secs_f64(1.0 / per_second);
        let count = (per_second * time.as_secs_f64()).ceil() as usize;
        let (outcome, used) = self.load(connections, Pace::Fixed { gap, count })?;
        Ok(figures(&outcome, &outcome.since_due, &used))
    }

    /// Sends `count` requests as soon as the connections carry them.
    ///
    /// # Errors
    /// A request failed, or was answered with another status.
    pub(super) fn send(&self, connections: usize, count: usize) -> Result<Outcome, BenchError> {
        Ok(self.load(connections, Pace::Count(count))?.0)
    }

    /// The same, but sends nothing more after a time.
    ///
    /// # Errors
    /// A request failed, or was answered with another status.
    pub(super) fn send_within(
        &self,
        connections: usize,
        count: usize,
        time: Duration,
    ) -> Result<Outcome, BenchError> {
        Ok(self.load(connections, Pace::Most { count, time })?.0)
    }

    /// The processor time of its processes so far.
    pub(super) fn used(&self) -> Used {
        self.processes.seconds()
    }

    fn load(&self, connections: usize, pace: Pace) -> Result<(Outcome, Used), BenchError> {
        let before = self.used();
        let (url, requests, first) = (&self.url, &self.requests, self.turn.get());
        let outcome = Load { url, connections, pace, requests, first }.run()?;
        self.turn.set((first + outcome.answers) % requests.len());
        outcome.all(self.status)?;
        Ok((outcome, self.used().since(&before)))
    }
}

/// The figures of a load.
fn figures(outcome: &Outcome, times: &super::spread::Spread, used: &Used) -> Round {
    let mut round = Round::from([
        (PER_SECOND.to_owned(), outcome.per_second),
        (P50.to_owned(), times.percentile(0.5)),
        (P99.to_owned(), times.percentile(0.99)),
    ]);
    add_cpu(&mut round, used, outcome.answers, outcome.seconds);
    round
}

/// Adds the processor time of each process for one of `answers`, and the load
/// generator's share of a core.
pub(super) fn add_cpu(round: &mut Round, used: &Used, answers: usize, seconds: f64) {
    for (name, seconds) in &used.of {
        round.insert(format!("{CPU}{name}"), seconds * 1e6 / answers.max(1) as f64);
    }
    round.insert(LOAD.to_owned(), used.own / seconds);
}
