//! Generates one plan: prompt, provider, verification, save.
//!
//! Contract: idempotent by the fence of its claim. The whole round has one
//! deadline. On cancellation or a lost lease the provider call is dropped at
//! once and nothing is written. After a crash before the reply is stored, the
//! provider is called again; after it, the next round continues from the stored
//! reply. A panic counts as a lost worker.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use regimen_common::db::jobs::{ClaimedJob, Held};
use regimen_common::food::Unread;
use regimen_common::job::{FailureCode, PlanKind, attempt_summary};
use regimen_common::telemetry::UserHash;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::attempts::Attempts;
use super::error::JobError;
use super::finish::{self, Finished};
use super::order::Order;
use super::stages::{Stage, Stages};
use super::unknown_words;
use super::verify::Verifier;
use crate::deps::Deps;
use crate::llm::fallback::Request;
use crate::llm::log::AttemptFailure;
use crate::llm::outcome::{Delivered, FallbackError};
use crate::llm::{self, LazyPrompt, Prompt, ReplySchema};
use crate::plan::{self, Plan};
use crate::prompts;
use crate::runner::consumer;
use crate::runner::in_flight::InFlightJob;
use crate::runner::traced::{About, Described};
use crate::writes::Beside;

/// Extra time after the providers' deadline, for judging and writing.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);

/// The highest number of tokens of a plan's JSON.
const OUTPUT_TOKENS: u32 = 12_000;

static MEAL: LazyLock<Arc<ReplySchema>> = LazyLock::new(|| reply_schema(PlanKind::Meal));
static WORKOUT: LazyLock<Arc<ReplySchema>> = LazyLock::new(|| reply_schema(PlanKind::Workout));

fn reply_schema(kind: PlanKind) -> Arc<ReplySchema> {
    Arc::new(ReplySchema::new(plan::schema(kind)))
}

/// A claimed plan job.
#[derive(Debug)]
pub struct PlanJob {
    claimed: ClaimedJob,
    /// Released when dropped, unless the job ended or was taken over.
    in_flight: InFlightJob,
    begun: Instant,
}

impl PlanJob {
    /// The claimed job.
    pub fn new(claimed: ClaimedJob, in_flight: InFlightJob) -> Self {
        Self { claimed, in_flight, begun: Instant::now() }
    }
}

impl Described for PlanJob {
    fn about(&self) -> About<'_> {
        let claimed = &self.claimed;
        let quiz = claimed.quiz_result_id.map(|id| id.to_string());
        About {
            id: claimed.id.to_string(),
            user: Some(claimed.user_id),
            trace: claimed.trace_context.as_deref(),
            context: "ai_generation",
            facts: vec![
                ("job_id", claimed.id.to_string()),
                ("kind", claimed.kind.as_str().to_owned()),
                ("attempt", claimed.attempts.to_string()),
                ("quiz_result_id", quiz.unwrap_or_else(|| "none".to_owned())),
                ("prompt_version", prompts::VERSION.to_owned()),
            ],
        }
    }
}

impl consumer::Job<Deps> for PlanJob {
    async fn run(&self, deps: &Arc<Deps>) {
        let claimed = &self.claimed;
        let span = tracing::info_span!(
            "plan",
            job_id = %claimed.id,
            user = %UserHash::of(claimed.user_id),
            kind = claimed.kind.as_str(),
        );
        Box::pin(self.run_round(deps)).instrument(span).await;
    }

    async fn panicked(&self, deps: &Arc<Deps>) {
        let (claimed, outcome) = (&self.claimed, Err(JobError::Panicked));
        finish::conclude(deps, claimed, &self.in_flight, self.begun, outcome).await;
    }
}

impl PlanJob {
    async fn run_round(&self, deps: &Arc<Deps>) {
        let (started, claimed) = (Instant::now(), &self.claimed);
        count_waits(claimed);
        let stages = Arc::new(Stages::begin(claimed.kind));
        tokio::select! {
            biased;
            () = self.in_flight.abandoned() => {
                tracing::info!(job_id = %claimed.id, "stopped working on a job");
            }
            outcome = Box::pin(round(deps, claimed, &stages)) => {
                stages.enter(Stage::Saving);
                let (in_flight, begun) = (&self.in_flight, self.begun);
                Box::pin(finish::conclude(deps, claimed, in_flight, begun, outcome)).await;
            }
        }
        metrics::histogram!("regimen_round_seconds", "kind" => claimed.kind.as_str())
            .record(started.elapsed());
    }
}

fn count_waits(claimed: &ClaimedJob) {
    let class = claimed.class.as_str();
    let since = |begun: DateTime<Utc>| (claimed.claimed_at - begun).to_std().unwrap_or_default();
    if claimed.fresh {
        metrics::histogram!("regimen_pickup_seconds", "class" => class)
            .record(since(claimed.created_at));
    }
    if let Some(turn) = claimed.turn_since {
        metrics::histogram!("regimen_queue_wait_seconds", "class" => class).record(since(turn));
    }
}

/// One round. `Fallback::run` keeps the deadline; the outer limit covers the rest.
async fn round(
    deps: &Arc<Deps>,
    claimed: &ClaimedJob,
    stages: &Arc<Stages>,
) -> Result<Finished, JobError> {
    let left = (claimed.deadline_at - claimed.claimed_at).to_std().unwrap_or_default();
    let deadline = Instant::now() + left;
    let work = generate(deps, claimed, stages, deadline);
    match tokio::time::timeout_at(deadline + DEADLINE_GRACE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(JobError::Retry {
            reason: format!("no plan within the deadline of {} s", left.as_secs()),
        }),
    }
}

