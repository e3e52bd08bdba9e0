//! Reads of jobs by their owners over 256 connections, each of another job: with their content,
//! and unchanged. And reads of one job by all connections, whose equal moments share a look.

use super::{BARE_UNCHANGED, POLL, Parts, UNCHANGED, WATCHED};
use crate::bench::BenchError;
use crate::bench::accept::{OURS, READ, processes, reading};
use crate::bench::all::Run;
use crate::bench::all::peers::{BARE, Kind, Role};
use crate::bench::ground::{UNREACHED, Wanted};
use crate::bench::load::Request;
use crate::bench::results::Scene;
use crate::bench::subject::Subject;
use crate::bench::users::{Job, Users};

const CONNECTIONS: usize = 256;
const ROLES: [Role; 5] = [
    Role::server(Kind::Node),
    Role::gate(Kind::Node),
    Role::server(Kind::Arq),
    Role::gate(Kind::Arq),
    Role::server(Kind::Bare),
];

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let session = run.ground.session;
    let stack = run.ground.stack(Wanted { ingress: &UNREACHED, ..Wanted::default() })?;
    let ingress = stack.ingress_url()?;
    let users = Users::new(&run.ground, READ)?;
    users.introduce(session, &ingress)?;
    let (mut reads, mut unchanged) = (Vec::new(), Vec::new());
    for job in Job::of_all(&ingress, &run.ground.secrets, &stack.psql(), READ)? {
        session.check()?;
        reads.push(job.read());
        unchanged.push(job.read_if_changed()?);
    }
    let watched = reads.first().cloned().into_iter().collect();
    let mut subjects = vec![
        reading(OURS, &stack, reads)?,
        Subject::new(UNCHANGED, &ingress, unchanged, 304, processes(&stack)),
        reading(WATCHED, &stack, watched)?,
    ];
    let mut scene = Scene::default();
    let peers = run.peers.start(&run.ground, &stack, &ROLES, &mut scene.notes)?;
    for peer in &peers {
        if peer.role().kind == Kind::Bare {
            let known = "if-none-match: \"1\"\r\n";
            for (name, headers, status) in [(BARE, "", 200), (BARE_UNCHANGED, known, 304)] {
                let request = Request::new("GET /job", headers, None);
                let (url, processes) = (peer.url()?, peer.processes());
                subjects.push(Subject::new(name, &url, vec![request], status, processes));
            }
        } else {
            subjects.push(peer.reading(&users, &run.ground.secrets)?);
        }
    }
    for subject in &subjects {
        session.say(format_args!("warming up {}", subject.name));
        subject.flat_out(8, run.time / 4)?;
    }
    for round in 1..=run.rounds {
        session.say(format_args!("round {round}"));
        for subject in &subjects {
            session.check()?;
            scene.of(subject.name).add(subject.flat_out(CONNECTIONS, run.time)?);
        }
    }
    Ok(vec![(POLL, scene)])
}
