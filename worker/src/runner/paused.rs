//! This process's copy of the paused queues. Claims check `regimen.pauses`
//! themselves; the copy keeps the worker from popping ids that it could not
//! claim.

use std::collections::HashSet;

use regimen_common::dispatch::{List, Weights};
use tokio::sync::watch;

/// Which queues are paused. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct PausedQueues(watch::Sender<HashSet<List>>);

impl PausedQueues {
    /// `weights` without the paused lists.
    pub fn leave_out(&self, (first, second): (List, List), weights: Weights) -> Weights {
        let paused = self.0.borrow();
        weights.without(paused.contains(&first), paused.contains(&second))
    }

    /// Resolves when the set of paused queues changes after this call.
    pub fn changed(&self) -> impl Future<Output = ()> + use<> {
        let mut seen = self.0.subscribe();
        async move {
            if seen.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Replaces the set of paused queues and notifies waiters of a change.
    pub fn set(&self, now: HashSet<List>) {
        self.0.send_if_modified(|paused| {
            for list in paused.symmetric_difference(&now) {
                let state = if now.contains(list) { "paused" } else { "resumed" };
                tracing::info!(list = list.as_str(), state, "a queue changed");
            }
            let before = std::mem::replace(paused, now);
            *paused != before
        });
    }
}
