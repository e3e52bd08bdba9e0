//! Requeues jobs that this process stopped working on without a result: cut
//! short by a drain, with a lost lease, or never handled. Other workers run
//! them at once, and no attempt is counted.
//!
//! Contract: checks the fence, so that cancelled or taken-over jobs stay
//! unchanged; while Postgres is away it retries; after a crash the leases of
//! the jobs expire.

use regimen_common::db::{DbError, jobs};
use tokio_util::sync::CancellationToken;

use super::Context;
use super::in_flight::Held;
use super::write_retry::until_written;

/// Rows per statement.
const BATCH: usize = 500;

/// Releases until `stop`, then what is left.
pub async fn run(context: &Context, stop: CancellationToken) {
    while let Some(held) = stop.run_until_cancelled(context.in_flight.released()).await {
        release(context, &held).await;
    }
    release(context, &context.in_flight.take_released()).await;
}

/// Releases claims in this worker's name in Postgres that it does not hold: claims whose
/// answer never arrived.
///
/// # Errors
/// Postgres is away; the leases will expire.
pub async fn sweep(context: &Context) -> Result<(), DbError> {
    let client = context.db.get().await?;
    let held = jobs::held_by(&client, &context.worker_id).await?;
    drop(client);
    release(context, &held).await;
    Ok(())
}

async fn release(context: &Context, held: &[Held]) {
    for held in held.chunks(BATCH) {
        let written = until_written(&context.cancellation, "hand-back", async || {
            let mut client = context.db.get().await?;
            jobs::release(&mut client, held).await
        });
        match written.await {
            Ok(outcome) => {
                for poisoned in &outcome.poisoned {
                    metrics::counter!("regimen_poison_rows_total", "step" => "release")
                        .increment(1);
                    tracing::error!(job_id = %poisoned.key.id, error = %poisoned.error, "cannot hand this job back; its claim will be given up");
                }
                if !outcome.untried.is_empty() {
                    tracing::warn!(
                        jobs = outcome.untried.len(),
                        error = ?outcome.broken_off,
                        "could not hand jobs back; their claims will be given up"
                    );
                }
                let ended = outcome.done;
                ended.iter().for_each(|ended| context.announcer.ended(ended));
                if !ended.is_empty() {
                    metrics::counter!("regimen_jobs_handed_back_total")
                        .increment(ended.len() as u64);
                    tracing::info!(jobs = ended.len(), "handed jobs back");
                }
            }
            Err(error) => {
                tracing::warn!(%error, jobs = held.len(), "could not hand jobs back; their claims will be given up");
            }
        }
    }
}
