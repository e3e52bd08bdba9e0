//! The servers that we are compared with: those of `load-tests/peers`. Each has a
//! database and a Redis database of its own on the stack's servers.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::bench::BenchError;
use crate::bench::cpu::Processes;
use crate::bench::ground::{Ground, Wanted};
use crate::bench::load::Request;
use crate::bench::subject::Subject;
use crate::bench::users::{Users, sign};
use crate::node;
use crate::psql::{Psql, Row};
use crate::python::Venv;
use crate::secrets::Secrets;
use crate::session::Session;
use crate::stack::{Service, Stack};
use regimen_devtools::process::{Output, Process};

const FOLDER: &str = "load-tests/peers";
/// How long a peer may take to finish what it has accepted.
const SETTLED_WITHIN: Duration = Duration::from_secs(180);
/// Over how many connections it accepts the jobs that are then read.
const ACCEPTED_AT_ONCE: usize = 8;
/// How often PostgreSQL looks whether it has.
const LOOK: f64 = 0.05;

/// Which peers can run here; of the others, why not.
pub(super) struct Peers {
    node: Result<PathBuf, String>,
    python: Result<(Venv, PathBuf), String>,
    rust: Result<PathBuf, String>,
    schema: PathBuf,
}

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// fastify, pg, BullMQ.
    Node,
    /// FastAPI, asyncpg, arq.
    Arq,
    /// FastAPI with background tasks: the shape of the replaced service.
    Synchronous,
    /// apalis with its Redis storage.
    Apalis,
    /// axum with static answers.
    Bare,
}

/// How a peer runs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Role {
    /// Which it is.
    pub(super) kind: Kind,
    /// Whether it checks tokens and a limit for each user.
    pub(super) gate: bool,
    /// With a worker, how many jobs it works on at once.
    pub(super) slots: Option<usize>,
}

/// A running peer.
pub(super) struct Peer {
    role: Role,
    server: Service,
    worker: Option<Service>,
    /// Tells its databases from those of the others.
    number: usize,
    psql: Psql,
    stores: [u32; 2],
    simulator: u32,
}

impl Peers {
    /// Installs and compiles what they need.
    pub(super) fn install(session: &Session) -> Self {
        let folder = session.workspace.root().join(FOLDER);
        let said = |name: &str, error: &dyn Display| {
            session.say(format_args!("the {name} peers are left out: {error}"));
            error.to_string()
        };
        let node = node::install(session, &folder.join("node"))
            .map(|()| folder.join("node"))
            .map_err(|error| said("Node", &error));
        let requirements = folder.join("python/requirements.txt");
        let python = Venv::of(session, "peers", &requirements)
            .map(|venv| (venv, folder.join("python")))
            .map_err(|error| said("Python", &error));
        let rust = compile(session, &folder.join("rust")).map_err(|error| said("Rust", &error));
        Self { node, python, rust, schema: folder.join("schema.sql") }
    }

    /// Starts those of `roles` that can run here; tells of the others in `notes`.
    ///
    /// # Errors
    /// One does not start.
    pub(super) fn start(
        &self,
        ground: &Ground<'_>,
        stack: &Stack,
        roles: &[Role],
        notes: &mut Vec<String>,
    ) -> Result<Vec<Peer>, BenchError> {
        let mut peers = Vec::new();
        for (number, role) in roles.iter().enumerate() {
            ground.session.check()?;
            match self.lack(role.kind) {
                Some(lack) => notes.push(format!("{} was not measured: {lack}", role.name())),
                None => {
                    ground.session.say(format_args!("starting {}", role.name()));
                    let main = stack.psql();
                    main.run(&format!("create database {}", database(number)))?;
                    main.database(&database(number)).run_file(&self.schema)?;
                    peers.push(self.start_one(ground, stack, *role, number)?);
                }
            }
        }
        Ok(peers)
    }

