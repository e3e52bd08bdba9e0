//! Tests of the checker: each breaks one promise in a run that kept all of
//! them, and expects the report of it.

use std::collections::BTreeMap;

use serde_json::json;
use uuid::Uuid;

use super::facts::{Attempt, Event, Facts, Job, Kept, Plan, Profile, StripeEvent};
use super::{Line, Records, check};
use crate::chaos::backlog::Sample;
use crate::chaos::billing::{Due, Sent};
use crate::chaos::clients::Note;
use crate::chaos::faults::Fault;

const JOB: Uuid = Uuid::from_u128(1);
const USER: Uuid = Uuid::from_u128(2);
const PLAN: Uuid = Uuid::from_u128(3);
const KEY: Uuid = Uuid::from_u128(4);
const SECOND: u64 = 1_000_000;

/// A worker was killed at 10 s; its job is claimed again at 22 s and ends.
fn good() -> (Facts, Records) {
    let event = |seq, kind: &str, at, worker: Option<&str>| Event {
        seq,
        kind: kind.to_owned(),
        at: at * SECOND,
        worker: worker.map(str::to_owned),
    };
    let events = vec![
        event(1, "accepted", 8, None),
        event(2, "claimed", 9, Some("w1")),
        event(3, "attempt_started", 9, None),
        event(4, "lease_lost", 21, Some("w1")),
        event(5, "claimed", 22, Some("w2")),
        event(6, "attempt_started", 22, None),
        event(7, "verifying", 23, None),
        event(8, "saved", 24, None),
    ];
    let job = Job {
        id: JOB,
        user: USER,
        kind: "meal".to_owned(),
        state: "succeeded".to_owned(),
        error: None,
        plan: Some(PLAN),
        fence: 2,
        last_seq: 8,
    };
    let attempt = |n, fence, started: u64, stored: Option<u64>, outcome: Option<&str>| Attempt {
        job: JOB,
        n,
        fence,
        started: started * SECOND,
        stored: stored.map(|at| at * SECOND),
        outcome: outcome.map(str::to_owned),
    };
    let facts = Facts {
        jobs: BTreeMap::from([(JOB, job)]),
        events: BTreeMap::from([(JOB, events)]),
        attempts: vec![attempt(1, 1, 9, None, None), attempt(2, 2, 22, Some(23), Some("ok"))],
        plans: vec![Plan { id: PLAN, user: USER, kind: "meal".to_owned(), active: true }],
        kept: vec![Kept { key: KEY, job: JOB }],
        stripe: vec![StripeEvent {
            id: "evt_1".to_owned(),
            state: "applied".to_owned(),
            notices: 1,
        }],
        messages: 1,
        profiles: BTreeMap::from([(USER, Profile { plan: "pro".to_owned(), renews: None })]),
    };
    let accepted = |replayed| Note::Accepted { user: USER, key: KEY, jobs: vec![JOB], replayed };
    let records = Records {
        notes: vec![
            accepted(false),
            accepted(true),
            Note::Waited { at: 8 * SECOND, took: 400_000, ingress: 1, status: Some(202) },
            Note::Ended { job: JOB, state: "succeeded".to_owned() },
            Note::Acknowledged { event: "evt_1".to_owned() },
        ],
        faults: vec![Fault {
            what: "kill -9",
            whom: "worker-1".to_owned(),
            at: 10 * SECOND,
            back: 12 * SECOND,
            worker: Some("w1".to_owned()),
        }],
        load: (8 * SECOND, 30 * SECOND),
        backlog: vec![Sample { ids: 3, queued: 1 }],
        sent: BTreeMap::from([("evt_1".to_owned(), Sent { told: true })]),
        due: BTreeMap::from([(USER, Due { plan: "pro", renews: None })]),
        ..Records::default()
    };
    (facts, records)
}

