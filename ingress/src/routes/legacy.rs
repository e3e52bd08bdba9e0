//! The replaced service's routes, with the same field names.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use regimen_common::db::DbError;
use regimen_common::db::jobs::{self, JobRow};
use regimen_common::db::plans::{self, PlanRow};
use regimen_common::food::Unread;
use regimen_common::job::{JobState, PlanKind};
use regimen_common::nutrition::{Calculations, Macros};
use regimen_common::safety::Caution;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{ApiError, Problem};
use crate::extract::{Id, JsonAndBytes};
use crate::idempotency::{NewlyAccepted, idempotency_key, mark_replayed};
use crate::limits::{Action, OverLimit, StoresTargets, limited};
use crate::openapi::{QuizAnswers, SubmissionRefusals};
use crate::state::AppState;
use crate::submission::{Accepted, Reading, Submission, Submitted, submit};
use crate::views::JobView;
use crate::waiting::{Waited, wait_until_ended};

/// How long the one-plan routes wait, as in the old service.
const PLAN_WAIT: Duration = Duration::from_secs(60);

/// A row still `generating` after this time was left by a service that is gone.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);
const NOT_FINISHED: &str = "the plan was never finished; send the quiz again";

/// The legacy plan routes.
pub fn router(state: &AppState) -> OpenApiRouter<AppState> {
    let both = OpenApiRouter::new()
        .routes(routes!(generate_plans))
        .routes(routes!(generate_complete_plan));
    let meal = OpenApiRouter::new().routes(routes!(generate_meal_plan));
    let workout = OpenApiRouter::new().routes(routes!(generate_workout_plan));
    let generating = OpenApiRouter::new()
        .merge(limited(state, Action::GeneratePlans, both))
        .merge(limited(state, Action::MealPlan, meal))
        .merge(limited(state, Action::WorkoutPlan, workout))
        .route_layer(Extension(StoresTargets));
    generating.routes(routes!(plan_status))
}

/// A request in the old front end's format.
#[derive(Debug, Deserialize, ToSchema)]
pub struct GeneratePlans {
    /// The user; must be the caller.
    pub user_id: Option<Uuid>,
    /// The stored quiz these answers belong to.
    pub quiz_result_id: Option<Uuid>,
    /// The quiz.
    #[schema(value_type = QuizAnswers)]
    pub answers: Value,
    /// The first provider to call: openai, anthropic, gemini or llama.
    pub ai_provider: Option<String>,
    /// Its model.
    pub model_name: Option<String>,
}

/// The response in the old front end's format.
#[derive(Debug, Serialize, ToSchema)]
pub struct GenerationStarted {
    /// Always true.
    pub success: bool,
    /// The targets of the person.
    pub calculations: Calculations,
    /// The division of the goal calories.
    pub macros: Macros,
    /// The calculations again, under the name that newer screens use.
    pub nutrition: Calculations,
    /// Always `generating`.
    pub meal_plan_status: &'static str,
    /// Always `generating`.
    pub workout_plan_status: &'static str,
    /// For people.
    pub message: &'static str,
    /// The jobs behind the plans.
    pub jobs: Vec<LegacyJob>,
    /// Words of answers about food and injuries that were not understood, and so are not checked;
    /// and answers that were cut, left out or corrected.
    pub warnings: Vec<Unread>,
    /// Cautions; the plans are built for safe targets.
    pub cautions: Vec<Caution>,
}

/// A meal plan in the old front end's format.
#[derive(Debug, Serialize, ToSchema)]
pub struct MealPlanMade {
    /// Always true.
    pub success: bool,
    /// The plan, in the app's own format.
    #[schema(value_type = Object)]
    pub meal_plan: Box<RawValue>,
    /// The division of the goal calories.
    #[schema(value_type = Macros)]
    pub macros: Option<Value>,
    /// For people.
    pub message: &'static str,
}

/// A workout plan in the old front end's format.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkoutPlanMade {
    /// Always true.
    pub success: bool,
    /// The plan, in the app's own format.
    #[schema(value_type = Object)]
    pub workout_plan: Box<RawValue>,
    /// For people.
    pub message: &'static str,
}

/// A job, for newer front ends.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LegacyJob {
    /// The job.
    pub id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
    /// Its status.
    pub status_url: String,
}

/// Request both plans
///
/// Answers with the targets at once; /plan-status shows the progress.
#[utoipa::path(post, path = "/generate-plans", tag = "legacy", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As on /v1/plans")),
    request_body(content = GeneratePlans, example = json!(crate::openapi::example_request())),
    responses(
        (status = OK, body = GenerationStarted), SubmissionRefusals))]
async fn generate_plans(
    State(state): State<AppState>,
    caller: Caller,
    over_limit: OverLimit,
    headers: HeaderMap,
    body: JsonAndBytes<GeneratePlans>,
) -> Result<Response, ApiError> {
    generate_both(state, caller, over_limit, headers, body).await
}

