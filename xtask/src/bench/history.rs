//! Whether a long history makes anything slower: two stacks, one of them with
//! millions of finished jobs, are measured in turn, and the ratios of one run
//! are printed.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::BenchError;
use super::accept;
use super::ground::{Build, Ground, UNHURRIED, UNREACHED, Wanted};
use super::load::{Load, Pace, Request};
use super::results::{Scene, Series};
use super::subject::{PER_SECOND, Subject};
use super::users::{self, Job};
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::psql::{Psql, Row};
use crate::session::Session;
use crate::stack::Stack;

const ROUND: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 32;
/// The users of the history, and those of them who send requests.
const USERS: u32 = 200_000;
const ACTIVE: u128 = 2_000;
/// How long the jobs that are read may take.
const FINISHED_WITHIN: Duration = Duration::from_secs(60);
/// Workers learn of a pause within a second; what they hold ends soon after.
const PAUSES: Duration = Duration::from_secs(2);

const HISTORY: &str = include_str!("history.sql");

pub(super) const PAUSE: &str = "insert into regimen.pauses (what, name, paused_by)
    values ('queue', 'pro', 'bench'), ('queue', 'free', 'bench') on conflict do nothing";
pub(super) const RESUME: &str = "delete from regimen.pauses where paused_by = 'bench'";

/// How many jobs have not succeeded.
const UNFINISHED: &str =
    "copy (select count(*) from regimen.jobs where state <> 'succeeded') to stdout";

/// Jobs ended per second since a time, in seconds since 1970.
const ENDED: &str = "select coalesce((count(*) - 1)
    / nullif(extract(epoch from max(finished_at) - min(finished_at)), 0), 0)
    from regimen.jobs where finished_at > to_timestamp(";

/// What `cargo xtask bench history` takes.
#[derive(Args)]
pub(crate) struct History {
    /// How many finished jobs the history has.
    #[arg(long, value_name = "N", default_value_t = 5_000_000)]
    pub(super) jobs: u32,
    /// How many rounds.
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub(super) rounds: u32,
}

/// The measured operations, in the order of a round.
pub(super) const MEASURED: [&str; 3] = ["accepted/s", "status polls/s", "claimed and finished/s"];
/// The two stacks in the results.
pub(super) const WITHOUT: &str = "without a history";
pub(super) const WITH: &str = "with it";

impl History {
    /// Measures and prints the medians and their ratios.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(super) fn run(&self, session: &Session) -> Result<(), BenchError> {
        let scene = self.measure(&Ground::take(session, Build::RELEASE)?)?;
        let mut out = std::io::stdout();
        let _ = writeln!(
            out,
            "{} finished jobs, {CONNECTIONS} connections, medians of {} rounds",
            self.jobs, self.rounds
        );
        for what in MEASURED {
            let median = |name| scene.find(name).and_then(|series| series.median(what));
            let [none, history] = [WITHOUT, WITH].map(|name| median(name).unwrap_or_default());
            let ratio = history / none;
            let _ = writeln!(
                out,
                "{what:<24} without {none:>8.0}   with {history:>8.0}   ratio {ratio:.2}"
            );
        }
        for note in &scene.notes {
            let _ = writeln!(out, "{note}");
        }
        Ok(())
    }

    /// Measures both stacks in turn.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(super) fn measure(&self, ground: &Ground<'_>) -> Result<Scene, BenchError> {
        let session = ground.session;
        let stacks = [("none", 0), ("history", self.jobs)].map(|(name, jobs)| {
            let folder = ground.folder.join(name);
            Measured::start(ground, &folder, jobs)
        });
        let [none, history] = stacks;
        let stacks = [none?, history?];
        session.say(format_args!("measuring {} rounds", self.rounds));
        let mut scene = Scene::default();
        for round in 0..self.rounds as usize {
            for turn in 0..2 {
                session.check()?;
                // Each is the first of a round as often as the other.
                let which = (round + turn) % 2;
                let figures: &mut Series = scene.of([WITHOUT, WITH][which]);
                let rates = MEASURED.map(str::to_owned).into_iter().zip(stacks[which].measure()?);
                figures.add(rates.collect());
            }
        }
        let size = |(name, size): (String, String)| format!("{name}: {size}");
        scene.notes = stacks[1].sizes()?.into_iter().map(size).collect();
        Ok(scene)
    }
}

