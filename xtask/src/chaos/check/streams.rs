//! Checks that a client that follows a job's events gets each once and in order,
//! over however many parts its stream has.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::facts::Facts;
use super::{Line, Records};
use crate::chaos::clients::Note;

/// Figures and promises about streams.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let parts: Vec<_> = parts(records).collect();
    let mut jobs: BTreeMap<Uuid, usize> = BTreeMap::new();
    parts.iter().for_each(|part| *jobs.entry(part.job).or_default() += 1);
    let resumed: usize = jobs.values().map(|parts| parts - 1).sum();
    let told = format!("{} ({resumed} times resumed)", jobs.len());
    vec![
        Line::told("jobs followed by their events", told),
        Line::none(
            "streams that missed or repeated an event",
            wrong(facts, &parts).into_iter().chain(unfinished(facts, &parts)),
        ),
    ]
}

/// A part of a stream.
struct Part<'a> {
    job: Uuid,
    after: i64,
    events: &'a [i64],
}

fn parts(records: &Records) -> impl Iterator<Item = Part<'_>> {
    records.notes.iter().filter_map(|note| match note {
        Note::Streamed { job, after, events, .. } => {
            Some(Part { job: *job, after: *after, events })
        }
        _ => None,
    })
}

/// Each part continues after its client's last event, and names only events that exist.
fn wrong(facts: &Facts, parts: &[Part<'_>]) -> Vec<String> {
    let wrong = |part: &&Part<'_>| {
        let expected = part.after + 1..=part.after + i64::try_from(part.events.len()).unwrap_or(0);
        let last = facts.jobs.get(&part.job).map_or(0, |job| job.last_seq);
        !part.events.iter().copied().eq(expected) || part.events.iter().any(|seq| *seq > last)
    };
    let told =
        |part: &Part<'_>| format!("job {}: {:?} after {}", part.job, part.events, part.after);
    parts.iter().filter(wrong).map(told).collect()
}

/// A client follows a job until it is told that it has every event.
fn unfinished(facts: &Facts, parts: &[Part<'_>]) -> Vec<String> {
    let mut seen: BTreeMap<Uuid, i64> = BTreeMap::new();
    for part in parts {
        let last = part.events.last().copied().unwrap_or(part.after);
        let seen = seen.entry(part.job).or_default();
        *seen = (*seen).max(last);
    }
    let last = |job: &Uuid| facts.jobs.get(job).map_or(0, |job| job.last_seq);
    let short = seen.iter().filter(|(job, seen)| **seen < last(job));
    short.map(|(job, seen)| format!("job {job}: up to {seen} of {}", last(job))).collect()
}
