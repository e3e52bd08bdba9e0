//! Accepting a request for plans: validate, commit, push. Used by the v1 and
//! the legacy routes alike.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use regimen_common::callbacks::Rules;
use regimen_common::db::accounts;
use regimen_common::db::generations::Month;
use regimen_common::db::jobs::{self, Acceptance, Idempotency, NewJob, NewJobs, Replay};
use regimen_common::food::{Unread, unread};
use regimen_common::job::{JobClass, JobState, PlanKind};
use regimen_common::nutrition::Nutrition;
use regimen_common::provider::ProviderName;
use regimen_common::quiz::{Adjustment, InvalidQuiz, Quiz};
use regimen_common::safety::{Caution, assess, unread_injuries};
use regimen_common::telemetry::spans;
use regimen_common::telemetry::trace_context::TraceContext;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use tracing::Instrument;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::config::AllergyPolicy;
use crate::error::{ApiError, FieldError, QuotaExceeded};
use crate::state::AppState;

const MAX_MODEL_CHARS: usize = 100;
/// The pointer of the answer about allergies.
const ALLERGIES: &str = "/answers/foodAllergies";
/// The pointer of the answer about injuries.
const INJURIES: &str = "/answers/injuries";
/// How long a refused request waits to store its quiz's targets.
const KEEPING_WAIT: Duration = Duration::from_secs(1);

/// A request as a route understood it, before validation.
#[derive(Debug)]
pub struct Submission {
    /// The user.
    pub user_id: Uuid,
    /// For a profile that does not exist yet.
    pub email: Option<String>,
    /// The kinds of plans.
    pub kinds: Vec<PlanKind>,
    /// The stored quiz these answers belong to.
    pub quiz_result_id: Option<Uuid>,
    /// The quiz.
    pub answers: Value,
    /// How it is read.
    pub reading: Reading,
    /// The first provider to call, if given.
    pub provider: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Gets a POST at the end of each job, if given.
    pub callback_url: Option<String>,
    /// The client's idempotency key.
    pub idempotency_key: Option<String>,
    /// The format of the response: a stored one is returned only in the same format.
    pub form: &'static str,
    /// The request's bytes, to which its idempotency key is bound.
    pub body: Bytes,
    /// The limit that refuses it, unless it has a stored response.
    pub over_limit: Option<QuotaExceeded>,
}

/// How a quiz is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Invalid answers are refused.
    Strict,
    /// Answers that front ends of the replaced service are known to send are adjusted,
    /// with a warning.
    Forgiving,
}

/// A job in the response to a submission.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobLink {
    /// The job.
    pub id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
    /// Its state: `queued`.
    pub status: &'static str,
    /// Its links.
    pub links: Links,
}

/// The paths of one job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Links {
    /// Its status.
    #[serde(rename = "self")]
    pub this: String,
    /// Its events as they happen.
    pub events: String,
    /// DELETE cancels it; absent once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<String>,
    /// The active plan of its kind: the one this job made, until a newer one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl Links {
    /// The paths of a job.
    pub fn of_job(id: Uuid, kind: PlanKind, state: JobState) -> Self {
        let this = format!("/v1/jobs/{id}");
        Self {
            events: format!("{this}/events"),
            cancel: (!state.is_terminal()).then(|| this.clone()),
            plan: (state == JobState::Succeeded).then(|| format!("/v1/plans/{kind}/active")),
            this,
        }
    }
}

/// The result of a submission.
#[derive(Debug)]
pub struct Submitted {
    /// The jobs, in the order of the request. Unknown if an earlier release accepted
    /// them.
    pub jobs: Vec<Uuid>,
    /// The response: a new one, or the one stored under the same key.
    pub body: Value,
    /// It is a stored response.
    pub replayed: bool,
}

impl From<Replay> for Submitted {
    fn from(Replay { response, jobs }: Replay) -> Self {
        Self { jobs, body: response, replayed: true }
    }
}

/// Newly accepted jobs.
#[derive(Debug)]
pub struct Accepted {
    /// The jobs, in the order of the request.
    pub jobs: Vec<JobLink>,
    /// The targets of the person.
    pub nutrition: Nutrition,
    /// The safe targets for which the plans are built.
    pub targets: Nutrition,
    /// Words of answers about food and injuries that were not understood, and adjusted answers.
    pub warnings: Vec<Unread>,
    /// Cautions.
    pub cautions: Vec<Caution>,
}

