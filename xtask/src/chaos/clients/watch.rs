//! What people do after their request: send it again, watch its jobs to their
//! end and look once more later, call one off.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::super::chance::Chance;
use super::super::stop::Stage;
use super::notes::{Note, Notes};
use super::people::{Asked, Person, submit};
use super::wire::{Answer, Doors, Request};
use regimen_devtools::Interrupted;

/// How long a follower waits for something to do before it looks up.
const LOOK_UP: Duration = Duration::from_millis(200);

/// Something to be done, and when.
pub(in crate::chaos) struct Follow {
    at: Instant,
    then: Then,
}

/// What is to be done.
pub(in crate::chaos) enum Then {
    /// The same request once more.
    Repeat(Asked),
    /// A job to its end.
    Watch(Person, Uuid),
    /// A job is not wanted any more.
    CallOff(Person, Uuid),
}

impl Follow {
    /// At once.
    pub(super) fn now(then: Then) -> Self {
        Self { at: Instant::now(), then }
    }

    /// After a while.
    pub(super) fn after(wait: Duration, then: Then) -> Self {
        Self { at: Instant::now() + wait, then }
    }
}

/// One follower: does what comes until all clients have gone and nothing is left.
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
            Then::CallOff(person, job) => {
                call_off(stage, &doors, &mut chance, &person, job, &mut notes)?;
            }
        }
    }
    Ok(notes)
}

/// Looks at a job until it has ended, and once more after that.
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
            Some(Answer { status: 200, body, .. }) => {
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

/// Calls a job off. Told that it ended before, the person looks how.
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
            Some(Answer { status: 202, .. }) => {
                notes.add(Note::Ended { job, state: "cancelled".to_owned() });
                return Ok(());
            }
            // It has ended: by itself, or by our own wish whose answer was lost.
            Some(Answer { status: 409, .. }) => {
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

/// After no answer or a 5xx: waits a moment, and says that it is worth another
/// try. Anything else nobody may get, and is written down.
fn try_again(
    stage: &Stage<'_>,
    chance: &mut Chance,
    request: &Request<'_>,
    answer: Option<Answer>,
    notes: &mut Notes,
) -> Result<bool, Interrupted> {
    match answer {
        Some(Answer { status, body, .. }) if status < 500 => {
            let request = format!("{} {}", request.method, request.path);
            notes.add(Note::Unexpected { request, status, body });
            return Ok(false);
        }
        answer => notes.add_blunt(request, answer),
    }
    notes.add(Note::SentAgain);
    stage.rest_settling(chance.millis(100, 600))?;
    Ok(true)
}