/// The promises that a change to a good run breaks.
fn broken(change: impl FnOnce(&mut Facts, &mut Records)) -> Vec<&'static str> {
    let (mut facts, mut records) = good();
    change(&mut facts, &mut records);
    let lines = check(&facts, &records);
    let broken = lines.iter().filter(|line| !line.kept);
    broken
        .inspect(|line| assert!(!line.examples.is_empty(), "{line:?}"))
        .map(|line| line.what)
        .collect()
}

fn job(facts: &mut Facts) -> &mut Job {
    facts.jobs.get_mut(&JOB).unwrap()
}

fn events(facts: &mut Facts) -> &mut Vec<Event> {
    facts.events.get_mut(&JOB).unwrap()
}

#[test]
fn a_good_run_keeps_every_promise_and_its_figures_are_told() {
    let (facts, records) = good();
    let lines = check(&facts, &records);
    let told = |what: &str| {
        let line: &Line = lines.iter().find(|line| line.what == what).unwrap();
        line.value.as_str()
    };
    assert!(lines.iter().all(|line| line.kept), "{lines:#?}");
    assert_eq!(told("longest time from crash to re-run"), "12.0 s (median 12.0 s, 1 jobs)");
    assert_eq!(told("calls by holders that lost the job later"), "1");
    assert_eq!(told("jobs accepted"), "1 (0.0 a second)");
    assert_eq!(
        told("longest time a request for plans waited for its end"),
        "0.4 s (202), 0 too long"
    );
    assert_eq!(told("most ids in Redis at one time"), "3 for 1 waiting jobs");
    assert_eq!(told("- by kind of fault"), "worker kill -9 16.0 s");
}

#[test]
fn a_job_that_is_gone_is_lost() {
    let found = broken(|facts, _| {
        facts.jobs.clear();
        facts.events.clear();
        facts.attempts.clear();
    });
    // The plan and the client's last note then refer to nothing.
    assert_eq!(found, ["jobs lost", "plans done twice", "ended jobs that changed"]);
}

#[test]
fn a_job_that_never_ends_is_lost() {
    let found = broken(|facts, records| {
        job(facts).state = "queued".to_owned();
        job(facts).plan = None;
        job(facts).last_seq = 7;
        events(facts).pop();
        facts.plans.clear();
        records.notes.retain(|note| !matches!(note, Note::Ended { .. }));
    });
    assert_eq!(found, ["jobs lost"]);
}

#[test]
fn a_plan_that_is_not_there_is_lost() {
    assert_eq!(broken(|facts, _| facts.plans.clear()), ["jobs lost"]);
}

#[test]
fn a_second_plan_row_is_a_plan_done_twice() {
    let found = broken(|facts, _| {
        let second = Plan { id: Uuid::from_u128(9), active: false, ..facts.plans[0].clone() };
        facts.plans.push(second);
    });
    assert_eq!(found, ["plans done twice"]);
}

#[test]
fn two_active_plans_are_one_too_many() {
    let found = broken(|facts, _| {
        let (other, plan) = (Uuid::from_u128(8), Uuid::from_u128(9));
        let second = Job { id: other, plan: Some(plan), ..facts.jobs[&JOB].clone() };
        facts.events.insert(other, facts.events[&JOB].clone());
        facts.jobs.insert(other, second);
        facts.kept.push(Kept { key: Uuid::from_u128(7), job: other });
        facts.plans.push(Plan { id: plan, ..facts.plans[0].clone() });
    });
    assert_eq!(found, ["users with two active plans of a kind"]);
}

#[test]
fn a_repeated_request_with_other_jobs_was_done_twice() {
    let found = broken(|_, records| {
        let jobs = vec![Uuid::from_u128(8)];
        records.notes.push(Note::Accepted { user: USER, key: KEY, jobs, replayed: false });
    });
    assert_eq!(found, ["jobs lost", "requests done twice"]);
}

#[test]
fn a_job_that_no_answer_names_is_a_request_done_twice() {
    assert_eq!(broken(|facts, _| facts.kept.clear()), ["requests done twice"]);
}

