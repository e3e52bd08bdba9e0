//! Checks how long no job ends: the fleet is always under load, so a period
//! without an end is one in which something blocked all of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::facts::Facts;
use super::{Line, Records, end_of, micros, seconds};
use crate::chaos::faults::Fault;

/// How soon jobs must end again after PostgreSQL came back.
const AGAIN: Duration = Duration::from_secs(15);

/// How long no job may end while only Redis fails: the time to notice the failure and to
/// claim jobs from Postgres.
const WITHOUT_REDIS: Duration = Duration::from_secs(10);

/// A period in which no job ended, microseconds since 1970.
#[derive(Debug, Clone, Copy)]
struct Gap {
    from: u64,
    until: u64,
}

/// Figures and promises about continuous work.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let gaps = gaps(facts, records);
    vec![
        Line::told("worst recovery: longest time in which no job ended", worst(&gaps, records)),
        Line::told("- by kind of fault", by_kind(&gaps, records)),
        without_redis(&gaps, records),
        after_postgres(&gaps, records),
    ]
}

/// The periods between two ends during the load, including the ones before the first and
/// after the last end.
fn gaps(facts: &Facts, records: &Records) -> Vec<Gap> {
    let (from, until) = records.load;
    let ends = facts.events.values().flatten().filter(|event| end_of(&event.kind).is_some());
    let mut ends: Vec<u64> =
        ends.map(|event| event.at).filter(|at| (from..until).contains(at)).collect();
    ends.sort_unstable();
    let (starts, stops) = ([from].into_iter().chain(ends.clone()), ends.into_iter().chain([until]));
    starts.zip(stops).map(|(from, until)| Gap { from, until }).collect()
}

impl Gap {
    fn length(self) -> u64 {
        self.until.saturating_sub(self.from)
    }

    fn meets(self, fault: &Fault) -> bool {
        fault.at < self.until && fault.back > self.from
    }
}

fn worst(gaps: &[Gap], records: &Records) -> String {
    let Some(gap) = gaps.iter().max_by_key(|gap| gap.length()) else { return seconds(0) };
    let before = records.faults.iter().filter(|fault| fault.at < gap.until);
    let last = before.max_by_key(|fault| fault.at);
    let after = last.map(|fault| format!(", after {} of {}", fault.what, fault.whom));
    format!("{}{}", seconds(gap.length()), after.unwrap_or_default())
}

/// The longest period that overlaps a fault of each kind, the longest first.
fn by_kind(gaps: &[Gap], records: &Records) -> String {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for fault in &records.faults {
        let met = gaps.iter().filter(|gap| gap.meets(fault)).map(|gap| gap.length()).max();
        let longest = kinds.entry(fault.kind()).or_default();
        *longest = (*longest).max(met.unwrap_or_default());
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, longest)| std::cmp::Reverse(*longest));
    let parts: Vec<_> =
        kinds.iter().map(|(kind, longest)| format!("{kind} {}", seconds(*longest))).collect();
    if parts.is_empty() { "no fault".to_owned() } else { parts.join(", ") }
}

/// Redis is not required: work continues while it fails.
fn without_redis(gaps: &[Gap], records: &Records) -> Line {
    let of_redis: Vec<&Fault> = records.faults.iter().filter(|fault| fault.is_of_redis()).collect();
    let alone = |gap: &&Gap| {
        of_redis.iter().any(|fault| gap.meets(fault))
            && !records.faults.iter().any(|fault| fault.stops_claims() && gap.meets(fault))
    };
    let alone: Vec<&Gap> = gaps.iter().filter(alone).collect();
    let longest = alone.iter().map(|gap| gap.length()).max();
    let late = alone.iter().filter(|gap| gap.length() > micros(WITHOUT_REDIS));
    let late = late.map(|gap| format!("{} without an end", seconds(gap.length())));
    Line {
        value: longest.map_or_else(|| "never".to_owned(), seconds),
        promise: Some("< 10 s"),
        ..Line::none("- with Redis alone in trouble", late)
    }
}

/// The times from PostgreSQL's return to the next end of a job, unless it fails again
/// before.
fn after_postgres(gaps: &[Gap], records: &Records) -> Line {
    let mut longest = None;
    let mut late = Vec::new();
    let troubles = || records.faults.iter().filter(|fault| fault.stops_claims());
    for fault in troubles() {
        let gap = gaps.iter().find(|gap| (gap.from..gap.until).contains(&fault.back));
        let Some(gap) = gap else { continue };
        if troubles().any(|other| other.at > fault.at && other.at < gap.until) {
            continue;
        }
        let took = gap.until - fault.back;
        longest = longest.max(Some(took));
        if took > micros(AGAIN) {
            late.push(format!("{} after {} of {}", seconds(took), fault.what, fault.whom));
        }
    }
    Line {
        value: longest.map_or_else(|| "never".to_owned(), seconds),
        promise: Some("< 15 s"),
        ..Line::none("longest time from Postgres's return to the next end", late)
    }
}
