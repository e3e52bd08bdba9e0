//! Jobs from submission to their saved plan: a fixed number is submitted over 32
//! connections as fast as they are accepted while the worker works, so load and backlog
//! come together. In one scene the provider answers at once, in the other after two seconds.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{ACCEPTED, DRAINED, FINISH, FINISH_SLOW, Parts};
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
use crate::session::Session;

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
struct Contender<'a> {
    subject: Subject,
    tally: Tally<'a>,
}

/// How its finished jobs are counted.
enum Tally<'a> {
    /// By our worker's metrics.
    Metrics(Client),
    /// In the tables of a peer.
    Rows(&'a Peer),
}

/// With a provider that answers at once.
pub(super) fn at_once(run: &Run<'_>) -> Result<Parts, BenchError> {
    measure(run, FINISH, 0)
}

/// With a provider that takes two seconds.
pub(super) fn after_two_seconds(run: &Run<'_>) -> Result<Parts, BenchError> {
    measure(run, FINISH_SLOW, 2_000)
}

fn measure(run: &Run<'_>, name: &'static str, latency: u32) -> Result<Parts, BenchError> {
    let session = run.ground.session;
    let slots = SLOTS.to_string();
    let worker = [&UNHURRIED[..], &[("WORKER_SLOTS", slots.as_str())]].concat();
    let wanted = Wanted { workers: 1, ingress: &UNREACHED, worker: &worker };
    let stack = run.ground.stack(wanted)?;
    let users = Users::new(&run.ground, USERS)?;
    let latency = json!({"latency": {"fixed_ms": latency}});
    Client::new(&stack.simulator_url()?, "").post("/control", &latency)?;
    let mut scene = Scene::default();
    let peers = run.peers.start(&run.ground, &stack, &ROLES, &mut scene.notes)?;
    let metrics = Client::new(&stack.worker_metrics_url()?, "");
    let ours = Contender { subject: accepting(&stack, &users)?, tally: Tally::Metrics(metrics) };
    let mut contenders = vec![ours];
    for peer in &peers {
        let subject = peer.accepting(&users)?;
        contenders.push(Contender { subject, tally: Tally::Rows(peer) });
    }
    let mut counts = Vec::new();
    for contender in &contenders {
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
    Ok(vec![(name, scene)])
}

impl Contender<'_> {
    /// How many jobs a round of about that time has.
    fn worth(&self, time: Duration, per_second: Option<f64>) -> usize {
        let most = match self.tally {
            Tally::Rows(peer) if peer.role().kind == Kind::Apalis => MOST_OF_APALIS,
            _ => MOST,
        };
        let count = per_second.unwrap_or_default() * time.as_secs_f64() * LONGER;
        (count as usize).clamp(WARM_UP, most)
    }

    /// Submits that many jobs and waits for the last plan.
    fn finish(&self, session: &Session, count: usize) -> Result<Round, BenchError> {
        let (each, before) = match &self.tally {
            Tally::Metrics(metrics) => (1, finished(metrics)?),
            Tally::Rows(peer) => {
                peer.clear()?;
                (if peer.role().kind == Kind::Synchronous { 2 } else { 1 }, 0.0)
            }
        };
        let (used, begun) = (self.subject.used(), Instant::now());
        let outcome = self.subject.send(CONNECTIONS, count / each)?;
        let jobs = outcome.answers * each;
        let (took, early) = match &self.tally {
            Tally::Metrics(metrics) => {
                let early = finished(metrics)? - before;
                let last = before + jobs as f64;
                while finished(metrics)? < last {
                    session.pause()?;
                    if begun.elapsed() > FINISHED_WITHIN {
                        let told = format!("{count} jobs were not finished in time");
                        return Err(BenchError::Measurement(told));
                    }
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
