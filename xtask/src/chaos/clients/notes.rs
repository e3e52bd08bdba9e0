//! What a client wrote down: its own record of what it sent and was told.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use uuid::Uuid;

use super::wire::{Answer, Request};

/// Something a client saw.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) enum Note {
    /// A request for plans was answered with these jobs.
    Accepted {
        /// Whose request.
        user: Uuid,
        /// Its idempotency key.
        key: Uuid,
        /// The jobs in the answer.
        jobs: Vec<Uuid>,
        /// Whether the answer said that it was a repetition.
        replayed: bool,
    },
    /// Nobody answered in good time.
    GaveUp {
        /// The request's idempotency key.
        key: Uuid,
    },
    /// An answer that nobody may get.
    Unexpected {
        /// What was asked.
        request: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        body: Value,
    },
    /// A failure that does not say that it will pass.
    Blunt {
        /// What was asked.
        request: String,
        /// The answer's status.
        status: u16,
        /// The answer.
        body: Value,
    },
    /// How long a request for plans waited, whatever came of it.
    Waited {
        /// When it was sent, microseconds since 1970.
        at: u64,
        /// For how long, microseconds.
        took: u64,
        /// Which ingress was asked, counted from 1.
        ingress: usize,
        /// The answer's status; none when no whole answer came.
        status: Option<u16>,
    },
    /// A job was seen in a state that cannot change any more.
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
    /// A request had to be sent once more: no answer, or 5xx.
    SentAgain,
}

/// The notes of one client.
#[derive(Debug, Default)]
pub(in crate::chaos) struct Notes(pub(in crate::chaos) Vec<Note>);

impl Notes {
    /// Writes an answer down if it is a failure that does not say that it will pass.
    pub(super) fn add_blunt(&mut self, request: &Request<'_>, answer: Option<Answer>) {
        let Some(answer) = answer.filter(Answer::is_blunt) else { return };
        let request = format!("{} {}", request.method, request.path);
        self.add(Note::Blunt { request, status: answer.status, body: answer.body });
    }

    /// Writes something down.
    pub(in crate::chaos) fn add(&mut self, note: Note) {
        self.0.push(note);
    }

    /// Puts the notes into a file, a line each, for whoever looks into a failed run.
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
            Self::SentAgain => json!("sent again"),
        }
    }
}
