//! The worker pool: claims jobs, calls AI providers, verifies and saves
//! plans, applies Stripe events.

pub mod announce;
pub mod config;
pub mod env;
pub mod error;
pub mod health;
pub mod holdings;
pub mod intake;
pub mod jobs;
pub mod patience;
pub mod plan;
pub mod prompts;
pub mod providers;
pub mod queue;

use std::sync::Arc;

use apalis_core::monitor::Monitor;
use apalis_core::worker::builder::WorkerBuilder;
use apalis_core::worker::ext::parallelize::ParallelizeExt;
use metrics_exporter_prometheus::PrometheusHandle;
use regimen_common::db::DbError;
use regimen_common::db::jobs as job_rows;
use regimen_common::{address_file, notices};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use env::Env;
use queue::FedBackend;

/// Why a worker ended other than by its signals.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The metrics port could not be bound or served.
    #[error("cannot serve METRICS_ADDR: {0}")]
    Listen(#[from] std::io::Error),
    /// apalis gave up.
    #[error("the job runner stopped: {0}")]
    Runner(#[from] apalis_core::monitor::MonitorError),
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
    let address = listener.local_addr()?;
    let health = health::router(metrics, Arc::clone(&env));
    tokio::spawn(async move { axum::serve(listener, health).await });
    let lease = env.config.claim.lease;
    let heartbeat = tokio::spawn(holdings::heartbeat(env.db.clone(), env.holdings.clone(), lease));
    tokio::spawn(jobs::reconcile::run(Arc::clone(&env)));
    tokio::spawn(hear_cancellations(Arc::clone(&env)));
    tokio::spawn(end_drain(Arc::clone(&env)));
    if let Some(path) = &env.config.address_file {
        address_file::write(path, &[("METRICS_URL", format!("http://{address}"))])?;
    }
    tracing::info!(worker = env.config.claim.worker_id, %address, slots = env.config.slots, "worker ready");

    let ran = run_jobs(Arc::clone(&env)).await;
    hand_back(&env).await;
    heartbeat.abort();
    tracing::info!("worker stopped");
    ran
}

async fn run_jobs(env: Arc<Env>) -> Result<(), RunError> {
    let drain = env.shutdown.drain.clone();
    let monitor = Monitor::new().register(move |_| {
        let (sender, receiver) = mpsc::channel(env.config.slots);
        let feed = intake::feed(Arc::clone(&env), sender);
        WorkerBuilder::new("plans")
            .backend(FedBackend::new(receiver, feed))
            .data(Arc::clone(&env))
            .parallelize(tokio::spawn)
            .build(jobs::generate::handle)
    });
    let signal = async move {
        drain.cancelled().await;
        Ok(())
    };
    Ok(monitor.run_with_signal(signal).await?)
}

/// After the drain time, or at the second signal, handlers are told to let go.
async fn end_drain(env: Arc<Env>) {
    env.shutdown.drain.cancelled().await;
    tracing::info!(held = env.holdings.len(), seconds = env.config.drain.as_secs(), "draining");
    let _ = tokio::time::timeout(env.config.drain, env.shutdown.now.cancelled()).await;
    env.holdings.abandon_all();
}

/// Returns whatever this worker still holds to waiting, without counting an attempt.
async fn hand_back(env: &Env) {
    match try_hand_back(env).await {
        Ok(0) => {}
        Ok(jobs) => tracing::info!(jobs, "handed jobs back"),
        Err(error) => {
            tracing::warn!(%error, "could not hand jobs back; their leases will run out");
        }
    }
}

async fn try_hand_back(env: &Env) -> Result<usize, DbError> {
    let mut client = env.db.get().await?;
    let held = job_rows::held_by(&client, &env.config.claim.worker_id).await?;
    for &held in &held {
        let tx = client.transaction().await?;
        let ended = job_rows::drain(&tx, held, env.config.claim.per_user).await?;
        tx.commit().await?;
        if let Some(ended) = ended {
            let kind = regimen_common::job::EventKind::Drained;
            env.announcer.ended(held.id, ended.seq, kind, &ended.next).await;
        }
    }
    Ok(held.len())
}

/// Drops the work on a job within moments of its cancellation. The fence is
/// what makes this safe; the notice only makes it quick.
async fn hear_cancellations(env: Arc<Env>) {
    let (sender, mut heard) = mpsc::channel(1024);
    tokio::spawn(notices::listen(env.kv.clone(), sender));
    while let Some(heard) = heard.recv().await {
        if let notices::Heard::Notice(notice) = heard
            && notice.kind == regimen_common::job::EventKind::Cancelled
        {
            env.holdings.abandon(notice.job);
        }
    }
}