#[test]
fn an_end_that_was_seen_and_is_another_now_has_changed() {
    let found = broken(|_, records| {
        records.notes.push(Note::Ended { job: JOB, state: "cancelled".to_owned() });
    });
    assert_eq!(found, ["ended jobs that changed"]);
}

#[test]
fn an_event_after_the_last_one_is_a_change() {
    let found = broken(|facts, _| {
        let late = Event { seq: 9, kind: "claimed".to_owned(), ..facts.events[&JOB][7].clone() };
        events(facts).push(late);
        job(facts).last_seq = 9;
    });
    assert_eq!(found, ["ended jobs that changed"]);
}

#[test]
fn numbers_that_leave_one_out_are_a_gap() {
    let found = broken(|facts, _| {
        events(facts).remove(6);
    });
    assert_eq!(found, ["jobs whose events have gaps"]);
}

#[test]
fn a_stored_reply_that_is_asked_for_again_is_thrown_away() {
    // Stored before the second holder claimed the job at 22 s.
    let thrown_away = |outcome: Option<&str>, at: u64| {
        broken(|facts, _| {
            facts.attempts[0].stored = Some(at * SECOND);
            facts.attempts[0].outcome = outcome.map(str::to_owned);
        })
    };
    assert_eq!(thrown_away(None, 12), ["stored replies thrown away"]);
    assert_eq!(thrown_away(Some("ok"), 12), ["stored replies thrown away"]);
    assert!(thrown_away(Some("truncated"), 12).is_empty(), "asking again was right");
    assert!(thrown_away(None, 23).is_empty(), "it came too late to be found");
}

#[test]
fn a_late_re_run_breaks_the_promise() {
    let claimed_at = |facts: &mut Facts, at: u64| events(facts)[4].at = at * SECOND;
    assert!(broken(|facts, _| claimed_at(facts, 24)).is_empty());
    let found = broken(|facts, _| claimed_at(facts, 25));
    assert_eq!(found, ["- with both stores up meanwhile"]);
    let beside = |whom: &str, at, back| {
        broken(|facts, records| {
            claimed_at(facts, at);
            records.faults.push(fault("in trouble", whom, 12, back));
            // Continuous work is another promise.
            records.load = (0, 0);
        })
    };
    for whom in ["Postgres", "Redis", "queues"] {
        assert!(beside(whom, 25, 13).is_empty(), "trouble may add to it");
        assert_eq!(beside(whom, 30, 13), ["- with a store in trouble"]);
    }
    assert!(beside("Postgres", 34, 16).is_empty(), "it counts from the store's return");
    assert_eq!(beside("Postgres", 35, 16), ["- with a store in trouble"]);
    assert_eq!(beside("Redis", 30, 16), ["- with a store in trouble"], "Redis is not needed");
    let overdue = broken(|facts, records| {
        claimed_at(facts, 28);
        records.faults.push(fault("in trouble", "Postgres", 26, 27));
        records.load = (0, 0);
    });
    assert_eq!(overdue, ["- with both stores up meanwhile"], "trouble came when it was late");
}

#[test]
fn a_job_that_ended_for_what_passes_is_shown() {
    let found = broken(|facts, records| {
        job(facts).state = "failed".to_owned();
        job(facts).error = Some("internal".to_owned());
        job(facts).plan = None;
        events(facts)[7].kind = "failed".to_owned();
        facts.plans.clear();
        records.notes.retain(|note| !matches!(note, Note::Ended { .. }));
    });
    assert_eq!(found, ["jobs failed with `internal`"]);
}

#[test]
fn an_answer_that_takes_too_long_is_shown_unless_the_ingress_stood_still() {
    let late = |ingress, status| {
        broken(|_, records| {
            records.faults.push(fault("SIGSTOP", "ingress-1", 10, 14));
            let (at, took) = (9 * SECOND, 8 * SECOND);
            records.notes.push(Note::Waited { at, took, ingress, status });
        })
    };
    let what = "longest time a request for plans waited for its end";
    assert!(late(1, Some(202)).is_empty());
    assert_eq!(late(2, Some(202)), [what]);
    assert_eq!(late(2, None), [what]);
}

