//! Keeps the leases of everything this process holds, in one statement.
//!
//! Runs on its own task and its own connection: it never waits for a handler,
//! a buffer, or a connection that handlers use.

use std::time::Duration;

use regimen_common::db::Pool;
use regimen_common::db::{DbError, jobs, limits};
use tokio::time::{Instant, sleep};

use crate::holdings::{Held, Holdings};

/// Beats three times per lease for as long as the process lives; after a
/// failure much sooner, so that Postgres is told as soon as it is back.
pub async fn run(pool: Pool, holdings: Holdings, lease: Duration) {
    let soon = (lease / 20).clamp(Duration::from_millis(20), Duration::from_millis(500));
    loop {
        holdings.abandon_overdue(Instant::now());
        let pause = if beat(&pool, &holdings, lease).await { lease / 3 } else { soon };
        tokio::select! {
            () = sleep(pause) => {}
            () = holdings.doubted() => {}
        }
    }
}

/// One beat; false when it has to be repeated soon.
async fn beat(pool: &Pool, holdings: &Holdings, lease: Duration) -> bool {
    let asked = holdings.all();
    if asked.is_empty() {
        return true;
    }
    // The lease counts from before the statement is sent, never from its answer.
    let lease_until = Instant::now() + lease;
    match limits::within(lease / 3, extend(pool, &asked, lease)).await {
        Ok(kept) => {
            holdings.extended(&asked, &kept, lease_until);
            return true;
        }
        Err(error) => tracing::warn!(%error, "could not extend leases; trying again"),
    }
    metrics::counter!("regimen_heartbeat_failures_total").increment(1);
    false
}

async fn extend(pool: &Pool, held: &[Held], lease: Duration) -> Result<Vec<Held>, DbError> {
    let client = pool.get().await?;
    jobs::extend_leases(&client, held, lease).await
}
