//! How soon work goes on after a fault.

use uuid::Uuid;

use super::facts::{Event, Facts};
use super::{Line, Records, end_of};
use crate::chaos::faults::Fault;
use crate::chaos::scale::{LEASE, PROMISE};

/// A job that was taken over from a worker that died or stood still.
#[derive(Debug, Clone, Copy)]
struct Rerun {
    job: Uuid,
    /// From the fault to the next claim, microseconds.
    took: u64,
    /// A store was away or forgot everything meanwhile.
    beside_store: bool,
}

/// Counts and promises about recovery.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let (reruns, unexplained) = reruns(facts, records);
    let (beside, alone): (Vec<Rerun>, Vec<Rerun>) =
        reruns.iter().partition(|rerun| rerun.beside_store);
    let promise = u64::try_from(PROMISE.as_micros()).unwrap_or(u64::MAX);
    let late = |rerun: &&Rerun| rerun.took >= promise;
    let mut longest = Line::told("longest time from crash to re-run", spread(&reruns));
    longest.promise = Some("< 15 s");
    longest.examples = reruns
        .iter()
        .filter(late)
        .map(|rerun| format!("job {}: {}", rerun.job, seconds(rerun.took)))
        .collect();
    longest.kept = longest.examples.is_empty();
    vec![
        Line::told("faults", kinds(&records.faults)),
        longest,
        Line::told("- with both stores up all the time", spread(&alone)),
        Line::told("- with a store lost meanwhile", spread(&beside)),
        Line::told("leases lost without a fault of their worker", unexplained),
        Line::told(
            "worst recovery: longest time in which no job ended",
            standstill(facts, records),
        ),
    ]
}

fn kinds(faults: &[Fault]) -> String {
    let mut kinds = std::collections::BTreeMap::<String, usize>::new();
    for fault in faults {
        let kind = fault.whom.split('-').next().unwrap_or_default();
        *kinds.entry(format!("{kind} {}", fault.what)).or_default() += 1;
    }
    let parts: Vec<_> = kinds.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    format!("{} ({})", faults.len(), parts.join(", "))
}

/// Every lost lease, with the last fault of its worker before it; and how
/// many there were without one.
fn reruns(facts: &Facts, records: &Records) -> (Vec<Rerun>, usize) {
    let (mut reruns, mut unexplained) = (Vec::new(), 0);
    for (job, events) in &facts.events {
        for (at, lost) in events.iter().enumerate() {
            if lost.kind != "lease_lost" {
                continue;
            }
            let Some(fault) = fault_before(records, lost) else {
                unexplained += 1;
                continue;
            };
            let next = events.iter().skip(at + 1).find(|event| event.kind == "claimed");
            let Some(next) = next else { continue };
            let took = next.at.saturating_sub(fault.at);
            let beside_store = records.faults.iter().any(|other| {
                other.worker.is_none()
                    && matches!(other.whom.as_str(), "Redis" | "Postgres")
                    && other.at <= next.at
                    && other.back + lease() >= fault.at
            });
            reruns.push(Rerun { job: *job, took, beside_store });
        }
    }
    (reruns, unexplained)
}

fn fault_before<'a>(records: &'a Records, lost: &Event) -> Option<&'a Fault> {
    let faults = records.faults.iter();
    let of_worker = faults.filter(|fault| fault.worker.is_some() && fault.worker == lost.worker);
    of_worker.filter(|fault| fault.at <= lost.at).max_by_key(|fault| fault.at)
}

fn lease() -> u64 {
    u64::try_from(LEASE.as_micros()).unwrap_or(u64::MAX)
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

/// The longest time under load in which no job ended, and the fault before it.
fn standstill(facts: &Facts, records: &Records) -> String {
    let (from, until) = records.load;
    let ends = facts.events.values().flatten().filter(|event| end_of(&event.kind).is_some());
    let mut ends: Vec<u64> =
        ends.map(|event| event.at).filter(|at| (from..until).contains(at)).collect();
    ends.sort_unstable();
    let gaps = ends.iter().zip(ends.iter().skip(1));
    let Some((began, took)) = gaps.map(|(one, next)| (*one, next - one)).max_by_key(|gap| gap.1)
    else {
        return "no two jobs ended under load".to_owned();
    };
    let during = records.faults.iter().filter(|fault| fault.at < began + took);
    let during = during.max_by_key(|fault| fault.at);
    let after =
        during.map(|fault| format!(", after {} of {}", fault.what, fault.whom)).unwrap_or_default();
    format!("{}{after}", seconds(took))
}

fn seconds(micros: u64) -> String {
    format!("{:.1} s", micros as f64 / 1e6)
}
