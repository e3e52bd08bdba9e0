//! The one consumer loop: waits for a free slot, claims work for the free
//! slots, and hands it to apalis, which runs it through its layers.
//!
//! Invariant: at most as many jobs are claimed as there are free slots. A
//! claimed job starts at once; none waits in a buffer under a lease. A drain
//! ends waits, never a running claim.

use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use apalis::layers::WorkerBuilderExt;
use apalis::layers::tracing::TraceLayer;
use apalis_core::error::BoxDynError;
use apalis_core::monitor::{Monitor, MonitorError};
use apalis_core::task::Task;
use apalis_core::task::data::Data;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use futures_util::FutureExt;
use regimen_common::db::DbError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backend::FedBackend;
use super::panics::RecordPanics;
use super::traced::{Described, Trace};

/// Between two claims after one failed.
const BACKOFF: Duration = Duration::from_millis(250);

/// Claimed work. `D` is what handlers are given.
pub trait Job<D>: Described + Debug {
    /// Runs it, and records the outcome.
    fn run(&self, deps: &Arc<D>) -> impl Future<Output = ()> + Send;

    /// Records that `run` panicked.
    fn panicked(&self, deps: &Arc<D>) -> impl Future<Output = ()> + Send;
}

/// Where work of one kind comes from.
pub trait Source<D>: Send + 'static {
    /// The claimed work.
    type Job: Job<D>;

    /// Claims up to `free` jobs. When there are none it waits, at most until a drain
    /// begins, and returns an empty list.
    ///
    /// # Errors
    /// Postgres failed; popped ids were put back.
    fn claim(
        &mut self,
        free: usize,
    ) -> impl Future<Output = Result<Vec<Self::Job>, DbError>> + Send;
}

/// A kind of work, for the loop.
#[derive(Debug)]
pub struct Kind<D> {
    /// Its name in logs and metrics.
    pub name: &'static str,
    /// How many jobs run at once.
    pub slots: usize,
    /// The dependencies of its handlers.
    pub deps: Arc<D>,
    /// Cancelled when no new work is to be claimed.
    pub drain: CancellationToken,
    /// Tracks running claims until they end.
    pub tasks: TaskTracker,
}

impl<D> Clone for Kind<D> {
    fn clone(&self) -> Self {
        Self {
            name: self.name,
            slots: self.slots,
            deps: Arc::clone(&self.deps),
            drain: self.drain.clone(),
            tasks: self.tasks.clone(),
        }
    }
}

/// A claimed job with its slot, which is free again when both are dropped.
#[derive(Debug)]
pub struct Claimed<J> {
    pub(super) job: J,
    _slot: OwnedSemaphorePermit,
}

/// Registers a consumer of `kind` that claims from `source`.
pub fn register<D, S>(
    monitor: Monitor,
    kind: Kind<D>,
    source: impl Fn(&Arc<D>) -> S + Send + Sync + 'static,
) -> Monitor
where
    D: Send + Sync + 'static,
    S: Source<D>,
{
    metrics::gauge!("regimen_slots", "consumer" => kind.name).set(kind.slots as f64);
    let source = Arc::new(source);
    monitor.register(move |_| {
        let Kind { name, slots, deps, drain, tasks } = kind.clone();
        let (sender, receiver) = mpsc::channel(slots);
        let (source, of) = (Arc::clone(&source), Arc::clone(&deps));
        let feed = feed(name, slots, move || source(&of), drain, sender);
        WorkerBuilder::new(name)
            .backend(FedBackend::new(receiver, tasks.track_future(feed)))
            .data(Arc::clone(&deps))
            .parallelize(tokio::spawn)
            .layer(Trace::new(name))
            .layer(RecordPanics::new(name, deps))
            .catch_panic()
            .layer(
                TraceLayer::new()
                    .make_span_with(move |_: &Task<_>| tracing::info_span!("job", consumer = name)),
            )
            .build(handle::<D, S::Job>)
    })
}

/// Runs the consumers until a drain begins and every handler is done.
///
/// # Errors
/// apalis failed.
pub async fn run(monitor: Monitor, drain: &CancellationToken) -> Result<(), MonitorError> {
    let (context, signal) = (monitor.context(), drain.clone());
    tokio::spawn(async move {
        signal.cancelled().await;
        // An error means that it has stopped already.
        let _ = context.shutdown();
    });
    monitor.run().await
}

async fn handle<D, J>(claimed: Arc<Claimed<J>>, deps: Data<Arc<D>>) -> Result<(), BoxDynError>
where
    D: Send + Sync + 'static,
    J: Job<D>,
{
    claimed.job.run(&deps).await;
    Ok(())
}

/// Feeds `tasks` from a source until `drain` is cancelled. A source whose claim panicked
/// is replaced; otherwise its consumer would stop unnoticed.
async fn feed<D, S: Source<D>>(
    name: &'static str,
    slots: usize,
    new_source: impl Fn() -> S,
    drain: CancellationToken,
    tasks: mpsc::Sender<Arc<Claimed<S::Job>>>,
) {
    let slots = Arc::new(Semaphore::new(slots));
    let mut source = new_source();
    loop {
        let slot = drain.run_until_cancelled(Arc::clone(&slots).acquire_owned()).await;
        let Some(Ok(slot)) = slot.filter(|_| !drain.is_cancelled()) else { return };
        let claim = AssertUnwindSafe(source.claim(1 + slots.available_permits()));
        let claimed = match claim.catch_unwind().await {
            Ok(Ok(claimed)) => claimed,
            Ok(Err(error)) => {
                tracing::warn!(%error, consumer = name, "could not claim work; trying again");
                back_off(&drain).await;
                continue;
            }
            Err(_) => {
                tracing::error!(consumer = name, "a claim panicked; trying again");
                source = new_source();
                back_off(&drain).await;
                continue;
            }
        };
        let mut slot = Some(slot);
        for job in claimed {
            let Some(slot) = slot.take().or_else(|| Arc::clone(&slots).try_acquire_owned().ok())
            else {
                // Unreachable while sources respect `free`. A dropped job is released or
                // its claim expires.
                tracing::error!(?job, consumer = name, "claimed without a free slot");
                continue;
            };
            if tasks.send(Arc::new(Claimed { job, _slot: slot })).await.is_err() {
                return;
            }
        }
    }
}

/// The wait after a failed claim.
async fn back_off(drain: &CancellationToken) {
    metrics::counter!("regimen_claim_failures_total").increment(1);
    drain.run_until_cancelled(sleep(BACKOFF)).await;
}

#[cfg(test)]
#[path = "consumer_tests.rs"]
mod tests;