/// Prompt, providers and verification. Ten thousand of these may wait for providers at
/// once: what is over by then, or comes after, is boxed and takes no room in them.
async fn generate(
    deps: &Arc<Deps>,
    claimed: &ClaimedJob,
    stages: &Arc<Stages>,
    deadline: Instant,
) -> Result<Finished, JobError> {
    let held = Held { id: claimed.id, fence: claimed.fence };
    let (user, version) = (claimed.user_id, prompts::VERSION);
    let attempts = Attempts::new(Arc::clone(deps), held, user, version, Arc::clone(stages));
    let attempts = attempts.for_plan();
    let order = Box::pin(known_order(deps, claimed, stages, deadline)).await?;
    let stored = if claimed.fresh { None } else { Box::pin(attempts.usable()).await? };
    let request = Request { stored, ..request(&order, claimed.user_id, deadline) };
    let verifier = Verifier { order: &order, attempts: &attempts };
    let delivered = deps.fallback.run(&request, &verifier, &attempts).await.map_err(job_error)?;
    let finished = finished(&delivered, &order)?;
    Ok(Finished { good: attempts.good_reply(), ..finished })
}

/// The job's input, with what could be learnt of words that no table knows.
async fn known_order(
    deps: &Arc<Deps>,
    claimed: &ClaimedJob,
    stages: &Arc<Stages>,
    deadline: Instant,
) -> Result<Arc<Order>, JobError> {
    let mut order = Order::read(claimed)?;
    unknown_words::learn(deps, claimed, stages, &mut order, deadline).await?;
    Ok(Arc::new(order))
}

fn request(order: &Arc<Order>, user: Uuid, deadline: Instant) -> Request {
    let schema = match order.kind {
        PlanKind::Meal => &MEAL,
        PlanKind::Workout => &WORKOUT,
    };
    let prompt_bytes = order.prompt_bytes() + schema.size();
    let (of, schema) = (Arc::clone(order), Arc::clone(schema));
    let prompt = LazyPrompt::new(move || {
        let texts = of.prompt();
        Prompt {
            system: texts.system,
            user: texts.user,
            schema: Arc::clone(&schema),
            schema_name: format!("{}_plan", of.kind),
            user_hash: llm::hashed_user(user),
        }
    });
    let input = &order.input;
    Request {
        prompt: Arc::new(prompt),
        prompt_bytes,
        output_tokens: OUTPUT_TOKENS,
        provider: input.provider.as_deref().and_then(|name| name.parse().ok()),
        model: input.model.clone(),
        deadline,
        stored: None,
    }
}

/// Maps the failure of all providers to the job's error.
fn job_error(error: FallbackError<JobError>) -> JobError {
    let reason = error.to_string();
    match (error.code(), error) {
        (_, FallbackError::Stopped(stop)) => stop,
        (None, _) => JobError::Retry { reason },
        (Some(code), error) => JobError::Fail {
            code,
            detail: reason,
            evidence: error.failures().iter().map(evidence).collect(),
        },
    }
}

/// Users read it: no provider's own text.
fn evidence(failure: &AttemptFailure) -> Value {
    let class = failure.error.class();
    json!({
        "n": failure.n, "provider": failure.provider.as_str(), "model": failure.model,
        "class": class, "detail": attempt_summary(class),
    })
}

/// The plan as it is stored: with imperial amounts if the person uses them, with the
/// words of the person's answers about food and injuries that were not understood and so not
/// checked, and with cautions. As text, which takes a fraction of the memory: many plans may
/// wait for Postgres.
fn as_stored(plan: &Plan, order: &Order) -> Result<Box<RawValue>, JobError> {
    let shown = order.quiz.current_weight.is_imperial().then(|| {
        let mut shown = plan.clone();
        plan::beside_metric(&mut shown);
        shown
    });
    let stored = Stored {
        plan: shown.as_ref().unwrap_or(plan),
        unchecked: order.unread(),
        cautions: &order.input.cautions,
    };
    to_raw_value(&stored).map_err(|error| {
        JobError::fail(FailureCode::Internal, format!("the plan cannot be written: {error}"))
    })
}

#[derive(Serialize)]
struct Stored<'a> {
    #[serde(flatten)]
    plan: &'a Plan,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unchecked: Vec<Unread>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    cautions: &'a [Value],
}

fn finished(delivered: &Delivered<Plan>, order: &Order) -> Result<Finished, JobError> {
    let (plan, quiz) = (&delivered.plan, &order.quiz);
    let exercise = json!(quiz.preferred_exercise).to_string();
    let beside = match plan {
        Plan::Meal(_) => Beside::Meal {
            daily_calories: i32::try_from(order.targets().goal_calories).unwrap_or(i32::MAX),
            preferences: exercise,
            restrictions: quiz.dietary_style.clone(),
        },
        Plan::Workout(week) => Beside::Workout {
            workout_type: exercise,
            duration_per_session: quiz.exercise_frequency.clone(),
            frequency_per_week: i32::try_from(week.weekly_summary.total_workout_days)
                .unwrap_or_default(),
        },
    };
    Ok(Finished {
        plan_id: Uuid::now_v7(),
        plan_data: as_stored(plan, order)?,
        beside,
        provider: delivered.provider.as_str().to_owned(),
        model: delivered.model.clone(),
        good: None,
    })
}
