//! Ten thousand generations at once in one worker, each taking two seconds at the
//! provider; then the same number, all held by the provider for longer than a lease.

use std::time::{Duration, Instant};

use serde_json::json;

use super::finish::samples;
use super::{
    HEARTBEATS_FAILED, HELD, HELD_BACK, IDLE, IN_FLIGHT, KIB_EACH, LOST, PEAK, Parts, TWO_SECONDS,
};
use crate::bench::BenchError;
use crate::bench::accept::accepting;
use crate::bench::all::Run;
use crate::bench::cpu;
use crate::bench::ground::{UNHURRIED, UNREACHED, Wanted};
use crate::bench::history::{PAUSE, RESUME};
use crate::bench::results::Scene;
use crate::bench::streams::allow_open_files;
use crate::bench::subject::{PER_SECOND, Round};
use crate::bench::users::{self, Users};
use crate::http::Client;
use crate::stack::Stack;

pub(in crate::bench::all) const JOBS: u32 = 10_000;
/// One connection of a job to the provider in the worker, and one in the simulator.
const FILES: u64 = 2 * JOBS as u64;
/// Longer than a lease (10 s), so that heartbeats keep all of them.
const HOLD: Duration = Duration::from_secs(12);
const DONE_WITHIN: Duration = Duration::from_secs(180);
/// Workers learn of a pause within a second.
const PAUSES: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(100);
/// How many jobs are looked at for all of their events.
const LOOKED_AT: usize = 100;

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    allow_open_files(FILES)?;
    let mut scene = Scene::default();
    let ways = [
        (TWO_SECONDS, json!({"latency": {"fixed_ms": 2_000}})),
        (HELD_BACK, json!({"rules": [{"name": "all", "action": {"do": "hold"}}]})),
    ];
    for (name, control) in ways {
        run.ground.session.say(format_args!("{JOBS} generations, {name}"));
        let slots = JOBS.to_string();
        let more = [("WORKER_SLOTS", slots.as_str()), ("JOB_DEADLINE_SECONDS", "600")];
        let worker = [&UNHURRIED[..], &more].concat();
        let stack =
            run.ground.stack(Wanted { workers: 1, ingress: &UNREACHED, worker: &worker })?;
        let simulator = Client::new(&stack.simulator_url()?, "");
        simulator.post("/control", &control)?;
        let held = control.get("rules").is_some();
        scene.of(name).add(one_way(run, &stack, &simulator, held)?);
    }
    scene.notes.push(format!(
        "{JOBS} jobs wait when the worker begins, measured once. Every job succeeded at its first \
         attempt, every reply was stored, and the events of {LOOKED_AT} jobs were read to the end."
    ));
    Ok(vec![(IN_FLIGHT, scene)])
}

fn one_way(
    run: &Run<'_>,
    stack: &Stack,
    simulator: &Client,
    held_back: bool,
) -> Result<Round, BenchError> {
    let session = run.ground.session;
    let users = Users::new(&run.ground, JOBS as usize)?;
    let worker = *stack.worker_pids().first().ok_or_else(|| measurement("there is no worker"))?;
    let metrics = Client::new(&stack.worker_metrics_url()?, "");
    stack.psql().run(PAUSE)?;
    std::thread::sleep(PAUSES);
    session.say(format_args!("submitting {JOBS} jobs"));
    accepting(stack, &users)?.send(32, JOBS as usize)?;
    let (idle, _) = cpu::resident_mib(worker).unwrap_or_default();
    stack.psql().run(RESUME)?;
    let begun = Instant::now();
    let (mut most_held, mut all_held_at, mut shown) = (0.0_f64, None, Instant::now());
    loop {
        session.check()?;
        std::thread::sleep(LOOK);
        let page = metrics.text("/metrics")?;
        let sum = |name| samples(&page, name).map(|(_, value)| value).sum::<f64>();
        let (held, done) = (sum("regimen_jobs_held"), sum("regimen_jobs_finished_total"));
        most_held = most_held.max(held);
        if shown.elapsed() > Duration::from_secs(5) {
            session.say(format_args!("{held} held, {done} finished"));
            shown = Instant::now();
        }
        if done >= f64::from(JOBS) {
            return figures(run, stack, &page, Seen { worker, idle, most_held, begun });
        }
        if held_back && held >= f64::from(JOBS) {
            let since = *all_held_at.get_or_insert_with(Instant::now);
            if since.elapsed() > HOLD {
                session.say("the provider answers now");
                simulator.post("/control/release", &json!({}))?;
            }
        }
        if begun.elapsed() > DONE_WITHIN {
            let told = format!("{done} of {JOBS} jobs are finished after {DONE_WITHIN:?}");
            return Err(measurement(&told));
        }
    }
}

