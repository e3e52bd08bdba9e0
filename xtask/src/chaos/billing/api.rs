//! A stand-in for the part of Stripe's API that the worker calls: one
//! subscription, with its state and the time of the same moment. Like the real
//! one it sometimes fails.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::chance::Chance;
use super::super::stop::Stage;
use super::Truth;
use super::story::Stripe;
use crate::clock;
use regimen_devtools::Interrupted;

/// The workers' key.
pub(in crate::chaos) const KEY: &str = "rk_test_chaos";
/// The percentage of requests that fail temporarily.
const BUSY: u64 = 10;
/// How long a caller may take to send its request.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often an interrupt is checked for while there are no calls.
const LOOK_UP: Duration = Duration::from_millis(5);

/// The stand-in; it listens from its creation.
pub(in crate::chaos) struct StripeApi(TcpListener);

impl StripeApi {
    /// Binds a free port.
    ///
    /// # Errors
    /// There is none.
    pub(in crate::chaos) fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// Its URL.
    ///
    /// # Errors
    /// The system does not report the port.
    pub(in crate::chaos) fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.0.local_addr()?))
    }

    /// Answers until the run is over.
    pub(in crate::chaos) fn serve(
        &self,
        stage: &Stage<'_>,
        mut chance: Chance,
        truth: &Truth,
    ) -> Result<(), Interrupted> {
        std::thread::scope(|scope| {
            while stage.settling()? {
                let Ok((stream, _)) = self.0.accept() else {
                    std::thread::sleep(LOOK_UP);
                    continue;
                };
                let busy = chance.percent(BUSY);
                // A thread per call: a suspended caller must not block the others. A
                // failure means that the caller has gone.
                scope.spawn(move || drop(answer(stream, truth, busy)));
            }
            Ok(())
        })
    }
}

fn answer(stream: TcpStream, truth: &Truth, busy: bool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut stream = BufReader::new(stream);
    let (mut first, mut known) = (String::new(), false);
    stream.read_line(&mut first)?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        known |= line.trim().eq_ignore_ascii_case(&format!("authorization: bearer {KEY}"));
    }
    let path = first.split_whitespace().nth(1).unwrap_or_default();
    // The answer and its date belong to one moment, because the lock prevents changes.
    let stories = truth.stories();
    let date = clock::http_date();
    let (status, body) = match (known, busy) {
        (false, _) => (401, error("invalid_request_error", "Invalid API Key provided")),
        (true, true) => (503, error("api_error", "Try again in a moment")),
        (true, false) => {
            let found = stories.iter().find_map(|stripe| object(stripe, path));
            let missing = || error("invalid_request_error", "No such object");
            found.map_or_else(|| (404, missing()), |found| (200, found))
        }
    };
    drop(stories);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Status\r\nDate: {date}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.get_mut().write_all(format!("{head}{body}").as_bytes())
}

/// The customer's object at `path`.
fn object(stripe: &Stripe, path: &str) -> Option<Value> {
    let (kind, id) = path.strip_prefix("/v1/")?.split_once('/')?;
    match kind {
        "subscriptions" => stripe.subscription(id),
        "charges" => Some(stripe.charge()).filter(|charge| charge["id"] == id),
        _ => None,
    }
}

fn error(kind: &str, message: &str) -> Value {
    let code = if message.starts_with("No such") { json!("resource_missing") } else { Value::Null };
    json!({"error": {"type": kind, "code": code, "message": message}})
}
