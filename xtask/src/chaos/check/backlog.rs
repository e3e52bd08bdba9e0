//! Checks that Redis holds about one id per queued job: an id that seems lost
//! is pushed again once, not repeatedly.

use super::{Line, Records};
use crate::chaos::backlog::Sample;

/// Allowed ids beyond two per queued job: those of jobs that were claimed from Postgres
/// while Redis failed.
const SPARE: usize = 500;

/// Figures and promises about ids.
pub(super) fn check(records: &Records, accepted: usize) -> Vec<Line> {
    let largest = records.backlog.iter().max_by_key(|sample| sample.ids);
    let tell = |sample: &Sample| format!("{} for {} waiting jobs", sample.ids, sample.queued);
    let flood = |sample: &&Sample| sample.ids > 2 * sample.queued + SPARE;
    let floods = records.backlog.iter().filter(flood).map(|sample| format!("{} ids", tell(sample)));
    let pushed_again = records.pushed_again;
    let too_many = pushed_again > accepted as f64;
    let too_many = too_many.then(|| format!("{pushed_again:.0} ids for {accepted} jobs"));
    vec![
        Line {
            value: largest.map_or_else(|| "never seen".to_owned(), tell),
            promise: Some("< 2 a job, and 500"),
            ..Line::none("most ids in Redis at one time", floods)
        },
        Line {
            value: format!("{pushed_again:.0}"),
            promise: Some("< 1 a job"),
            ..Line::none("ids taken for lost and pushed again", too_many)
        },
    ]
}
