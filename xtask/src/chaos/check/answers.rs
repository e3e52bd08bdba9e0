//! Checks the answers to clients: each arrives in time, and each temporary
//! failure carries a Retry-After.

use std::time::Duration;

use super::{Line, Records, micros, seconds};
use crate::chaos::clients::Note;

/// How long a request for plans may take: the time limit of its statements, plus the
/// delays of a busy machine.
const IN_TIME: Duration = Duration::from_secs(7);

/// Figures and promises about answers.
pub(super) fn check(records: &Records) -> Vec<Line> {
    vec![longest_wait(records), Line::none("failures without a time to come again", blunt(records))]
}

/// The longest wait, without the time in which the ingress was frozen.
fn longest_wait(records: &Records) -> Line {
    let mut longest = (0, None);
    let mut late = Vec::new();
    for note in &records.notes {
        let Note::Waited { at, took, ingress, status } = note else { continue };
        let waited = took.saturating_sub(frozen(records, *ingress, *at, at + took));
        if waited > longest.0 {
            longest = (waited, *status);
        }
        if waited > micros(IN_TIME) {
            let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
            late.push(format!("ingress-{ingress}: {status} after {}", seconds(*took)));
        }
    }
    let heard = longest.1.map(|status| format!(" ({status})")).unwrap_or_default();
    let value = format!("{}{heard}, {} too long", seconds(longest.0), late.len());
    let what = "longest time a request for plans waited for its end";
    Line { value, promise: Some("< 7 s"), ..Line::none(what, late) }
}

/// How long an ingress was frozen within a period.
fn frozen(records: &Records, ingress: usize, from: u64, until: u64) -> u64 {
    let name = format!("ingress-{ingress}");
    let stood = records.faults.iter().filter(|fault| fault.what == "SIGSTOP" && fault.whom == name);
    stood.map(|fault| fault.back.min(until).saturating_sub(fault.at.max(from))).sum()
}

fn blunt(records: &Records) -> impl Iterator<Item = String> + '_ {
    records.notes.iter().filter_map(|note| match note {
        Note::Blunt { request, status, body } => Some(format!("{request}: {status} {body}")),
        _ => None,
    })
}
