//! Pushes and publishes changes that were committed here.

use regimen_common::db::jobs::NextJob;
use regimen_common::dispatch::notices::{self, JobNotice};

use crate::state::AppState;

/// Notifies the holder and pushes the user's next jobs, on a separate task: the response
/// does not wait for Redis.
pub(crate) async fn announce(state: AppState, notice: JobNotice, next: Vec<NextJob>) {
    notices::publish(&state.redis, &[notice]).await;
    state.queue.push_jobs(&next).await;
}
