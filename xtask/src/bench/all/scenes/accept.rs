//! Requests for plans, each durable before its answer and pushed to Redis, without a worker:
//! as many as 32 and 256 connections carry, then half of that at fixed times.

use super::{ACCEPT, PGBENCH, PGBENCH_BATCH, Parts, REDIS, STEADY_P50, STEADY_P99};
use crate::bench::BenchError;
use crate::bench::accept::{CONNECTIONS, USERS, accepting, all_pushed};
use crate::bench::all::Run;
use crate::bench::all::peers::{Kind, Peer, Role};
use crate::bench::floor;
use crate::bench::ground::{UNREACHED, Wanted};
use crate::bench::results::Scene;
use crate::bench::subject::{P50, P99, PER_SECOND, Round, Subject};
use crate::bench::users::Users;
use crate::http::Client;

const ROLES: [Role; 7] = [
    Role::server(Kind::Node),
    Role::gate(Kind::Node),
    Role::server(Kind::Arq),
    Role::gate(Kind::Arq),
    Role::server(Kind::Apalis),
    Role::server(Kind::Synchronous),
    Role::server(Kind::Bare),
];

/// Everything that is measured in turn.
struct Contender<'a> {
    subject: Subject,
    peer: Option<&'a Peer>,
}

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let session = run.ground.session;
    let stack = run.ground.stack(Wanted { ingress: &UNREACHED, ..Wanted::default() })?;
    // For the peer that calls its provider while it accepts.
    let latency = serde_json::json!({"latency": {"fixed_ms": 2_000}});
    Client::new(&stack.simulator_url()?, "").post("/control", &latency)?;
    let users = Users::new(&run.ground, USERS)?;
    users.introduce(session, &stack.ingress_url()?)?;
    let floor = floor::Postgres::prepare(&run.ground, &stack, users.quiz())?;
    let mut notes = Vec::new();
    let peers = run.peers.start(&run.ground, &stack, &ROLES, &mut notes)?;
    let mut contenders = vec![Contender { subject: accepting(&stack, &users)?, peer: None }];
    for peer in &peers {
        contenders.push(Contender { subject: peer.accepting(&users)?, peer: Some(peer) });
    }
    for contender in &contenders {
        session.say(format_args!("warming up {}", contender.subject.name));
        contender.subject.flat_out(8, run.time / 4)?;
        contender.settle()?;
    }
    let mut scenes = CONNECTIONS.map(|_| Scene::default());
    // The order of the page, whoever is measured first.
    let (whole, rest): (Vec<_>, Vec<_>) = contenders.iter().partition(|one| one.is_whole());
    for scene in &mut scenes {
        for contender in whole.iter().chain(&rest) {
            scene.of(contender.subject.name);
        }
    }
    for round in 1..=run.rounds {
        for (connections, scene) in CONNECTIONS.into_iter().zip(&mut scenes) {
            session.say(format_args!("round {round}: {connections} connections"));
            let mut turns = whole.clone();
            // Nobody always comes first after pgbench.
            let first = round as usize % turns.len();
            turns.rotate_left(first);
            for Contender { subject, .. } in turns {
                session.check()?;
                scene.of(subject.name).add(subject.flat_out(connections, run.time)?);
            }
            for contender in &rest {
                let subject = &contender.subject;
                let settle = || contender.settle();
                let figures = subject.flat_out_until(connections, run.time, settle)?;
                scene.of(subject.name).add(figures);
            }
            scene.of(PGBENCH).add(floor.one_by_one(connections, run.time)?);
            scene.of(PGBENCH_BATCH).add(floor.by_fifty(run.time)?);
            floor.settle()?;
            if connections == CONNECTIONS[0]
                && let Some(pushes) = floor::redis_pushes(&run.ground, &stack, run.time)?
            {
                scene.of(REDIS).add(pushes);
            }
        }
    }
    for round in 1..=run.rounds {
        for (connections, scene) in CONNECTIONS.into_iter().zip(&mut scenes) {
            session.say(format_args!("round {round}: {connections} connections at half load"));
            for Contender { subject, .. } in contenders.iter().filter(|one| one.is_steady()) {
                session.check()?;
                let found = scene.of(subject.name).median(PER_SECOND).unwrap_or_default();
                let figures = subject.steady(connections, found / 2.0, run.time)?;
                let figure = |name| figures.get(name).copied().unwrap_or_default();
                let steady = [(STEADY_P50, figure(P50)), (STEADY_P99, figure(P99))];
                let named = steady.map(|(name, value)| (name.to_owned(), value));
                scene.of(subject.name).add(Round::from(named));
            }
        }
    }
    all_pushed(session, &stack)?;
    let [mut few, many] = scenes;
    few.notes = notes;
    Ok(vec![(ACCEPT[0], few), (ACCEPT[1], many)])
}

impl Contender<'_> {
    /// Whether all of its work is done when its answer is there, or waits for a worker that
    /// does not run: so that it disturbs nobody afterwards.
    fn is_whole(&self) -> bool {
        self.peer.is_none_or(|peer| peer.role().kind != Kind::Synchronous)
    }

    /// Whether it is measured at half load, too: ours, and what it is compared with most.
    fn is_steady(&self) -> bool {
        self.peer.is_none_or(|peer| peer.role().kind == Kind::Node)
    }

    fn settle(&self) -> Result<(), BenchError> {
        match self.peer {
            Some(peer) if !self.is_whole() => peer.settle(),
            _ => Ok(()),
        }
    }
}
