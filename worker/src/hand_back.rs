//! Returns to waiting what this process let go without a result: jobs that a
//! drain cut short, whose lease could not be kept, or that never reached
//! their handler. They run elsewhere at once, and no attempt is counted.
//!
//! Contract: checks the fence, so that what was cancelled or taken over stays
//! as it is; while Postgres is away it keeps trying; a crash leaves the jobs
//! to their leases.

use regimen_common::db::{DbError, jobs};
use tokio_util::sync::CancellationToken;

use crate::env::Env;
use crate::holdings::Held;
use crate::patience::until_written;

/// Rows per statement.
const BATCH: usize = 500;

/// Hands back whatever is let go, until `stop`; then what is left, once more.
pub async fn run(env: &Env, stop: CancellationToken) {
    while let Some(held) = stop.run_until_cancelled(env.holdings.let_go()).await {
        hand_back(env, &held).await;
    }
    hand_back(env, &env.holdings.take_let_go()).await;
}

/// Hands back what stands in this worker's name in Postgres although it holds
/// nothing any more: claims whose answer never arrived.
///
/// # Errors
/// Postgres is away; the leases will run out.
pub async fn sweep(env: &Env) -> Result<(), DbError> {
    let client = env.db.get().await?;
    let held = jobs::held_by(&client, &env.config.claim.worker_id).await?;
    drop(client);
    hand_back(env, &held).await;
    Ok(())
}

async fn hand_back(env: &Env, held: &[Held]) {
    for held in held.chunks(BATCH) {
        let written = until_written(&env.let_go, "hand-back", async || {
            let mut client = env.db.get().await?;
            jobs::hand_back(&mut client, held).await
        });
        match written.await {
            Ok(outcome) => {
                for spoiled in &outcome.spoiled {
                    metrics::counter!("regimen_poison_rows_total", "step" => "hand_back")
                        .increment(1);
                    tracing::error!(job_id = %spoiled.key.id, error = %spoiled.error, "cannot hand this job back; its lease will run out");
                }
                if !outcome.untried.is_empty() {
                    tracing::warn!(
                        jobs = outcome.untried.len(),
                        error = ?outcome.broken_off,
                        "could not hand jobs back; their leases will run out"
                    );
                }
                let ended = outcome.done;
                ended.iter().for_each(|ended| env.announcer.ended(ended));
                if !ended.is_empty() {
                    metrics::counter!("regimen_jobs_handed_back_total")
                        .increment(ended.len() as u64);
                    tracing::info!(jobs = ended.len(), "handed jobs back");
                }
            }
            Err(error) => {
                tracing::warn!(%error, jobs = held.len(), "could not hand jobs back; their leases will run out");
            }
        }
    }
}
