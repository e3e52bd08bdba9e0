//! Writes that must not be lost: retried while Postgres is away.

use std::time::Duration;

use regimen_common::backoff::backoff;
use regimen_common::db::DbError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Short, so that results are written before another worker repeats the work.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// After this time another holder has the job.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs `write` until it succeeds, fails permanently, ten minutes have passed, or the
/// process must end (`cancellation`). Every such write checks the fence or is idempotent,
/// so a late success does no harm.
///
/// # Errors
/// The last failure.
pub async fn until_written<T, F>(
    cancellation: &CancellationToken,
    what: &'static str,
    mut write: impl FnMut() -> F,
) -> Result<T, DbError>
where
    F: Future<Output = Result<T, DbError>>,
{
    let give_up = Instant::now() + PATIENCE;
    let mut failures = 0;
    loop {
        let last = cancellation.is_cancelled() || Instant::now() >= give_up;
        match write().await {
            Err(error) if !last && (error.is_unavailable() || error.is_conflict()) => {
                metrics::counter!("regimen_postgres_retries_total").increment(1);
                tracing::warn!(%error, what, "not written; keeping it and trying again");
                failures += 1;
                let pause = backoff(failures, FIRST_PAUSE, LONGEST_PAUSE);
                cancellation.run_until_cancelled(tokio::time::sleep(pause)).await;
            }
            done => return done,
        }
    }
}
