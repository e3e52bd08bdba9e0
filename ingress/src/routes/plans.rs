//! Submitting plan jobs and reading the active plan.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use regimen_common::db::plans;
use regimen_common::food::Unread;
use regimen_common::job::PlanKind;
use regimen_common::nutrition::Nutrition;
use regimen_common::safety::Caution;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{JsonAndBytes, Word};
use crate::idempotency::{idempotency_key, mark_replayed};
use crate::limits::{Action, OverLimit, limited};
use crate::openapi::{QuizAnswers, SubmissionRefusals};
use crate::prefer::{self, Prefer};
use crate::state::AppState;
use crate::submission::{Accepted, JobLink, Reading, Submission, Submitted, submit};
use crate::views::JobView;
use crate::waiting::{Waited, wait_until_ended};

/// When the first poll of a new job makes sense.
const FIRST_LOOK_SECONDS: u32 = 2;

/// The plan routes.
pub fn router(state: &AppState) -> OpenApiRouter<AppState> {
    let create = OpenApiRouter::new().routes(routes!(create));
    limited(state, Action::GeneratePlans, create).routes(routes!(active))
}

/// A request for plans.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreatePlans {
    /// The kinds of plans; both by default.
    #[serde(default = "both_kinds")]
    pub kinds: Vec<PlanKind>,
    /// The stored quiz these answers belong to.
    pub quiz_result_id: Option<Uuid>,
    /// The quiz.
    #[schema(value_type = QuizAnswers)]
    pub answers: Value,
    /// The first provider to call: openai, anthropic, gemini or llama.
    pub provider: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Gets a signed POST at the end of each job (see the webhook `jobEnded`): an https
    /// URL on a public host.
    pub callback_url: Option<String>,
    /// The user, if a trusted backend calls.
    pub user_id: Option<Uuid>,
}

fn both_kinds() -> Vec<PlanKind> {
    PlanKind::ALL.to_vec()
}

/// Accepted jobs, and the person's targets.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlansAccepted {
    /// One job per requested kind.
    pub jobs: Vec<JobLink>,
    /// Energy and macro targets.
    pub nutrition: Nutrition,
    /// Words of answers about food and injuries that were not understood, and so are not checked.
    pub warnings: Vec<Unread>,
    /// Cautions; the plans are built for safe targets.
    pub cautions: Vec<Caution>,
}

/// Request plans
///
/// Accepts one job per kind and answers with the nutrition targets at once; with `Prefer:
/// wait=N`, when the plans are saved if that is in time.
#[utoipa::path(post, path = "/v1/plans", tag = "plans", security(("token" = [])),
    params(
        ("Idempotency-Key" = Option<String>, Header,
            description = "Makes repeating safe: the same key and body get the same answer for 24 h, \
                whatever limit has been reached since"),
        ("Prefer" = Option<String>, Header, example = "wait=30",
            description = "wait=N waits up to 60 s until the plans are done")),
    request_body(content = CreatePlans, example = json!(crate::openapi::example_request())),
    responses(
        (status = ACCEPTED, body = PlansAccepted, description = "Accepted, in progress",
            headers(("Location" = String), ("Retry-After" = u32))),
        (status = OK, body = PlansDone, description = "Done within the time to wait"),
        SubmissionRefusals))]
async fn create(
    State(state): State<AppState>,
    caller: Caller,
    prefer: Prefer,
    OverLimit(over_limit): OverLimit,
    headers: HeaderMap,
    JsonAndBytes(mut request, body): JsonAndBytes<CreatePlans>,
) -> Result<Response, ApiError> {
    request.kinds.sort();
    request.kinds.dedup();
    let user_id = caller.acting_for(request.user_id)?;
    let submission = Submission {
        user_id,
        email: caller.email,
        kinds: request.kinds,
        quiz_result_id: request.quiz_result_id,
        reading: Reading::Strict,
        answers: request.answers,
        provider: request.provider,
        model: request.model,
        callback_url: request.callback_url,
        idempotency_key: idempotency_key(&headers)?,
        form: "v1",
        body,
        over_limit,
    };
    let submitted = submit(&state, submission, render).await?;
    answer(&state, user_id, submitted, prefer.wait).await
}

