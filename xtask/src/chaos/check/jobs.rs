//! Checks that no accepted job is lost, none is done twice, and terminal states
//! do not change.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::facts::{Facts, Job};
use super::{Line, Records, end_of, is_terminal};
use crate::chaos::clients::Note;

/// Figures and promises about jobs and plans.
pub(super) fn check(facts: &Facts, records: &Records) -> Vec<Line> {
    let accepted = accepted(records);
    let seconds = records.load.1.saturating_sub(records.load.0) as f64 / 1e6;
    let pace = accepted.len() as f64 / seconds.max(1.0);
    let mut lines = vec![
        Line::told("jobs accepted", format!("{} ({pace:.1} a second)", accepted.len())),
        Line::told("- succeeded", in_state(facts, "succeeded")),
        Line::told("- failed", failures(facts)),
        Line::told("- cancelled by their owners", in_state(facts, "cancelled")),
        Line::told("- expired", in_state(facts, "expired")),
        Line::told("requests sent again (no answer, 409 or 5xx)", sent_again(records)),
        Line::told("requests nobody answered for 45 s", gave_up(records)),
        Line::none("answers nobody may get", unexpected(records)),
    ];
    lines.push(Line::none("jobs failed with `internal`", internal(facts)));
    lines.push(Line::none("jobs lost", lost(facts, &accepted)));
    lines.push(Line::none("requests done twice", doubled_requests(facts, records)));
    lines.push(Line::none("plans done twice", doubled_plans(facts)));
    lines.push(Line::none("users with two active plans of a kind", doubly_active(facts)));
    lines.push(Line::none("ended jobs that changed", changed(facts, records)));
    lines.push(Line::none("jobs whose events have gaps", gaps(facts)));
    lines
}

/// Every job of a 2xx response, with its user.
fn accepted(records: &Records) -> BTreeMap<Uuid, Uuid> {
    let answers = records.notes.iter().filter_map(|note| match note {
        Note::Accepted { user, jobs, .. } => Some(jobs.iter().map(move |job| (*job, *user))),
        _ => None,
    });
    answers.flatten().collect()
}

fn in_state(facts: &Facts, state: &str) -> usize {
    facts.jobs.values().filter(|job| job.state == state).count()
}

fn failures(facts: &Facts) -> String {
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for job in facts.jobs.values().filter(|job| job.state == "failed") {
        *reasons.entry(job.error.as_deref().unwrap_or("no reason given")).or_default() += 1;
    }
    let total: usize = reasons.values().sum();
    let parts: Vec<_> = reasons.iter().map(|(reason, jobs)| format!("{reason} {jobs}")).collect();
    if parts.is_empty() { "0".to_owned() } else { format!("{total} ({})", parts.join(", ")) }
}

/// Jobs that failed because of a temporary fault: a store's failure must not fail a job.
fn internal(facts: &Facts) -> impl Iterator<Item = String> + '_ {
    let internal = |job: &&Job| job.state == "failed" && job.error.as_deref() == Some("internal");
    facts.jobs.values().filter(internal).map(|job| format!("job {}", job.id))
}

fn sent_again(records: &Records) -> usize {
    records.notes.iter().filter(|note| matches!(note, Note::SentAgain { .. })).count()
}

fn gave_up(records: &Records) -> usize {
    records.notes.iter().filter(|note| matches!(note, Note::GaveUp { .. })).count()
}

fn unexpected(records: &Records) -> impl Iterator<Item = String> + '_ {
    records.notes.iter().filter_map(|note| match note {
        Note::Unexpected { request, status, body } => Some(format!("{request}: {status} {body}")),
        _ => None,
    })
}

/// Accepted jobs that are missing, belong to another user, have not ended, or succeeded
/// without a plan.
fn lost(facts: &Facts, accepted: &BTreeMap<Uuid, Uuid>) -> Vec<String> {
    let plans: BTreeMap<Uuid, _> = facts.plans.iter().map(|plan| (plan.id, plan)).collect();
    let has_plan = |job: &Job| {
        let plan = job.plan.and_then(|plan| plans.get(&plan));
        plan.is_some_and(|plan| plan.user == job.user && plan.kind == job.kind)
    };
    let never_told = facts.jobs.values().filter(|job| !accepted.contains_key(&job.id));
    let told = accepted.iter().filter_map(|(id, user)| match facts.jobs.get(id) {
        None => Some(format!("job {id} is not there")),
        Some(job) if job.user != *user => Some(format!("job {id} is somebody else's")),
        Some(job) => unfinished(job),
    });
    // Jobs whose acceptance no client saw must end, too.
    let planless = facts.jobs.values().filter(|job| job.state == "succeeded" && !has_plan(job));
    told.chain(never_told.filter_map(unfinished))
        .chain(planless.map(|job| format!("job {} succeeded, but its plan is not there", job.id)))
        .collect()
}

