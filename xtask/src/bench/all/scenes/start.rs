//! From the start of a process until its /readyz says that it takes work, and its memory
//! when it has nothing to do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::{IDLE, Parts, READY, START};
use crate::bench::BenchError;
use crate::bench::all::Run;
use crate::bench::cpu;
use crate::bench::ground::Wanted;
use crate::bench::results::Scene;
use crate::bench::subject::Round;
use crate::stack::Pending;

/// Between two looks at a process that starts.
const LOOK: Duration = Duration::from_millis(1);
/// After this long it has done what it does at its start.
const IDLE_AFTER: Duration = Duration::from_secs(3);
const READY_WITHIN: Duration = Duration::from_secs(30);

pub(super) fn measure(run: &Run<'_>) -> Result<Parts, BenchError> {
    let ground = &run.ground;
    let stack = ground.stack(Wanted { workers: 1, ..Wanted::default() })?;
    let plan = ground.plan(&ground.folder, Wanted::default());
    let mut scene = Scene::default();
    for _ in 0..run.rounds {
        let ingress = plan.ingress(stack.servers(), stack.simulator())?;
        let begun = Instant::now();
        let pending = plan.spawn("ingress-started", ingress)?;
        scene.of("ingress").add(follow(run, pending, begun, "INGRESS_URL")?);
        let worker = plan.worker(stack.servers(), stack.simulator())?;
        let begun = Instant::now();
        let pending = plan.spawn("worker-started", worker)?;
        scene.of("worker").add(follow(run, pending, begun, "METRICS_URL")?);
    }
    Ok(vec![(START, scene)])
}

/// Follows a process until it is ready and idle, and ends it.
fn follow(
    run: &Run<'_>,
    pending: Pending,
    begun: Instant,
    url: &'static str,
) -> Result<Round, BenchError> {
    let session = run.ground.session;
    let late = |what: &str| BenchError::Measurement(format!("a process {what} in time"));
    while !pending.has_reported() {
        session.check()?;
        if begun.elapsed() > READY_WITHIN {
            return Err(late("does not report its address"));
        }
        std::thread::sleep(LOOK);
    }
    let service = pending.ready(session)?;
    let url = service.address(url)?;
    while !is_ready(&url) {
        session.check()?;
        if begun.elapsed() > READY_WITHIN {
            return Err(late("is not ready"));
        }
        std::thread::sleep(LOOK);
    }
    let ready = begun.elapsed().as_secs_f64() * 1_000.0;
    std::thread::sleep(IDLE_AFTER);
    let mut figures = Round::from([(READY.to_owned(), ready)]);
    if let Some((idle, _)) = cpu::resident_mib(service.process.id()) {
        figures.insert(IDLE.to_owned(), idle);
    }
    Ok(figures)
}

/// Asked over a socket of its own, because a client takes a while to set up.
fn is_ready(url: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://"))?;
        stream.set_read_timeout(Some(READY_WITHIN))?;
        stream
            .write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains("\"ready\""))
}
