//! Generates the histories of Stripe's customers in real time, so that several
//! events fall into one second, as they do at Stripe.

use serde_json::Value;

use super::super::chance::Chance;
use super::super::clients::{Asked, Doors, Notes, Person, submit};
use super::super::stop::Stage;
use super::Truth;
use super::delivery::Mailbag;
use super::story::{Owner, Payment, Step, Stripe};
use crate::clock;
use regimen_devtools::Interrupted;

/// The average time between two changes of a customer, milliseconds.
const PACE: u64 = 12_000;

/// What generates the histories.
pub(in crate::chaos) struct Teller<'a> {
    pub(in crate::chaos) stage: &'a Stage<'a>,
    pub(in crate::chaos) urls: &'a [String],
    pub(in crate::chaos) truth: &'a Truth,
    pub(in crate::chaos) mailbag: &'a Mailbag,
    /// Two users for each customer: the buyer and the one who receives gifts.
    pub(in crate::chaos) pairs: &'a [(Person, Person)],
    pub(in crate::chaos) answers: &'a Value,
}

/// Creates the users' accounts with a first request for plans, then generates histories
/// until the load is over.
pub(in crate::chaos) fn tell(
    teller: &Teller<'_>,
    mut chance: Chance,
) -> Result<Notes, Interrupted> {
    let (stage, mut notes) = (teller.stage, Notes::default());
    let doors = Doors::new(teller.urls);
    for (buyer, friend) in teller.pairs {
        for person in [buyer, friend] {
            let asked = Asked::new(&mut chance, person, teller.answers);
            if submit(stage, &doors, &mut chance, &asked, &mut notes)?.is_none() {
                // Without accounts there are no users for subscriptions.
                return Ok(notes);
            }
        }
        let name = chance.uuid().simple().to_string();
        let stripe = Stripe::new(&name, now(), buyer.id, friend.id);
        teller.truth.stories().push(stripe);
    }
    let pace = PACE / u64::try_from(teller.pairs.len()).unwrap_or(1).max(1);
    while stage.loading()? {
        stage.rest(chance.millis(0, 2 * pace))?;
        let (step, which) = (step(&mut chance), chance.below(3));
        let mut stories = teller.truth.stories();
        let at = chance.below(stories.len());
        let Some(stripe) = stories.get_mut(at) else { continue };
        stripe.now = now();
        let before = stripe.events.len();
        stripe.step(step, which);
        let happened: Vec<Value> = stripe.events.iter().skip(before).cloned().collect();
        drop(stories);
        teller.mailbag.post(&mut chance, &happened);
    }
    teller.mailbag.close();
    Ok(notes)
}

fn now() -> i64 {
    i64::try_from(clock::seconds_since_1970()).unwrap_or(i64::MAX)
}

fn step(chance: &mut Chance) -> Step {
    let metadata = match chance.below(4) {
        0 => Owner::Nobody,
        1 => Owner::Friend,
        _ => Owner::Buyer,
    };
    let payment = match chance.below(3) {
        0 => Payment::Paid,
        1 => Payment::Trial,
        _ => Payment::Delayed,
    };
    match chance.below(48) {
        0..=5 => Step::Checkout { payment, metadata },
        6 | 7 => Step::Dashboard(metadata),
        8 | 9 => Step::FirstPaymentArrives,
        10 => Step::FirstPaymentExpires,
        11..=14 => Step::Renew,
        15..=18 => Step::RenewalFails,
        19..=22 => Step::Recover,
        23 => Step::GiveUp,
        24 | 25 => Step::Pause,
        26 | 27 => Step::Resume,
        28 | 29 => Step::ScheduleCancel,
        30 | 31 => Step::KeepAfterAll,
        32..=34 => Step::Cancel,
        35 | 36 => Step::ChangePrice,
        37 | 38 => Step::Refund,
        39 => Step::TrialWillEnd,
        40 => Step::Dispute,
        41 | 42 => Step::DisputeEnds,
        // For ever or for longer than any run, so that the expected state does not change
        // by itself.
        43 => Step::PauseCollection("void", None),
        44 => Step::PauseCollection("keep_as_draft", Some(10_000_000)),
        45 | 46 => Step::ResumeCollection,
        _ => Step::DeleteCustomer,
    }
}
