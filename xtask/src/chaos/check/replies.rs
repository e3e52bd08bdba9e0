//! Checks that paid replies are used: calls, stale leaseholders, and stored
//! replies that were requested again.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::facts::{Attempt, Facts};
use super::{Line, Records};

/// The most good answers per plan, with a few to spare where there are few plans.
const MOST_GOOD: f64 = 1.25;
const SPARE: f64 = 10.0;

/// Figures and promises about calls to providers.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let plans = facts.plans.len().max(1) as f64;
    let (calls, good) = records.calls;
    let stored = facts.attempts.iter().filter(|attempt| attempt.stored.is_some()).count();
    vec![
        Line::told(
            "provider calls per finished plan",
            format!(
                "{:.2} ({calls} calls, {good} answered with a whole good plan)",
                calls as f64 / plans
            ),
        ),
        paid_for_nothing(good, facts.plans.len()),
        Line::told("replies stored", stored),
        Line::none("stored replies thrown away", thrown_away(facts)),
        Line::told("calls by holders that lost the job later", stale(facts)),
        Line::told("stale writes refused", format!("{:.0}", records.stale_writes)),
    ]
}

/// Good answers that did not become a plan, because the worker died or the job was
/// cancelled.
fn paid_for_nothing(good: u64, plans: usize) -> Line {
    let most = plans as f64 * MOST_GOOD + SPARE;
    let too_many = (good as f64 > most).then(|| format!("{good} good answers for {plans} plans"));
    Line {
        value: format!("{:.2}", good as f64 / plans.max(1) as f64),
        promise: Some("< 1.25"),
        ..Line::none("- whole good answers per finished plan", too_many)
    }
}

/// Calls with another fence than the job's last.
fn stale(facts: &Facts) -> usize {
    let last = |attempt: &&Attempt| {
        facts.jobs.get(&attempt.job).is_some_and(|job| job.fence != attempt.fence)
    };
    facts.attempts.iter().filter(last).count()
}

/// Replies without a verdict or found good that were stored before the holder of a later
/// call claimed the job. A reply that was not stored in time could not be found, because
/// its holder was dead or frozen.
fn thrown_away(facts: &Facts) -> Vec<String> {
    let mut by_job: BTreeMap<Uuid, Vec<&Attempt>> = BTreeMap::new();
    for attempt in &facts.attempts {
        by_job.entry(attempt.job).or_default().push(attempt);
    }
    let mut thrown_away = Vec::new();
    for attempts in by_job.values() {
        for (at, attempt) in attempts.iter().enumerate() {
            let Some(stored) = attempt.stored else { continue };
            if attempt.outcome.as_deref().is_some_and(|outcome| outcome != "ok") {
                continue;
            }
            let later = attempts.iter().skip(at + 1);
            let mut paid_again =
                later.filter(|later| stored < could_know_at(facts, attempt, later));
            if let Some(later) = paid_again.next() {
                let (job, n) = (attempt.job, attempt.n);
                thrown_away.push(format!("job {job}: reply {n} was there before call {}", later.n));
            }
        }
    }
    thrown_away
}

/// When the maker of a later call looked for replies: at its own call if it is the same
/// holder, otherwise when it claimed the job.
fn could_know_at(facts: &Facts, attempt: &Attempt, later: &Attempt) -> u64 {
    if later.fence == attempt.fence {
        return later.started;
    }
    let events = facts.events.get(&later.job).into_iter().flatten();
    let claims = events.filter(|event| event.kind == "claimed" && event.at <= later.started);
    claims.map(|event| event.at).max().unwrap_or_default()
}