/// Accepts a submission: 202 may be sent when this returns, because the commit has
/// happened. The reconciler handles a failed push.
///
/// `render` builds the response that is stored under the idempotency key. A request with
/// a stored response gets that response, whatever would refuse it today: a limit, the
/// monthly quota, the backlog or stricter rules.
///
/// # Errors
/// Refused; nothing was written.
pub async fn submit(
    state: &AppState,
    mut submission: Submission,
    render: impl FnOnce(&Accepted) -> Value,
) -> Result<Submitted, ApiError> {
    let user_id = submission.user_id;
    let key = submission.idempotency_key.take();
    let key = key.map(|key| Key::of(key, &submission)).transpose()?;
    let accepted = match submission.over_limit.take() {
        Some(exceeded) => Err(ApiError::QuotaExceeded(Box::new(exceeded))),
        None => accept(state, &submission, key.as_ref(), render).await,
    };
    let refusal = match accepted {
        Err(refusal) if is_for_new_requests(&refusal) => refusal,
        accepted => return accepted,
    };
    if let Some(key) = key
        && let Some(answered) = answered_before(state, user_id, &key).await?
    {
        return Ok(answered);
    }
    keep_calculations(state, &submission).await;
    Err(refusal)
}

/// Stores the targets of a quiz whose request is refused, because the app's pages require
/// them for every stored quiz. A repeated refusal finds them and writes nothing. The
/// number of concurrent writes is limited, so that repeated refusals do not take
/// connections from other requests.
async fn keep_calculations(state: &AppState, submission: &Submission) {
    let Some(quiz_result_id) = submission.quiz_result_id else { return };
    let Ok((quiz, _)) = read_quiz(submission) else { return };
    let Ok(Ok(_turn)) = timeout(KEEPING_WAIT, state.keeping_calculations.acquire()).await else {
        tracing::warn!(%quiz_result_id, "the targets of a refused quiz were not stored: too many at once");
        return;
    };
    let calculations = json!(Nutrition::of(&quiz).calculations());
    let kept = async {
        let client = state.db.get().await?;
        accounts::fill_in_calculations(&client, quiz_result_id, submission.user_id, &calculations)
            .await
    };
    if let Err(error) = kept.await {
        tracing::warn!(%quiz_result_id, %error, "the targets of a refused quiz were not stored");
    }
}

/// Whether an error does not apply to a request that was accepted before.
fn is_for_new_requests(refusal: &ApiError) -> bool {
    matches!(
        refusal,
        ApiError::Invalid(_) | ApiError::QuotaExceeded(_) | ApiError::ReducedCapacity { .. }
    )
}

async fn answered_before(
    state: &AppState,
    user_id: Uuid,
    key: &Key,
) -> Result<Option<Submitted>, ApiError> {
    let mut client = state.db.get().await?;
    match jobs::answered_before(&mut client, user_id, &key.key, &key.body_hash).await? {
        Some(Acceptance::Replayed(replay)) => Ok(Some(replay.into())),
        Some(Acceptance::OtherBody) => Err(ApiError::IdempotencyMismatch),
        Some(Acceptance::InFlight) => Err(ApiError::IdempotencyInFlight),
        _ => Ok(None),
    }
}

async fn accept(
    state: &AppState,
    submission: &Submission,
    key: Option<&Key>,
    render: impl FnOnce(&Accepted) -> Value,
) -> Result<Submitted, ApiError> {
    let (quiz, mut warnings) = validate(submission, state.config.callbacks.as_ref())?;
    let unread = unread(&quiz).into_iter().chain(unread_injuries(&quiz)).collect();
    warnings.extend(understood(unread, state.config.allergy_policy)?);
    let nutrition = Nutrition::of(&quiz);
    let assessment = assess(&quiz, &nutrition, &state.config.cautions_off);
    let accepted = Accepted {
        jobs: new_links(&submission.kinds),
        nutrition,
        targets: assessment.targets,
        warnings,
        cautions: assessment.cautions,
    };
    let body = render(&accepted);
    let now = state.clock.now();
    // Before the submission waits for its transaction: this may need a connection itself.
    let room = state.limits.backpressure.admit(submission.kinds.len()).await?;
    let new = new_jobs(state, submission, &quiz, &accepted);
    let mut new = new.map_err(ApiError::internal)?;
    new.idempotency = key.map(|key| key.keeping(body.clone()));
    let (quiz, jobs) = (new.quiz_result_id, accepted.jobs.len());
    let sending = async {
        new.trace_context = TraceContext::current().map(|trace| trace.to_text());
        state.submissions.accept(new).instrument(spans::query("INSERT", "regimen.jobs")).await
    };
    let class = match sending.instrument(spans::send("plans", jobs)).await? {
        Acceptance::Accepted { class, .. } => class,
        Acceptance::Replayed(replay) => return Ok(replay.into()),
        Acceptance::OtherBody => return Err(ApiError::IdempotencyMismatch),
        Acceptance::InFlight => return Err(ApiError::IdempotencyInFlight),
        Acceptance::QuizMissing => return Err(quiz_not_found(quiz)),
        Acceptance::MonthUsedUp(month) => return Err(month_used_up(&month, now)),
    };
    room.keep();
    count(&submission.kinds, class);
    let jobs = accepted.jobs.iter().map(|job| job.id).collect();
    Ok(Submitted { jobs, body, replayed: false })
}