    /// Ends a peer with all it has not finished, and starts it again with nothing to do.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn renew(
        &self,
        ground: &Ground<'_>,
        stack: &Stack,
        peer: Peer,
    ) -> Result<Peer, BenchError> {
        let (role, number) = (peer.role, peer.number);
        ground.session.say(format_args!("starting {} anew", role.name()));
        drop(peer);
        let mut redis = stack.redis()?;
        redis.command(&["SELECT", &redis_database(number)])?;
        redis.command(&["FLUSHDB"])?;
        let renewed = self.start_one(ground, stack, role, number)?;
        renewed.clear()?;
        Ok(renewed)
    }

    fn lack(&self, kind: Kind) -> Option<&str> {
        match kind {
            Kind::Node => self.node.as_ref().err(),
            Kind::Arq | Kind::Synchronous => self.python.as_ref().err(),
            Kind::Apalis | Kind::Bare => self.rust.as_ref().err(),
        }
        .map(String::as_str)
    }

    fn start_one(
        &self,
        ground: &Ground<'_>,
        stack: &Stack,
        role: Role,
        number: usize,
    ) -> Result<Peer, BenchError> {
        let database = database(number);
        let psql = stack.psql().database(&database);
        let urls = Urls {
            // Both URLs end with the name of a database.
            database: with_last(&stack.servers().database_url(), &database),
            redis: with_last(&stack.servers().redis_url(), &redis_database(number)),
            provider: stack.simulator_url()?,
        };
        let plan = ground.plan(&ground.folder, Wanted::default());
        let (server, worker) = self.programs(role.kind)?;
        let start = |name: String, mut command: Command| {
            urls.set(&mut command);
            if role.gate {
                command.env("JWT_SECRET", &ground.secrets.jwt);
            }
            command.env("SLOTS", role.slots.unwrap_or_default().to_string());
            plan.spawn(&name, command)?.ready(ground.session)
        };
        let server = start(format!("{database}-server"), server)?;
        let worker = match (worker, role.slots) {
            (Some(worker), Some(_)) => Some(start(format!("{database}-worker"), worker)?),
            _ => None,
        };
        let (stores, simulator) = (stack.server_pids(), stack.simulator_pid()?);
        Ok(Peer { role, server, worker, number, psql, stores, simulator })
    }

    /// The commands of server and worker.
    fn programs(&self, kind: Kind) -> Result<(Command, Option<Command>), BenchError> {
        let node = |script: &str| -> Result<Command, BenchError> {
            let mut command = Command::new("node");
            command.arg(known(&self.node)?.join(script)).env("NODE_ENV", "production");
            Ok(command)
        };
        let python = |script: &str| -> Result<Command, BenchError> {
            let (venv, folder) = known(&self.python)?;
            let mut command = venv.program("python");
            command.arg(folder.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
            Ok(command)
        };
        let rust = |role: &str| -> Result<Command, BenchError> {
            let mut command = Command::new(known(&self.rust)?);
            command.arg(role);
            Ok(command)
        };
        Ok(match kind {
            Kind::Node => (node("server.js")?, Some(node("worker.js")?)),
            Kind::Arq => (python("queued.py")?, Some(python("work.py")?)),
            Kind::Synchronous => (python("synchronous.py")?, None),
            Kind::Apalis => (rust("apalis-server")?, Some(rust("apalis-worker")?)),
            Kind::Bare => (rust("bare")?, None),
        })
    }
}

/// The addresses that a peer is given.
struct Urls {
    database: String,
    redis: String,
    provider: String,
}

impl Urls {
    fn set(&self, command: &mut Command) {
        command
            .env("DATABASE_URL", &self.database)
            .env("REDIS_URL", &self.redis)
            .env("PROVIDER_URL", &self.provider)
            .env_remove("JWT_SECRET")
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost");
    }
}

impl Role {
    /// A server alone.
    pub(super) const fn server(kind: Kind) -> Self {
        Self { kind, gate: false, slots: None }
    }