/// What was seen while it went on.
struct Seen {
    worker: u32,
    idle: f64,
    most_held: f64,
    begun: Instant,
}

/// The figures, once all is done and right.
fn figures(run: &Run<'_>, stack: &Stack, page: &str, seen: Seen) -> Result<Round, BenchError> {
    let seconds = seen.begun.elapsed().as_secs_f64();
    let (_, peak) = cpu::resident_mib(seen.worker).unwrap_or_default();
    let sum = |name| samples(page, name).map(|(_, value)| value).sum::<f64>();
    let succeeded = samples(page, "regimen_jobs_finished_total")
        .filter(|(labels, _)| labels.contains("state=\"succeeded\""));
    let succeeded: f64 = succeeded.map(|(_, value)| value).sum();
    if succeeded < f64::from(JOBS) {
        return Err(measurement(&format!("only {succeeded} of {JOBS} jobs have a plan")));
    }
    kept(run, stack)?;
    let kib_each = (peak - seen.idle) * 1024.0 / seen.most_held.max(1.0);
    let figures = [
        (HELD, seen.most_held),
        (PER_SECOND, f64::from(JOBS) / seconds),
        (IDLE, seen.idle),
        (PEAK, peak),
        (KIB_EACH, kib_each),
        (LOST, sum("regimen_leases_lost_total") + sum("regimen_leases_abandoned_total")),
        (HEARTBEATS_FAILED, sum("regimen_heartbeat_failures_total")),
    ];
    Ok(Round::from(figures.map(|(name, value)| (name.to_owned(), value))))
}

/// Every reply was stored and no call was made twice; the events of some jobs are whole.
fn kept(run: &Run<'_>, stack: &Stack) -> Result<(), BenchError> {
    let psql = stack.psql();
    let replies = psql.rows(
        "select count(*) filter (where raw_reply is not null), count(*) from regimen.job_attempts",
    )?;
    let (stored, calls): (u32, u32) = match replies.as_slice() {
        [row] => (row.get(0)?, row.get(1)?),
        _ => return Err(measurement("the attempts cannot be counted")),
    };
    if (stored, calls) != (JOBS, JOBS) {
        return Err(measurement(&format!("{JOBS} jobs, {calls} calls, {stored} stored replies")));
    }
    let some = psql.rows(&format!("select id, user_id from regimen.jobs limit {LOOKED_AT}"))?;
    for row in &some {
        run.ground.session.check()?;
        let (id, user) = (row.get::<String>(0)?, row.get(1)?);
        let token = users::sign(&run.ground.secrets, user);
        let client = Client::new(&stack.ingress_url()?, &token);
        let events = client.events(&format!("/v1/jobs/{id}/events"), "")?;
        let events: Vec<_> = events.filter(|event| !event.id.is_empty()).collect();
        let numbers: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
        let expected: Vec<_> = (1..=events.len()).map(|number| number.to_string()).collect();
        let last = events.last().map(|event| event.name.as_str());
        if numbers != expected || last != Some("saved") {
            let told = format!("job {id} has the events {numbers:?}, the last is {last:?}");
            return Err(measurement(&told));
        }
    }
    Ok(())
}

fn measurement(what: &str) -> BenchError {
    BenchError::Measurement(what.to_owned())
}
