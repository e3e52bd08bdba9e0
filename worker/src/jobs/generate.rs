//! Generates one plan: prompt, provider, verification, save.
//!
//! Contract: idempotent by the fence of its claim. The whole round has one
//! deadline. On cancel or lost lease the provider call is dropped at once and
//! nothing is written. A crash before a reply is stored asks again, after it
//! goes on from the stored reply. A panic counts as a lost worker.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::data::Data;
use futures_util::FutureExt;
use regimen_common::db::jobs::{Claimed, Held};
use regimen_common::food::unread;
use regimen_common::job::{FailureCode, PlanKind, attempt_gist};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::attempts::Attempts;
use super::conclude::{self, Beside, Finished};
use super::order::Order;
use super::verifier::Verifier;
use crate::env::Env;
use crate::error::JobError;
use crate::intake::PlanTask;
use crate::plan::{self, Plan};
use crate::prompts;
use crate::providers::fallback::{Ladder, Request};
use crate::providers::log::AttemptFailure;
use crate::providers::outcome::{Delivered, LadderError};
use crate::providers::rests::Rests;
use crate::providers::{self, LazyPrompt, Prompt, ReplySchema};

/// What may come after the ladder's own deadline: judging and writing.
const DEADLINE_GRACE: Duration = Duration::from_secs(5);

/// Tokens the visible JSON of a plan needs at most.
const OUTPUT_TOKENS: u32 = 12_000;

/// Handles one claimed job; apalis calls it. What came of the job stands in
/// Postgres, so there is nothing to return.
///
/// # Errors
/// Never: an error here would only be logged a second time.
pub async fn handle(task: PlanTask, env: Data<Arc<Env>>) -> Result<(), BoxDynError> {
    let started = Instant::now();
    let claimed = &task.claimed;
    metrics::histogram!("regimen_pickup_seconds")
        .record((claimed.claimed_at - claimed.created_at).to_std().unwrap_or_default());
    let work = AssertUnwindSafe(round(&env, claimed)).catch_unwind();
    tokio::select! {
        biased;
        // Handed back when the task is dropped, unless it was ended or taken over.
        () = task.holding.abandoned() => {
            tracing::info!(job_id = %claimed.id, "let go of a job");
        }
        outcome = work => conclude::conclude(&env, claimed, &task.holding, outcome).await,
    }
    metrics::histogram!("regimen_round_seconds", "kind" => claimed.kind.as_str())
        .record(started.elapsed());
    Ok(())
}

/// One round. The ladder keeps the deadline; the outer limit covers all else.
async fn round(env: &Arc<Env>, claimed: &Claimed) -> Result<Finished, JobError> {
    let left = (claimed.deadline_at - claimed.claimed_at).to_std().unwrap_or_default();
    let deadline = Instant::now() + left;
    let work = env.generator.generate(env, claimed, deadline);
    match tokio::time::timeout_at(deadline + DEADLINE_GRACE, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(JobError::Retry {
            reason: format!("no plan within the deadline of {} s", left.as_secs()),
        }),
    }
}

/// Prompt, ladder and verification.
#[derive(Debug)]
pub struct Generator {
    ladder: Ladder,
    meal: Arc<ReplySchema>,
    workout: Arc<ReplySchema>,
}

impl Generator {
    /// A generator that asks `ladder`.
    pub fn new(ladder: Ladder) -> Self {
        let [meal, workout] = [PlanKind::Meal, PlanKind::Workout]
            .map(|kind| Arc::new(ReplySchema::new(plan::schema(kind))));
        Self { ladder, meal, workout }
    }

    /// The providers it asks.
    pub fn ladder(&self) -> &Ladder {
        &self.ladder
    }

    /// Which providers are left out.
    pub fn rests(&self) -> &Rests {
        &self.ladder.rests
    }

    async fn generate(
        &self,
        env: &Arc<Env>,
        claimed: &Claimed,
        deadline: Instant,
    ) -> Result<Finished, JobError> {
        let held = Held { id: claimed.id, fence: claimed.fence };
        let attempts = Attempts::new(Arc::clone(env), held, claimed.user_id, prompts::VERSION);
        let order = Arc::new(Order::read(claimed)?);
        let stored = if claimed.fresh { None } else { attempts.usable().await? };
        let request = Request { stored, ..self.request(&order, claimed.user_id, deadline) };
        let verifier = Verifier { order: &order, attempts: &attempts };
        let delivered = self.ladder.run(&request, &verifier, &attempts).await.map_err(job_error)?;
        Ok(finished(&delivered, &order))
    }

    fn request(&self, order: &Arc<Order>, user: Uuid, deadline: Instant) -> Request {
        let schema = match order.kind {
            PlanKind::Meal => &self.meal,
            PlanKind::Workout => &self.workout,
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
                user_hash: providers::hashed_user(user),
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
}

/// What a failed run of the ladder means for the job.
fn job_error(error: LadderError<JobError>) -> JobError {
    let reason = error.to_string();
    match error {
        LadderError::Stopped(stop) => stop,
        LadderError::Exhausted { retryable: true, .. } | LadderError::DeadlineExceeded { .. } => {
            JobError::Retry { reason }
        }
        other => JobError::Fail {
            code: other.code().unwrap_or(FailureCode::Internal),
            detail: reason,
            evidence: other.failures().iter().map(evidence).collect(),
        },
    }
}

/// Users read it: no provider's own words.
fn evidence(failure: &AttemptFailure) -> Value {
    let class = failure.error.class();
    json!({
        "n": failure.n, "provider": failure.provider.as_str(), "model": failure.model,
        "class": class, "detail": attempt_gist(class),
    })
}

/// The plan as it is stored. What was not understood of the person's answers
/// about food stands in it, so that whoever reads the plan knows what nobody checked.
fn with_unchecked(plan: &Plan, order: &Order) -> Value {
    let mut data = json!(plan);
    let unchecked = unread(&order.quiz);
    if let Some(members) = data.as_object_mut()
        && !unchecked.is_empty()
    {
        members.insert("unchecked".to_owned(), json!(unchecked));
    }
    data
}

fn finished(delivered: &Delivered<Plan>, order: &Order) -> Finished {
    let (plan, quiz, input) = (&delivered.plan, &order.quiz, &order.input);
    let exercise = json!(quiz.preferred_exercise).to_string();
    let beside = match plan {
        Plan::Meal(_) => Beside::Meal {
            daily_calories: i32::try_from(input.nutrition.goal_calories).unwrap_or(i32::MAX),
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
    Finished {
        plan_id: Uuid::now_v7(),
        plan_data: with_unchecked(plan, order),
        beside,
        provider: delivered.provider.as_str().to_owned(),
        model: delivered.model.clone(),
    }
}
