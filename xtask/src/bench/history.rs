//! Whether a long history makes anything slower: two stacks, one of them with
//! millions of finished jobs, are measured in turn, and the ratios of one run
//! are printed.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::load::{Load, Outcome, Request};
use super::spread::Spread;
use super::{BenchError, FOLDER};
use crate::binaries;
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::provision;
use crate::psql::{Psql, Row};
use crate::secrets::Secrets;
use crate::servers::{self, Servers};
use crate::session::Session;
use crate::stack::{Providers, Stack, StackPlan};
use crate::state::Lock;
use crate::token::Claims;
use crate::workspace::Profile;

const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 32;
const TOKEN_LIFE: u64 = 6 * 3_600;
/// The users of the history, and those of them who send requests.
const USERS: u32 = 200_000;
const ACTIVE: u128 = 2_000;
/// How long the first job may take.
const FIRST_WITHIN: Duration = Duration::from_secs(60);
/// Workers learn of a pause within a second; what they hold ends soon after.
const PAUSES: Duration = Duration::from_secs(2);

const HISTORY: &str = include_str!("history.sql");

const PAUSE: &str = "insert into regimen.pauses (what, name, paused_by)
    values ('queue', 'pro', 'bench'), ('queue', 'free', 'bench') on conflict do nothing";
const RESUME: &str = "delete from regimen.pauses where paused_by = 'bench'";

/// Jobs ended per second since a time, in seconds since 1970.
const ENDED: &str = "select coalesce((count(*) - 1)
    / nullif(extract(epoch from max(finished_at) - min(finished_at)), 0), 0)
    from regimen.jobs where finished_at > to_timestamp(";

/// What `cargo xtask bench history` takes.
#[derive(Args)]
pub(crate) struct History {
    /// How many finished jobs the history has.
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    jobs: u32,
    /// How many rounds.
    #[arg(long, value_name = "N", default_value_t = 7)]
    rounds: u32,
}

/// The measured operations, in the order of a round.
const MEASURED: [&str; 3] = ["accepted/s", "status polls/s", "claimed and finished/s"];

impl History {
    /// Measures and prints the medians and their ratios.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(super) fn run(&self, session: &Session) -> Result<(), BenchError> {
        let folder = session.workspace.place(FOLDER);
        let _lock = Lock::take(&folder)?;
        let secrets = Secrets::of(&folder)?;
        binaries::build(session, Profile::Release)?;
        let binaries = session.workspace.binaries(Profile::Release);
        let stacks = [("none", 0), ("history", self.jobs)].map(|(name, jobs)| {
            let folder = folder.join(name);
            Measured::start(session, &folder, &binaries, &secrets, jobs)
        });
        let [none, history] = stacks;
        let stacks = [none?, history?];
        session.say(format_args!("measuring {} rounds", self.rounds));
        let mut found: [[Vec<f64>; 2]; 3] = Default::default();
        for round in 0..self.rounds as usize {
            for turn in 0..2 {
                session.check()?;
                // Each is the first of a round as often as the other.
                let which = (round + turn) % 2;
                for (rates, rate) in found.iter_mut().zip(stacks[which].measure()?) {
                    rates[which].push(rate);
                }
            }
        }
        let mut out = std::io::stdout();
        let _ = writeln!(
            out,
            "{} finished jobs, {CONNECTIONS} connections, medians of {} rounds",
            self.jobs, self.rounds
        );
        for (what, [none, history]) in MEASURED.iter().zip(found) {
            let [none, history] = [none, history].map(|rates| Spread::of(rates).percentile(0.5));
            let ratio = history / none;
            let _ = writeln!(
                out,
                "{what:<24} without {none:>8.0}   with {history:>8.0}   ratio {ratio:.2}"
            );
        }
        for (name, size) in stacks[1].sizes()? {
            let _ = writeln!(out, "{name}: {size}");
        }
        Ok(())
    }
}

/// A stack and the requests to it.
struct Measured {
    _stack: Stack,
    url: String,
    psql: Psql,
    tokens: Vec<String>,
    body: String,
    /// A finished job and its owner's token.
    job: (String, String),
    turn: AtomicUsize,
}