#[test]
fn a_failure_that_does_not_say_that_it_passes_is_shown() {
    let found = broken(|_, records| {
        let (request, body) = ("POST /v1/plans".to_owned(), json!({"code": "internal"}));
        records.notes.push(Note::Blunt { request, status: 500, body });
    });
    assert_eq!(found, ["failures without a time to come again"]);
}

#[test]
fn ids_pushed_for_nothing_are_shown() {
    let heaps = |ids, queued| broken(|_, records| records.backlog.push(Sample { ids, queued }));
    assert_eq!(heaps(11_580, 474), ["most ids in Redis at one time"]);
    assert!(heaps(1_400, 474).is_empty());
    let again = broken(|_, records| records.pushed_again = 2.0);
    assert_eq!(again, ["ids taken for lost and pushed again"]);
}

#[test]
fn good_answers_that_become_no_plan_are_shown() {
    let paid = |good| broken(|_, records| records.calls = (good, good));
    assert!(paid(11).is_empty(), "some workers die");
    assert_eq!(paid(12), ["- whole good answers per finished plan"]);
}

#[test]
fn work_goes_on_without_redis_and_soon_after_postgres() {
    let standstill = |whom: &str, at, back| {
        broken(|_, records| records.faults.push(fault("in trouble", whom, at, back)))
    };
    // The only job ends at 24 s, 16 s after the load began, and then none does.
    assert_eq!(standstill("Redis", 10, 11), ["- with Redis alone in trouble"]);
    assert!(standstill("Redis", 25, 26).is_empty(), "6 s are not too long");
    assert_eq!(
        standstill("Postgres", 8, 9).len(),
        0,
        "15 s from its return to the next end are as promised"
    );
    let later = broken(|facts, records| {
        records.faults.push(fault("in trouble", "Postgres", 8, 9));
        events(facts)[7].at = 24 * SECOND + 1;
    });
    assert_eq!(later, ["longest time from Postgres's return to the next end"]);
    let both = broken(|_, records| {
        records.faults.push(fault("in trouble", "Redis", 10, 11));
        records.faults.push(fault("in trouble", "Postgres", 22, 23));
    });
    assert!(both.is_empty(), "Postgres was in trouble too");
}

#[test]
fn a_job_that_is_not_taken_while_redis_is_in_trouble_is_shown() {
    let claimed = |at, with: &[Fault]| {
        broken(|facts, records| {
            events(facts)[1].at = at * SECOND;
            records.faults = with.to_vec();
            records.load = (0, 0);
        })
    };
    let (redis, postgres) = (fault("full", "Redis", 7, 20), fault("locked", "Postgres", 9, 12));
    assert!(claimed(13, std::slice::from_ref(&redis)).is_empty());
    assert_eq!(
        claimed(14, std::slice::from_ref(&redis)),
        ["nine of ten jobs claimed with Redis alone in trouble after"]
    );
    assert!(claimed(14, &[redis, postgres]).is_empty(), "nobody could take it");
}

/// A fault of a store or an ingress, in seconds.
fn fault(what: &'static str, whom: &str, at: u64, back: u64) -> Fault {
    let (at, back) = (at * SECOND, back * SECOND);
    Fault { what, whom: whom.to_owned(), at, back, worker: None }
}

#[test]
fn a_lease_that_was_lost_without_a_fault_of_its_worker_is_told() {
    let (facts, mut records) = good();
    // Before the worker claimed the job, so that it has no effect on it.
    records.faults[0].at = 7 * SECOND;
    let lines = check(&facts, &records);
    let told = lines.iter().find(|line| line.what.starts_with("leases lost")).unwrap();
    assert_eq!(told.value, "1");
}

#[test]
fn answers_nobody_may_get_are_shown() {
    let found = broken(|_, records| {
        let (request, body) = ("GET /v1/jobs/1".to_owned(), json!({"code": "not-found"}));
        records.notes.push(Note::Unexpected { request, status: 404, body });
    });
    assert_eq!(found, ["answers nobody may get"]);
}