/// Request both plans, under the older name
#[utoipa::path(post, path = "/generate-complete-plan", tag = "legacy", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As on /v1/plans")),
    request_body(content = GeneratePlans, example = json!(crate::openapi::example_request())),
    responses(
        (status = OK, body = GenerationStarted), SubmissionRefusals))]
async fn generate_complete_plan(
    State(state): State<AppState>,
    caller: Caller,
    over_limit: OverLimit,
    headers: HeaderMap,
    body: JsonAndBytes<GeneratePlans>,
) -> Result<Response, ApiError> {
    generate_both(state, caller, over_limit, headers, body).await
}

async fn generate_both(
    state: AppState,
    caller: Caller,
    over_limit: OverLimit,
    headers: HeaderMap,
    body: JsonAndBytes<GeneratePlans>,
) -> Result<Response, ApiError> {
    let submission = submission(caller, over_limit, &headers, body, PlanKind::ALL.to_vec())?;
    let Submitted { body, replayed, .. } = submit(&state, submission, render).await?;
    Ok(answer(Json(body).into_response(), replayed))
}

fn answer(mut response: Response, replayed: bool) -> Response {
    if replayed {
        mark_replayed(&mut response);
    } else {
        response.extensions_mut().insert(NewlyAccepted);
    }
    response
}

/// Request a meal plan
///
/// Answers when the plan is saved, or with 202 after a minute.
#[utoipa::path(post, path = "/generate-meal-plan", tag = "legacy", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As on /v1/plans")),
    request_body(content = GeneratePlans, example = json!(crate::openapi::example_request())),
    responses(
        (status = OK, body = MealPlanMade),
        (status = ACCEPTED, body = GenerationStarted, description = "Still in progress"),
        (status = BAD_GATEWAY, body = Problem, content_type = "application/problem+json",
            description = "The plan could not be generated"),
        SubmissionRefusals))]
async fn generate_meal_plan(
    State(state): State<AppState>,
    caller: Caller,
    over_limit: OverLimit,
    headers: HeaderMap,
    body: JsonAndBytes<GeneratePlans>,
) -> Result<Response, ApiError> {
    generate_one(state, caller, over_limit, headers, body, PlanKind::Meal).await
}

/// Request a workout plan
///
/// Answers when the plan is saved, or with 202 after a minute.
#[utoipa::path(post, path = "/generate-workout-plan", tag = "legacy", security(("token" = [])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As on /v1/plans")),
    request_body(content = GeneratePlans, example = json!(crate::openapi::example_request())),
    responses(
        (status = OK, body = WorkoutPlanMade),
        (status = ACCEPTED, body = GenerationStarted, description = "Still in progress"),
        (status = BAD_GATEWAY, body = Problem, content_type = "application/problem+json",
            description = "The plan could not be generated"),
        SubmissionRefusals))]
async fn generate_workout_plan(
    State(state): State<AppState>,
    caller: Caller,
    over_limit: OverLimit,
    headers: HeaderMap,
    body: JsonAndBytes<GeneratePlans>,
) -> Result<Response, ApiError> {
    generate_one(state, caller, over_limit, headers, body, PlanKind::Workout).await
}

/// Requests one plan and answers when it is saved, or with 202 after a minute.
async fn generate_one(
    state: AppState,
    caller: Caller,
    over_limit: OverLimit,
    headers: HeaderMap,
    body: JsonAndBytes<GeneratePlans>,
    kind: PlanKind,
) -> Result<Response, ApiError> {
    let submission = submission(caller, over_limit, &headers, body, vec![kind])?;
    let user_id = submission.user_id;
    let submitted = submit(&state, submission, render).await?;
    let Submitted { jobs, body: started, replayed } = submitted;
    let ended = match wait_until_ended(&state, user_id, &jobs, PLAN_WAIT).await {
        Waited::Ended(jobs) => jobs.into_iter().next(),
        Waited::TimeUp | Waited::NotHeld => None,
    };
    Ok(match ended {
        None => answer((StatusCode::ACCEPTED, Json(started)).into_response(), replayed),
        Some(job) => answer(one_plan(kind, job, &started).into_response(), replayed),
    })
}

fn one_plan(kind: PlanKind, job: JobView, started: &Value) -> Result<Json<Value>, ApiError> {
    let Some(plan) = job.plan else {
        let detail = job.error.map(|error| error.detail).unwrap_or_default();
        return Err(ApiError::PlanFailed(format!(
            "the {kind} plan could not be generated: {detail}; try again"
        )));
    };
    Ok(Json(match kind {
        PlanKind::Meal => json!(MealPlanMade {
            success: true,
            meal_plan: plan,
            macros: started.get("macros").cloned(),
            message: "Meal plan generated",
        }),
        PlanKind::Workout => json!(WorkoutPlanMade {
            success: true,
            workout_plan: plan,
            message: "Workout plan generated",
        }),
    }))
}

