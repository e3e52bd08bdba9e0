//! Clients that request plans at a steady rate, each request with its own
//! idempotency key, which all repeats of the request use.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::super::chance::Chance;
use super::super::stop::Stage;
use super::notes::{Note, Notes};
use super::watch::{Follow, Then};
use super::wire::{Answer, Doors, Request, Sent};
use crate::clock;
use crate::token::Claims;
use regimen_devtools::Interrupted;

/// How long a client repeats a request.
const STUBBORN: Duration = Duration::from_secs(45);
/// The lifetime of the access tokens, seconds.
const TOKEN_LIFE: u64 = 6 * 3600;

/// The percentages of requests that are sent twice at the same moment, repeated after
/// their answer, watched until their jobs end, followed by their events, and cancelled.
const TWICE: u64 = 8;
const AGAIN: u64 = 8;
const WATCHED: u64 = 25;
const STREAMED: u64 = 15;
const CALLED_OFF: u64 = 7;

/// A user with an account.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Person {
    pub(in crate::chaos) id: Uuid,
    bearer: String,
}

/// A request for plans.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct Asked {
    pub(in crate::chaos) person: Person,
    key: Uuid,
    body: String,
}

impl Person {
    /// A new user, with an access token signed with `secret`.
    pub(in crate::chaos) fn new(chance: &mut Chance, secret: &str) -> Self {
        let (id, issued_at) = (chance.uuid(), clock::seconds_since_1970());
        let claims = Claims { user: id, role: None, issued_at, life: TOKEN_LIFE };
        Self { id, bearer: format!("Bearer {}", claims.sign(secret)) }
    }

    /// The `Authorization` header.
    pub(super) fn authorization(&self) -> (&str, &str) {
        ("authorization", &self.bearer)
    }
}

impl Asked {
    /// A new request of `person`, with the quiz `answers`.
    pub(in crate::chaos) fn new(chance: &mut Chance, person: &Person, answers: &Value) -> Self {
        let kinds = match chance.below(4) {
            0 => json!(["meal"]),
            1 => json!(["workout"]),
            _ => json!(["meal", "workout"]),
        };
        let provider = chance.pick(&["openai", "anthropic", "gemini", "llama"]);
        let body = json!({"kinds": kinds, "answers": answers, "provider": provider});
        Self { person: person.clone(), key: chance.uuid(), body: body.to_string() }
    }
}

/// The users, and the rate of their requests.
pub(in crate::chaos) struct People<'a> {
    pub(in crate::chaos) stage: &'a Stage<'a>,
    pub(in crate::chaos) urls: &'a [String],
    pub(in crate::chaos) everybody: &'a [Person],
    pub(in crate::chaos) answers: &'a Value,
    /// The time between two requests of one client.
    pub(in crate::chaos) pace: Duration,
}

/// One client: requests plans until the load is over.
pub(in crate::chaos) fn ask(
    people: &People<'_>,
    mut chance: Chance,
    follow: &Sender<Follow>,
) -> Result<Notes, Interrupted> {
    let (stage, doors) = (people.stage, Doors::new(people.urls));
    let mut notes = Notes::default();
    let mut next = Instant::now() + people.pace.mul_f64(chance.below(100) as f64 / 100.0);
    while stage.loading()? {
        stage.rest(next.saturating_duration_since(Instant::now()))?;
        // A delayed client catches up, so that the average rate is kept.
        next += people.pace;
        let Some(person) = chance.pick(people.everybody).cloned() else { break };
        let asked = Asked::new(&mut chance, &person, people.answers);
        // The following clients end later than this one, so that nothing is lost here.
        if chance.percent(TWICE) {
            let _ = follow.send(Follow::now(Then::Repeat(asked.clone())));
        }
        let Some(jobs) = submit(stage, &doors, &mut chance, &asked, &mut notes)? else { continue };
        if chance.percent(AGAIN) {
            let _ = follow.send(Follow::after(chance.millis(0, 9_000), Then::Repeat(asked)));
        }
        for job in jobs {
            if chance.percent(CALLED_OFF) {
                let wait = chance.millis(0, 2_500);
                let _ = follow.send(Follow::after(wait, Then::CallOff(person.clone(), job)));
            }
            if chance.percent(WATCHED) {
                let _ = follow.send(Follow::now(Then::Watch(person.clone(), job)));
            }
            if chance.percent(STREAMED) {
                let _ = follow.send(Follow::now(Then::Stream(person.clone(), job)));
            }
        }
    }
    Ok(notes)
}

/// Sends a request, always with the same key, until it is answered. Returns the jobs of
/// the answer; none if no answer comes for too long.
pub(in crate::chaos) fn submit(
    stage: &Stage<'_>,
    doors: &Doors<'_>,
    chance: &mut Chance,
    asked: &Asked,
    notes: &mut Notes,
) -> Result<Option<Vec<Uuid>>, Interrupted> {
    let key = asked.key.to_string();
    let headers = [
        asked.person.authorization(),
        ("content-type", "application/json"),
        ("idempotency-key", key.as_str()),
    ];
    let request =
        Request { method: "POST", path: "/v1/plans", headers: &headers, body: &asked.body };
    let give_up = Instant::now() + STUBBORN;
    while stage.settling()? && Instant::now() < give_up {
        let Sent { answer, door, at, took } = doors.send(chance, request);
        let status = answer.as_ref().map(|answer| answer.status).map_err(Clone::clone);
        notes.add(Note::Waited { at, took, ingress: door + 1, status: status.clone().ok() });
        match answer {
            Ok(answer @ Answer { status: 200 | 202, .. }) => {
                let jobs = jobs_of(&answer.body);
                notes.add(Note::Accepted {
                    user: asked.person.id,
                    key: asked.key,
                    jobs: jobs.clone(),
                    replayed: answer.replayed,
                });
                return Ok(Some(jobs));
            }
            // The first request is still in progress, or the ingress failed.
            Err(_) | Ok(Answer { status: 409 | 500.., .. }) => {
                answer.into_iter().for_each(|answer| notes.add_blunt(&request, answer));
                notes.add(Note::SentAgain { status });
                stage.rest_settling(chance.millis(50, 500))?;
            }
            Ok(Answer { status, body, .. }) => {
                let request = format!("POST /v1/plans, key {key}");
                notes.add(Note::Unexpected { request, status, body });
                return Ok(None);
            }
        }
    }
    notes.add(Note::GaveUp { key: asked.key });
    Ok(None)
}

fn jobs_of(body: &Value) -> Vec<Uuid> {
    let jobs = body["jobs"].as_array().into_iter().flatten();
    jobs.filter_map(|job| job["id"].as_str()?.parse().ok()).collect()
}
