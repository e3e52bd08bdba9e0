//! The same operations with millions of finished jobs and with none.

use super::{HISTORY, Parts};
use crate::bench::BenchError;
use crate::bench::all::Run;
use crate::bench::history::History;

const JOBS: u32 = 5_000_000;

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let history = History { jobs: run.history.unwrap_or(JOBS), rounds: run.rounds };
    let mut scene = history.measure(&run.ground)?;
    scene.notes.insert(0, format!("{} finished jobs.", history.jobs));
    Ok(vec![(HISTORY, scene)])
}