    /// A server alone that checks tokens and limits.
    pub(super) const fn gate(kind: Kind) -> Self {
        Self { kind, gate: true, slots: None }
    }

    /// Its name in the results.
    pub(super) const fn name(self) -> &'static str {
        match (self.kind, self.gate) {
            (Kind::Node, false) => NODE,
            (Kind::Node, true) => NODE_GATE,
            (Kind::Arq, false) => "FastAPI + arq",
            (Kind::Arq, true) => "FastAPI + arq, with token and limiter",
            (Kind::Synchronous, _) => SYNCHRONOUS,
            (Kind::Apalis, _) => "axum + apalis-redis",
            (Kind::Bare, _) => BARE,
        }
    }
}

/// The names that the page looks for.
pub(super) const NODE: &str = "fastify + BullMQ";
pub(super) const NODE_GATE: &str = "fastify + BullMQ, with token and limiter";
pub(super) const SYNCHRONOUS: &str = "FastAPI with background tasks";
pub(super) const BARE: &str = "bare axum";

impl Peer {
    /// Its role.
    pub(super) fn role(&self) -> Role {
        self.role
    }

    /// Its requests for a plan, and their status.
    ///
    /// # Errors
    /// It did not report its address.
    pub(super) fn accepting(&self, users: &Users) -> Result<Subject, BenchError> {
        let (path, status) = match self.role.kind {
            Kind::Synchronous => ("/generate-plans", 200),
            _ => ("/plans", 202),
        };
        let requests = match self.role.kind {
            Kind::Synchronous => {
                let id = "00000000-0000-4000-8000-000000000000";
                let order = json!({"user_id": id, "quiz_result_id": id, "answers": users.quiz()});
                vec![Request::new(&format!("POST {path}"), "", Some(&order.to_string()))]
            }
            _ if self.role.gate => users.submissions(path),
            _ => {
                let body = users.body().to_string();
                vec![Request::new(&format!("POST {path}"), "", Some(&body))]
            }
        };
        Ok(Subject::new(self.role.name(), &self.url()?, requests, status, self.processes()))
    }

    /// Reads of jobs that it accepted, as many as there are users; where it checks tokens, each
    /// of another user.
    ///
    /// # Errors
    /// It does not accept them.
    pub(super) fn reading(&self, users: &Users, secrets: &Secrets) -> Result<Subject, BenchError> {
        self.clear()?;
        self.accepting(users)?.send(ACCEPTED_AT_ONCE, users.count())?;
        let read = |row: &Row| -> Result<Request, BenchError> {
            let line = format!("GET /plans/{}", row.get::<String>(0)?);
            let token = if self.role.gate { sign(secrets, row.get(1)?) } else { String::new() };
            Ok(Request::by(&token, &line, None))
        };
        let requests: Result<_, _> =
            self.psql.rows("select id, user_id from jobs")?.iter().map(read).collect();
        Ok(Subject::new(self.role.name(), &self.url()?, requests?, 200, self.processes()))
    }

