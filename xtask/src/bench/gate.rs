//! What the middleware costs per request, part by part, compared with a bare
//! axum route.
//!
//! Each case adds one part to the one before it. The cases alternate in many
//! short rounds, so that other load on the machine affects all of them. The
//! processor time per request is the server's, as the system reports it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use super::load::{Load, Request};
use super::spread::Spread;
use super::{BenchError, FOLDER};
use crate::clock;
use crate::demo;
use crate::secrets::Secrets;
use crate::session::Session;
use crate::stack::{Providers, StackPlan};
use crate::state::Lock;
use crate::token::Claims;

const CONNECTIONS: usize = 8;
const ROUND: Duration = Duration::from_millis(400);
const TOKEN_LIFE: u64 = 3_600;
/// The unit of `/proc/PID/stat`: USER_HZ, 100 on every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// One case: the parts of the middleware that its requests pass.
struct Case {
    name: &'static str,
    url: String,
    pid: u32,
    request: Request,
    status: u16,
    per_second: Vec<f64>,
    cpu_micros: Vec<f64>,
    p50: Vec<f64>,
}

/// Measures `rounds` rounds of every case and prints the medians.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn run(session: &Session, rounds: u32) -> Result<(), BenchError> {
    let folder = session.workspace.place(FOLDER);
    let _lock = Lock::take(&folder)?;
    let secrets = Secrets::of(&folder)?;
    let (servers, binaries) = super::prepare(session, &folder, &secrets)?;
    let stack = plan(&folder, &binaries, &secrets).start(session, servers)?;
    let issued_at = clock::seconds_since_1970();
    let claims = Claims { user: Uuid::new_v4(), role: None, issued_at, life: TOKEN_LIFE };
    let token = claims.sign(&secrets.jwt);
    let quiz = demo::sample_quiz(session)?.to_string();
    let bare = (stack.simulator_url()?, stack.simulator_pid()?);
    let gate = (stack.ingress_url()?, stack.ingress_pid());
    // Refused at the end of validation: every field is read, nothing is stored.
    let invalid = format!("{{\"provider\":\"nobody\",\"answers\":{quiz}}}");
    let mut cases = [
        Case::new("bare axum route", &bare, Request::get("/health"), 200),
        Case::new("ids, sizes, addresses, log, metrics", &gate, Request::get("/livez"), 200),
        Case::new(
            "+ authentication (HS256)",
            &gate,
            Request::get("/v1/plans/x/active").by(&token),
            404,
        ),
        Case::new("+ limiter, taken and given back", &gate, Request::post("{").by(&token), 400),
        Case::new("+ validation of a whole quiz", &gate, Request::post(&invalid).by(&token), 422),
    ];
    session.say(format_args!("measuring {rounds} rounds of {} cases", cases.len()));
    for round in 0..=rounds {
        for case in &mut cases {
            session.check()?;
            // The first round is a warm-up.
            case.measure(round > 0)?;
        }
    }
    print(&cases);
    Ok(())
}

impl Request {
    fn get(path: &str) -> Self {
        Self { line: format!("GET {path}"), token: None, body: None }
    }

    fn post(body: &str) -> Self {
        Self { line: "POST /v1/plans".to_owned(), token: None, body: Some(body.to_owned()) }
    }

    fn by(self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self }
    }
}

impl Case {
    fn new(name: &'static str, server: &(String, u32), request: Request, status: u16) -> Self {
        let (url, pid) = server.clone();
        let empty = || (Vec::new(), Vec::new(), Vec::new());
        let (per_second, cpu_micros, p50) = empty();
        Self { name, url, pid, request, status, per_second, cpu_micros, p50 }
    }

    fn measure(&mut self, counts: bool) -> Result<(), BenchError> {
        let next = |_| self.request.clone();
        let load = Load { url: &self.url, connections: CONNECTIONS, time: ROUND, next: &next };
        let before = cpu_seconds(self.pid);
        let outcome = load.run()?;
        let spent = cpu_seconds(self.pid) - before;
        outcome.all(self.status)?;
        if counts {
            let answers: usize = outcome.statuses.values().sum();
            self.per_second.push(outcome.per_second);
            self.cpu_micros.push(spent * 1e6 / answers as f64);
            self.p50.push(outcome.times.percentile(0.5) * 1_000.0);
        }
        Ok(())
    }
}

/// The processor time of a process in seconds; 0 if the system does not report it.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, can contain any character.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / TICKS_A_SECOND
}

fn print(cases: &[Case]) {
    let median = |values: &[f64]| Spread::of(values.to_vec()).percentile(0.5);
    let mut table = format!(
        "{:<38} {:>10} {:>12} {:>8} {:>10} {:>9}\n",
        "medians", "req/s", "CPU µs/req", "ratio", "+ CPU µs", "p50 µs"
    );
    let bare = cases.first().map_or(0.0, |case| median(&case.cpu_micros));
    let mut previous = 0.0;
    for case in cases {
        let cpu = median(&case.cpu_micros);
        table += &format!(
            "{:<38} {:>10.0} {:>12.1} {:>8.2} {:>10.1} {:>9.0}\n",
            case.name,
            median(&case.per_second),
            cpu,
            cpu / bare,
            cpu - previous,
            median(&case.p50),
        );
        previous = cpu;
    }
    let _ = std::io::stdout().write_all(table.as_bytes());
}

fn plan<'a>(folder: &'a Path, binaries: &'a Path, secrets: &'a Secrets) -> StackPlan<'a> {
    StackPlan {
        folder,
        binaries,
        secrets,
        workers: 0,
        providers: Providers::Simulator,
        ingress_settings: &[
            // Enabled, as in production, but with limits that are never reached.
            ("FLOOD_PER_SECOND", "1000000"),
            ("FLOOD_BURST", "1000000"),
            ("RATE_GENERATE_PLANS", "1000000/h"),
            ("RATE_DAILY", "1000000/d"),
        ],
        worker_settings: &[],
    }
}
