//! The time from the push of a job's id to Redis until the provider's call
//! arrives, on an idle worker.
//!
//! An ingress accepts the jobs and pushes them where no worker listens. The
//! benchmark then pushes each id itself, as the service would, and so knows the
//! time. The simulator reports when the call arrived. Both read this machine's
//! clock.

use std::io::Write;

use serde_json::{Value, json};

use super::BenchError;
use super::ground::{Build, Ground, Wanted};
use super::memory;
use super::spread::Spread;
use super::users::Job;
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::resp::Connection;
use crate::session::{LOOK_AGAIN, Session};
use crate::stack::Stack;

/// The prefix (`REDIS_PREFIX`) of the workers, and the other one that the ingress pushes
/// to.
const PREFIX: &str = "regimen";
const ELSEWHERE: &str = "nobody";

/// Jobs that are not measured: they open connections and fill caches.
const WARM_UP: u32 = 50;

/// Seconds, longer than the whole measurement: no job may expire, and the reconciler must
/// not push any.
const LONG: &str = "36000";

/// Measures `samples` jobs and prints the spread.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn run(session: &Session, samples: u32) -> Result<(), BenchError> {
    let ground = Ground::take(session, Build::RELEASE)?;
    let waits = measure(&ground, &start(&ground)?, samples)?;
    let (cold, warm) = memory::cold_and_warm(LOOK_AGAIN);
    let mut out = std::io::stdout();
    let _ = writeln!(out, "push to provider call, ms: {waits}");
    let _ = writeln!(
        out,
        "this machine's memory: 256 KiB read line by line takes {cold:.0} µs after a pause as \
         between two jobs, {warm:.0} µs without"
    );
    Ok(())
}

/// A stack in which the ingress pushes nothing to the worker.
///
/// # Errors
/// A part of it does not start.
pub(super) fn start(ground: &Ground<'_>) -> Result<Stack, BenchError> {
    ground.stack(Wanted {
        workers: 1,
        ingress: &[
            ("REDIS_PREFIX", ELSEWHERE),
            ("FLOOD_PER_SECOND", "0"),
            ("QUEUE_EXPIRY_SECONDS", LONG),
        ],
        worker: &[("REDIS_PREFIX", PREFIX), ("RECONCILE_SECONDS", LONG)],
    })
}

/// From push to provider call, ms.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn measure(
    ground: &Ground<'_>,
    stack: &Stack,
    samples: u32,
) -> Result<Spread, BenchError> {
    let session = ground.session;
    let (ingress, quiz) = (stack.ingress_url()?, demo::sample_quiz(session)?);
    let mut pickup =
        Pickup { simulator: Client::new(&stack.simulator_url()?, ""), redis: stack.redis()? };
    session.say(format_args!("accepting {} jobs", WARM_UP + samples));
    let mut jobs = Vec::new();
    for _ in 0..WARM_UP + samples {
        session.check()?;
        jobs.push(Job::accept(&ingress, &ground.secrets, &quiz)?);
    }
    session.say("pushing them one by one");
    let mut waits = Vec::new();
    for job in &jobs {
        waits.push(pickup.measure(session, job)?);
    }
    Ok(Spread::of(waits.split_off(WARM_UP as usize)))
}

/// What a measurement needs.
struct Pickup {
    simulator: Client,
    redis: Connection,
}

impl Pickup {
    /// Pushes the job and returns the time until the call arrived, ms; returns when the
    /// worker is idle again. The first poll comes after a pause, because with two cores
    /// it would disturb the measurement.
    fn measure(&mut self, session: &Session, job: &Job) -> Result<f64, BenchError> {
        let now = clock::micros_since_1970() / 1000;
        let message = json!({"v": 1, "id": job.id, "at": now}).to_string();
        let list = format!("{{{PREFIX}}}:queue:free");
        let pushed_at = clock::micros_since_1970();
        self.redis.command(&["LPUSH", &list, &message])?;
        let path = job.path();
        loop {
            session.pause()?;
            let seen = job.owner.get(&path)?;
            match seen["status"].as_str() {
                Some("succeeded") => break,
                Some("queued" | "running") => {}
                _ => return Err(BenchError::Measurement(format!("the job ended as {seen}"))),
            }
        }
        let calls = self.simulator.get(&format!("/control/calls?marker={}&limit=1", job.id))?;
        let arrived = arrival(&calls).ok_or_else(|| {
            BenchError::Measurement(format!("the simulator tells of no call: {calls}"))
        })?;
        Ok(arrived - pushed_at as f64 / 1000.0)
    }
}

/// When the latest call arrived, ms since 1970.
fn arrival(calls: &Value) -> Option<f64> {
    calls.as_array()?.first()?["arrived_ms"].as_f64()
}