fn render(accepted: &Accepted) -> Value {
    json!(PlansAccepted {
        jobs: accepted.jobs.clone(),
        nutrition: accepted.nutrition.clone(),
        warnings: accepted.warnings.clone(),
        cautions: accepted.cautions.clone(),
    })
}

/// 202 with the jobs, or 200 with the plans if the client waits and they are saved in
/// time.
async fn answer(
    state: &AppState,
    user_id: Uuid,
    Submitted { jobs: ids, body, replayed }: Submitted,
    wait: Option<Duration>,
) -> Result<Response, ApiError> {
    let waited = match wait {
        Some(wait) if !ids.is_empty() => wait_until_ended(state, user_id, &ids, wait).await,
        Some(_) | None => Waited::NotHeld,
    };
    let mut response = match &waited {
        Waited::Ended(jobs) => (StatusCode::OK, Json(with_plans(&body, jobs))).into_response(),
        Waited::TimeUp | Waited::NotHeld => accepted(&body, &ids),
    };
    if let (Some(wait), Waited::Ended(_) | Waited::TimeUp) = (wait, &waited) {
        prefer::applied(&mut response, wait);
    }
    if replayed {
        mark_replayed(&mut response);
    }
    Ok(response)
}

fn accepted(body: &Value, ids: &[Uuid]) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    let headers = response.headers_mut();
    if let Some(location) =
        ids.first().and_then(|id| HeaderValue::try_from(format!("/v1/jobs/{id}")).ok())
    {
        headers.insert(header::LOCATION, location);
    }
    headers.insert(header::RETRY_AFTER, HeaderValue::from(FIRST_LOOK_SECONDS));
    response
}

fn with_plans(body: &Value, jobs: &[JobView]) -> Value {
    // A response stored by an earlier release has no warnings and cautions.
    let list = |name: &str| body.get(name).cloned().unwrap_or_else(|| json!([]));
    json!({
        "jobs": jobs, "nutrition": body.get("nutrition"), "warnings": list("warnings"),
        "cautions": list("cautions"),
    })
}

/// Ended jobs, with their plans.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlansDone {
    /// One job per requested kind.
    pub jobs: Vec<JobView>,
    /// Energy and macro targets.
    pub nutrition: Nutrition,
    /// Words of answers about food and injuries that were not understood, and so are not checked.
    pub warnings: Vec<Unread>,
    /// Cautions; the plans are built for safe targets.
    pub cautions: Vec<Caution>,
}

/// A user's active plan.
#[derive(Debug, Serialize, ToSchema)]
pub struct ActivePlanView {
    /// The plan's id.
    pub id: Uuid,
    /// Its quiz.
    pub quiz_result_id: Option<Uuid>,
    /// The plan, in the app's own format.
    pub plan: Value,
}

/// Your active plan
#[utoipa::path(get, path = "/v1/plans/{kind}/active", tag = "plans", security(("token" = [])),
    params(("kind" = PlanKind, Path, description = "meal or workout")),
    responses((status = OK, body = ActivePlanView)))]
async fn active(
    State(state): State<AppState>,
    caller: Caller,
    Word(kind): Word,
) -> Result<Json<ActivePlanView>, ApiError> {
    let kind: PlanKind = kind
        .parse()
        .map_err(|_| ApiError::NotFound("a plan is either meal or workout".to_owned()))?;
    let user_id = caller.acting_for(None)?;
    let client = state.db.get().await?;
    let plan = plans::active_plan(&client, user_id, kind).await?.ok_or_else(|| {
        ApiError::NotFound(format!("there is no active {kind} plan; submit one to /v1/plans"))
    })?;
    Ok(Json(ActivePlanView {
        id: plan.id,
        quiz_result_id: plan.quiz_result_id,
        plan: plan.plan_data,
    }))
}
