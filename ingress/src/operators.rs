//! What operators do, through whichever door: the admin routes and the console. Each
//! change and its record in `regimen.admin_actions` are one transaction.

pub use regimen_common::db::admin_actions::Operator;
use regimen_common::db::billing::customers::{self, Assigned};
use regimen_common::db::billing::events::{self, Replayed};
use regimen_common::db::erasure::{self, Deletion};
use regimen_common::db::jobs::{self, CancelOutcome, Canceller, Retried};
use regimen_common::db::pauses::{self, Pausable};
use regimen_common::db::{accounts, dead, generations, models, test_calls};
use regimen_common::dispatch::List;
use regimen_common::dispatch::notices::JobNotice;
use regimen_common::job::{JobEventKind, JobState};
use regimen_common::provider::ProviderName;
use regimen_common::redis::forget_users;
use serde_json::json;
use uuid::Uuid;

use crate::announce::announce;
use crate::error::ApiError;
use crate::state::AppState;

/// A job that was retried, now or before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The job that repeats the work.
    pub id: Uuid,
    /// False if it had been retried before: nothing was changed now.
    pub created: bool,
}

/// Retries a failed or expired job.
///
/// # Errors
/// 404 if there is none, 409 if it has not failed.
pub async fn retry_job(state: &AppState, by: &Operator, id: Uuid) -> Result<Retry, ApiError> {
    let (as_id, limits) = (Uuid::now_v7(), &state.config.jobs);
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let retried =
        jobs::retry(&tx, id, as_id, &by.actor, limits.expires_in_seconds, limits.per_user).await?;
    match retried {
        Retried::Missing => Err(no_job(id)),
        Retried::Refused(found) => Err(ApiError::Conflict(format!(
            "job {id} is {found}; only what failed or expired is retried"
        ))),
        Retried::Before(before) => Ok(Retry { id: before, created: false }),
        Retried::New { user_id, next } => {
            let detail = json!({ "retried_as": as_id, "user_id": user_id });
            by.record(&tx, "retry_job", &id.to_string(), detail).await?;
            tx.commit().await?;
            let queue = state.queue.clone();
            tokio::spawn(async move { queue.push_jobs(&next).await });
            Ok(Retry { id: as_id, created: true })
        }
    }
}

/// Cancels a job that waits or runs; false if it was cancelled before.
///
/// # Errors
/// 404 if there is none, 409 if it has ended otherwise.
pub async fn cancel_job(state: &AppState, by: &Operator, id: Uuid) -> Result<bool, ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    match jobs::cancel(&tx, id, Canceller::Operator, state.config.jobs.per_user).await? {
        CancelOutcome::Missing => Err(no_job(id)),
        CancelOutcome::Ended(JobState::Cancelled) => Ok(false),
        CancelOutcome::Ended(ended) => Err(ApiError::Conflict(format!(
            "job {id} has ended as {ended} and stays so; there is nothing to cancel"
        ))),
        CancelOutcome::Cancelled { seq, next } => {
            by.record(&tx, "cancel_job", &id.to_string(), json!({})).await?;
            tx.commit().await?;
            let notice = JobNotice { job: id, seq, kind: JobEventKind::Cancelled };
            tokio::spawn(announce(state.clone(), notice, next));
            Ok(true)
        }
    }
}

/// Pauses or resumes; false when that changed nothing. Workers follow within about a
/// second.
///
/// # Errors
/// Postgres failed.
pub async fn set_pause(
    state: &AppState,
    by: &Operator,
    what: Pausable,
    name: &str,
    paused: bool,
) -> Result<bool, ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let changed = pauses::set(&tx, what, name, paused, &by.actor).await?;
    let action = if paused { "pause" } else { "resume" };
    let target = format!("{what}:{name}");
    by.record(&tx, action, &target, json!({ "changed": changed })).await?;
    tx.commit().await?;
    Ok(changed)
}

/// The queue of this name that can be paused.
///
/// # Errors
/// 404 for any other name.
pub fn known_queue(name: &str) -> Result<&'static str, ApiError> {
    let known = List::PAUSABLE.into_iter().find(|list| list.as_str() == name);
    known.map(List::as_str).ok_or_else(|| {
        ApiError::NotFound("a queue that can be paused is pro, free or stripe".to_owned())
    })
}

/// The provider of this name.
///
/// # Errors
/// 404 for any other name.
pub fn known_provider(name: &str) -> Result<&'static str, ApiError> {
    let known = name.parse::<ProviderName>();
    known
        .map(ProviderName::as_str)
        .map_err(|_| ApiError::NotFound(format!("a provider is one of {}", ProviderName::list())))
}

/// Has a worker call a model once, to see whether it answers.
///
/// # Errors
/// 409 when no live worker is configured with the model, or another such call is under
/// way.
pub async fn test_call(
    state: &AppState,
    by: &Operator,
    provider: &str,
    model: &str,
) -> Result<(), ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let in_use = models::in_use(&tx).await?;
    if !in_use.iter().any(|one| one.provider == provider && one.model == model) {
        return Err(ApiError::Conflict(format!(
            "no live worker is configured with model {model} of {provider}, so none can call it"
        )));
    }
    let Some(id) = test_calls::ask(&tx, provider, model, &by.actor).await? else {
        return Err(ApiError::Conflict(
            "another test call is under way; it ends within a minute".to_owned(),
        ));
    };
    by.record(&tx, "test_call", &format!("{provider}:{model}"), json!({ "id": id })).await?;
    tx.commit().await?;
    Ok(())
}

