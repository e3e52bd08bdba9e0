//! A job as its owner sees it, and the ETag of that view.

use chrono::{DateTime, Utc};
use regimen_common::db::jobs::{AttemptRow, CallbackRow, Details, JobRow, Mark};
use regimen_common::food::Unread;
use regimen_common::job::{JobState, PlanKind, attempt_summary};
use regimen_common::safety::Caution;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::etag::EntityTag;
use crate::submission::Links;
use crate::watching::Place;

/// Increases when the format of the view changes.
const SHAPE: u32 = 4;

/// A job as its owner sees it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: Uuid,
    /// The kind of plan.
    pub kind: PlanKind,
    /// Its state.
    pub status: JobState,
    /// The current stage.
    pub stage: String,
    /// Its place in the queue while it waits for a worker: 1 is next, 10,000 is that or
    /// further. The queue is that of its class (paying users have their own). Only a few
    /// of your jobs are in it at once; the others follow behind it, oldest first. Changes
    /// without a new ETag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<i64>,
    /// Seconds until it probably starts, by the pace of the last minute; absent while no
    /// job ends. Changes without a new ETag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<i64>,
    /// How often a worker has claimed it.
    pub claims: i32,
    /// How often all providers failed in a round.
    pub rounds: i32,
    /// Every provider call, oldest first, with its error; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView>>,
    /// The provider of the plan.
    pub provider: Option<String>,
    /// The model of the plan.
    pub model: Option<String>,
    /// Its cost so far, in US dollars.
    pub cost_usd: f64,
    /// Its stored quiz.
    pub quiz_result_id: Option<Uuid>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When a worker first claimed it.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// It expires if it has not started by then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Not before this time, while it waits for another round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Why it has no plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobErrorView>,
    /// The state of its callback, if it has one; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback: Option<CallbackView>,
    /// Words of answers about food and injuries that were not understood, and so are not checked.
    /// Once a provider was asked about them, these are fewer than in the response to the
    /// request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Unread>,
    /// The cautions that the plan is built with.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cautions: Vec<Caution>,
    /// Its links.
    pub links: Links,
    /// The plan, once it is saved; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub plan: Option<Box<RawValue>>,
}

/// One provider call.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AttemptView {
    /// 1, 2, 3 … over the whole life of the job.
    pub n: i32,
    /// The provider.
    pub provider: String,
    /// The model.
    pub model: String,
    /// `ok`, or the class of the failure; null until the reply is judged.
    pub outcome: Option<String>,
    /// The error for people: the class of failure. Operators see the provider's own text,
    /// without anything that looks like a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// HTTP status of the provider, where there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// When the call began.
    pub started_at: DateTime<Utc>,
    /// When the reply arrived, or the call was given up.
    pub finished_at: Option<DateTime<Utc>>,
    /// Prompt tokens.
    pub input_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Its cost, in US dollars.
    pub cost_usd: f64,
    /// For operators: the cost is an estimate, because the provider's counts were missing
    /// or impossible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_estimated: Option<bool>,
}

/// The callback of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CallbackView {
    /// `pending` until the job ends, `waiting` until the receiver has accepted it, then
    /// `delivered`, `gone` (the receiver answered 410) or `dead` (all tries failed).
    pub state: String,
    /// How often it was sent.
    pub attempts: i32,
    /// The status of the receiver's latest response, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_status: Option<i32>,
    /// Why the latest try failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Not sent again before this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// When it was delivered or became dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<DateTime<Utc>>,
}

/// Why a job ended without a plan.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct JobErrorView {
    /// The failure code.
    pub code: String,
    /// The text for people.
    pub detail: String,
}

impl JobView {
    /// The view of one job for operators.
    pub fn for_operators(details: &Details, now: DateTime<Utc>) -> Self {
        let attempts = details.attempts.iter().map(AttemptView::for_operators).collect();
        Self { attempts: Some(attempts), ..Self::of(details, None, now) }
    }

