//! Ten thousand open event streams on one ingress.

use super::{KIB_EACH, Parts, STREAMS};
use crate::bench::BenchError;
use crate::bench::accept::OURS;
use crate::bench::all::Run;
use crate::bench::results::Scene;
use crate::bench::spread::Spread;
use crate::bench::streams;
use crate::bench::subject::{P50, P99, Round};

const OPEN: u32 = 10_000;
const JOBS: u32 = 100;

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let found = streams::measure(&run.ground, OPEN, JOBS)?;
    let kib_each = found.kib_each();
    let waits = Spread::of(found.last);
    let figures =
        [(KIB_EACH, kib_each), (P50, waits.percentile(0.5)), (P99, waits.percentile(0.99))];
    let mut scene = Scene::default();
    scene.of(OURS).add(Round::from(figures.map(|(name, value)| (name.to_owned(), value))));
    scene.notes.push(format!(
        "{OPEN} streams of {JOBS} jobs, measured once; the times are those of an event from the \
         request that causes it to the last watcher of its job."
    ));
    Ok(vec![(STREAMS, scene)])
}
