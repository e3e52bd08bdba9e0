//! Checks how soon work resumes after a fault.

use std::time::Duration;

use uuid::Uuid;

use super::facts::{Event, Facts};
use super::{Line, Records, micros, seconds, standstill};
use crate::chaos::faults::Fault;
use crate::chaos::scale::PROMISE;

/// What a failing store may add: the time to notice it, and the third of a lease for
/// which no job is reclaimed after PostgreSQL came back.
const OUTAGE: Duration = Duration::from_secs(5);

/// How long a statement sent before a fault may take, microseconds.
const UNDER_WAY: u64 = 1_000_000;

/// A job that was claimed again after its worker died or was frozen.
#[derive(Debug, Clone, Copy)]
struct Rerun {
    job: Uuid,
    /// From the fault to the next claim, microseconds.
    took: u64,
    /// A store was in trouble meanwhile.
    beside_store: bool,
    /// It took longer than promised.
    late: bool,
}

/// Figures and promises about recovery.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let (reruns, unexplained) = reruns(facts, records);
    let (beside, alone): (Vec<Rerun>, Vec<Rerun>) =
        reruns.iter().partition(|rerun| rerun.beside_store);
    let mut lines = vec![
        Line::told("faults", kinds(&records.faults)),
        Line::told("clocks that were wrong", records.clocks.as_deref().unwrap_or("none")),
        Line::told("longest time from crash to re-run", spread(&reruns)),
        in_time("- with both stores up meanwhile", &alone, "< 15 s"),
        in_time(
            "- with a store in trouble",
            &beside,
            "< 20 s, or 15 s and its length after Postgres's trouble",
        ),
        Line::told("leases lost without a fault of their worker", unexplained),
    ];
    lines.extend(standstill::check(facts, records));
    lines
}

/// The spread of these times, and those that took longer than promised.
fn in_time(what: &'static str, reruns: &[Rerun], promise: &'static str) -> Line {
    let late = reruns.iter().filter(|rerun| rerun.late);
    let late = late.map(|rerun| format!("job {}: {}", rerun.job, seconds(rerun.took)));
    Line { value: spread(reruns), promise: Some(promise), ..Line::none(what, late) }
}

fn kinds(faults: &[Fault]) -> String {
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for fault in faults {
        *kinds.entry(fault.kind()).or_default() += 1;
    }
    let parts: Vec<_> = kinds.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    format!("{} ({})", faults.len(), parts.join(", "))
}

/// Every lost lease with the last fault of its worker before it, and the number of those
/// without one.
fn reruns(facts: &Facts, records: &Records) -> (Vec<Rerun>, usize) {
    let (mut reruns, mut unexplained) = (Vec::new(), 0);
    for (job, events) in &facts.events {
        for (at, lost) in events.iter().enumerate() {
            if lost.kind != "lease_lost" {
                continue;
            }
            let claim = events.iter().take(at).rfind(|event| event.kind == "claimed");
            let Some(fault) = fault_between(records, claim.map_or(0, |claim| claim.at), lost)
            else {
                unexplained += 1;
                continue;
            };
            let next = events.iter().skip(at + 1).find(|event| event.kind == "claimed");
            let Some(next) = next else { continue };
            let took = next.at.saturating_sub(fault.at);
            let (due, beside_store) = due(records, fault.at, next.at);
            let late = next.at >= due;
            reruns.push(Rerun { job: *job, took, beside_store, late });
        }
    }
    (reruns, unexplained)
}

/// The time by which a job lost at one time and claimed at another must have been
/// claimed, and whether a store failed in between. Without Redis jobs are claimed from
/// Postgres; without Postgres none are claimed. A fault that began when the job was
/// overdue already does not count.
fn due(records: &Records, lost: u64, claimed: u64) -> (u64, bool) {
    let meanwhile = |other: &&Fault| other.at <= claimed && other.back >= lost;
    let stores = records.faults.iter().filter(|other| other.is_of_redis() || other.stops_claims());
    let mut troubles: Vec<&Fault> = stores.filter(meanwhile).collect();
    troubles.sort_by_key(|other| other.at);
    let (mut due, mut beside_store) = (lost + micros(PROMISE), false);
    for other in troubles {
        if other.at > due {
            break;
        }
        beside_store = true;
        due = due.max(lost + micros(PROMISE + OUTAGE));
        if other.stops_claims() {
            // The backlog of the fault may take as long as the fault to be processed.
            let length = other.back.saturating_sub(other.at);
            due = due.max(other.back + micros(PROMISE) + length);
        }
    }
    (due, beside_store)
}

/// The last fault of the worker that lost the job, since it claimed the job. A claim sent
/// before a fault may have committed after it.
fn fault_between<'a>(records: &'a Records, claimed: u64, lost: &Event) -> Option<&'a Fault> {
    let faults = records.faults.iter();
    let of_worker = faults.filter(|fault| fault.worker.is_some() && fault.worker == lost.worker);
    let meanwhile = of_worker.filter(|fault| (claimed..=lost.at).contains(&(fault.at + UNDER_WAY)));
    meanwhile.max_by_key(|fault| fault.at)
}

fn spread(reruns: &[Rerun]) -> String {
    let mut took: Vec<u64> = reruns.iter().map(|rerun| rerun.took).collect();
    took.sort_unstable();
    match (took.get(took.len() / 2), took.last()) {
        (Some(middle), Some(longest)) => {
            format!("{} (median {}, {} jobs)", seconds(*longest), seconds(*middle), took.len())
        }
        _ => "no job was taken over".to_owned(),
    }
}