impl Measured {
    /// Starts it, lets it finish one job, and copies that job.
    fn start(
        session: &Session,
        folder: &Path,
        binaries: &Path,
        secrets: &Secrets,
        jobs: u32,
    ) -> Result<Self, BenchError> {
        servers::remove_data(folder)
            .map_err(|source| BenchError::Remove { path: folder.to_owned(), source })?;
        let programs = provision::programs(session)?;
        let servers = Servers::start(session, programs, folder, secrets.passwords.clone())?;
        let stack = plan(folder, binaries, secrets).start(session, servers)?;
        Client::new(&stack.simulator_url()?, "")
            .post("/control", &json!({"latency": {"fixed_ms": 0}}))?;
        let (url, psql) = (stack.ingress_url()?, stack.psql());
        let issued_at = clock::seconds_since_1970();
        let token = |number| {
            let user = Uuid::from_u128(number);
            Claims { user, role: None, issued_at, life: TOKEN_LIFE }.sign(&secrets.jwt)
        };
        let tokens: Vec<String> = (1..=ACTIVE).map(token).collect();
        let body = json!({"kinds": ["meal"], "answers": demo::sample_quiz(session)?});
        let owner = token(ACTIVE + 1);
        let client = Client::new(&url, &owner);
        let job = client.post("/v1/plans", &body)?["jobs"][0]["id"].take();
        let job = job.as_str().unwrap_or_default().to_owned();
        let give_up = Instant::now() + FIRST_WITHIN;
        while client.get(&format!("/v1/jobs/{job}"))?["status"] != "succeeded" {
            if Instant::now() > give_up {
                return Err(BenchError::Measurement("the first job does not succeed".to_owned()));
            }
            session.pause()?;
        }
        psql.run(PAUSE)?;
        if jobs > 0 {
            session.say(format_args!("copying it {jobs} times (minutes)"));
            let script = folder.join("history.sql");
            let head = format!("\\set jobs {jobs}\n\\set users {USERS}\n\\set job {job}\n");
            std::fs::write(&script, head + HISTORY)?;
            psql.run_file(&script)?;
        }
        let (body, job, turn) = (body.to_string(), (job, owner), AtomicUsize::new(0));
        Ok(Self { _stack: stack, url, psql, tokens, body, job, turn })
    }

    /// One round: requests and reads while nothing is claimed, then claims.
    fn measure(&self) -> Result<[f64; 3], BenchError> {
        let next = |_| {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.tokens.len();
            Request {
                line: "POST /v1/plans".to_owned(),
                token: self.tokens.get(turn).cloned(),
                body: Some(self.body.clone()),
            }
        };
        let accepted = self.load(&next, 202)?;
        let next = |_| Request {
            line: format!("GET /v1/jobs/{}", self.job.0),
            token: Some(self.job.1.clone()),
            body: None,
        };
        let read = self.load(&next, 200)?;
        let since = clock::micros_since_1970() as f64 / 1e6;
        self.psql.run(RESUME)?;
        std::thread::sleep(ROUND);
        self.psql.run(PAUSE)?;
        std::thread::sleep(PAUSES);
        let rows = self.psql.rows(&format!("{ENDED}{since})"))?;
        let ended = rows.first().map_or(Ok(0.0), |row| row.get(0))?;
        Ok([accepted.per_second, read.per_second, ended])
    }

    fn load(
        &self,
        next: &(dyn Fn(usize) -> Request + Sync),
        status: u16,
    ) -> Result<Outcome, BenchError> {
        let load = Load { url: &self.url, connections: CONNECTIONS, time: ROUND, next };
        let outcome = load.run()?;
        outcome.all(status)?;
        Ok(outcome)
    }

    /// The largest tables, with their indexes.
    fn sizes(&self) -> Result<Vec<(String, String)>, BenchError> {
        let sql = "select relname || ' ' || reltuples::bigint || ' rows',
                pg_size_pretty(pg_total_relation_size(oid)) from pg_class
            where relnamespace = 'regimen'::regnamespace and relkind = 'r'
            order by pg_total_relation_size(oid) desc limit 4";
        let rows = self.psql.rows(sql)?;
        let size = |row: &Row| -> Result<_, BenchError> { Ok((row.get(0)?, row.get(1)?)) };
        rows.iter().map(size).collect()
    }
}

fn plan<'a>(folder: &'a Path, binaries: &'a Path, secrets: &'a Secrets) -> StackPlan<'a> {
    StackPlan {
        folder,
        binaries,
        secrets,
        workers: 1,
        providers: Providers::Simulator,
        ingress_settings: &[
            ("RATE_GENERATE_PLANS", "1000000/h"),
            ("RATE_DAILY", "1000000/d"),
            ("FLOOD_PER_SECOND", "0"),
            ("MONTHLY_QUOTA", "false"),
            ("MAX_QUEUED", "10000000"),
            ("QUEUE_EXPIRY_SECONDS", "36000"),
        ],
        worker_settings: &[("WORKER_SLOTS", "32"), ("BACKFILL_HOURS", "0")],
    }
}
