//! Many open event streams on one ingress: the memory of each, and how long an
//! event takes to reach all watchers of a job.
//!
//! No worker runs: the jobs are queued, their streams are open and silent, and
//! the benchmark cancels a job to cause an event. Times start before that
//! request and end when a watcher has read the whole event.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use super::BenchError;
use super::cpu;
use super::ground::{Build, Ground, Wanted};
use super::spread::Spread;
use super::users::Job;
use super::watcher::{Watcher, first_and_last};
use crate::demo;
use crate::resp::Connection;
use crate::session::Session;
use crate::stack::Stack;

/// Streams opened and closed as a warm-up.
const WARM_UP: u32 = 200;
/// Open files of a process besides its streams.
const OTHER_FILES: u64 = 500;
/// How long an event may take to reach all its watchers.
const PATIENCE: Duration = Duration::from_secs(60);
/// Seconds, longer than the whole measurement: no heartbeat, no expiry.
const LONG: &str = "36000";
const ENOUGH: &str = "1000000";

/// Opens `streams` streams, spread evenly over `jobs` jobs, and prints their memory and
/// how long events take to reach them.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn run(session: &Session, streams: u32, jobs: u32) -> Result<(), BenchError> {
    let found = measure(&Ground::take(session, Build::RELEASE)?, streams, jobs)?;
    let between = found.first.iter().zip(&found.last).map(|(first, last)| last - first).collect();
    let _ = write!(
        io::stdout(),
        "streams open: {streams} over {jobs} jobs, in {:.1} s\n\
         ingress memory, MiB: {:.1} before, {:.1} after; KiB a stream: {:.2}\n\
         subscriptions in Redis: {}\n\
         event at the first watcher of a job, ms: {}\n\
         event at the last watcher, ms:           {}\n\
         between the two, ms:                     {}\n",
        found.opened_within.as_secs_f64(),
        found.before_mib,
        found.after_mib,
        found.kib_each(),
        found.subscriptions,
        Spread::of(found.first.clone()),
        Spread::of(found.last.clone()),
        Spread::of(between),
    );
    Ok(())
}

/// What was found.
pub(super) struct Found {
    streams: u32,
    opened_within: Duration,
    before_mib: f64,
    after_mib: f64,
    subscriptions: usize,
    /// From a cancellation to its event at the job's first watcher, ms.
    first: Vec<f64>,
    /// At its last watcher.
    pub(super) last: Vec<f64>,
}

impl Found {
    /// The ingress's memory for each stream.
    pub(super) fn kib_each(&self) -> f64 {
        (self.after_mib - self.before_mib) * 1024.0 / f64::from(self.streams.max(1))
    }
}

/// Opens the streams and cancels their jobs.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn measure(ground: &Ground<'_>, streams: u32, jobs: u32) -> Result<Found, BenchError> {
    allow_open_files(u64::from(streams) + OTHER_FILES)?;
    let session = ground.session;
    let stack = ground.stack(Wanted {
        ingress: &[
            ("FLOOD_PER_SECOND", "0"),
            ("STREAMS_PER_USER", ENOUGH),
            ("MAX_CONNECTIONS", ENOUGH),
            ("STREAM_HEARTBEAT_SECONDS", LONG),
            ("QUEUE_EXPIRY_SECONDS", LONG),
        ],
        ..Wanted::default()
    })?;
    let quiz = demo::sample_quiz(session)?;
    let (ingress, redis) = (stack.ingress_url()?, stack.redis()?);
    let mut bench = Bench { session, stack, ingress, redis };
    let accept = |_| Job::accept(&bench.ingress, &ground.secrets, &quiz);
    let jobs: Vec<Job> = (0..jobs).map(accept).collect::<Result<_, _>>()?;
    bench.open(&jobs, WARM_UP)?;
    let before_mib = bench.resident_mib()?;
    session.say(format_args!("opening {streams} streams over {} jobs", jobs.len()));
    let (started, watched) = (Instant::now(), bench.open(&jobs, streams)?);
    let opened_within = started.elapsed();
    let (after_mib, subscriptions) = (bench.resident_mib()?, bench.subscriptions()?);
    session.say("cancelling the jobs one by one");
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for (job, mut watchers) in jobs.iter().zip(watched) {
        session.check()?;
        let begun = Instant::now();
        let cancelling = job.cancel();
        let (earliest, latest) = first_and_last(&mut watchers, "cancelled", begun, PATIENCE)?;
        let cancelled = cancelling.join().map_err(|_| measurement("a request panicked"))?;
        cancelled?;
        first.push(earliest.as_secs_f64() * 1e3);
        last.push(latest.as_secs_f64() * 1e3);
    }
    Ok(Found { streams, opened_within, before_mib, after_mib, subscriptions, first, last })
}

/// Raises the limit of open files of this program and its children.
pub(super) fn allow_open_files(needed: u64) -> Result<(), BenchError> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), maximum };
    setrlimit(Resource::Nofile, raised).map_err(|_| {
        measurement(&format!(
            "{needed} open files are needed and {} allowed; ask for fewer streams, or raise the \
             limit (ulimit -Hn)",
            maximum.unwrap_or_default()
        ))
    })
}

fn measurement(what: &str) -> BenchError {
    BenchError::Measurement(what.to_owned())
}

struct Bench<'a> {
    session: &'a Session,
    stack: Stack,
    ingress: String,
    redis: Connection,
}

impl Job {
    /// Cancels it on a separate thread, so that the watchers do not wait for the answer.
    fn cancel(&self) -> std::thread::JoinHandle<Result<(), BenchError>> {
        let (owner, path) = (self.owner.clone(), self.path());
        std::thread::spawn(move || Ok(owner.delete(&path).map(drop)?))
    }
}

impl Bench<'_> {
    /// Opens `streams` streams, spread over the jobs, and waits for the first event of
    /// each.
    fn open(&self, jobs: &[Job], streams: u32) -> Result<Vec<Vec<Watcher>>, BenchError> {
        let mut watched: Vec<Vec<Watcher>> = jobs.iter().map(|_| Vec::new()).collect();
        for number in 0..streams as usize {
            self.session.check()?;
            let place = number % jobs.len().max(1);
            if let (Some(job), Some(watchers)) = (jobs.get(place), watched.get_mut(place)) {
                let path = format!("/v1/jobs/{}/events", job.id);
                watchers.push(Watcher::open(&self.ingress, &path, &job.token)?);
            }
        }
        for watchers in &mut watched {
            if !watchers.is_empty() {
                first_and_last(watchers, "accepted", Instant::now(), PATIENCE)?;
            }
        }
        Ok(watched)
    }

    /// The resident memory of the ingress.
    fn resident_mib(&self) -> Result<f64, BenchError> {
        let resident = cpu::resident_mib(self.stack.ingress_pid());
        resident.map(|(now, _)| now).ok_or_else(|| measurement("this system shows no memory"))
    }

    /// The number of Redis connections with a subscription.
    fn subscriptions(&mut self) -> Result<usize, BenchError> {
        let clients = self.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"])?;
        Ok(clients.lines().filter(|client| !client.trim().is_empty()).count())
    }
}
