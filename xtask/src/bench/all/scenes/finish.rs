//! Jobs from submission to their saved plan: a fixed number is submitted over 32
//! connections as fast as they are accepted while the worker works, so load and backlog
//! come together. In one scene the provider answers at once, and the whole is timed. In the
//! other it takes two seconds, and only the time counts in which all slots are full.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ACCEPTED, DONE, DRAINED, FINISH, FINISH_SLOW, Parts};
use crate::bench::BenchError;
use crate::bench::accept::{USERS, accepting};
use crate::bench::all::Run;
use crate::bench::all::peers::{Kind, Peer, Role};
use crate::bench::ground::{UNHURRIED, UNREACHED, Wanted};
use crate::bench::results::Scene;
use crate::bench::subject::{PER_SECOND, Round, Subject, add_cpu};
use crate::bench::users::Users;
use crate::clock;
use crate::http::Client;
use crate::psql::Psql;
use crate::session::Session;
use crate::stack::Stack;

const CONNECTIONS: usize = 32;
/// How many jobs each worker works on at once.
const SLOTS: usize = 1_000;
/// Those of the first round, which is not counted but tells how many are measured.
const WARM_UP: usize = 600;
/// A round is to take this many times the time of others, so that it has a backlog.
const LONGER: f64 = 2.0;
const MOST: usize = 20_000;
/// apalis' storage stops for good when it has more than 8,000 due jobs.
const MOST_OF_APALIS: usize = 6_000;
/// With a slow provider, of each subject: the slots are filled five times.
const MANY: usize = 5 * SLOTS;
/// Who has not finished those within this time is rated by what it has.
const CUT: Duration = Duration::from_secs(30);
/// The share of the finished jobs after which the time counts, and the one up to which.
const COUNTED: [f64; 2] = [0.2, 0.8];
const FINISHED_WITHIN: Duration = Duration::from_secs(180);
/// The metric that a worker counts its finished jobs with.
const FINISHED: &str = "regimen_jobs_finished_total";

const fn with_worker(kind: Kind) -> Role {
    Role { kind, gate: false, slots: Some(SLOTS) }
}

const ROLES: [Role; 5] = [
    with_worker(Kind::Node),
    Role { gate: true, ..with_worker(Kind::Node) },
    with_worker(Kind::Arq),
    with_worker(Kind::Apalis),
    with_worker(Kind::Synchronous),
];

/// A service that is measured.
struct Contender {
    subject: Subject,
    tally: Tally,
}

/// How its finished jobs are counted.
enum Tally {
    /// By our worker's metrics; their times are in our tables.
    Metrics(Client, Psql),
    /// In the tables of a peer.
    Rows(Box<Peer>),
}

/// What is measured. Dropped in the order of the fields: the peers use the stack's servers.
struct Field {
    contenders: Vec<Contender>,
    stack: Stack,
    users: Users,
    notes: Vec<String>,
}

/// With a provider that answers at once.
pub(super) fn at_once(run: &Run<'_>) -> Result<Parts, BenchError> {
    let session = run.ground.session;
    let Field { contenders, notes, .. } = &field(run, 0)?;
    let mut scene = Scene { notes: notes.clone(), ..Scene::default() };
    let mut counts = Vec::new();
    for contender in contenders {
        session.check()?;
        session.say(format_args!("warming up {}", contender.subject.name));
        let warm = contender.finish(session, WARM_UP)?;
        counts.push(contender.worth(run.time, warm.get(PER_SECOND).copied()));
    }
    for round in 1..=run.rounds {
        for (contender, count) in contenders.iter().zip(&counts) {
            session.check()?;
            let name = contender.subject.name;
            session.say(format_args!("round {round}: {name}, {count} jobs"));
            scene.of(name).add(contender.finish(session, *count)?);
        }
    }
    Ok(vec![(FINISH, scene)])
}

/// With a provider that takes two seconds.
pub(super) fn after_two_seconds(run: &Run<'_>) -> Result<Parts, BenchError> {
    let session = run.ground.session;
    let Field { stack, users, mut contenders, notes } = field(run, 2_000)?;
    let mut scene = Scene { notes, ..Scene::default() };
    for contender in &contenders {
        session.check()?;
        session.say(format_args!("warming up {}", contender.subject.name));
        contender.finish(session, WARM_UP)?;
    }
    for round in 1..=run.rounds {
        for place in 0..contenders.len() {
            session.check()?;
            let name = contenders[place].subject.name;
            session.say(format_args!("round {round}: {name}, {MANY} jobs"));
            let (figures, through) = contenders[place].sustain(session)?;
            scene.of(name).add(figures);
            if through {
                continue;
            }
            let contender = contenders.remove(place);
            let next = match contender.tally {
                Tally::Rows(peer) => {
                    Contender::of(run.peers.renew(&run.ground, &stack, *peer)?, &users)?
                }
                // It was waited for.
                tally @ Tally::Metrics(..) => Contender { tally, ..contender },
            };
            contenders.insert(place, next);
        }
    }
    Ok(vec![(FINISH_SLOW, scene)])
}