#[test]
fn processes_that_end_by_themselves_are_shown() {
    let found = broken(|_, records| records.unexpected.push("worker-1 ended".to_owned()));
    assert_eq!(found, ["processes that ended by themselves"]);
}

#[test]
fn an_event_that_is_missing_or_waits_is_not_done() {
    let missing = broken(|facts, _| {
        facts.stripe.clear();
        facts.messages = 0;
    });
    assert_eq!(missing, ["events not stored exactly once"]);
    let waiting = broken(|facts, _| {
        facts.stripe[0].state = "received".to_owned();
        facts.stripe[0].notices = 0;
        facts.messages = 0;
    });
    assert_eq!(waiting, ["events not applied"]);
}

#[test]
fn users_are_told_once() {
    let told = "events told of more than once, or not at all";
    assert_eq!(broken(|facts, _| facts.messages = 2), [told]);
    let not = broken(|facts, _| {
        facts.stripe[0].notices = 0;
        facts.messages = 0;
    });
    assert_eq!(not, [told]);
}

#[test]
fn a_user_without_what_was_paid_for_is_shown() {
    let found = broken(|facts, _| {
        facts.profiles.get_mut(&USER).unwrap().plan = "free".to_owned();
    });
    assert_eq!(found, ["users whose plan is not what Stripe says"]);
}

fn streamed(after: i64, events: Vec<i64>) -> Note {
    Note::Streamed { job: JOB, after, events, broke: false }
}

#[test]
fn a_stream_in_two_parts_has_each_event_once() {
    let two_parts = |second: Note| {
        broken(move |_, records| {
            records.notes.extend([streamed(0, vec![1, 2, 3]), second]);
        })
    };
    assert!(two_parts(streamed(3, vec![4, 5, 6, 7, 8])).is_empty());
    let promise = ["streams that missed or repeated an event"];
    assert_eq!(two_parts(streamed(3, vec![3, 4, 5, 6, 7, 8])), promise);
    assert_eq!(two_parts(streamed(3, vec![5, 6, 7, 8])), promise);
    assert_eq!(two_parts(streamed(3, vec![4, 5, 6, 7, 8, 9])), promise);
    assert_eq!(two_parts(streamed(3, vec![4, 5])), promise);
}

#[test]
fn a_rolling_restart_refuses_nothing_and_replaces_everything() {
    let restart = |change: fn(&mut Records)| {
        broken(move |_, records| {
            records.restarts = true;
            let replaced = |generation: usize| {
                let whom = match generation {
                    1 => "worker-1".to_owned(),
                    _ => format!("worker-1.{generation}"),
                };
                Fault { whom, what: "SIGTERM", ..records.faults[0].clone() }
            };
            records.faults = (1..=3).map(replaced).collect();
            change(records);
        })
    };
    assert!(restart(|records| records.notes.push(Note::SentAgain { status: Ok(409) })).is_empty());
    let refused = ["requests refused or broken off"];
    assert_eq!(
        restart(|it| it.notes.push(Note::SentAgain { status: Err("GET /".to_owned()) })),
        refused
    );
    assert_eq!(restart(|it| it.notes.push(Note::SentAgain { status: Ok(503) })), refused);
    let cut = |records: &mut Records| {
        let events = (1..=8).collect();
        records.notes.push(Note::Streamed { job: JOB, after: 0, events, broke: true });
    };
    assert_eq!(restart(cut), ["streams that broke off instead of ending"]);
    assert_eq!(restart(|it| drop(it.faults.pop())), ["how often each process was replaced"]);
    assert_eq!(restart(|it| it.faults.clear()), ["how often each process was replaced"]);
}

#[test]
fn processes_that_are_not_ready_soon_after_a_failover_are_late() {
    assert!(broken(|_, records| records.returns.push(14 * SECOND)).is_empty());
    assert_eq!(
        broken(|_, records| records.returns.extend([2 * SECOND, 16 * SECOND])),
        ["longest time from a failover's end until every process was ready"]
    );
}
