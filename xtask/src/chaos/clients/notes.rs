//! A client's record of what it sent and received.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Answer, Request};

/// An entry of a client's record.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) enum Note {
    /// A request for plans was answered with these jobs.
    Accepted {
        /// The user of the request.
        user: Uuid,
        /// Its idempotency key.
        key: Uuid,
        /// The jobs in the answer.
        jobs: Vec<Uuid>,
        /// Whether the response was a stored one.
        replayed: bool,
    },
    /// No answer came in time.
    GaveUp {
        /// The request's idempotency key.
        key: Uuid,
    },
    /// An answer that no client may get.
    Unexpected {
        /// The request.
        request: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        body: Value,
    },
    /// A temporary failure without a Retry-After.
    Blunt {
        /// The request.
        request: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        body: Value,
    },
    /// How long a request for plans waited, with any result.
    Waited {
        /// When it was sent, microseconds since 1970.
        at: u64,
        /// How long, microseconds.
        took: u64,
        /// The number of the ingress, from 1.
        ingress: usize,
        /// The answer's status; none when no whole answer came.
        status: Option<u16>,
    },
    /// A job was seen in a terminal state.
    Ended {
        /// The job.
        job: Uuid,
        /// The state.
        state: String,
    },
    /// An event was acknowledged.
    Acknowledged {
        /// The event.
        event: String,
    },
    /// A request was sent again after no answer, a 409 or a 5xx.
    SentAgain {
        /// The answer's status; or the request and why no whole answer came.
        status: Result<u16, String>,
    },
    /// A part of a job's event stream, until the ingress or the client ended it.
    Streamed {
        /// The job.
        job: Uuid,
        /// The last event that the client had before.
        after: i64,
        /// The numbers of the events received.
        events: Vec<i64>,
        /// Whether it broke off instead of ending.
        broke: bool,
    },
}

/// The notes of one client.
#[derive(Debug, Default)]
pub(in crate::chaos) struct Notes(pub(in crate::chaos) Vec<Note>);

impl Notes {
    /// Records an answer if it is a failure without a Retry-After.
    pub(super) fn add_blunt(&mut self, request: &Request<'_>, answer: Answer) {
        if !answer.is_blunt() {
            return;
        }
        let request = format!("{} {}", request.method, request.path);
        self.add(Note::Blunt { request, status: answer.status, body: answer.body });
    }

    /// Adds an entry.
    pub(in crate::chaos) fn add(&mut self, note: Note) {
        self.0.push(note);
    }

    /// Writes the notes to a file, one per line, for the analysis of a failed run.
    ///
    /// # Errors
    /// The system refuses.
    pub(in crate::chaos) fn keep(&self, path: &Path) -> io::Result<()> {
        let mut file = io::BufWriter::new(std::fs::File::create(path)?);
        for note in &self.0 {
            writeln!(file, "{}", note.to_json())?;
        }
        file.flush()
    }
}

impl Note {
    fn to_json(&self) -> Value {
        match self {
            Self::Accepted { user, key, jobs, replayed } => {
                json!({"accepted": jobs, "user": user, "key": key, "replayed": replayed})
            }
            Self::GaveUp { key } => json!({"gave_up": key}),
            Self::Unexpected { request, status, body } => {
                json!({"unexpected": request, "status": status, "body": body})
            }
            Self::Blunt { request, status, body } => {
                json!({"blunt": request, "status": status, "body": body})
            }
            Self::Waited { at, took, ingress, status } => {
                json!({"waited": took, "at": at, "ingress": ingress, "status": status})
            }
            Self::Ended { job, state } => json!({"ended": job, "state": state}),
            Self::Acknowledged { event } => json!({"acknowledged": event}),
            Self::SentAgain { status: Ok(status) } => json!({"sent_again": status}),
            Self::SentAgain { status: Err(why) } => json!({"unanswered": why}),
            Self::Streamed { job, after, events, broke } => {
                json!({"streamed": job, "after": after, "events": events, "broke": broke})
            }
        }
    }
}
