//! Many open event streams on one ingress: the memory of each, and how long an
//! event takes to reach all watchers of a job.
//!
//! No worker runs: the jobs are queued, their streams are open and silent, and
//! the benchmark cancels a job to cause an event. Times start before that
//! request and end when a watcher has read the whole event.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::spread::Spread;
use super::watcher::{Watcher, first_and_last};
use super::{BenchError, FOLDER, Job};
use crate::demo;
use crate::resp::Connection;
use crate::secrets::Secrets;
use crate::session::Session;
use crate::stack::{Providers, Stack, StackPlan};
use crate::state::Lock;

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
    allow_open_files(u64::from(streams) + OTHER_FILES)?;
    let folder = session.workspace.place(FOLDER);
    let _lock = Lock::take(&folder)?;
    let secrets = Secrets::of(&folder)?;
    let (servers, binaries) = super::prepare(session, &folder, &secrets)?;
    let stack = plan(&folder, &binaries, &secrets).start(session, servers)?;
    let quiz = demo::sample_quiz(session)?;
    let (ingress, redis) = (stack.ingress_url()?, stack.redis()?);
    let mut bench = Bench { session, stack, ingress, redis };
    let accept = |_| Job::accept(&bench.ingress, &secrets, &quiz);
    let jobs: Vec<Job> = (0..jobs).map(accept).collect::<Result<_, _>>()?;
    bench.open(&jobs, WARM_UP)?;
    let before = bench.resident_kib()?;
    session.say(format_args!("opening {streams} streams over {} jobs", jobs.len()));
    let (started, watched) = (Instant::now(), bench.open(&jobs, streams)?);
    let took = started.elapsed();
    let after = bench.resident_kib()?;
    let mut report = format!(
        "streams open: {streams} over {} jobs, in {:.1} s\n\
         ingress memory, MiB: {:.1} before, {:.1} after; KiB a stream: {:.2}\n",
        jobs.len(),
        took.as_secs_f64(),
        before as f64 / 1024.0,
        after as f64 / 1024.0,
        (after as f64 - before as f64) / f64::from(streams.max(1)),
    );
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(report, "subscriptions in Redis: {}", bench.subscriptions()?);
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
    let spread = first.iter().zip(&last).map(|(first, last)| last - first).collect();
    let _ = writeln!(report, "event at the first watcher of a job, ms: {}", Spread::of(first));
    let _ = writeln!(report, "event at the last watcher, ms:           {}", Spread::of(last));
    let _ = writeln!(report, "between the two, ms:                     {}", Spread::of(spread));
    let _ = write!(io::stdout(), "{report}");
    Ok(())
}

fn plan<'a>(folder: &'a Path, binaries: &'a Path, secrets: &'a Secrets) -> StackPlan<'a> {
    StackPlan {
        folder,
        binaries,
        secrets,
        workers: 0,
        providers: Providers::Simulator,
        ingress_settings: &[
            ("FLOOD_PER_SECOND", "0"),
            ("STREAMS_PER_USER", ENOUGH),
            ("MAX_CONNECTIONS", ENOUGH),
            ("STREAM_HEARTBEAT_SECONDS", LONG),
            ("QUEUE_EXPIRY_SECONDS", LONG),
        ],
        worker_settings: &[],
    }
}

/// Raises the limit of open files of this program and its children.
fn allow_open_files(needed: u64) -> Result<(), BenchError> {
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
        let (owner, path) = (self.owner.clone(), format!("/v1/jobs/{}", self.id));
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
    fn resident_kib(&self) -> Result<u64, BenchError> {
        let pid = self.stack.ingress_pid().to_string();
        let shown = Command::new("ps").args(["-o", "rss=", "-p", &pid]).output()?;
        let shown = String::from_utf8_lossy(&shown.stdout).trim().to_owned();
        shown.parse().map_err(|_| measurement(&format!("ps shows no memory: {shown:?}")))
    }

    /// The number of Redis connections with a subscription.
    fn subscriptions(&mut self) -> Result<usize, BenchError> {
        let clients = self.redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"])?;
        Ok(clients.lines().filter(|client| !client.trim().is_empty()).count())
    }
}
