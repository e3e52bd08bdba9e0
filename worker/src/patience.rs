//! Writes that must not be lost: tried again while Postgres is away.

use std::time::Duration;

use regimen_common::db::DbError;
use tokio::time::Instant;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After so long another holder surely has the job.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs `write` until it succeeds, fails for a reason that stays, or ten
/// minutes have passed. Every write it is used for checks the fence or may
/// happen twice, so a late success does no harm.
///
/// # Errors
/// The last failure.
pub async fn until_written<T, F>(
    what: &'static str,
    mut write: impl FnMut() -> F,
) -> Result<T, DbError>
where
    F: Future<Output = Result<T, DbError>>,
{
    let give_up = Instant::now() + PATIENCE;
    let mut pause = FIRST_PAUSE;
    loop {
        match write().await {
            Err(error) if error.is_unavailable() && Instant::now() < give_up => {
                metrics::counter!("regimen_postgres_retries_total").increment(1);
                tracing::warn!(%error, what, "Postgres is away; keeping the result and trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            done => return done,
        }
    }
}
