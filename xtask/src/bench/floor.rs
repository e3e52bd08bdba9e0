//! The floors: what PostgreSQL and Redis do alone with a row and a message of ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::BenchError;
use super::cpu::Processes;
use super::ground::Ground;
use super::spread::Spread;
use super::subject::{PER_SECOND, Round, add_cpu};
use crate::psql::Psql;
use crate::resp::{Connection, RespError};
use crate::session::{LOOK_AGAIN, Session};
use crate::stack::Stack;

/// Rows as wide as an accepted job's.
const TABLES: &str = "create schema bench;
    create table bench.floor
        (id bigserial primary key, at timestamptz not null default now(), payload jsonb not null);
    create table bench.sample (payload jsonb not null);";
const ONE: &str = "insert into bench.floor (payload) select payload from bench.sample;\n";
const FIFTY: &str = "insert into bench.floor (payload)
    select payload from bench.sample, generate_series(1, 50);\n";
/// More clients than this do not help pgbench.
const MOST_CLIENTS: usize = 64;
const BATCH_CLIENTS: usize = 4;
/// Messages of `redis-benchmark`, per second of measurement.
const MESSAGES_A_SECOND: u64 = 50_000;
/// The user of `redis-benchmark`, who may push to its list alone.
const GUEST: &str = "bench";
/// The lists of the blocking pop.
const LISTS: [&str; 2] = ["{bench}:from", "{bench}:to"];

/// pgbench and its scripts.
pub(super) struct Postgres {
    pgbench: PathBuf,
    port: String,
    password: String,
    one: PathBuf,
    fifty: PathBuf,
    processes: Processes,
    psql: Psql,
}

impl Postgres {
    /// Makes the tables.
    ///
    /// # Errors
    /// The tables or the scripts cannot be written.
    pub(super) fn prepare(
        ground: &Ground<'_>,
        stack: &Stack,
        quiz: &Value,
    ) -> Result<Self, BenchError> {
        let psql: Psql = stack.psql();
        psql.run(TABLES)?;
        // The quiz has no quotes; doubled all the same.
        let quiz = quiz.to_string().replace('\'', "''");
        psql.run(&format!("insert into bench.sample values ('{quiz}')"))?;
        let script = |name: &str, text: &str| -> Result<PathBuf, BenchError> {
            let path = ground.folder.join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        let [postgres, _] = stack.server_pids();
        Ok(Self {
            pgbench: ground.postgres_program("pgbench"),
            port: stack.servers().postgres.port.to_string(),
            password: ground.secrets.passwords.postgres.clone(),
            one: script("one.sql", ONE)?,
            fifty: script("fifty.sql", FIFTY)?,
            processes: Processes::of(&[("PostgreSQL", postgres)]),
            psql,
        })
    }

    /// Takes away what pgbench wrote, and what PostgreSQL still has to do because of it:
    /// hundreds of megabytes, for which the next subject would pay.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(super) fn settle(&self) -> Result<(), BenchError> {
        self.psql.run("truncate bench.floor")?;
        self.psql.run("checkpoint")?;
        Ok(())
    }

    /// Rows per second over this many connections, one in each transaction.
    ///
    /// # Errors
    /// pgbench fails.
    pub(super) fn one_by_one(
        &self,
        connections: usize,
        time: Duration,
    ) -> Result<Round, BenchError> {
        self.measure(&self.one, connections.min(MOST_CLIENTS), time, 1.0)
    }

    /// Rows per second, fifty in each transaction.
    ///
    /// # Errors
    /// pgbench fails.
    pub(super) fn by_fifty(&self, time: Duration) -> Result<Round, BenchError> {
        self.measure(&self.fifty, BATCH_CLIENTS, time, 50.0)
    }

