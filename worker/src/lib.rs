//! The worker: claims jobs, calls AI providers, verifies and saves plans,
//! applies Stripe events, sends callbacks.

pub mod budget;
mod check;
pub mod commands;
pub mod config;
pub mod deps;
pub mod health;
pub mod jobs;
pub mod json;
pub mod llm;
pub mod mail;
pub mod metrics;
pub mod periodic;
pub mod plan;
pub mod prompts;
pub mod retention;
pub mod runner;
pub mod stripe;
pub mod webhook;
pub mod writes;

use std::sync::Arc;
use std::time::Duration;

use apalis_core::monitor::{Monitor, MonitorError};
use regimen_common::db::DbError;
use regimen_common::db::workers::{self, SignOfLife};
use regimen_common::dispatch::notices::{self, Heard};
use regimen_common::job::JobEventKind;
use regimen_common::redis;
use regimen_common::start::{self, StartError};
use regimen_common::telemetry::MetricsPage;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use deps::Deps;
use runner::shutdown::DrainError;
use runner::{consumer, heartbeat, shutdown};

/// Why a worker ended without a signal.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The bound address could not be written.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The worker cannot work with the server of `DATABASE_URL`.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The socket that was bound has no address.
    #[error("the socket of METRICS_ADDR failed: {0}; start the process again")]
    Socket(#[from] std::io::Error),
    /// apalis failed.
    #[error("the job runner stopped: {0}")]
    Runner(#[from] MonitorError),
    /// apalis ended without a drain.
    #[error("the job runner stopped by itself")]
    RunnerEnded,
}

/// Runs until SIGTERM, then drains: stops claiming, lets running jobs finish for
/// `DRAIN_SECONDS` (or until the second signal), requeues the rest.
///
/// # Errors
/// The process cannot continue; its jobs were released first.
pub async fn run(
    deps: Arc<Deps>,
    listener: TcpListener,
    metrics: MetricsPage,
) -> Result<(), RunError> {
    deps.db.inspect().await?;
    let address = listener.local_addr()?;
    deps.vital.spawn("metrics", metrics.clone().watch());
    let health = health::router(metrics, Arc::clone(&deps));
    tokio::spawn(async move { axum::serve(listener, health).await });
    let (url, db, redis) = (deps.config.database_url.clone(), deps.db.clone(), deps.redis.clone());
    tokio::spawn(start::look_at_stores(url, db, redis));
    deps.vital.spawn("redis_watch", redis::watch(deps.redis.clone()));
    let beats = heartbeat::Heartbeat {
        pool: deps.heartbeat_db.clone(),
        context: deps.context(),
        lease: deps.config.claim.lease,
        per_user: deps.config.claim.per_user,
        presence: presence(&deps),
    };
    deps.vital.spawn("heartbeat", beats.run());
    periodic::spawn(&deps);
    deps.vital.spawn("cancellations", hear_cancellations(Arc::clone(&deps)));
    let worker_id = &deps.config.claim.worker_id;
    if let Some(path) = &deps.config.address_file {
        let reported =
            [("METRICS_URL", format!("http://{address}")), ("WORKER_ID", worker_id.clone())];
        start::tell_address(path, &reported)?;
    }
    tracing::info!(worker = worker_id, %address, slots = deps.config.slots, "worker ready");
    let context = deps.context();
    let ran = tokio::select! {
        ran = shutdown::until_drained(&context, run_jobs(Arc::clone(&deps))) => {
            ran.map_err(|error| match error {
                DrainError::Jobs(error) => error,
                DrainError::Panicked => RunError::RunnerEnded,
            })
        }
        refused = deps.db.refused() => Err(refused.into()),
    };
    withdraw(&deps).await;
    tracing::info!("worker stopped");
    ran
}

/// What operators see of this worker.
fn presence(deps: &Deps) -> heartbeat::Presence {
    let number = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    heartbeat::Presence {
        sign: SignOfLife {
            worker_id: deps.config.claim.worker_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            host: whoami::hostname().unwrap_or_else(|_| "unknown".to_owned()),
            pid: std::process::id().cast_signed(),
            slots: number(deps.config.slots),
        },
        settings: deps.config.settings.clone(),
        drain: deps.shutdown.drain.clone(),
        end: deps.cancellation.clone(),
    }
}

/// Takes this worker off the list of workers; without it the row goes out of date.
async fn withdraw(deps: &Deps) {
    const LAST_WORDS: Duration = Duration::from_secs(1);
    deps.cancellation.cancel();
    let gone = async { workers::gone(&deps.db.get().await?, &deps.config.claim.worker_id).await };
    if !matches!(timeout(LAST_WORDS, gone).await, Ok(Ok(()))) {
        tracing::debug!("could not withdraw this worker; its row goes out of date");
    }
}

/// Runs the consumers until a drain begins and every handler is done.
async fn run_jobs(deps: Arc<Deps>) -> Result<(), RunError> {
    let drain = &deps.shutdown.drain;
    consumer::run(jobs::register(Monitor::new(), &deps), drain).await?;
    if drain.is_cancelled() { Ok(()) } else { Err(RunError::RunnerEnded) }
}

/// Drops the work on a job within moments of its cancellation. The fence makes this safe;
/// the notice only makes it fast. After a gap in the notices, the heartbeat checks which
/// jobs this process still holds.
async fn hear_cancellations(deps: Arc<Deps>) {
    let (sender, mut heard) = mpsc::channel(1024);
    tokio::spawn(notices::listen(deps.redis.clone(), sender));
    while let Some(heard) = heard.recv().await {
        match heard {
            Heard::Notice(notice) if notice.kind == JobEventKind::Cancelled => {
                deps.in_flight.abandon(notice.job);
            }
            Heard::Connected => deps.in_flight.request_lease_check(),
            Heard::Notice(_) | Heard::Disconnected => {}
        }
    }
}