/// Ours and the peers, each with a worker; the provider takes this long, ms.
fn field(run: &Run<'_>, latency: u32) -> Result<Field, BenchError> {
    let slots = SLOTS.to_string();
    let worker = [&UNHURRIED[..], &[("WORKER_SLOTS", slots.as_str())]].concat();
    let wanted = Wanted { workers: 1, ingress: &UNREACHED, worker: &worker };
    let stack = run.ground.stack(wanted)?;
    let users = Users::new(&run.ground, USERS)?;
    let latency = json!({"latency": {"fixed_ms": latency}});
    Client::new(&stack.simulator_url()?, "").post("/control", &latency)?;
    let mut notes = Vec::new();
    let peers = run.peers.start(&run.ground, &stack, &ROLES, &mut notes)?;
    let metrics = Client::new(&stack.worker_metrics_url()?, "");
    let tally = Tally::Metrics(metrics, stack.psql());
    let mut contenders = vec![Contender { subject: accepting(&stack, &users)?, tally }];
    for peer in peers {
        contenders.push(Contender::of(peer, &users)?);
    }
    Ok(Field { stack, users, contenders, notes })
}

impl Contender {
    fn of(peer: Peer, users: &Users) -> Result<Self, BenchError> {
        Ok(Self { subject: peer.accepting(users)?, tally: Tally::Rows(Box::new(peer)) })
    }

    /// How many of its jobs an answer stands for.
    fn each(&self) -> usize {
        match &self.tally {
            Tally::Rows(peer) if peer.role().kind == Kind::Synchronous => 2,
            _ => 1,
        }
    }

    /// Submits jobs that fill the slots several times, and counts those that finish while they
    /// are full. Also whether it finished all in time; otherwise a peer still works on them.
    fn sustain(&self, session: &Session) -> Result<(Round, bool), BenchError> {
        let each = self.each();
        let before = self.finished_before()?;
        let since = clock::micros_since_1970() as f64 / 1e6;
        let (used, begun) = (self.subject.used(), Instant::now());
        let outcome = self.subject.send_within(CONNECTIONS, MANY / each, CUT)?;
        let jobs = outcome.answers * each;
        let through = match &self.tally {
            Tally::Metrics(metrics, _) => {
                all_finished(session, metrics, before + jobs as f64, begun, CUT)?
            }
            Tally::Rows(peer) => peer.settle_within(CUT.saturating_sub(begun.elapsed()))?,
        };
        let used = self.subject.used().since(&used);
        let (took, cut) = (begun.elapsed().as_secs_f64(), since + CUT.as_secs_f64());
        let (psql, table) = match &self.tally {
            Tally::Metrics(_, psql) => (psql, "regimen.jobs"),
            Tally::Rows(peer) => (peer.psql(), "jobs"),
        };
        let rows = psql.rows(&in_between(table, since, cut))?;
        let (failed, done, per_second): (u64, usize, f64) = match rows.as_slice() {
            [row] => (row.get(0)?, row.get(1)?, row.maybe(2)?.unwrap_or_default()),
            _ => return Err(BenchError::Measurement("the jobs cannot be counted".to_owned())),
        };
        if failed > 0 {
            let told = format!("{}: {failed} jobs failed", self.subject.name);
            return Err(BenchError::Measurement(told));
        }
        if let Tally::Metrics(metrics, _) = &self.tally
            && !all_finished(session, metrics, before + jobs as f64, begun, FINISHED_WITHIN)?
        {
            return Err(BenchError::Measurement(format!("{jobs} jobs were not finished in time")));
        }
        let mut round = Round::from([
            (PER_SECOND.to_owned(), per_second),
            (ACCEPTED.to_owned(), outcome.per_second * each as f64),
            (DONE.to_owned(), done as f64),
        ]);
        add_cpu(&mut round, &used, done, took);
        Ok((round, through))
    }

    /// How many of its jobs had finished before a round. A peer's rows begin anew.
    fn finished_before(&self) -> Result<f64, BenchError> {
        match &self.tally {
            Tally::Metrics(metrics, _) => finished(metrics),
            Tally::Rows(peer) => {
                peer.clear()?;
                Ok(0.0)
            }
        }
    }

