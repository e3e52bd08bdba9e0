//! Stripe's deliveries at 1,000 per second, with a worker that applies them.

use std::time::Duration;

use super::{APPLIED_P50, APPLIED_P99, Parts, WEBHOOKS};
use crate::bench::BenchError;
use crate::bench::accept::OURS;
use crate::bench::all::Run;
use crate::bench::results::Scene;
use crate::bench::subject::{P50, P99, PER_SECOND, Round, add_cpu};
use crate::bench::webhooks::{Delivered, Sender};

const RATE: u32 = 1_000;
const CONNECTIONS: usize = 64;
/// The least that a round takes: work that lags behind shows only after a while.
const LEAST: Duration = Duration::from_secs(10);

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let sender = Sender::start(&run.ground, CONNECTIONS)?;
    let events = RATE * u32::try_from(run.time.max(LEAST).as_secs()).unwrap_or(1);
    sender.deliver(RATE, Some(RATE))?;
    let mut scene = Scene::default();
    for _ in 0..run.rounds {
        let Delivered { outcome, used, seconds, applied } = sender.deliver(events, Some(RATE))?;
        let [applied_p50, applied_p99] = applied.each;
        let mut round = Round::from([
            (PER_SECOND.to_owned(), outcome.per_second),
            (P50.to_owned(), outcome.since_due.percentile(0.5)),
            (P99.to_owned(), outcome.since_due.percentile(0.99)),
            (APPLIED_P50.to_owned(), applied_p50),
            (APPLIED_P99.to_owned(), applied_p99),
        ]);
        add_cpu(&mut round, &used, outcome.answers, seconds);
        scene.of(OURS).add(round);
    }
    Ok(vec![(WEBHOOKS, scene)])
}
