//! How many requests for plans are accepted per second, each committed before
//! its 202 and pushed to Redis, and how many reads of jobs are answered. For comparison, the
//! same run measures pgbench with one row per transaction.

use std::io::Write;
use std::time::{Duration, Instant};

use super::BenchError;
use super::cpu::Processes;
use super::floor;
use super::ground::{Build, Ground, UNREACHED, Wanted};
use super::load::Request;
use super::results::Series;
use super::subject::{P99, PER_SECOND, Subject};
use super::users::{Job, Users};
use crate::session::Session;
use crate::stack::Stack;

/// The numbers of connections.
pub(super) const CONNECTIONS: [usize; 2] = [32, 256];
const ROUND: Duration = Duration::from_secs(4);
/// The users, who take turns; each has a profile already, like most users.
pub(super) const USERS: usize = 2_000;
/// How many jobs are read in turn, each of another user: equal reads of a moment share one
/// look at PostgreSQL.
pub(super) const READ: usize = 512;
/// How long the last push may take.
const PUSHED_WITHIN: Duration = Duration::from_secs(30);
/// Where the jobs of the users are pushed to.
const LIST: &str = "{regimen}:queue:free";
/// Our name in the results.
pub(super) const OURS: &str = "Regimen";

/// Measures `rounds` rounds of each and prints the medians.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn run(session: &Session, rounds: u32) -> Result<(), BenchError> {
    let ground = Ground::take(session, Build::RELEASE)?;
    let stack = ground.stack(Wanted { ingress: &UNREACHED, ..Wanted::default() })?;
    let users = Users::new(&ground, USERS)?;
    users.introduce(session, &stack.ingress_url()?)?;
    let floor = floor::Postgres::prepare(&ground, &stack, users.quiz())?;
    let accept = accepting(&stack, &users)?;
    let jobs = Job::of_all(&stack.ingress_url()?, &ground.secrets, &stack.psql(), READ)?;
    let look = reading(OURS, &stack, jobs.iter().map(Job::read).collect())?;
    session.say(format_args!("measuring {rounds} rounds"));
    for connections in CONNECTIONS {
        let (mut accepted, mut seen, mut floors) =
            (Series::default(), Series::default(), Series::default());
        for _ in 0..rounds {
            session.check()?;
            accepted.add(accept.flat_out(connections, ROUND)?);
            seen.add(look.flat_out(connections, ROUND)?);
            floors.add(floor.one_by_one(connections, ROUND)?);
        }
        let median = |series: &Series, name| series.median(name).unwrap_or_default();
        let (rate, rows) = (median(&accepted, PER_SECOND), median(&floors, PER_SECOND));
        let _ = writeln!(
            std::io::stdout(),
            "{connections:>4} connections   accept/s {rate:.0} (p99 {:.0} ms)   polls/s {:.0} (p99 {:.0} ms)   \
             pgbench rows/s {rows:.0}   accept/floor {:.2}\n                  accepting: {}",
            median(&accepted, P99),
            median(&seen, PER_SECOND),
            median(&seen, P99),
            rate / rows,
            accepted.cpu(),
        );
    }
    all_pushed(session, &stack)
}

/// Waits until each waiting job of a stack without workers is in Redis, as the peers' are: a
/// job that is not pushed costs less.
///
/// # Errors
/// One is not.
pub(super) fn all_pushed(session: &Session, stack: &Stack) -> Result<(), BenchError> {
    let waiting = stack.psql().rows("select count(*) from regimen.jobs where state = 'queued'")?;
    let waiting: u64 = waiting.first().map_or(Ok(0), |row| row.get(0))?;
    let (mut redis, begun) = (stack.redis()?, Instant::now());
    loop {
        let pushed = redis.command(&["LLEN", LIST])?;
        if pushed == waiting.to_string() {
            return Ok(());
        }
        if begun.elapsed() > PUSHED_WITHIN {
            let told = format!("{waiting} jobs wait, but {pushed} are in Redis");
            return Err(BenchError::Measurement(told));
        }
        session.pause()?;
    }
}

/// Our ingress, which accepts requests of all users.
///
/// # Errors
/// It reported no address.
pub(super) fn accepting(stack: &Stack, users: &Users) -> Result<Subject, BenchError> {
    let requests = users.submissions("/v1/plans");
    Ok(Subject::new(OURS, &stack.ingress_url()?, requests, 202, processes(stack)))
}

/// Our ingress, which answers these reads of jobs.
///
/// # Errors
/// It reported no address.
pub(super) fn reading(
    name: &'static str,
    stack: &Stack,
    requests: Vec<Request>,
) -> Result<Subject, BenchError> {
    Ok(Subject::new(name, &stack.ingress_url()?, requests, 200, processes(stack)))
}

/// Our processes and the servers.
pub(super) fn processes(stack: &Stack) -> Processes {
    let [postgres, redis] = stack.server_pids();
    let mut processes =
        vec![("ingress", stack.ingress_pid()), ("PostgreSQL", postgres), ("Redis", redis)];
    processes.extend(stack.worker_pids().into_iter().map(|pid| ("worker", pid)));
    processes.extend(stack.simulator_pid().ok().map(|pid| ("simulator", pid)));
    Processes::of(&processes)
}
