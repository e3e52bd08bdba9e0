//! Extends the leases of all jobs in flight, in one statement, and says that the worker
//! lives and what it holds.
//!
//! Runs on its own task and its own connection: it never waits for a handler, a
//! buffer, or a connection that handlers use.

use std::collections::HashSet;
use std::time::Duration;

use regimen_common::config::Setting;
use regimen_common::db::workers::{self, SignOfLife};
use regimen_common::db::{DbError, Outcome, Pool, jobs, limits};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::runner::in_flight::{Held, InFlight};

/// Extends the leases three times per lease while the process runs; after a failure much
/// sooner, so that the leases are extended as soon as Postgres is back.
pub async fn run(pool: Pool, in_flight: InFlight, lease: Duration, worker: Presence) {
    let soon = (lease / 20).clamp(Duration::from_millis(20), Duration::from_millis(500));
    loop {
        in_flight.abandon_overdue(Instant::now());
        let pause = if beat(&pool, &in_flight, lease).await { lease / 3 } else { soon };
        if pause > soon {
            worker.tell(&pool, in_flight.len(), lease / 3).await;
        }
        tokio::select! {
            () = sleep(pause) => {}
            () = in_flight.lease_check_requested() => {}
        }
    }
}

/// What operators see of this worker.
#[derive(Debug)]
pub struct Presence {
    /// What it says of itself.
    pub sign: SignOfLife,
    /// Its settings, as operators may see them.
    pub settings: Vec<Setting>,
    /// Cancelled when it takes no more jobs.
    pub drain: CancellationToken,
    /// Cancelled when it ends.
    pub end: CancellationToken,
}

impl Presence {
    /// Nothing depends on it: a failure is made good by the next heartbeat.
    async fn tell(&self, pool: &Pool, held: usize, at_most: Duration) {
        if self.end.is_cancelled() {
            return;
        }
        let draining = self.drain.is_cancelled();
        let told = async {
            let client = pool.get().await?;
            if workers::seen(&client, &self.sign, held, draining).await? {
                workers::describe(&client, &self.sign.worker_id, &self.settings).await?;
            }
            Ok::<_, DbError>(())
        };
        if let Err(error) = limits::within(at_most, told).await {
            tracing::debug!(%error, "could not tell that this worker lives");
        }
    }
}

/// One heartbeat; false when it must be repeated soon.
async fn beat(pool: &Pool, in_flight: &InFlight, lease: Duration) -> bool {
    let mut asked = in_flight.all();
    if asked.is_empty() {
        return true;
    }
    // The lease counts from before the statement is sent, never from its answer.
    let lease_until = Instant::now() + lease;
    match limits::within(lease / 3, extend(pool, &asked, lease)).await {
        Ok(outcome) => {
            // A job that cannot be extended because of its row stays ours until its lease
            // expires; untried ones follow at once.
            let open: HashSet<Held> = outcome
                .poisoned
                .iter()
                .map(|poisoned| poisoned.key)
                .chain(outcome.untried.iter().copied())
                .collect();
            asked.retain(|held| !open.contains(held));
            in_flight.extended(&asked, &outcome.done, lease_until);
            for poisoned in &outcome.poisoned {
                metrics::counter!("regimen_poison_rows_total", "step" => "extend_leases")
                    .increment(1);
                tracing::error!(job_id = %poisoned.key.id, error = %poisoned.error, "cannot extend the lease of this job");
            }
            if outcome.untried.is_empty() {
                return true;
            }
            tracing::warn!(error = ?outcome.broken_off, "could not extend all leases; trying again");
        }
        Err(error) => tracing::warn!(%error, "could not extend leases; trying again"),
    }
    metrics::counter!("regimen_heartbeat_failures_total").increment(1);
    false
}

async fn extend(
    pool: &Pool,
    held: &[Held],
    lease: Duration,
) -> Result<Outcome<Held, Held>, DbError> {
    let mut client = pool.get().await?;
    jobs::extend_leases(&mut client, held, lease).await
}
