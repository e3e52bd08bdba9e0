//! The shutdown of a worker: stops claiming, finishes or releases running jobs,
//! then exits, within a fixed time.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{Context, release};

/// The time limit of releasing and last writes after a drain. A store that hangs must not
/// block the exit: leases cover the rest.
const LAST_WRITES: Duration = Duration::from_secs(5);
/// The time limit of the last pushes and notices; other processes would find out by
/// polling.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why the jobs ended before a drain did.
#[derive(Debug)]
pub enum DrainError<E> {
    /// They failed.
    Jobs(E),
    /// Their task panicked.
    Panicked,
}

/// Runs `jobs` until a drain has ended, or they end by themselves.
///
/// # Errors
/// The jobs' own; claimed jobs are released first.
pub async fn until_drained<E: Send + 'static>(
    context: &Context,
    jobs: impl Future<Output = Result<(), E>> + Send + 'static,
) -> Result<(), DrainError<E>> {
    tokio::spawn(end_in_time(context.clone()));
    let (stop, releasing) = (CancellationToken::new(), context.clone());
    let returning = tokio::spawn({
        let stop = stop.clone();
        async move { release::run(&releasing, stop).await }
    });
    let settled = async {
        let ran = tokio::spawn(jobs).await;
        // Whatever ended the jobs, nothing new is claimed from here on.
        context.shutdown.drain.cancel();
        context.in_flight.emptied().await;
        context.tasks.close();
        context.tasks.wait().await;
        stop.cancel();
        let _ = returning.await;
        if let Err(error) = release::sweep(context).await {
            tracing::warn!(%error, "could not look for claims left; their leases will run out");
        }
        context.announcer.flush(LAST_WORDS).await;
        ran.map_err(|_| DrainError::Panicked)?.map_err(DrainError::Jobs)
    };
    let too_long = async {
        context.cancellation.cancelled().await;
        sleep(LAST_WRITES).await;
    };
    tokio::select! {
        ran = settled => ran,
        () = too_long => {
            tracing::warn!(held = context.in_flight.len(), "stopped with work unsettled; the leases cover it");
            Ok(())
        }
    }
}

/// After the drain time, or at the second signal, handlers are cancelled.
async fn end_in_time(context: Context) {
    context.shutdown.drain.cancelled().await;
    tracing::info!(held = context.in_flight.len(), seconds = context.drain.as_secs(), "draining");
    let _ = timeout(context.drain, context.shutdown.now.cancelled()).await;
    context.cancellation.cancel();
    context.in_flight.abandon_all();
}