fn submission(
    caller: Caller,
    OverLimit(over_limit): OverLimit,
    headers: &HeaderMap,
    JsonAndBytes(request, body): JsonAndBytes<GeneratePlans>,
    kinds: Vec<PlanKind>,
) -> Result<Submission, ApiError> {
    Ok(Submission {
        user_id: caller.acting_for(request.user_id)?,
        email: caller.email,
        kinds,
        quiz_result_id: request.quiz_result_id,
        reading: Reading::Forgiving,
        answers: request.answers,
        provider: request.ai_provider,
        model: request.model_name,
        callback_url: None,
        idempotency_key: idempotency_key(headers)?,
        form: "legacy",
        body,
        over_limit,
    })
}

fn render(accepted: &Accepted) -> Value {
    let calculations = accepted.nutrition.calculations();
    let job = |job: &crate::submission::JobLink| LegacyJob {
        id: job.id,
        kind: job.kind,
        status_url: job.links.this.clone(),
    };
    json!(GenerationStarted {
        success: true,
        macros: calculations.macros,
        nutrition: calculations.clone(),
        calculations,
        meal_plan_status: "generating",
        workout_plan_status: "generating",
        message: "Plans are being generated",
        jobs: accepted.jobs.iter().map(job).collect(),
        warnings: accepted.warnings.clone(),
        cautions: accepted.cautions.clone(),
    })
}

/// The state of a user's latest generation.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanStatus {
    /// Always true.
    pub success: bool,
    /// `not_started`, `generating`, `completed` or `failed`.
    pub meal_plan_status: &'static str,
    /// `not_started`, `generating`, `completed` or `failed`.
    pub workout_plan_status: &'static str,
    /// Why the meal plan failed.
    pub meal_plan_error: Option<String>,
    /// Why the workout plan failed.
    pub workout_plan_error: Option<String>,
}

/// The state of your latest generation
#[utoipa::path(get, path = "/plan-status/{user_id}", tag = "legacy", security(("token" = [])),
    params(("user_id" = Uuid, Path, description = "You")),
    responses((status = OK, body = PlanStatus)))]
async fn plan_status(
    State(state): State<AppState>,
    caller: Caller,
    Id(user_id): Id,
) -> Result<Json<PlanStatus>, ApiError> {
    let user_id = caller.acting_for(Some(user_id))?;
    let mut client = state.db.get().await?;
    let jobs = jobs::generation_of(&mut client, user_id).await?;
    let of_kind = async |kind| {
        let row = plans::newest_row(&client, user_id, kind, STALE_AFTER).await?;
        Ok::<_, DbError>(Standing::of(jobs.iter().find(|job| job.kind == kind), row))
    };
    let (meal, workout) = (of_kind(PlanKind::Meal).await?, of_kind(PlanKind::Workout).await?);
    Ok(Json(PlanStatus {
        success: true,
        meal_plan_status: meal.status,
        workout_plan_status: workout.status,
        meal_plan_error: meal.error,
        workout_plan_error: workout.error,
    }))
}

/// The state of the latest generation of one kind.
#[derive(Debug, PartialEq)]
struct Standing {
    status: &'static str,
    error: Option<String>,
}

impl Standing {
    /// Compares our newest job with the newest row of the plan table: the newer one
    /// counts, because the app may have plans that were not generated here.
    fn of(job: Option<&JobRow>, row: Option<PlanRow>) -> Self {
        match (job, row) {
            (None, None) => Self { status: "not_started", error: None },
            (Some(job), None) => Self::of_job(job),
            (None, Some(row)) => Self::of_row(row),
            (Some(job), Some(row)) => {
                let ours = Some(row.id) == job.plan_id;
                match job.finished_at {
                    Some(finished) if !ours && row.at > Some(finished) => Self::of_row(row),
                    _ => Self::of_job(job),
                }
            }
        }
    }

    fn of_job(job: &JobRow) -> Self {
        let (status, error) = match job.state {
            JobState::Queued | JobState::Running => ("generating", None),
            JobState::Succeeded => ("completed", None),
            JobState::Failed | JobState::Expired => ("failed", job.error_detail.clone()),
            JobState::Cancelled => ("failed", Some("the job was cancelled".to_owned())),
        };
        Self { status, error }
    }

    /// Unfinished rows of the replaced service are never finished.
    fn of_row(row: PlanRow) -> Self {
        let failed = |message: Option<String>| Self {
            status: "failed",
            error: Some(message.unwrap_or_else(|| NOT_FINISHED.to_owned())),
        };
        match row.status.as_deref() {
            Some("failed") => failed(row.error_message),
            Some("generating") if !row.has_plan && row.stale => failed(None),
            Some("generating") if !row.has_plan => Self { status: "generating", error: None },
            _ if row.has_plan => Self { status: "completed", error: None },
            _ => failed(row.error_message),
        }
    }
}
