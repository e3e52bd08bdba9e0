//! The demonstration: submits the sample quiz to the API, prints the progress,
//! and prints the plans.

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use serde_json::{Value, json};

use crate::http::{Client, Event, HttpError};
use crate::session::Session;
use crate::show;
use regimen_devtools::Interrupted;

/// The path of the quiz, from the workspace's root.
pub(crate) const SAMPLE_QUIZ: &str = "common/tests/fixtures/sample_quiz.json";

/// How often an interrupt is checked for while nothing happens.
const LOOK_UP: Duration = Duration::from_millis(100);

/// How often a broken event stream is opened again.
const STREAM_TRIES: u32 = 5;

/// Why there are no plans.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    /// The sample quiz cannot be read.
    #[error("cannot read the sample quiz {}: {problem}", path.display())]
    Quiz {
        /// Its path.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The ingress did not answer, or refused a request.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// A job ended without a plan.
    #[error("the {kind} job ended as {status}: {reason}")]
    NoPlan {
        /// Its kind.
        kind: String,
        /// How it ended.
        status: String,
        /// The code and the detail of the job's error.
        reason: String,
    },
    /// The event stream of a job broke repeatedly.
    #[error("the events of the {0} job broke off {STREAM_TRIES} times")]
    NoEvents(String),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// A job of the demonstration.
#[derive(Debug, Clone)]
struct Job {
    kind: String,
    this: String,
    events: String,
}

/// What the thread that follows a job reports.
enum News {
    Event(usize, Event),
    Ended(Result<(), DemoError>),
}

/// Submits the sample quiz, prints the progress, and prints both plans.
///
/// # Errors
/// See [`DemoError`].
pub(crate) fn run(session: &Session, client: &Client) -> Result<(), DemoError> {
    let answers = sample_quiz(session)?;
    session.say(format_args!("submitting {SAMPLE_QUIZ} as a new user"));
    let body = json!({"kinds": ["meal", "workout"], "answers": answers});
    let accepted = client.post("/v1/plans", &body)?;
    let jobs: Vec<_> = accepted["jobs"].as_array().into_iter().flatten().map(Job::of).collect();
    follow_all(session, client, &jobs)?;
    for job in &jobs {
        print(&job.plan(client)?, &job.kind);
    }
    Ok(())
}

/// The sample quiz.
///
/// # Errors
/// It cannot be read.
pub(crate) fn sample_quiz(session: &Session) -> Result<Value, DemoError> {
    let path = session.workspace.root().join(SAMPLE_QUIZ);
    let failed = |problem: String| DemoError::Quiz { path: path.clone(), problem };
    let text = std::fs::read_to_string(&path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}

fn follow_all(session: &Session, client: &Client, jobs: &[Job]) -> Result<(), DemoError> {
    let (sender, news) = mpsc::channel();
    for (index, job) in jobs.iter().enumerate() {
        let (client, job, sender) = (client.clone(), job.clone(), sender.clone());
        // A thread, because reading blocks; it ends with the stream.
        std::thread::spawn(move || {
            let outcome = job.follow(&client, index, &sender);
            let _ = sender.send(News::Ended(outcome));
        });
    }
    let mut following = jobs.len();
    while following > 0 {
        match next(session, &news)? {
            News::Event(index, event) => {
                let kind = jobs.get(index).map_or("", |job| &job.kind);
                session.say(format_args!("  {kind:<8} {}", describe(&event)));
            }
            News::Ended(outcome) => {
                outcome?;
                following -= 1;
            }
        }
    }
    Ok(())
}

fn next(session: &Session, news: &Receiver<News>) -> Result<News, Interrupted> {
    loop {
        session.check()?;
        match news.recv_timeout(LOOK_UP) {
            Ok(news) => return Ok(news),
            Err(RecvTimeoutError::Timeout) => {}
            // Every thread reports its end before it stops.
            Err(RecvTimeoutError::Disconnected) => return Err(Interrupted),
        }
    }
}

impl Job {
    fn of(job: &Value) -> Self {
        let field = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let links = &job["links"];
        Self {
            kind: field(&job["kind"]),
            this: field(&links["self"]),
            events: field(&links["events"]),
        }
    }

    /// Reports every event until the last one.
    fn follow(&self, client: &Client, index: usize, news: &Sender<News>) -> Result<(), DemoError> {
        let mut seen = String::new();
        for _ in 0..STREAM_TRIES {
            for event in client.events(&self.events, &seen)? {
                seen.clone_from(&event.id);
                let last = is_last(&event.name);
                // The receiver is gone only when the program is being interrupted.
                let _ = news.send(News::Event(index, event));
                if last {
                    return Ok(());
                }
            }
        }
        Err(DemoError::NoEvents(self.kind.clone()))
    }

    fn plan(&self, client: &Client) -> Result<Value, DemoError> {
        let job = client.get(&self.this)?;
        if job["plan"].is_object() {
            return Ok(job["plan"].clone());
        }
        let error = &job["error"];
        let part = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
        Err(DemoError::NoPlan {
            kind: self.kind.clone(),
            status: part(&job["status"]),
            reason: format!("{} ({})", part(&error["detail"]), part(&error["code"])),
        })
    }
}

fn print(plan: &Value, kind: &str) {
    let text = match kind {
        "meal" => show::meal_plan(plan),
        _ => show::workout_plan(plan),
    };
    let _ = writeln!(std::io::stdout(), "\n{text}");
}

fn is_last(event: &str) -> bool {
    matches!(event, "saved" | "failed" | "cancelled" | "expired")
}

/// The text of an event.
fn describe(event: &Event) -> String {
    let data = &event.data["data"];
    let part = |name: &str| match &data[name] {
        Value::String(text) => text.clone(),
        Value::Null => "?".to_owned(),
        other => other.to_string(),
    };
    match event.name.as_str() {
        "claimed" => "a worker has taken it up".to_owned(),
        "attempt_started" => {
            format!("asking {} for {} (attempt {})", part("provider"), part("model"), part("n"))
        }
        "attempt_failed" => format!("that failed: {}", part("class")),
        "fell_back" => format!("falling back from {} to {}", part("from"), part("to")),
        "verifying" => "checking the reply".to_owned(),
        "repaired" => "mended a flaw of the reply".to_owned(),
        "retry_scheduled" => format!("another round at {}", part("at")),
        "lease_lost" => "its worker vanished; queued again".to_owned(),
        "drained" => "released by a worker that is shutting down".to_owned(),
        "failed" => format!("failed: {}", part("code")),
        other => other.replace('_', " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_sentences() {
        let event = |name: &str, data| Event {
            id: "1".to_owned(),
            name: name.to_owned(),
            data: json!({"at": "2026-01-01T00:00:00Z", "data": data}),
        };
        let started = event("attempt_started", json!({"provider": "a", "model": "b", "n": 2}));
        assert_eq!(describe(&started), "asking a for b (attempt 2)");
        assert_eq!(describe(&event("saved", json!({}))), "saved");
        assert_eq!(describe(&event("budget_hold", Value::Null)), "budget hold");
    }
}
