//! Extends this worker's lease, checks what it holds, and says that it lives.
//!
//! Runs on its own task and its own connection: it never waits for a handler, a
//! buffer, or a connection that handlers use.

use std::collections::HashMap;
use std::time::Duration;

use regimen_common::config::Setting;
use regimen_common::db::workers::{self, SignOfLife};
use regimen_common::db::{DbError, Outcome, Pool, jobs, limits};
use regimen_common::job::JobEventKind;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::announce::tell_poisoned;
use crate::runner::in_flight::Held;

/// A claim in this worker's name that no handler has may be on its way from Postgres for so
/// long.
const STRAY_AFTER: Duration = limits::CLAIM.saturating_mul(2);

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

/// The heartbeat of a worker.
#[derive(Debug)]
pub struct Heartbeat {
    /// Its own connection.
    pub pool: Pool,
    /// The worker.
    pub context: Context,
    /// The length of its lease.
    pub lease: Duration,
    /// The cap on running jobs of one user.
    pub per_user: i64,
    /// What operators see.
    pub presence: Presence,
}

impl Heartbeat {
    /// Extends the lease three times per lease while the process runs; after a failure much
    /// sooner, so that it is extended as soon as Postgres is back.
    pub async fn run(self) {
        let lease = self.lease;
        let soon = (lease / 20).clamp(Duration::from_millis(20), Duration::from_millis(500));
        let in_flight = &self.context.in_flight;
        let mut strays = HashMap::new();
        loop {
            in_flight.abandon_overdue(Instant::now());
            let pause = if self.beat(&mut strays).await { lease / 3 } else { soon };
            if pause > soon {
                self.tell().await;
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = in_flight.lease_check_requested() => {}
            }
        }
    }

    /// Nothing depends on it: a failure is made good by the next heartbeat.
    async fn tell(&self) {
        let Presence { sign, settings, drain, end } = &self.presence;
        if end.is_cancelled() {
            return;
        }
        let (held, draining) = (self.context.in_flight.len(), drain.is_cancelled());
        let told = async {
            let client = self.pool.get().await?;
            if workers::seen(&client, sign, held, draining).await? {
                workers::describe(&client, &sign.worker_id, settings).await?;
            }
            Ok::<_, DbError>(())
        };
        if let Err(error) = limits::within(self.lease / 3, told).await {
            tracing::debug!(%error, "could not tell that this worker lives");
        }
    }

    /// One heartbeat; false when it must be repeated soon. `strays` are claims in this
    /// worker's name that no handler has, and when they were first seen.
    async fn beat(&self, strays: &mut HashMap<Held, Instant>) -> bool {
        let in_flight = &self.context.in_flight;
        let asked = in_flight.all();
        // The lease counts from before the statement is sent, never from its answer.
        let asked_at = Instant::now();
        let held = match limits::within(self.lease / 3, self.extend()).await {
            Ok(held) => held,
            Err(error) => {
                metrics::counter!("regimen_heartbeat_failures_total").increment(1);
                tracing::warn!(%error, "could not extend this worker's lease; trying again");
                return false;
            }
        };
        in_flight.lease_extended(asked_at + self.lease);
        let unknown = in_flight.compare(&asked, &held);
        *strays = unknown
            .into_iter()
            .map(|held| (held, strays.get(&held).copied().unwrap_or(asked_at)))
            .collect();
        let lost: Vec<Held> = strays
            .iter()
            .filter(|(_, since)| asked_at.duration_since(**since) >= STRAY_AFTER)
            .map(|(held, _)| *held)
            .collect();
        if !lost.is_empty() {
            self.lose(&lost).await;
        }
        true
    }

    async fn extend(&self) -> Result<Vec<Held>, DbError> {
        let client = self.pool.get().await?;
        jobs::extend_lease(&client, &self.context.worker_id, self.lease).await
    }

    /// Gives up claims that no handler has; what fails is tried again with the next beat.
    async fn lose(&self, strays: &[Held]) {
        let lost = async {
            let mut client = self.pool.get().await?;
            let reason = "its worker had no handler for it";
            jobs::lose_each(&mut client, strays, reason, self.per_user).await
        };
        let Outcome { done, poisoned, broken_off, .. } =
            match limits::within(self.lease / 3, lost).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::warn!(%error, "could not give up claims that no handler has");
                    return;
                }
            };
        for row in &poisoned {
            metrics::counter!("regimen_poison_rows_total", "step" => "stray_claims").increment(1);
            tracing::error!(job_id = %row.key.id, error = %row.error, "cannot give up this claim, which no handler has; trying again");
        }
        if let Some(error) = broken_off {
            tracing::warn!(%error, "could not give up all claims that no handler has");
        }
        for ended in &done {
            tracing::warn!(job_id = %ended.job_id, "gave up a claim that no handler had");
            metrics::counter!("regimen_leases_lost_total").increment(1);
            if ended.kind == JobEventKind::Failed {
                tell_poisoned(ended.job_id);
                metrics::counter!("regimen_jobs_finished_total", "state" => "failed", "code" => "poisoned")
                    .increment(1);
            }
            self.context.announcer.ended(ended);
        }
    }
}
