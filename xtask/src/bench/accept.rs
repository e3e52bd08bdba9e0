//! How many requests for plans are accepted per second, each committed before
//! its 202, and how many reads of a job are answered. For comparison, the same
//! run measures pgbench with one row per transaction.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::cpu;
use super::load::{Load, Outcome, Request};
use super::spread::Spread;
use super::{BenchError, FOLDER};
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::secrets::Secrets;
use crate::session::Session;
use crate::stack::{Providers, Stack, StackPlan};
use crate::state::Lock;
use crate::token::Claims;

const CONNECTIONS: [usize; 2] = [32, 256];
const ROUND: Duration = Duration::from_secs(4);
const TOKEN_LIFE: u64 = 3_600;
/// The users, who take turns; each has a profile already, like most users.
const USERS: usize = 2_000;

/// pgbench's table: a row as wide as an accepted job's.
const FLOOR_TABLE: &str = "create table if not exists public.bench_floor \
     (id bigserial primary key, at timestamptz not null default now(), payload jsonb not null)";
const FLOOR: &str = "insert into public.bench_floor (payload) \
     values (jsonb_build_object('answers', repeat('x', 1500)));\n";

/// Measures `rounds` rounds of each and prints the medians.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn run(session: &Session, rounds: u32) -> Result<(), BenchError> {
    let folder = session.workspace.place(FOLDER);
    let _lock = Lock::take(&folder)?;
    let secrets = Secrets::of(&folder)?;
    let (servers, binaries) = super::prepare(session, &folder, &secrets)?;
    let pgbench = servers.programs.postgres.folder.join("pgbench");
    let database = servers.database_url();
    let stack = plan(&folder, &binaries, &secrets).start(session, servers)?;
    let floor = Floor::prepare(&folder, &pgbench, &database)?;
    let parts = Parts::new(session, &stack, &secrets)?;
    session.say(format_args!("measuring {rounds} rounds"));
    let processes = Processes::of(&stack);
    for connections in CONNECTIONS {
        let mut work = Work::default();
        let (mut accepted, mut seen, mut floors) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            session.check()?;
            let before = processes.seconds();
            let outcome = parts.accept(connections)?;
            work.add(before, processes.seconds(), outcome.answers);
            accepted.push(outcome);
            seen.push(parts.look(connections)?);
            floors.push(floor.measure(connections)?);
        }
        let (accept, look) = (Medians::of(&accepted), Medians::of(&seen));
        let tps = Spread::of(floors).percentile(0.5);
        let _ = writeln!(
            std::io::stdout(),
            "{connections:>4} connections   accept/s {:.0} (p99 {:.0} ms)   polls/s {:.0} (p99 {:.0} ms)   \
             pgbench rows/s {tps:.0}   accept/floor {:.2}",
            accept.per_second,
            accept.p99,
            look.per_second,
            look.p99,
            accept.per_second / tps
        );
        let _ = writeln!(std::io::stdout(), "                  CPU an accepted request: {work}");
    }
    Ok(())
}