    /// How many jobs a round of about that time has.
    fn worth(&self, time: Duration, per_second: Option<f64>) -> usize {
        let most = match &self.tally {
            Tally::Rows(peer) if peer.role().kind == Kind::Apalis => MOST_OF_APALIS,
            _ => MOST,
        };
        let count = per_second.unwrap_or_default() * time.as_secs_f64() * LONGER;
        (count as usize).clamp(WARM_UP, most)
    }

    /// Submits that many jobs and waits for the last plan.
    fn finish(&self, session: &Session, count: usize) -> Result<Round, BenchError> {
        let each = self.each();
        let before = self.finished_before()?;
        let (used, begun) = (self.subject.used(), Instant::now());
        let outcome = self.subject.send(CONNECTIONS, count / each)?;
        let jobs = outcome.answers * each;
        let (took, early) = match &self.tally {
            Tally::Metrics(metrics, _) => {
                let early = finished(metrics)? - before;
                let last = before + jobs as f64;
                if !all_finished(session, metrics, last, begun, FINISHED_WITHIN)? {
                    let told = format!("{count} jobs were not finished in time");
                    return Err(BenchError::Measurement(told));
                }
                (begun.elapsed().as_secs_f64(), early)
            }
            Tally::Rows(peer) => {
                let submitted = clock::micros_since_1970() as f64 / 1e6;
                peer.settle()?;
                (peer.took()?, peer.finished_by(submitted)?)
            }
        };
        let used = self.subject.used().since(&used);
        let backlog = jobs as f64 - early;
        let mut round = Round::from([
            (PER_SECOND.to_owned(), jobs as f64 / took),
            (ACCEPTED.to_owned(), outcome.per_second * each as f64),
            (DRAINED.to_owned(), backlog / (took - outcome.seconds).max(0.001)),
        ]);
        add_cpu(&mut round, &used, jobs, took);
        Ok(round)
    }
}

/// Waits until a worker has finished `last` jobs, at most for a time; whether it has.
fn all_finished(
    session: &Session,
    metrics: &Client,
    last: f64,
    begun: Instant,
    within: Duration,
) -> Result<bool, BenchError> {
    while finished(metrics)? < last {
        session.pause()?;
        if begun.elapsed() > within {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Of the jobs created since a time: how many have failed and how many had finished by `cut`,
/// and how many a second finished in between, once `COUNTED` of these had and until they had.
fn in_between(table: &str, since: f64, cut: f64) -> String {
    let [first, last] = COUNTED;
    format!(
        "with jobs as (
             select * from {table} where created_at >= to_timestamp({since})
         ), done as (
             select finished_at, row_number() over (order by finished_at) as place,
                 count(*) over () as number
             from jobs where state = 'succeeded' and finished_at <= to_timestamp({cut})
         ), edges as (
             select max(finished_at) filter (where place <= {first} * number) as first,
                 max(finished_at) filter (where place <= {last} * number) as last,
                 count(*) filter (where place > {first} * number and place <= {last} * number)
                     as counted, count(*) as number
             from done
         )
         select (select count(*) from jobs where finished_at is not null and state <> 'succeeded'),
             number, counted / nullif(extract(epoch from last - first), 0) from edges"
    )
}

/// The jobs that a worker has finished.
fn finished(metrics: &Client) -> Result<f64, BenchError> {
    let page = metrics.text("/metrics")?;
    let mut all = 0.0;
    for (labels, value) in samples(&page, FINISHED) {
        if value > 0.0 && !labels.contains("state=\"succeeded\"") {
            return Err(BenchError::Measurement(format!("{value} jobs ended as {labels}")));
        }
        all += value;
    }
    Ok(all)
}

/// The samples of a metric: labels and value.
pub(super) fn samples<'a>(
    page: &'a str,
    name: &'a str,
) -> impl Iterator<Item = (&'a str, f64)> + 'a {
    page.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let is_whole = labels.is_empty() || labels.starts_with('{');
        is_whole.then_some((labels, value.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_those_of_one_metric() {
        let page = "# HELP a_total x\na_total{state=\"succeeded\",code=\"meal\"} 7\n\
                    a_total_more 9\na_total{state=\"failed\"} 0\nb 3\n";
        let found: Vec<_> = samples(page, "a_total").collect();
        assert_eq!(
            found,
            [("{state=\"succeeded\",code=\"meal\"}", 7.0), ("{state=\"failed\"}", 0.0)]
        );
        assert_eq!(samples(page, "b").collect::<Vec<_>>(), [("", 3.0)]);
    }
}
