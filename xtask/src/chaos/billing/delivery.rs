//! Deliveries the way Stripe makes them: signed, late, in any order, some
//! twice, and repeated until the answer is 2xx.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::chance::Chance;
use super::super::clients::{Doors, Note, Notes, Request};
use super::super::stop::Stage;
use crate::clock;
use crate::token::hmac_sha256;
use regimen_devtools::Interrupted;

/// The percentage of events that are delivered twice although the first delivery
/// succeeded.
const TWICE: u64 = 25;

/// A delivery.
#[derive(Debug)]
struct Letter {
    due: Instant,
    event: String,
    body: String,
}

/// All deliveries that are still to be made.
#[derive(Debug, Default)]
pub(in crate::chaos) struct Mailbag(Mutex<Bag>);

#[derive(Debug, Default)]
struct Bag {
    letters: Vec<Letter>,
    /// Deliveries in progress.
    out: usize,
    closed: bool,
}

impl Mailbag {
    /// Adds new events, each once or twice, each with a random time.
    pub(super) fn post(&self, chance: &mut Chance, events: &[Value]) {
        let mut bag = self.bag();
        for event in events {
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            let copies = 1 + usize::from(chance.percent(TWICE));
            for _ in 0..copies {
                let wait = if chance.percent(50) { 0 } else { 4_000 };
                let due = Instant::now() + chance.millis(0, wait);
                bag.letters.push(Letter { due, event: id.clone(), body: event.to_string() });
            }
        }
    }

    /// No new events follow.
    pub(super) fn close(&self) {
        self.bag().closed = true;
    }

    /// A delivery that is due.
    fn take(&self) -> Option<Letter> {
        let mut bag = self.bag();
        let now = Instant::now();
        let at = bag.letters.iter().position(|letter| letter.due <= now)?;
        bag.out += 1;
        Some(bag.letters.swap_remove(at))
    }

    /// A delivery succeeded, or is put back.
    fn done(&self, back: Option<Letter>) {
        let mut bag = self.bag();
        bag.out = bag.out.saturating_sub(1);
        bag.letters.extend(back);
    }

    fn is_done(&self) -> bool {
        let bag = self.bag();
        bag.closed && bag.out == 0 && bag.letters.is_empty()
    }

    fn bag(&self) -> std::sync::MutexGuard<'_, Bag> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One delivering thread: runs until everything is delivered.
pub(in crate::chaos) fn deliver(
    stage: &Stage<'_>,
    urls: &[String],
    mut chance: Chance,
    mailbag: &Mailbag,
    secret: &str,
) -> Result<Notes, Interrupted> {
    let (doors, mut notes) = (Doors::new(urls), Notes::default());
    while stage.settling()? && !mailbag.is_done() {
        let Some(mut letter) = mailbag.take() else {
            stage.rest_settling(Duration::from_millis(20))?;
            continue;
        };
        let signature = sign(secret, clock::seconds_since_1970(), &letter.body);
        let headers =
            [("content-type", "application/json"), ("stripe-signature", signature.as_str())];
        let request = Request {
            method: "POST",
            path: "/api/stripe/webhook",
            headers: &headers,
            body: &letter.body,
        };
        match doors.send(&mut chance, request).answer {
            Ok(answer) if answer.status == 200 => {
                notes.add(Note::Acknowledged { event: letter.event });
                mailbag.done(None);
            }
            other => {
                let status = other.as_ref().map(|answer| answer.status).map_err(Clone::clone);
                if let Ok(answer) = other
                    && answer.status < 500
                {
                    let (status, body) = (answer.status, answer.body);
                    let request = format!("the delivery of {}", letter.event);
                    notes.add(Note::Unexpected { request, status, body });
                }
                notes.add(Note::SentAgain { status });
                letter.due = Instant::now() + chance.millis(200, 2_500);
                mailbag.done(Some(letter));
            }
        }
    }
    Ok(notes)
}

/// The `Stripe-Signature` of a body (Stripe's documentation, "Verify manually").
fn sign(secret: &str, at: u64, body: &str) -> String {
    let mac = hmac_sha256(secret.as_bytes(), format!("{at}.{body}").as_bytes());
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at},v1={hex}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_letter_comes_back_until_it_is_delivered() {
        let mailbag = Mailbag::default();
        mailbag.post(&mut Chance::of(1, "test"), &[json!({"id": "evt_1"})]);
        mailbag.close();
        let mut taken = 0;
        while !mailbag.is_done() {
            let Some(letter) = mailbag.take() else { continue };
            assert_eq!(letter.event, "evt_1");
            taken += 1;
            mailbag.done((taken == 1).then_some(letter));
        }
        assert!(taken >= 2, "{taken}");
    }
}
