//! Requests that wait for a change or the end of the caller's job.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::db::jobs::{Details, Mark};
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::ApiError;
use crate::etag::IfNoneMatch;
use crate::state::AppState;
use crate::views::JobView;
use crate::views::job::tag;
use crate::watching::{Waiter, Watcher};

/// Waits until the job changes, the time is up or the process drains. Returns the wait if
/// it was applied: a user with too many open requests is answered at once.
pub(crate) async fn wait_until_changed(
    state: &AppState,
    user_id: Uuid,
    id: Uuid,
    known: &IfNoneMatch,
    wait: Duration,
) -> Result<Option<Duration>, ApiError> {
    let Some(_slot) = state.watching.slots.take(user_id, Waiter::Request) else { return Ok(None) };
    let deadline = Instant::now() + wait;
    let mut watcher = state.watching.changes.job(id);
    let first = own_mark(state, id, user_id).await?;
    watcher.saw(first.seq);
    let is_news = *known != IfNoneMatch::Absent && !known.has(&tag(&first));
    if first.state.is_terminal() || is_news {
        return Ok(Some(wait));
    }
    while heard_before(state, &mut watcher, deadline).await {
        let mark = own_mark(state, id, user_id).await?;
        watcher.saw(mark.seq);
        if mark != first {
            break;
        }
    }
    Ok(Some(wait))
}

/// Whether something may have changed before the time was up or the process drained.
async fn heard_before(state: &AppState, watcher: &mut Watcher, deadline: Instant) -> bool {
    tokio::select! {
        biased;
        () = state.shutdown.drain.cancelled() => false,
        () = tokio::time::sleep_until(deadline) => false,
        () = watcher.changed() => true,
    }
}

/// The result of waiting for the end of jobs.
#[derive(Debug)]
pub enum Waited {
    /// All have ended.
    Ended(Vec<JobView>),
    /// The time was up first.
    TimeUp,
    /// It did not wait: the user has too many open requests, or the jobs could not be read.
    NotHeld,
}

/// Waits until all of these accepted jobs have ended, at most for `wait`. They are accepted
/// whether they can be read or not, so that a failure is not the request's.
pub async fn wait_until_ended(
    state: &AppState,
    user_id: Uuid,
    ids: &[Uuid],
    wait: Duration,
) -> Waited {
    let Some(_slot) = state.watching.slots.take(user_id, Waiter::Request) else {
        return Waited::NotHeld;
    };
    ended_within(state, user_id, ids, wait).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the end of accepted jobs could not be waited for");
        Waited::NotHeld
    })
}

async fn ended_within(
    state: &AppState,
    user_id: Uuid,
    ids: &[Uuid],
    wait: Duration,
) -> Result<Waited, ApiError> {
    let deadline = Instant::now() + wait;
    for &id in ids {
        let mut watcher = state.watching.changes.job(id);
        loop {
            let mark = own_mark(state, id, user_id).await?;
            watcher.saw(mark.seq);
            if mark.state.is_terminal() {
                break;
            }
            if !heard_before(state, &mut watcher, deadline).await {
                return Ok(Waited::TimeUp);
            }
        }
    }
    let mut ended = Vec::with_capacity(ids.len());
    for &id in ids {
        let details = own_details(state, id, user_id).await?;
        ended.push(JobView::of(&details, None, state.clock.now()));
    }
    Ok(Waited::Ended(ended))
}

/// The version of a job of this user.
///
/// # Errors
/// 404 if there is none; another user's job looks the same.
pub(crate) async fn own_mark(state: &AppState, id: Uuid, user_id: Uuid) -> Result<Mark, ApiError> {
    let mark = state.watching.marks.find(id).await?;
    mark.filter(|mark| mark.user_id == user_id).ok_or_else(|| not_found(id))
}

/// A job of this user.
///
/// # Errors
/// As [`own_mark`].
pub(crate) async fn own_details(
    state: &AppState,
    id: Uuid,
    user_id: Uuid,
) -> Result<Arc<Details>, ApiError> {
    let details = state.watching.details.find(id).await?;
    details.filter(|details| details.row.user_id == user_id).ok_or_else(|| not_found(id))
}

pub(crate) fn not_found(id: Uuid) -> ApiError {
    ApiError::NotFound(format!("there is no job {id} of yours"))
}
