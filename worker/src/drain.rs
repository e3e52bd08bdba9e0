//! The end of a worker: no job new, those that run to their end or handed
//! back, and out, within a time that nothing can stretch.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::RunError;
use crate::env::Env;
use crate::hand_back;

/// What handing back and last writes may take once a drain is over. A store
/// that hangs must not keep the process: leases cover what stays.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// What telling the fleet may take; it would find out by itself.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs `jobs` until a drain has come to its end, or they end by themselves.
///
/// # Errors
/// The jobs' own; what was held is handed back first.
pub async fn until_drained(
    env: &Arc<Env>,
    jobs: impl Future<Output = Result<(), RunError>> + Send + 'static,
) -> Result<(), RunError> {
    tokio::spawn(end_in_time(Arc::clone(env)));
    let (stop, hand_back) = (CancellationToken::new(), Arc::clone(env));
    let returning = tokio::spawn({
        let stop = stop.clone();
        async move { hand_back::run(&hand_back, stop).await }
    });
    let settled = async {
        let ran = tokio::spawn(jobs).await;
        // Whatever ended the jobs, nothing new is taken from here on.
        env.shutdown.drain.cancel();
        env.holdings.emptied().await;
        env.tasks.close();
        env.tasks.wait().await;
        stop.cancel();
        let _ = returning.await;
        if let Err(error) = hand_back::sweep(env).await {
            tracing::warn!(%error, "could not look for claims left; their leases will run out");
        }
        env.announcer.flush(LAST_WORDS).await;
        ran.unwrap_or(Err(RunError::RunnerEnded))
    };
    let too_long = async {
        env.let_go.cancelled().await;
        sleep(LAST_WRITES).await;
    };
    tokio::select! {
        ran = settled => ran,
        () = too_long => {
            tracing::warn!(held = env.holdings.len(), "stopped with work unsettled; the leases cover it");
            Ok(())
        }
    }
}

/// After the drain time, or at the second signal, handlers are told to let go.
async fn end_in_time(env: Arc<Env>) {
    env.shutdown.drain.cancelled().await;
    tracing::info!(held = env.holdings.len(), seconds = env.config.drain.as_secs(), "draining");
    let _ = timeout(env.config.drain, env.shutdown.now.cancelled()).await;
    env.let_go.cancel();
    env.holdings.abandon_all();
}