fn unfinished(job: &Job) -> Option<String> {
    (!is_terminal(&job.state)).then(|| format!("job {} is still {}", job.id, job.state))
}

/// Keys with two responses, and jobs that no stored response names: a repeated request
/// created jobs again.
fn doubled_requests(facts: &Facts, records: &Records) -> Vec<String> {
    let mut kept: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
    for answer in &facts.kept {
        kept.entry(answer.key).or_default().insert(answer.job);
    }
    let named: BTreeSet<Uuid> = kept.values().flatten().copied().collect();
    let orphans = facts.jobs.keys().filter(|job| !named.contains(job));
    let orphans = orphans.map(|job| format!("job {job} belongs to no request that was answered"));
    let mut told: BTreeMap<Uuid, BTreeSet<Uuid>> = BTreeMap::new();
    let mut doubled = Vec::new();
    for note in &records.notes {
        let Note::Accepted { key, jobs, .. } = note else { continue };
        let jobs: BTreeSet<Uuid> = jobs.iter().copied().collect();
        let first = told.entry(*key).or_insert_with(|| jobs.clone());
        if *first != jobs {
            doubled.push(format!("key {key} was answered with {first:?} and with {jobs:?}"));
        } else if kept.get(key) != Some(&jobs) {
            doubled.push(format!("key {key}: told {jobs:?}, kept {:?}", kept.get(key)));
        }
    }
    doubled.into_iter().chain(orphans).collect()
}

/// Plans that belong to no job, or to more than one.
fn doubled_plans(facts: &Facts) -> Vec<String> {
    let mut owners: BTreeMap<Uuid, usize> = BTreeMap::new();
    for plan in facts.jobs.values().filter_map(|job| job.plan) {
        *owners.entry(plan).or_default() += 1;
    }
    let plans = facts.plans.iter();
    let odd = plans.filter_map(|plan| match owners.get(&plan.id).copied().unwrap_or_default() {
        1 => None,
        owners => Some(format!("{} plan {} belongs to {owners} jobs", plan.kind, plan.id)),
    });
    odd.collect()
}

fn doubly_active(facts: &Facts) -> Vec<String> {
    let mut active: BTreeMap<(Uuid, &str), usize> = BTreeMap::new();
    for plan in facts.plans.iter().filter(|plan| plan.active) {
        *active.entry((plan.user, &plan.kind)).or_default() += 1;
    }
    let many = active.iter().filter(|(_, plans)| **plans > 1);
    many.map(|((user, kind), plans)| format!("user {user} has {plans} active {kind} plans"))
        .collect()
}

/// Jobs seen in one terminal state and now in another, with events after the terminal
/// one, or with a history that contradicts the state.
fn changed(facts: &Facts, records: &Records) -> Vec<String> {
    let mut changed = Vec::new();
    for note in &records.notes {
        let Note::Ended { job, state } = note else { continue };
        let now = facts.jobs.get(job).map_or("gone", |job| &job.state);
        if now != state {
            changed.push(format!("job {job} was seen {state} and is {now}"));
        }
    }
    for (id, events) in &facts.events {
        let ends: Vec<_> = events.iter().filter_map(|event| end_of(&event.kind)).collect();
        let last = events.last().and_then(|event| end_of(&event.kind));
        let state = facts.jobs.get(id).map_or("gone", |job| &job.state);
        let as_told = match ends[..] {
            [] => !is_terminal(state),
            [end] => last == Some(end) && state == end,
            _ => false,
        };
        if !as_told {
            changed
                .push(format!("job {id} is {state}, but its events end with {ends:?}, {last:?}"));
        }
    }
    changed
}

/// Events are numbered 1, 2, 3 … up to the job's own count.
fn gaps(facts: &Facts) -> Vec<String> {
    let gap = |job: &Job| {
        let events = facts.events.get(&job.id).map(Vec::as_slice).unwrap_or_default();
        let numbers = events.iter().map(|event| event.seq);
        let whole = numbers.eq(1..=job.last_seq);
        (!whole).then(|| format!("job {}: {} events, last {}", job.id, events.len(), job.last_seq))
    };
    facts.jobs.values().filter_map(gap).collect()
}