    /// Forgets all jobs.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(super) fn clear(&self) -> Result<(), BenchError> {
        self.psql.run("truncate jobs cascade")?;
        Ok(())
    }

    /// Waits until no accepted job is open.
    ///
    /// # Errors
    /// One still is after minutes.
    pub(super) fn settle(&self) -> Result<(), BenchError> {
        if self.settle_within(SETTLED_WITHIN)? {
            return Ok(());
        }
        let told = format!("{}: its jobs never finish", self.role.name());
        Err(BenchError::Measurement(told))
    }

    /// Waits until no accepted job is open, at most for a time; whether none is.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(super) fn settle_within(&self, time: Duration) -> Result<bool, BenchError> {
        let tries = (time.as_secs_f64() / LOOK) as u64;
        // In PostgreSQL, because starting a client again and again would disturb what is
        // measured.
        self.psql.run(&format!(
            "do $$ begin for i in 1..{tries} loop
                 exit when not exists (select from jobs where finished_at is null);
                 perform pg_sleep({LOOK});
             end loop; end $$"
        ))?;
        let open: u64 = self.number("select count(*) from jobs where finished_at is null")?;
        Ok(open == 0)
    }

    /// From the first accepted job to the last finished one, seconds.
    ///
    /// # Errors
    /// A job failed, or there is none.
    pub(super) fn took(&self) -> Result<f64, BenchError> {
        let failed: u64 = self.number("select count(*) from jobs where state <> 'succeeded'")?;
        if failed > 0 {
            let told = format!("{}: {failed} jobs failed", self.role.name());
            return Err(BenchError::Measurement(told));
        }
        self.number("select extract(epoch from max(finished_at) - min(created_at)) from jobs")
    }

    /// How many jobs had finished at a time, in seconds since 1970.
    ///
    /// # Errors
    /// PostgreSQL refuses.
    pub(super) fn finished_by(&self, time: f64) -> Result<f64, BenchError> {
        self.number(&format!("select count(*) from jobs where finished_at <= to_timestamp({time})"))
    }

    /// Its database.
    pub(super) fn psql(&self) -> &Psql {
        &self.psql
    }

    /// Where it serves.
    ///
    /// # Errors
    /// It did not report its address.
    pub(super) fn url(&self) -> Result<String, BenchError> {
        Ok(self.server.address("PEER_URL")?)
    }

    /// Its processes and the servers that it uses.
    pub(super) fn processes(&self) -> Processes {
        let server = ("server", self.server.process.id());
        if self.role.kind == Kind::Bare {
            return Processes::of(&[server]);
        }
        let [postgres, redis] = self.stores;
        let mut all = vec![server, ("PostgreSQL", postgres), ("Redis", redis)];
        all.extend(self.worker.as_ref().map(|worker| ("worker", worker.process.id())));
        if self.worker.is_some() || self.role.kind == Kind::Synchronous {
            all.push(("simulator", self.simulator));
        }
        Processes::of(&all)
    }

    fn number<T: std::str::FromStr>(&self, sql: &str) -> Result<T, BenchError> {
        match self.psql.rows(sql)?.as_slice() {
            [row] => Ok(row.get(0)?),
            rows => Err(BenchError::Measurement(format!("{} rows instead of one", rows.len()))),
        }
    }
}

/// Compiles the peers in Rust, in a folder of their own; returns the program.
fn compile(session: &Session, folder: &Path) -> Result<PathBuf, BenchError> {
    session.say("compiling the peers (minutes at first, seconds later)");
    let target = session.workspace.place("peers");
    let mut cargo = session.workspace.cargo();
    cargo.args(["build", "--release", "--locked", "--manifest-path"]);
    cargo.arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&target);
    Process::run(session, "cargo build", cargo, Output::Ours)?;
    Ok(target.join("release/regimen-peers"))
}

fn known<T>(installed: &Result<T, String>) -> Result<&T, BenchError> {
    installed.as_ref().map_err(|lack| BenchError::Measurement(lack.clone()))
}

/// The name of a peer's database in PostgreSQL.
fn database(number: usize) -> String {
    format!("peer_{number}")
}

/// The number of a peer's database in Redis; the first is ours.
fn redis_database(number: usize) -> String {
    (number + 1).to_string()
}

/// A URL with another last part of its path.
fn with_last(url: &str, last: &str) -> String {
    let (start, _) = url.rsplit_once('/').unwrap_or((url, ""));
    format!("{start}/{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_url_is_replaced() {
        assert_eq!(with_last("redis://:a@h:1/0", "7"), "redis://:a@h:1/7");
        assert_eq!(with_last("postgres://u:p@h:1/postgres", "x"), "postgres://u:p@h:1/x");
    }
}
