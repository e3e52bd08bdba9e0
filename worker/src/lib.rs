//! The worker pool: claims jobs, calls AI providers, verifies and saves
//! plans, applies Stripe events, tells callers of the end.

pub mod announce;
pub mod aside;
pub mod budget;
pub mod callbacks;
pub mod commands;
pub mod config;
pub mod drain;
pub mod env;
pub mod error;
pub mod event_intake;
pub mod hand_back;
pub mod health;
pub mod heartbeat;
pub mod holdings;
pub mod intake;
pub mod jobs;
pub mod json;
pub mod mail;
pub mod models;
pub mod patience;
pub mod pauses;
pub mod plan;
pub mod prompts;
pub mod providers;
pub mod queue;
pub mod source;
pub mod stripe;

use std::sync::Arc;

use apalis_core::monitor::Monitor;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use metrics_exporter_prometheus::PrometheusHandle;
use regimen_common::db::DbError;
use regimen_common::job::EventKind;
use regimen_common::kv;
use regimen_common::notices::{self, Heard};
use regimen_common::start::{self, StartError};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use callbacks::feed as callback_feed;
use env::Env;
use queue::FedBackend;

/// Why a worker ended other than by its signals.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Nobody could be told where it listens.
    #[error(transparent)]
    Start(#[from] StartError),
    /// `DATABASE_URL` leads where the worker cannot work.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The socket that was bound has no address.
    #[error("the socket of METRICS_ADDR failed: {0}; start the process again")]
    Socket(#[from] std::io::Error),
    /// apalis gave up.
    #[error("the job runner stopped: {0}")]
    Runner(#[from] apalis_core::monitor::MonitorError),
    /// apalis ended without being asked to.
    #[error("the job runner stopped by itself")]
    RunnerEnded,
}

/// Runs until SIGTERM, then drains: takes nothing new, lets running jobs
/// finish for `DRAIN_SECONDS` (or until the second signal), hands the rest back.
///
/// # Errors
/// The process cannot go on; what it held is handed back first.
pub async fn run(
    env: Arc<Env>,
    listener: TcpListener,
    metrics: PrometheusHandle,
) -> Result<(), RunError> {
    env.db.inspect().await?;
    let address = listener.local_addr()?;
    let health = health::router(metrics, Arc::clone(&env));
    tokio::spawn(async move { axum::serve(listener, health).await });
    let (url, db, kv) = (env.config.database_url.clone(), env.db.clone(), env.kv.clone());
    tokio::spawn(start::look_at_stores(url, db, kv));
    let (pulse, holdings) = (env.pulse.clone(), env.holdings.clone());
    tokio::spawn(kv::watch(env.kv.clone()));
    tokio::spawn(heartbeat::run(pulse, holdings, env.config.claim.lease));
    tokio::spawn(jobs::reconcile::run(Arc::clone(&env)));
    tokio::spawn(jobs::stripe_reconcile::run(Arc::clone(&env)));
    env.tasks.spawn(jobs::stripe_rules::run(Arc::clone(&env)));
    env.tasks.spawn(models::run(Arc::clone(&env)));
    tokio::spawn(pauses::run(Arc::clone(&env)));
    env.tasks.spawn(jobs::backfill::run(Arc::clone(&env)));
    tokio::spawn(hear_cancellations(Arc::clone(&env)));
    if let Some(path) = &env.config.address_file {
        let worker_id = env.config.claim.worker_id.clone();
        let reported = [("METRICS_URL", format!("http://{address}")), ("WORKER_ID", worker_id)];
        start::tell_address(path, &reported)?;
    }
    tracing::info!(worker = env.config.claim.worker_id, %address, slots = env.config.slots, "worker ready");
    let ran = tokio::select! {
        ran = drain::until_drained(&env, run_jobs(Arc::clone(&env))) => ran,
        refused = env.db.refused() => Err(refused.into()),
    };
    tracing::info!("worker stopped");
    ran
}

/// Runs the handlers until a drain begins and every handler is done.
async fn run_jobs(env: Arc<Env>) -> Result<(), RunError> {
    let drain = env.shutdown.drain.clone();
    let (events, callbacks) = (Arc::clone(&env), Arc::clone(&env));
    let monitor = Monitor::new()
        .register(move |_| {
            let (sender, receiver) = mpsc::channel(env.config.slots);
            // Tracked: a claim under way must be known before the last hand-back.
            let feed = env.tasks.track_future(intake::feed(Arc::clone(&env), sender));
            WorkerBuilder::new("plans")
                .backend(FedBackend::new(receiver, feed))
                .data(Arc::clone(&env))
                .parallelize(tokio::spawn)
                .build(jobs::generate::handle)
        })
        .register(move |_| {
            let (sender, receiver) = mpsc::channel(events.config.stripe.slots);
            // Tracked: an id that came too late is put back. What is claimed and not
            // begun comes again.
            let feed = event_intake::feed(Arc::clone(&events), sender);
            let feed = events.tasks.track_future(feed);
            WorkerBuilder::new("events")
                .backend(FedBackend::new(receiver, feed))
                .data(Arc::clone(&events))
                .parallelize(tokio::spawn)
                .build(event_intake::handle)
        })
        .register(move |_| {
            let (sender, receiver) = mpsc::channel(callbacks.config.callbacks.slots);
            let feed = callback_feed::feed(Arc::clone(&callbacks), sender);
            WorkerBuilder::new("callbacks")
                .backend(FedBackend::new(receiver, feed))
                .data(Arc::clone(&callbacks))
                .parallelize(tokio::spawn)
                .build(callback_feed::handle)
        });
    let context = monitor.context();
    let signal = drain.clone();
    tokio::spawn(async move {
        signal.cancelled().await;
        // An error means that it has stopped already.
        let _ = context.shutdown();
    });
    monitor.run().await?;
    if drain.is_cancelled() { Ok(()) } else { Err(RunError::RunnerEnded) }
}

/// Drops the work on a job within moments of its cancellation. The fence is
/// what makes this safe; the notice only makes it quick. After a gap in the
/// notices the heartbeat looks which jobs are still ours.
async fn hear_cancellations(env: Arc<Env>) {
    let (sender, mut heard) = mpsc::channel(1024);
    tokio::spawn(notices::listen(env.kv.clone(), sender));
    while let Some(heard) = heard.recv().await {
        match heard {
            Heard::Notice(notice) if notice.kind == EventKind::Cancelled => {
                env.holdings.abandon(notice.job);
            }
            Heard::Connected => env.holdings.doubt(),
            Heard::Notice(_) | Heard::Disconnected => {}
        }
    }
}
