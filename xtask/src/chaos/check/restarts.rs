//! Checks a rolling restart, in which clients must not notice anything, and how
//! soon all processes are ready after a failover.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Line, Records, micros, seconds};
use crate::chaos::clients::Note;

/// How often each process is replaced.
const TIMES: usize = 3;

/// How soon every process must be ready after a failover.
const AGAIN: Duration = Duration::from_secs(15);

/// Promises of rolling restarts and failovers; none about other runs.
pub(super) fn check(records: &Records) -> Vec<Line> {
    let mut lines = Vec::new();
    if records.restarts {
        lines.push(Line::none("requests refused or broken off", refused(records)));
        lines.push(Line::none("streams that broke off instead of ending", broken(records)));
        lines.push(replaced(records));
    }
    if let Some(longest) = records.returns.iter().max() {
        let late = records.returns.iter().filter(|took| **took > micros(AGAIN));
        let late = late.map(|took| format!("ready after {}", seconds(*took)));
        lines.push(Line {
            value: format!("{} ({} failovers)", seconds(*longest), records.returns.len()),
            promise: Some("< 15 s"),
            ..Line::none("longest time from a failover's end until every process was ready", late)
        });
    }
    lines
}

/// Requests without a whole answer, and those answered with 5xx. A 409 answers a request
/// that is sent twice at once.
fn refused(records: &Records) -> impl Iterator<Item = String> + '_ {
    records.notes.iter().filter_map(|note| match note {
        Note::SentAgain { status: Err(why) } => Some(why.clone()),
        Note::SentAgain { status: Ok(status) } if *status >= 500 => Some(status.to_string()),
        _ => None,
    })
}

fn broken(records: &Records) -> impl Iterator<Item = String> + '_ {
    records.notes.iter().filter_map(|note| match note {
        Note::Streamed { job, broke: true, .. } => Some(format!("job {job}")),
        _ => None,
    })
}

/// Each process and its successors, as `worker-1`, `worker-1.2`, `worker-1.3`.
fn replaced(records: &Records) -> Line {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    for fault in &records.faults {
        *times.entry(fault.whom.split('.').next().unwrap_or_default()).or_default() += 1;
    }
    let few = times.iter().filter(|(_, times)| **times < TIMES);
    let few = few.map(|(whom, times)| format!("{whom}: {times} times"));
    let none = times.is_empty().then(|| "no process was replaced".to_owned());
    let value = format!("{} or more times", times.values().min().unwrap_or(&0));
    Line {
        value,
        promise: Some("3 or more"),
        ..Line::none("how often each process was replaced", few.chain(none))
    }
}
