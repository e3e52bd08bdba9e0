//! Reads the final state of Postgres with psql: plain rows, in the order they
//! were written.

use std::collections::BTreeMap;
use std::str::FromStr;

use uuid::Uuid;

use crate::psql::{Psql, PsqlError, Row};

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) struct Job {
    pub(in crate::chaos) id: Uuid,
    pub(in crate::chaos) user: Uuid,
    pub(in crate::chaos) kind: String,
    pub(in crate::chaos) state: String,
    pub(in crate::chaos) error: Option<String>,
    pub(in crate::chaos) plan: Option<Uuid>,
    pub(in crate::chaos) fence: i64,
    pub(in crate::chaos) last_seq: i64,
}

/// An entry of a job's history.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) struct Event {
    pub(in crate::chaos) seq: i64,
    pub(in crate::chaos) kind: String,
    /// Microseconds since 1970.
    pub(in crate::chaos) at: u64,
    /// The worker that claimed the job, or that was lost.
    pub(in crate::chaos) worker: Option<String>,
}

/// A call to a provider.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) struct Attempt {
    pub(in crate::chaos) job: Uuid,
    pub(in crate::chaos) n: i64,
    pub(in crate::chaos) fence: i64,
    pub(in crate::chaos) started: u64,
    /// When its reply was stored, if it was.
    pub(in crate::chaos) stored: Option<u64>,
    pub(in crate::chaos) outcome: Option<String>,
}

/// A saved plan.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) struct Plan {
    pub(in crate::chaos) id: Uuid,
    pub(in crate::chaos) user: Uuid,
    pub(in crate::chaos) kind: String,
    pub(in crate::chaos) active: bool,
}

/// A response stored under an idempotency key: one row for each of its jobs.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) struct Kept {
    pub(in crate::chaos) key: Uuid,
    pub(in crate::chaos) job: Uuid,
}

/// A Stripe event.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::chaos) struct StripeEvent {
    pub(in crate::chaos) id: String,
    pub(in crate::chaos) state: String,
    /// The number of its notices in the app.
    pub(in crate::chaos) notices: i64,
}

/// What the app reads about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) struct Profile {
    pub(in crate::chaos) plan: String,
    pub(in crate::chaos) renews: Option<String>,
}

/// Everything that is read.
#[derive(Debug, Default)]
pub(in crate::chaos) struct Facts {
    pub(in crate::chaos) jobs: BTreeMap<Uuid, Job>,
    /// By job, in the order of their numbers.
    pub(in crate::chaos) events: BTreeMap<Uuid, Vec<Event>>,
    /// In the order of jobs and numbers.
    pub(in crate::chaos) attempts: Vec<Attempt>,
    pub(in crate::chaos) plans: Vec<Plan>,
    pub(in crate::chaos) kept: Vec<Kept>,
    pub(in crate::chaos) stripe: Vec<StripeEvent>,
    /// Messages about payments in the app, of all users.
    pub(in crate::chaos) messages: i64,
    pub(in crate::chaos) profiles: BTreeMap<Uuid, Profile>,
}

const JOBS: &str = "select id, user_id, kind, state, error_code, plan_id, fence, last_seq
    from regimen.jobs order by created_at, id";
const EVENTS: &str = "select job_id, seq, kind, (extract(epoch from at) * 1e6)::bigint,
    data ->> 'worker' from regimen.job_events order by job_id, seq";
const ATTEMPTS: &str = "select job_id, n, fence, (extract(epoch from started_at) * 1e6)::bigint,
    case when raw_reply is not null then (extract(epoch from finished_at) * 1e6)::bigint end,
    outcome from regimen.job_attempts order by job_id, n";
const PLANS: &str =
    "select id, user_id, 'meal', is_active from public.ai_meal_plans where plan_data is not null
    union all select id, user_id, 'workout', is_active from public.ai_workout_plans
        where plan_data is not null";
const KEPT: &str = "select k.key, job ->> 'id' from regimen.idempotency_keys k,
    json_array_elements(k.response -> 'jobs') as job";
const STRIPE: &str = "select e.id, e.state,
    (select count(*) from regimen.billing_notices n where n.event_id = e.id)
    from regimen.stripe_events e";
const MESSAGES: &str = "select count(*) from public.notifications where entity_type = 'billing'";
const PROFILES: &str = "select id, plan_id, plan_renewal_date from public.profiles";

impl Facts {
    /// Reads everything.
    ///
    /// # Errors
    /// Postgres does not answer, or a column has an unexpected format.
    pub(in crate::chaos) fn read(psql: &Psql) -> Result<Self, PsqlError> {
        let mut facts = Self::default();
        for row in psql.rows(JOBS)? {
            let job = Job {
                id: row.get(0)?,
                user: row.get(1)?,
                kind: row.get(2)?,
                state: row.get(3)?,
                error: row.maybe(4)?,
                plan: row.maybe(5)?,
                fence: row.get(6)?,
                last_seq: row.get(7)?,
            };
            facts.jobs.insert(job.id, job);
        }
        for row in psql.rows(EVENTS)? {
            let (seq, kind, at, worker) = (row.get(1)?, row.get(2)?, row.get(3)?, row.maybe(4)?);
            facts.events.entry(row.get(0)?).or_default().push(Event { seq, kind, at, worker });
        }
        facts.attempts = psql.rows(ATTEMPTS)?.iter().map(attempt).collect::<Result<_, _>>()?;
        facts.plans = psql.rows(PLANS)?.iter().map(plan).collect::<Result<_, _>>()?;
        for row in psql.rows(KEPT)? {
            facts.kept.push(Kept { key: row.get(0)?, job: row.get(1)? });
        }
        for row in psql.rows(STRIPE)? {
            let (id, state, notices) = (row.get(0)?, row.get(1)?, row.get(2)?);
            facts.stripe.push(StripeEvent { id, state, notices });
        }
        facts.messages = count(psql, MESSAGES)?;
        for row in psql.rows(PROFILES)? {
            let profile = Profile { plan: row.get(1)?, renews: row.maybe(2)? };
            facts.profiles.insert(row.get(0)?, profile);
        }
        Ok(facts)
    }
}

/// The single number of a query.
///
/// # Errors
/// Postgres does not answer.
pub(in crate::chaos) fn count<T: FromStr + Default>(
    psql: &Psql,
    sql: &str,
) -> Result<T, PsqlError> {
    psql.rows(sql)?.first().map_or_else(|| Ok(T::default()), |row| row.get(0))
}

fn attempt(row: &Row) -> Result<Attempt, PsqlError> {
    Ok(Attempt {
        job: row.get(0)?,
        n: row.get(1)?,
        fence: row.get(2)?,
        started: row.get(3)?,
        stored: row.maybe(4)?,
        outcome: row.maybe(5)?,
    })
}

fn plan(row: &Row) -> Result<Plan, PsqlError> {
    let active = row.get::<String>(3)? == "t";
    Ok(Plan { id: row.get(0)?, user: row.get(1)?, kind: row.get(2)?, active })
}