    /// The view of one job for its owner, with its `place` in the queue.
    pub fn of(details: &Details, place: Option<Place>, now: DateTime<Utc>) -> Self {
        let spent: i64 = details.attempts.iter().map(|attempt| attempt.cost_micros).sum();
        Self {
            position: place.and_then(|place| place.position),
            eta_seconds: place.and_then(|place| place.eta_seconds),
            attempts: Some(details.attempts.iter().map(AttemptView::of).collect()),
            cost_usd: usd(spent.max(details.row.cost_micros)),
            callback: details.callback.as_ref().map(CallbackView::of),
            plan: details.plan.clone(),
            ..Self::in_list(&details.row, now)
        }
    }

    /// The shorter view of a list.
    pub fn in_list(row: &JobRow, now: DateTime<Utc>) -> Self {
        let waiting = row.state == JobState::Queued;
        let error = row.error_code.clone().map(|code| JobErrorView {
            code,
            detail: row.error_detail.clone().unwrap_or_default(),
        });
        Self {
            id: row.id,
            kind: row.kind,
            status: row.state,
            stage: row.stage.clone(),
            position: None,
            eta_seconds: None,
            claims: row.attempts,
            rounds: row.rounds,
            attempts: None,
            provider: row.provider.clone(),
            model: row.model.clone(),
            cost_usd: usd(row.cost_micros),
            quiz_result_id: row.quiz_result_id,
            created_at: row.created_at,
            started_at: row.first_claimed_at,
            finished_at: row.finished_at,
            expires_at: (waiting && row.first_claimed_at.is_none()).then_some(row.expires_at),
            next_attempt_at: (waiting && row.run_at > now).then_some(row.run_at),
            error,
            callback: None,
            warnings: of_this_release(row.warnings.as_ref()),
            cautions: of_this_release(row.cautions.as_ref()),
            links: Links::of_job(row.id, row.kind, row.state),
            plan: None,
        }
    }
}

/// Values of another release in another format are not shown.
fn of_this_release<T: DeserializeOwned>(kept: Option<&Value>) -> Vec<T> {
    kept.and_then(|kept| Vec::deserialize(kept).ok()).unwrap_or_default()
}

impl CallbackView {
    fn of(row: &CallbackRow) -> Self {
        Self {
            state: row.state.clone(),
            attempts: row.attempts,
            http_status: row.http_status,
            error: row.error.clone(),
            next_attempt_at: row.next_attempt_at,
            settled_at: row.settled_at,
        }
    }
}

impl AttemptView {
    fn for_operators(row: &AttemptRow) -> Self {
        let cost_estimated = Some(row.estimated);
        Self { error: row.error.clone(), cost_estimated, ..Self::of(row) }
    }

    fn of(row: &AttemptRow) -> Self {
        let outcome = row.outcome.as_deref().filter(|outcome| *outcome != "ok");
        let summary = outcome.map(attempt_summary);
        Self {
            n: row.n,
            provider: row.provider.clone(),
            model: row.model.clone(),
            outcome: row.outcome.clone(),
            error: summary.map(str::to_owned),
            http_status: row.http_status,
            started_at: row.started_at,
            finished_at: row.finished_at,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost_usd: usd(row.cost_micros),
            cost_estimated: None,
        }
    }
}

/// The tag of a job's view. Strong, except for waiting jobs: their place in the queue
/// changes while everything else stays, so their tag is weak.
pub(crate) fn tag(mark: &Mark) -> EntityTag {
    let edited = mark.plan_edited.unwrap_or_default();
    let opaque = format!("{SHAPE}-{}-{}-{edited:x}-{}", mark.seq, mark.judged, mark.told);
    match mark.state {
        JobState::Queued => EntityTag::weak(opaque),
        JobState::Running
        | JobState::Succeeded
        | JobState::Failed
        | JobState::Cancelled
        | JobState::Expired => EntityTag::strong(opaque),
    }
}

fn usd(micros: i64) -> f64 {
    micros as f64 / 1e6
}
