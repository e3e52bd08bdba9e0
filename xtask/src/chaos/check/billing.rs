//! Checks that every Stripe event is stored and applied once and that every
//! user has what was paid for.

use std::collections::BTreeMap;

use super::facts::{Facts, Profile};
use super::{Line, Records};
use crate::chaos::clients::Note;

/// Figures and promises about payments.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let deliveries =
        records.notes.iter().filter(|note| matches!(note, Note::Acknowledged { .. })).count();
    let pro = records.due.values().filter(|due| due.plan == "pro").count();
    vec![
        Line::told("Stripe events", format!("{} in {deliveries} deliveries", records.sent.len())),
        Line::none("events not stored exactly once", not_once(facts, records)),
        Line::none("events not applied", not_applied(facts)),
        Line::none("events told of more than once, or not at all", wrongly_told(facts, records)),
        Line::told("users with payments", format!("{} ({pro} pro in the end)", records.due.len())),
        Line::none("users whose plan is not what Stripe says", wrong_plans(facts, records)),
    ]
}

fn not_once(facts: &Facts, records: &Records) -> Vec<String> {
    let mut stored: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &facts.stripe {
        *stored.entry(&event.id).or_default() += 1;
    }
    let sent = records.sent.keys().map(|id| (id, stored.get(id.as_str()).copied().unwrap_or(0)));
    let wrong = sent.filter(|(_, times)| *times != 1);
    let unknown = stored.keys().filter(|id| !records.sent.contains_key(**id));
    wrong
        .map(|(id, times)| format!("{id} is stored {times} times"))
        .chain(unknown.map(|id| format!("{id} was never sent")))
        .collect()
}

/// An event without a user is kept as unresolved; waiting and dead ones were not applied.
fn not_applied(facts: &Facts) -> Vec<String> {
    let open = |state: &str| !matches!(state, "applied" | "ignored" | "unresolved");
    let open = facts.stripe.iter().filter(|event| open(&event.state));
    open.map(|event| format!("{} is {}", event.id, event.state)).collect()
}

/// There must be one notice for each event that users are notified of, none for others,
/// and as many messages in the app as notices.
fn wrongly_told(facts: &Facts, records: &Records) -> Vec<String> {
    let told: i64 = facts.stripe.iter().map(|event| event.notices).sum();
    let mut wrong: Vec<String> = Vec::new();
    for event in &facts.stripe {
        let wanted = records.sent.get(&event.id).is_some_and(|sent| sent.told);
        // An event without a user has nobody to notify.
        let wanted = i64::from(wanted && event.state == "applied");
        if event.notices != wanted {
            wrong.push(format!("{} has {} notices, not {wanted}", event.id, event.notices));
        }
    }
    if told != facts.messages {
        wrong.push(format!("{told} notices, but {} messages in the app", facts.messages));
    }
    wrong
}

fn wrong_plans(facts: &Facts, records: &Records) -> Vec<String> {
    let due = records.due.iter().map(|(user, due)| {
        let due = Profile { plan: due.plan.to_owned(), renews: due.renews.clone() };
        (user, due, facts.profiles.get(user))
    });
    let wrong = due.filter(|(_, due, found)| Some(due) != *found);
    wrong.map(|(user, due, found)| format!("user {user} has {found:?}, not {due:?}")).collect()
}