/// Counts words that were not understood, and refuses them if the policy is strict.
fn understood(unread: Vec<Unread>, policy: AllergyPolicy) -> Result<Vec<Unread>, ApiError> {
    for one in &unread {
        let answer = match one.pointer.as_str() {
            ALLERGIES => "allergies",
            INJURIES => "injuries",
            _ => "diet",
        };
        metrics::counter!("regimen_answers_not_understood_total", "answer" => answer).increment(1);
    }
    let refused = unread.iter().find(|one| one.pointer == ALLERGIES);
    match refused.filter(|_| policy == AllergyPolicy::Strict) {
        None => Ok(unread),
        Some(one) => Err(ApiError::field(
            one.pointer.clone(),
            format!(
                "has words that are not understood: {}. Name single foods (\"kiwi\"), the allergens \
                 of the EU list (gluten, crustaceans, eggs, fish, peanuts, soy, milk, nuts, celery, \
                 mustard, sesame, sulphites, lupin, molluscs) or conditions (coeliac disease, lactose \
                 intolerance), in any of 50 languages",
                one.words.join(", ")
            ),
        )),
    }
}

fn validate(
    submission: &Submission,
    callbacks: Option<&Rules>,
) -> Result<(Quiz, Vec<Unread>), ApiError> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, message: String| {
        errors.push(FieldError { pointer: pointer.to_owned(), message });
    };
    if submission.kinds.is_empty() {
        wrong("/kinds", "must name meal, workout or both".to_owned());
    }
    if let Some(provider) = &submission.provider
        && provider.parse::<ProviderName>().is_err()
    {
        wrong("/provider", format!("must be one of {}", ProviderName::list()));
    }
    if let Some(model) = &submission.model
        && !is_model_name(model)
    {
        wrong("/model", format!("must be a model name of at most {MAX_MODEL_CHARS} characters"));
    }
    if let Some(url) = &submission.callback_url
        && let Err(message) = check_callback(url, callbacks)
    {
        wrong("/callback_url", message);
    }
    match read_quiz(submission) {
        Ok(quiz) if errors.is_empty() => Ok(quiz),
        Ok(_) => Err(ApiError::Invalid(errors)),
        Err(invalid) => {
            errors.extend(invalid.problems.into_iter().map(|problem| FieldError {
                pointer: format!("/answers{}", problem.pointer),
                message: problem.message,
            }));
            Err(ApiError::Invalid(errors))
        }
    }
}

/// The quiz, and its adjusted answers.
fn read_quiz(submission: &Submission) -> Result<(Quiz, Vec<Unread>), InvalidQuiz> {
    match submission.reading {
        Reading::Strict => Quiz::read(&submission.answers).map(|quiz| (quiz, Vec::new())),
        Reading::Forgiving => {
            let (quiz, adjusted) = Quiz::read_forgiving(&submission.answers)?;
            let warning = |Adjustment { pointer, text }| Unread {
                pointer: format!("/answers{pointer}"),
                words: Vec::new(),
                text,
            };
            Ok((quiz, adjusted.into_iter().map(warning).collect()))
        }
    }
}

