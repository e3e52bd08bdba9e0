//! From the push of a job to the provider's call, on an idle worker, beside a blocking
//! pop of Redis alone.

use super::{BLOCKING_POP, PICKUP, Parts};
use crate::bench::BenchError;
use crate::bench::accept::OURS;
use crate::bench::all::Run;
use crate::bench::floor;
use crate::bench::pickup;
use crate::bench::results::Scene;
use crate::bench::spread::Spread;
use crate::bench::subject::{P50, P99, Round};

/// Jobs of one round.
const SAMPLES: u32 = 100;

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let stack = pickup::start(&run.ground)?;
    let mut scene = Scene::default();
    for _ in 0..run.rounds {
        let waits = pickup::measure(&run.ground, &stack, SAMPLES)?;
        scene.of(OURS).add(figures(&waits));
        let floor = floor::blocking_pops(run.ground.session, &stack, SAMPLES)?;
        scene.of(BLOCKING_POP).add(figures(&floor));
    }
    Ok(vec![(PICKUP, scene)])
}

fn figures(waits: &Spread) -> Round {
    let percentiles = [(P50, waits.percentile(0.5)), (P99, waits.percentile(0.99))];
    Round::from(percentiles.map(|(name, value)| (name.to_owned(), value)))
}
