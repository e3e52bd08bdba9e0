//! Checks how long jobs wait for their claim while Redis fails: workers must
//! then claim from Postgres.

use std::time::Duration;

use super::facts::{Event, Facts};
use super::{Line, Records, micros, seconds};
use crate::chaos::faults::Fault;

/// Nine of ten jobs are claimed within this time. The tenth may have to wait for other
/// jobs of its user.
const SOON: Duration = Duration::from_secs(5);

/// For this long after a fault of Postgres, the slots are full of delayed jobs.
const AFTER: Duration = Duration::from_secs(15);

/// Figures and promises about the wait for the first claim.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let mut waits: Vec<u64> =
        facts.events.values().filter_map(|events| wait(events, records)).collect();
    waits.sort_unstable();
    let ninth = waits.get(waits.len() * 9 / 10).copied();
    let late = ninth.filter(|ninth| *ninth > micros(SOON));
    let late = late.map(|ninth| format!("one of ten waited for {} or longer", seconds(ninth)));
    let value = ninth.zip(waits.last()).map(|(ninth, longest)| {
        let (ninth, longest) = (seconds(ninth), seconds(*longest));
        format!("{ninth} (longest {longest}, {} jobs)", waits.len())
    });
    vec![Line {
        value: value.unwrap_or_else(|| "no job was accepted then".to_owned()),
        promise: Some("< 5 s"),
        ..Line::none("nine of ten jobs claimed with Redis alone in trouble after", late)
    }]
}

/// The wait of a job that was accepted during a fault of Redis, if no fault stopped
/// claims until it was claimed.
fn wait(events: &[Event], records: &Records) -> Option<u64> {
    let accepted = events.first().filter(|event| event.kind == "accepted")?.at;
    let claimed = events.iter().find(|event| event.kind == "claimed")?.at;
    let during = |fault: &&Fault| (fault.at..fault.back).contains(&accepted);
    let mut redis = records.faults.iter().filter(|fault| fault.is_of_redis());
    let mut other = records.faults.iter().filter(|fault| fault.stops_claims());
    let met = other.any(|fault| fault.at < claimed && fault.back + micros(AFTER) > accepted);
    (redis.any(|fault| during(&fault)) && !met).then(|| claimed.saturating_sub(accepted))
}