fn is_model_name(model: &str) -> bool {
    !model.is_empty()
        && model.len() <= MAX_MODEL_CHARS
        && model.chars().all(|c| c.is_ascii_alphanumeric() || "-._:/@".contains(c))
        // Some providers put the name into a URL's path.
        && model.split('/').all(|part| part.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The resolved addresses are checked at the call, because they may change.
fn check_callback(url: &str, rules: Option<&Rules>) -> Result<(), String> {
    let Some(rules) = rules else {
        return Err(
            "callbacks are off here (CALLBACK_SECRETS is not set); leave it out and watch \
                    the jobs instead"
                .to_owned(),
        );
    };
    rules.check_url(url).map(drop).map_err(|refused| refused.to_string())
}

/// An idempotency key, and its request.
struct Key {
    key: String,
    /// SHA-256 of the request.
    body_hash: Vec<u8>,
}

impl Key {
    fn of(key: String, submission: &Submission) -> Result<Self, ApiError> {
        if key.is_empty() || key.len() > 255 || !key.chars().all(|c| c.is_ascii_graphic()) {
            return Err(ApiError::BadRequest(
                "Idempotency-Key must be 1 to 255 printable ASCII characters without spaces"
                    .to_owned(),
            ));
        }
        let mut hash = Sha256::new_with_prefix(submission.form);
        for kind in &submission.kinds {
            hash.update(kind.as_str());
        }
        let hash = hash.chain_update([0_u8]).chain_update(&submission.body).finalize();
        Ok(Self { key, body_hash: hash.to_vec() })
    }

    fn keeping(&self, response: Value) -> Idempotency {
        let (key, body_hash) = (self.key.clone(), self.body_hash.clone());
        Idempotency { key, body_hash, status: 202, response }
    }
}

fn new_links(kinds: &[PlanKind]) -> Vec<JobLink> {
    let link = |&kind: &PlanKind| {
        let id = Uuid::now_v7();
        JobLink { id, kind, status: "queued", links: Links::of_job(id, kind, JobState::Queued) }
    };
    kinds.iter().map(link).collect()
}

/// The input of the workers.
#[derive(Serialize)]
struct Input<'a> {
    quiz: &'a Quiz,
    nutrition: &'a Nutrition,
    targets: &'a Nutrition,
    cautions: &'a [Caution],
    provider: Option<&'a str>,
    model: Option<&'a str>,
}

fn new_jobs(
    state: &AppState,
    submission: &Submission,
    quiz: &Quiz,
    accepted: &Accepted,
) -> Result<NewJobs, serde_json::Error> {
    let limits = &state.config.jobs;
    let calculations = submission.quiz_result_id.map(|_| accepted.nutrition.calculations());
    Ok(NewJobs {
        warnings: unless_empty(&accepted.warnings)?,
        cautions: unless_empty(&accepted.cautions)?,
        user_id: submission.user_id,
        email: submission.email.clone(),
        generation_id: Uuid::now_v7(),
        jobs: accepted.jobs.iter().map(|job| NewJob { id: job.id, kind: job.kind }).collect(),
        quiz_result_id: submission.quiz_result_id,
        calculations: calculations.map(|targets| to_raw_value(&targets)).transpose()?,
        input: to_raw_value(&Input {
            quiz,
            nutrition: &accepted.nutrition,
            targets: &accepted.targets,
            cautions: &accepted.cautions,
            provider: submission.provider.as_deref(),
            model: submission.model.as_deref(),
        })?,
        callback_url: submission.callback_url.clone(),
        trace_context: None,
        expires_in_seconds: limits.expires_in_seconds,
        per_user: limits.per_user,
        monthly_quota: state.config.usage.monthly_quota,
        idempotency: None,
    })
}

fn unless_empty<T: Serialize>(list: &[T]) -> Result<Option<Box<RawValue>>, serde_json::Error> {
    (!list.is_empty()).then(|| to_raw_value(list)).transpose()
}

fn month_used_up(month: &Month, now: DateTime<Utc>) -> ApiError {
    let retry_after = (month.ends_at - now).to_std().unwrap_or_default();
    ApiError::QuotaExceeded(Box::new(QuotaExceeded {
        detail: format!(
            "the {} plan generations of this month are used up; the count starts again on {}, \
             and a larger plan has more",
            month.allowed,
            month.ends_at.format("%Y-%m-%d")
        ),
        retry_after,
        policies: vec!["monthly-generations".to_owned()],
        headers: HeaderMap::new(),
    }))
}

fn quiz_not_found(quiz: Option<Uuid>) -> ApiError {
    let quiz = quiz.unwrap_or_default();
    ApiError::NotFound(format!(
        "quiz_result_id {quiz} is not one of your quizzes; leave it out or store the quiz first"
    ))
}

fn count(kinds: &[PlanKind], class: JobClass) {
    for kind in kinds {
        metrics::counter!(
            "regimen_jobs_accepted_total",
            "kind" => kind.as_str(), "class" => class.as_str()
        )
        .increment(1);
    }
}