/// A stack and the requests to it.
pub(super) struct Measured {
    pub(super) stack: Stack,
    pub(super) psql: Psql,
    accept: Subject,
    /// Reads of finished jobs, each of another user.
    read: Subject,
    /// A user with such a job.
    pub(super) user: Uuid,
}

impl Measured {
    /// Starts it, lets it finish the jobs that are read, and copies one of them.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(super) fn start(ground: &Ground<'_>, folder: &Path, jobs: u32) -> Result<Self, BenchError> {
        let session = ground.session;
        let worker = [&UNHURRIED[..], &[("WORKER_SLOTS", "32"), ("BACKFILL_HOURS", "0")]];
        let wanted = Wanted { workers: 1, ingress: &UNREACHED, worker: &worker.concat() };
        let stack = ground.stack_in(folder, wanted)?;
        Client::new(&stack.simulator_url()?, "")
            .post("/control", &json!({"latency": {"fixed_ms": 0}}))?;
        let (url, psql) = (stack.ingress_url()?, stack.psql());
        let token = |number| users::sign(&ground.secrets, Uuid::from_u128(number));
        let body = json!({"kinds": ["meal"], "answers": demo::sample_quiz(session)?});
        let text = body.to_string();
        let submission = |number| Request::by(&token(number), "POST /v1/plans", Some(&text));
        let processes = accept::processes(&stack);
        let requests = (1..=ACTIVE).map(submission).collect();
        let accepting = Subject::new(accept::OURS, &url, requests, 202, processes);
        let readers: Vec<_> = (ACTIVE + 1..).take(accept::READ).map(submission).collect();
        let (pace, requests) = (Pace::Count(readers.len()), &readers);
        Load { url: &url, connections: CONNECTIONS, pace, requests, first: 0 }.run()?.all(202)?;
        let give_up = Instant::now() + FINISHED_WITHIN;
        while psql.run(UNFINISHED)?.trim() != "0" {
            if Instant::now() > give_up {
                return Err(BenchError::Measurement("the first jobs do not succeed".to_owned()));
            }
            session.pause()?;
        }
        let read = Job::of_all(&url, &ground.secrets, &psql, accept::READ)?;
        let no_job = || BenchError::Measurement("there is no job to copy".to_owned());
        let job = &read.first().ok_or_else(no_job)?.id;
        psql.run(PAUSE)?;
        if jobs > 0 {
            session.say(format_args!("copying it {jobs} times (minutes)"));
            let script = folder.join("history.sql");
            let head = format!("\\set jobs {jobs}\n\\set users {USERS}\n\\set job {job}\n");
            std::fs::write(&script, head + HISTORY)?;
            psql.run_file(&script)?;
        }
        let read = accept::reading(accept::OURS, &stack, read.iter().map(Job::read).collect())?;
        let user = Uuid::from_u128(ACTIVE + 1);
        Ok(Self { stack, psql, accept: accepting, read, user })
    }

    /// One round: requests and reads while nothing is claimed, then claims.
    fn measure(&self) -> Result<[f64; 3], BenchError> {
        let per_second = |subject: &Subject| -> Result<f64, BenchError> {
            let round = subject.flat_out(CONNECTIONS, ROUND)?;
            Ok(round.get(PER_SECOND).copied().unwrap_or_default())
        };
        let (accepted, read) = (per_second(&self.accept)?, per_second(&self.read)?);
        let since = clock::micros_since_1970() as f64 / 1e6;
        self.psql.run(RESUME)?;
        std::thread::sleep(ROUND);
        self.psql.run(PAUSE)?;
        std::thread::sleep(PAUSES);
        let rows = self.psql.rows(&format!("{ENDED}{since})"))?;
        let ended = rows.first().map_or(Ok(0.0), |row| row.get(0))?;
        Ok([accepted, read, ended])
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
