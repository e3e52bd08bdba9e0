//! Stripe's deliveries at 1,000 per second, with a worker that applies them.

use super::{Parts, WEBHOOKS};
use crate::bench::BenchError;
use crate::bench::accept::{OURS, processes};
use crate::bench::all::Run;
use crate::bench::results::Scene;
use crate::bench::subject::{P50, P99, PER_SECOND, Round, add_cpu};
use crate::bench::webhooks::Sender;

const RATE: u32 = 1_000;
const CONNECTIONS: usize = 64;

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let sender = Sender::start(&run.ground, CONNECTIONS)?;
    let processes = processes(sender.stack());
    let events = RATE * u32::try_from(run.time.as_secs()).unwrap_or(1);
    sender.deliver(RATE, Some(RATE))?;
    let mut scene = Scene::default();
    for _ in 0..run.rounds {
        let before = processes.seconds();
        let outcome = sender.deliver(events, Some(RATE))?.outcome;
        let used = processes.seconds().since(&before);
        let mut round = Round::from([
            (PER_SECOND.to_owned(), outcome.per_second),
            (P50.to_owned(), outcome.since_due.percentile(0.5)),
            (P99.to_owned(), outcome.since_due.percentile(0.99)),
        ]);
        add_cpu(&mut round, &used, outcome.answers, outcome.seconds);
        scene.of(OURS).add(round);
    }
    Ok(vec![(WEBHOOKS, scene)])
}