    fn measure(
        &self,
        script: &Path,
        clients: usize,
        time: Duration,
        rows: f64,
    ) -> Result<Round, BenchError> {
        let mut pgbench = Command::new(&self.pgbench);
        pgbench
            .env("PGPASSWORD", &self.password)
            .args(["-h", "127.0.0.1", "-U", "postgres", "-p", &self.port])
            .args(["--no-vacuum", "--protocol", "prepared", "--jobs", "2", "--client"])
            .arg(clients.to_string())
            .args(["--time", &time.as_secs().max(1).to_string(), "--file"])
            .arg(script)
            .arg("postgres");
        let (before, begun) = (self.processes.seconds(), Instant::now());
        let told = output("pgbench", pgbench)?;
        let (used, seconds) =
            (self.processes.seconds().since(&before), begun.elapsed().as_secs_f64());
        let tps = told.lines().find_map(|line| line.strip_prefix("tps = "));
        let tps: Option<f64> = tps.and_then(|rest| rest.split(' ').next()?.parse().ok());
        let tps = tps.ok_or_else(|| BenchError::Measurement(format!("pgbench said {told}")))?;
        let per_second = tps * rows;
        let mut round = Round::from([(PER_SECOND.to_owned(), per_second)]);
        add_cpu(&mut round, &used, (per_second * seconds) as usize, seconds);
        Ok(round)
    }
}

/// LPUSH per second, each awaited, over 32 connections; none without `redis-benchmark`.
///
/// # Errors
/// It fails.
pub(super) fn redis_pushes(
    ground: &Ground<'_>,
    stack: &Stack,
    time: Duration,
) -> Result<Option<Round>, BenchError> {
    let program = ground.programs.redis.path.with_file_name("redis-benchmark");
    if !program.exists() {
        return Ok(None);
    }
    let mut redis = stack.redis()?;
    // It takes a password as an argument only, which every user of the machine can read.
    redis.command(&[
        "ACL",
        "SETUSER",
        GUEST,
        "on",
        "nopass",
        "~mylist",
        "+lpush",
        "+config|get",
    ])?;
    let port = stack.servers().redis.port.to_string();
    let count = (MESSAGES_A_SECOND * time.as_secs().max(1)).to_string();
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-p", &port, "--user", GUEST, "-a", GUEST]);
    command.args(["-c", "32", "-n", &count, "-q", "--csv", "-d", "80", "-t", "lpush"]);
    let told = output("redis-benchmark", command)?;
    redis.command(&["DEL", "mylist"])?;
    redis.command(&["ACL", "DELUSER", GUEST])?;
    let line = told.lines().find(|line| line.starts_with("\"LPUSH\""));
    let rate = line.and_then(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok());
    let rate = rate.ok_or_else(|| BenchError::Measurement(format!("redis-benchmark: {told}")))?;
    Ok(Some(Round::from([(PER_SECOND.to_owned(), rate)])))
}

/// From a push to the return of a blocking pop on another connection that was idle, ms.
///
/// # Errors
/// Redis does not answer.
pub(super) fn blocking_pops(
    session: &Session,
    stack: &Stack,
    samples: u32,
) -> Result<Spread, BenchError> {
    let [from, to] = LISTS;
    let (mut pusher, mut popper) = (stack.redis()?, stack.redis()?);
    let popping = std::thread::spawn(move || -> Result<Vec<Instant>, RespError> {
        (0..samples).map(|_| pop(&mut popper, from, to)).collect()
    });
    let mut pushed = Vec::new();
    for _ in 0..samples {
        // Idle, as between two jobs of the benchmark `pickup`.
        std::thread::sleep(LOOK_AGAIN);
        session.check()?;
        pushed.push(Instant::now());
        pusher.command(&["LPUSH", from, "x"])?;
    }
    let popped = popping.join().map_err(|_| {
        BenchError::Measurement("the thread that waits for messages panicked".to_owned())
    })??;
    pusher.command(&["DEL", from, to])?;
    let wait = |(pushed, popped): (&Instant, &Instant)| {
        popped.saturating_duration_since(*pushed).as_secs_f64() * 1_000.0
    };
    Ok(Spread::of(pushed.iter().zip(&popped).map(wait).collect()))
}

fn pop(popper: &mut Connection, from: &str, to: &str) -> Result<Instant, RespError> {
    popper.command(&["BLMOVE", from, to, "RIGHT", "LEFT", "30"])?;
    Ok(Instant::now())
}

fn output(name: &str, mut command: Command) -> Result<String, BenchError> {
    let output = command
        .output()
        .map_err(|source| BenchError::Measurement(format!("cannot run {name}: {source}")))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(BenchError::Measurement(format!("{name}: {said}")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