/// The processes whose processor time is measured.
struct Processes([(&'static str, u32); 4]);

impl Processes {
    fn of(stack: &Stack) -> Self {
        let [postgres, redis] = stack.server_pids();
        Self([
            ("ingress", stack.ingress_pid()),
            ("PostgreSQL", postgres),
            ("Redis", redis),
            ("load", std::process::id()),
        ])
    }

    fn seconds(&self) -> [(&'static str, f64); 4] {
        self.0.map(|(name, pid)| (name, cpu::seconds(pid)))
    }
}

/// The processor time of the requests of several rounds.
#[derive(Default)]
struct Work {
    answers: usize,
    seconds: BTreeMap<&'static str, f64>,
}

impl Work {
    fn add(
        &mut self,
        before: [(&'static str, f64); 4],
        after: [(&'static str, f64); 4],
        answers: usize,
    ) {
        self.answers += answers;
        for ((name, before), (_, after)) in before.into_iter().zip(after) {
            *self.seconds.entry(name).or_default() += after - before;
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (name, seconds)) in self.seconds.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{name} {:.0} µs", seconds * 1e6 / self.answers.max(1) as f64)?;
        }
        Ok(())
    }
}

/// The medians of several rounds.
struct Medians {
    per_second: f64,
    p99: f64,
}

impl Medians {
    fn of(rounds: &[Outcome]) -> Self {
        let median = |value: fn(&Outcome) -> f64| {
            Spread::of(rounds.iter().map(value).collect()).percentile(0.5)
        };
        Self {
            per_second: median(|round| round.per_second),
            p99: median(|round| round.times.percentile(0.99)),
        }
    }
}

/// The parts of the requests.
struct Parts {
    url: String,
    tokens: Vec<String>,
    body: String,
    job: String,
    turn: AtomicUsize,
}

impl Parts {
    /// Submits one request per user first, so that the profiles exist.
    fn new(session: &Session, stack: &Stack, secrets: &Secrets) -> Result<Self, BenchError> {
        let url = stack.ingress_url()?;
        let quiz = demo::sample_quiz(session)?;
        let body = serde_json::json!({"kinds": ["meal"], "answers": quiz});
        let issued_at = clock::seconds_since_1970();
        let token = |_| {
            let user = Uuid::new_v4();
            Claims { user, role: None, issued_at, life: TOKEN_LIFE }.sign(&secrets.jwt)
        };
        let tokens: Vec<String> = (0..USERS).map(token).collect();
        session.say(format_args!("accepting one job for each of {USERS} users"));
        let mut job = Value::Null;
        for token in &tokens {
            session.check()?;
            job = Client::new(&url, token).post("/v1/plans", &body)?["jobs"][0]["id"].take();
        }
        let job = job.as_str().unwrap_or_default().to_owned();
        let turn = AtomicUsize::new(0);
        Ok(Self { url, tokens, body: body.to_string(), job, turn })
    }

    fn accept(&self, connections: usize) -> Result<Outcome, BenchError> {
        let next = |_| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.tokens.len();
            Request {
                line: "POST /v1/plans".to_owned(),
                token: Some(self.tokens[turn].clone()),
                body: Some(self.body.clone()),
            }
        };
        let outcome = Load { url: &self.url, connections, time: ROUND, next: &next }.run()?;
        outcome.all(202)?;
        Ok(outcome)
    }

    fn look(&self, connections: usize) -> Result<Outcome, BenchError> {
        let next = |_| Request {
            line: format!("GET /v1/jobs/{}", self.job),
            token: self.tokens.last().cloned(),
            body: None,
        };
        let outcome = Load { url: &self.url, connections, time: ROUND, next: &next }.run()?;
        outcome.all(200)?;
        Ok(outcome)
    }
}

/// pgbench and its script.
struct Floor<'a> {
    pgbench: &'a Path,
    database: &'a str,
    script: std::path::PathBuf,
}

impl<'a> Floor<'a> {
    fn prepare(folder: &Path, pgbench: &'a Path, database: &'a str) -> Result<Self, BenchError> {
        let script = folder.join("floor.sql");
        std::fs::write(&script, FLOOR)
            .map_err(|source| BenchError::Measurement(format!("{}: {source}", script.display())))?;
        let floor = Self { pgbench, database, script };
        let mut psql = Command::new(pgbench.with_file_name("psql"));
        psql.args([database, "--quiet", "--command", FLOOR_TABLE]);
        floor.output(psql)?;
        Ok(floor)
    }

    /// Rows per second over this many connections.
    fn measure(&self, connections: usize) -> Result<f64, BenchError> {
        let mut pgbench = Command::new(self.pgbench);
        pgbench
            .args(["--no-vacuum", "--protocol", "prepared", "--jobs", "2", "--client"])
            .arg(connections.min(64).to_string())
            .args(["--time", &ROUND.as_secs().to_string(), "--file"])
            .arg(&self.script)
            .arg(self.database);
        let told = self.output(pgbench)?;
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps = tps.and_then(|rest| rest.split(' ').next()?.parse().ok());
        tps.ok_or_else(|| BenchError::Measurement(format!("pgbench said {told}")))
    }

    fn output(&self, mut command: Command) -> Result<String, BenchError> {
        let output = command
            .output()
            .map_err(|source| BenchError::Measurement(format!("cannot run pgbench: {source}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(BenchError::Measurement(said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn plan<'a>(folder: &'a Path, binaries: &'a Path, secrets: &'a Secrets) -> StackPlan<'a> {
    StackPlan {
        folder,
        binaries,
        secrets,
        workers: 0,
        providers: Providers::Simulator,
        ingress_settings: &[
            ("RATE_GENERATE_PLANS", "1000000/h"),
            ("RATE_DAILY", "1000000/d"),
            ("MONTHLY_QUOTA", "false"),
            ("MAX_QUEUED", "10000000"),
            ("QUEUE_EXPIRY_SECONDS", "36000"),
        ],
        worker_settings: &[],
    }
}
