//! What the middleware costs per request, part by part, compared with a bare
//! axum route.
//!
//! Each case adds one part to the one before it. The cases alternate in many
//! short rounds, so that other load on the machine affects all of them. The
//! processor time per request is the server's, as the system reports it.

use std::io::Write;
use std::time::Duration;

use uuid::Uuid;

use super::BenchError;
use super::cpu::Processes;
use super::ground::{Build, Ground, UNREACHED, Wanted};
use super::load::Request;
use super::results::Series;
use super::subject::{CPU, P50, PER_SECOND, Subject};
use super::users;
use crate::demo;
use crate::session::Session;

const CONNECTIONS: usize = 8;
const ROUND: Duration = Duration::from_millis(400);
const SUBMIT: &str = "POST /v1/plans";
/// The measured process in the figures.
const SERVER: &str = "server";

/// One case: a server, the requests that pass these parts of the middleware, and the
/// figures.
struct Case {
    subject: Subject,
    figures: Series,
}

/// Measures `rounds` rounds of every case and prints the medians.
///
/// # Errors
/// See [`BenchError`].
pub(super) fn run(session: &Session, rounds: u32) -> Result<(), BenchError> {
    let ground = Ground::take(session, Build::RELEASE)?;
    let stack = ground.stack(Wanted { ingress: &UNREACHED, ..Wanted::default() })?;
    let token = users::sign(&ground.secrets, Uuid::new_v4());
    let quiz = demo::sample_quiz(session)?.to_string();
    let bare = (stack.simulator_url()?, stack.simulator_pid()?);
    let gate = (stack.ingress_url()?, stack.ingress_pid());
    // Refused at the end of validation: every field is read, nothing is stored.
    let invalid = format!("{{\"provider\":\"nobody\",\"answers\":{quiz}}}");
    let mut cases = [
        Case::new("bare axum route", &bare, Request::new("GET /health", "", None), 200),
        Case::new(
            "ids, sizes, addresses, log, metrics",
            &gate,
            Request::new("GET /livez", "", None),
            200,
        ),
        Case::new(
            "+ authentication (HS256)",
            &gate,
            Request::by(&token, "GET /v1/plans/x/active", None),
            404,
        ),
        Case::new(
            "+ limiter, taken and given back",
            &gate,
            Request::by(&token, SUBMIT, Some("{")),
            400,
        ),
        Case::new(
            "+ validation of a whole quiz",
            &gate,
            Request::by(&token, SUBMIT, Some(&invalid)),
            422,
        ),
    ];
    session.say(format_args!("measuring {rounds} rounds of {} cases", cases.len()));
    for round in 0..=rounds {
        for case in &mut cases {
            session.check()?;
            let figures = case.subject.flat_out(CONNECTIONS, ROUND)?;
            // The first round is a warm-up.
            if round > 0 {
                case.figures.add(figures);
            }
        }
    }
    print(&cases);
    Ok(())
}

impl Case {
    fn new(name: &'static str, server: &(String, u32), request: Request, status: u16) -> Self {
        let (url, pid) = server;
        let processes = Processes::of(&[(SERVER, *pid)]);
        let subject = Subject::new(name, url, vec![request], status, processes);
        Self { subject, figures: Series::default() }
    }

    fn median(&self, figure: &str) -> f64 {
        self.figures.median(figure).unwrap_or_default()
    }
}

fn print(cases: &[Case]) {
    let cpu_of = |case: &Case| case.median(&format!("{CPU}{SERVER}"));
    let mut table = format!(
        "{:<38} {:>10} {:>12} {:>8} {:>10} {:>9}\n",
        "medians", "req/s", "CPU µs/req", "ratio", "+ CPU µs", "p50 µs"
    );
    let bare = cases.first().map_or(0.0, cpu_of);
    let mut previous = 0.0;
    for case in cases {
        let cpu = cpu_of(case);
        table += &format!(
            "{:<38} {:>10.0} {:>12.1} {:>8.2} {:>10.1} {:>9.0}\n",
            case.subject.name,
            case.median(PER_SECOND),
            cpu,
            cpu / bare,
            cpu - previous,
            case.median(P50) * 1_000.0,
        );
        previous = cpu;
    }
    let _ = std::io::stdout().write_all(table.as_bytes());
}
