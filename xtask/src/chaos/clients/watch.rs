//! What clients do after their request: repeat it, watch its jobs until they
//! end and read them once more later, follow their events, or cancel one.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::Value;
use uuid::Uuid;

use super::super::chance::Chance;
use super::super::stop::Stage;
use super::notes::{Note, Notes};
use super::people::{Asked, Person, submit};
use super::wire::{Answer, Doors, Request, Streamed};
use regimen_devtools::Interrupted;

/// How often a following client checks for the end while it waits.
const LOOK_UP: Duration = Duration::from_millis(200);

/// A task, and when it is due.
pub(in crate::chaos) struct Follow {
    at: Instant,
    then: Then,
}

/// A task.
pub(in crate::chaos) enum Then {
    /// Send the same request again.
    Repeat(Asked),
    /// Watch a job until it ends.
    Watch(Person, Uuid),
    /// Follow the events of a job until its last.
    Stream(Person, Uuid),
    /// Cancel a job.
    CallOff(Person, Uuid),
}

impl Follow {
    /// Due now.
    pub(super) fn now(then: Then) -> Self {
        Self { at: Instant::now(), then }
    }

    /// Due after this time.
    pub(super) fn after(wait: Duration, then: Then) -> Self {
        Self { at: Instant::now() + wait, then }
    }
}

/// One following client: performs tasks until all clients have ended and none is left.
pub(in crate::chaos) fn follow(
    stage: &Stage<'_>,
    urls: &[String],
    mut chance: Chance,
    work: &Mutex<Receiver<Follow>>,
) -> Result<Notes, Interrupted> {
    let (doors, mut notes) = (Doors::new(urls), Notes::default());
    while stage.settling()? {
        let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(LOOK_UP);
        let follow = match next {
            Ok(follow) => follow,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        stage.rest_settling(follow.at.saturating_duration_since(Instant::now()))?;
        match follow.then {
            Then::Repeat(asked) => {
                submit(stage, &doors, &mut chance, &asked, &mut notes)?;
            }
            Then::Watch(person, job) => {
                watch(stage, &doors, &mut chance, &person, job, &mut notes)?;
            }
            Then::Stream(person, job) => {
                stream(stage, &doors, &mut chance, &person, job, &mut notes)?;
            }
            Then::CallOff(person, job) => {
                call_off(stage, &doors, &mut chance, &person, job, &mut notes)?;
            }
        }
    }
    Ok(notes)
}

/// Reads a job until it has ended, and once more later.
fn watch(
    stage: &Stage<'_>,
    doors: &Doors<'_>,
    chance: &mut Chance,
    person: &Person,
    job: Uuid,
    notes: &mut Notes,
) -> Result<(), Interrupted> {
    let path = format!("/v1/jobs/{job}");
    let headers = [person.authorization(), ("prefer", "wait=3")];
    let request = Request { method: "GET", path: &path, headers: &headers, body: "" };
    let mut seen = 0;
    while stage.settling()? && seen < 2 {
        match doors.send(chance, request).answer {
            Ok(Answer { status: 200, body, .. }) => {
                let state = body["status"].as_str().unwrap_or_default();
                if !matches!(state, "queued" | "running") {
                    notes.add(Note::Ended { job, state: state.to_owned() });
                    seen += 1;
                    stage.rest_settling(chance.millis(50, 1_500))?;
                }
            }
            other => {
                if !try_again(stage, chance, &request, other, notes)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// Follows a job's events until it has them all, as a browser does: when the stream ends,
/// it asks for those after the last.
fn stream(
    stage: &Stage<'_>,
    doors: &Doors<'_>,
    chance: &mut Chance,
    person: &Person,
    job: Uuid,
    notes: &mut Notes,
) -> Result<(), Interrupted> {
    let path = format!("/v1/jobs/{job}/events");
    let mut after = 0;
    while stage.settling()? {
        let last = after.to_string();
        let headers = [person.authorization(), ("last-event-id", last.as_str())];
        let request = Request { method: "GET", path: &path, headers: &headers, body: "" };
        match doors.stream(chance, request) {
            // It has ended, and the client has every event.
            Ok(Streamed { status: 204, .. }) => return Ok(()),
            Ok(Streamed { status: 200, events, broke }) => {
                let last = events.last().copied().unwrap_or(after);
                notes.add(Note::Streamed { job, after, events, broke });
                after = last;
                stage.rest_settling(chance.millis(200, 1_000))?;
            }
            other => {
                let status = other.map(|streamed| streamed.status);
                notes.add(Note::SentAgain { status: status.clone() });
                if let Some(status) = status.ok().filter(|status| *status < 500) {
                    let request = format!("GET {path}");
                    notes.add(Note::Unexpected { request, status, body: Value::Null });
                    return Ok(());
                }
                stage.rest_settling(chance.millis(100, 600))?;
            }
        }
    }
    Ok(())
}

/// Cancels a job. If it had already ended, reads its state.
fn call_off(
    stage: &Stage<'_>,
    doors: &Doors<'_>,
    chance: &mut Chance,
    person: &Person,
    job: Uuid,
    notes: &mut Notes,
) -> Result<(), Interrupted> {
    let path = format!("/v1/jobs/{job}");
    let headers = [person.authorization()];
    let request = Request { method: "DELETE", path: &path, headers: &headers, body: "" };
    while stage.settling()? {
        match doors.send(chance, request).answer {
            Ok(Answer { status: 202, .. }) => {
                notes.add(Note::Ended { job, state: "cancelled".to_owned() });
                return Ok(());
            }
            // It has ended: by itself, or by a cancellation whose answer was lost.
            Ok(Answer { status: 409, .. }) => {
                return watch(stage, doors, chance, person, job, notes);
            }
            other => {
                if !try_again(stage, chance, &request, other, notes)? {
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

/// After no answer or a 5xx: waits a moment and returns true for another try. Any other
/// answer is unexpected and is recorded.
fn try_again(
    stage: &Stage<'_>,
    chance: &mut Chance,
    request: &Request<'_>,
    answer: Result<Answer, String>,
    notes: &mut Notes,
) -> Result<bool, Interrupted> {
    let status = answer.as_ref().map(|answer| answer.status).map_err(Clone::clone);
    match answer {
        Ok(Answer { status, body, .. }) if status < 500 => {
            let request = format!("{} {}", request.method, request.path);
            notes.add(Note::Unexpected { request, status, body });
            return Ok(false);
        }
        Ok(answer) => notes.add_blunt(request, answer),
        Err(_) => {}
    }
    notes.add(Note::SentAgain { status });
    stage.rest_settling(chance.millis(100, 600))?;
    Ok(true)
}
