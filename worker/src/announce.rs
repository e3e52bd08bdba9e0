//! Tells the rest of the fleet what this worker just committed: pushes the
//! jobs whose turn has come and publishes notices. Always after the commit;
//! what is lost on the way, the reconciler and the watchers' own look find.

use regimen_common::clock::Clock;
use regimen_common::db::jobs::{Claimed, NextJob};
use regimen_common::job::EventKind;
use regimen_common::kv::Kv;
use regimen_common::notices::{self, Notice};
use regimen_common::queue::{List, Message, Queue};
use uuid::Uuid;

/// Sends announcements. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Announcer {
    kv: Kv,
    queue: Queue,
    clock: Clock,
}

impl Announcer {
    /// An announcer over `kv`.
    pub fn new(kv: Kv, clock: Clock) -> Self {
        Self { queue: Queue::new(kv.clone()), kv, clock }
    }

    /// Announces one event of one job.
    pub async fn event(&self, job: Uuid, seq: i32, kind: EventKind) {
        notices::publish(&self.kv, &[Notice { job, seq, kind }]).await;
    }

    /// Announces a batch of claims. Their event number is not known here, so
    /// watchers look it up.
    pub async fn claimed(&self, claimed: &[Claimed]) {
        let notices: Vec<_> = claimed
            .iter()
            .map(|claimed| Notice {
                job: claimed.id,
                seq: claimed.last_seq,
                kind: EventKind::Claimed,
            })
            .collect();
        notices::publish(&self.kv, &notices).await;
    }

    /// Pushes jobs whose turn has come.
    pub async fn dispatch(&self, next: &[NextJob]) {
        let now = self.clock.now().timestamp_millis();
        for list in List::ALL {
            let messages: Vec<_> = next
                .iter()
                .filter(|job| job.list == list)
                .map(|job| Message::new(job.id, now, None))
                .collect();
            if let Err(error) = self.queue.push(list, &messages).await {
                tracing::debug!(%error, "could not push jobs; the reconciler dispatches them");
            }
        }
    }

    /// The end of a claim: its event and the user's next jobs.
    pub async fn ended(&self, job: Uuid, seq: i32, kind: EventKind, next: &[NextJob]) {
        tokio::join!(self.event(job, seq, kind), self.dispatch(next));
    }
}