/// Has a stored Stripe event applied again; its state before.
///
/// # Errors
/// 404 if it is not stored, 409 if it must not be applied here or is being applied.
pub async fn replay_event(
    state: &AppState,
    by: &Operator,
    id: &str,
) -> Result<&'static str, ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    match events::replay(&tx, id, state.config.stripe.mode).await? {
        Replayed::Again(was) => {
            by.record(&tx, "replay_stripe_event", id, json!({ "was": was.as_str() })).await?;
            tx.commit().await?;
            Ok(was.as_str())
        }
        Replayed::Held => Err(ApiError::Conflict(
            "a worker is applying this event right now; look at it again in a minute".to_owned(),
        )),
        Replayed::NotOurs => Err(ApiError::Conflict(
            "this event is of the other mode (live or test) or of another account; it is applied \
             only once STRIPE_LIVEMODE says that it is of ours"
                .to_owned(),
        )),
        Replayed::Missing => Err(ApiError::NotFound("no event with this id was stored".to_owned())),
    }
}

/// Links a customer of Stripe's whose user is not known to a user, as a checkout of
/// theirs made now would. Workers then apply its unresolved events, and the newest one
/// where there are none: that writes the user's plan. How many events those are.
///
/// # Errors
/// 404 without a profile, 409 when the customer is another user's.
pub async fn assign_customer(
    state: &AppState,
    by: &Operator,
    customer: &str,
    user: Uuid,
) -> Result<u64, ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    if accounts::plan_tier(&tx, user).await?.is_none() {
        return Err(no_profile(user));
    }
    let (mode, made_at) = (state.config.stripe.mode, state.clock.now().timestamp());
    let again = match customers::assign(&tx, customer, user, made_at, mode).await? {
        Assigned::Done { again } => again,
        Assigned::Of(other) => {
            return Err(ApiError::Conflict(format!(
                "customer {customer} belongs to user {other}; correct that at Stripe, in the \
                 metadata of the customer or its subscriptions"
            )));
        }
    };
    let detail = json!({ "user_id": user, "events": again });
    by.record(&tx, "assign_customer", customer, detail).await?;
    tx.commit().await?;
    Ok(again)
}

/// Has the callback of a job sent again.
///
/// # Errors
/// 409 if there is none, or it waits to be sent anyway.
pub async fn replay_callback(state: &AppState, by: &Operator, job: Uuid) -> Result<(), ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    if !dead::replay_callback(&tx, job).await? {
        return Err(ApiError::Conflict(format!(
            "job {job} has no callback, or one that waits to be sent anyway"
        )));
    }
    by.record(&tx, "replay_callback", &job.to_string(), json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// Has a mail about a payment that was given up sent again.
///
/// # Errors
/// 409 if there is none.
pub async fn replay_mail(state: &AppState, by: &Operator, event: &str) -> Result<(), ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    if !dead::replay_mail(&tx, event).await? {
        let detail = format!("event {event} has no mail that was given up");
        return Err(ApiError::Conflict(detail));
    }
    by.record(&tx, "replay_mail", event, json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// Lets a user's limits count from zero: those of requests, and with `month` also the
/// plan's generations. How many generations were given back.
///
/// # Errors
/// Postgres or Redis is away; nothing is recorded as done.
pub async fn reset_limits(
    state: &AppState,
    by: &Operator,
    user: Uuid,
    month: bool,
) -> Result<u64, ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let given_back = match month {
        true => generations::give_back_month(&tx, user).await?,
        false => 0,
    };
    by.record(&tx, "reset_limits", &user.to_string(), json!({ "generations": given_back })).await?;
    // Within the transaction: when Redis is away nothing is recorded as done.
    forget_users(&state.redis, &[user])
        .await
        .map_err(|error| ApiError::Unavailable { what: "Redis", source: error.into() })?;
    tx.commit().await?;
    Ok(given_back)
}

/// Allows a user `number` more generations this month; the sum of those given for it.
///
/// # Errors
/// 404 without a profile.
pub async fn give_generations(
    state: &AppState,
    by: &Operator,
    user: Uuid,
    number: i32,
) -> Result<i32, ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    if accounts::plan_tier(&tx, user).await?.is_none() {
        return Err(no_profile(user));
    }
    let all = generations::give_extra(&tx, user, number).await?;
    let detail = json!({ "number": number, "of_this_month": all });
    by.record(&tx, "give_generations", &user.to_string(), detail).await?;
    tx.commit().await?;
    Ok(all)
}

/// Deletes a user's account; workers erase what is left of it.
///
/// # Errors
/// 409 when a subscription would renew, or a table of the app's holds the profile.
pub async fn erase_account(state: &AppState, by: &Operator, user: Uuid) -> Result<(), ApiError> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    match erasure::delete_account(&tx, user, false).await {
        Ok(Deletion::Deleted { .. }) => {}
        Ok(Deletion::Subscribed) => {
            return Err(ApiError::Conflict(
                "the user has a subscription that would go on being paid for; end it at Stripe \
                 first. Nothing was erased"
                    .to_owned(),
            ));
        }
        Err(error) if error.blames_a_row() => {
            tracing::error!(%error, "an account cannot be deleted: a table refers to its profile");
            return Err(ApiError::Conflict(
                "a table of the app's refers to the profile and does not go with it; the log says \
                 which. Nothing was erased"
                    .to_owned(),
            ));
        }
        Err(error) => return Err(error.into()),
    }
    by.record(&tx, "erase_account", &user.to_string(), json!({})).await?;
    tx.commit().await?;
    Ok(())
}

/// 404 of a user.
fn no_profile(user: Uuid) -> ApiError {
    ApiError::NotFound(format!(
        "user {user} has no profile: nothing was requested yet, or the account is deleted"
    ))
}

/// 404 of a job.
pub fn no_job(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("there is no job {id}"))
}
