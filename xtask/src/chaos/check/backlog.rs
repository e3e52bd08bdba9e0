//! Redis holds an id for each job that waits, not heaps of them: what is taken
//! for lost is pushed again once, and not again and again.

use super::{Line, Records};
use crate::chaos::backlog::Sample;

/// Ids that may stand there beyond two for each waiting job: of jobs that were
/// claimed without Redis while it was in trouble.
const SPARE: usize = 500;

/// Counts and promises about ids.
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
