//! How soon work goes on after a fault.

use std::time::Duration;

use uuid::Uuid;

use super::facts::{Event, Facts};
use super::{Line, Records, end_of};
use crate::chaos::faults::Fault;
use crate::chaos::scale::PROMISE;

/// What a lost store may add: its own return, and the third of a lease for
/// which nobody's job is taken away after PostgreSQL came up.
const OUTAGE: Duration = Duration::from_secs(5);

/// How long a statement that was sent before a fault may take, microseconds.
const UNDER_WAY: u64 = 1_000_000;

/// A job that was taken over from a worker that died or stood still.
#[derive(Debug, Clone, Copy)]
struct Rerun {
    job: Uuid,
    /// From the fault to the next claim, microseconds.
    took: u64,
    /// A store was away or forgot everything meanwhile.
    beside_store: bool,
    /// It took longer than promised.
    late: bool,
}

/// Counts and promises about recovery.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let (reruns, unexplained) = reruns(facts, records);
    let (beside, alone): (Vec<Rerun>, Vec<Rerun>) =
        reruns.iter().partition(|rerun| rerun.beside_store);
    vec![
        Line::told("faults", kinds(&records.faults)),
        Line::told("longest time from crash to re-run", spread(&reruns)),
        in_time("- with both stores up meanwhile", &alone, "< 15 s"),
        in_time("- with a store lost meanwhile", &beside, "< 20 s, or 15 s after its return"),
        Line::told("leases lost without a fault of their worker", unexplained),
        Line::told(
            "worst recovery: longest time in which no job ended",
            standstill(facts, records),
        ),
    ]
}

/// The spread of these, and those that took longer than promised.
fn in_time(what: &'static str, reruns: &[Rerun], promise: &'static str) -> Line {
    let late = reruns.iter().filter(|rerun| rerun.late);
    let late = late.map(|rerun| format!("job {}: {}", rerun.job, seconds(rerun.took)));
    Line { value: spread(reruns), promise: Some(promise), ..Line::none(what, late) }
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
            let claim = events.iter().take(at).rfind(|event| event.kind == "claimed");
            let Some(fault) = fault_between(records, claim.map_or(0, |claim| claim.at), lost)
            else {
                unexplained += 1;
                continue;
            };
            let next = events.iter().skip(at + 1).find(|event| event.kind == "claimed");
            let Some(next) = next else { continue };
            let took = next.at.saturating_sub(fault.at);
            let store_back = records.faults.iter().filter(|other| {
                other.worker.is_none()
                    && matches!(other.whom.as_str(), "Redis" | "Postgres")
                    && other.at <= next.at
                    && other.back >= fault.at
            });
            let store_back = store_back.map(|other| other.back).max();
            let due = match store_back {
                None => fault.at + micros(PROMISE),
                Some(back) => (fault.at + micros(PROMISE + OUTAGE)).max(back + micros(PROMISE)),
            };
            let late = next.at >= due;
            reruns.push(Rerun { job: *job, took, beside_store: store_back.is_some(), late });
        }
    }
    (reruns, unexplained)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The last fault of the worker that lost the job, since it claimed it. A
/// claim that was under way at that moment may have come to pass after it.
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
