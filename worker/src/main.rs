//! Binary of the worker: reads the settings, binds, runs. See lib.rs.
//!
//! `regimen-worker migrate` applies the migrations and ends.

use std::error::Error;
use std::process::ExitCode;

use regimen_common::config::{Env as Settings, database_url};
use regimen_common::db::migrate::migrate;
use regimen_common::shutdown::Shutdown;
use regimen_common::{process, telemetry};
use regimen_worker::config::WorkerConfig;
use regimen_worker::env::Env;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    process::main(|| {
        process::install_crypto();
        match std::env::args().nth(1).as_deref() {
            None => work(),
            Some("migrate") => apply_migrations(),
            Some(other) => Err(format!("unknown command {other:?}; known: migrate").into()),
        }
    })
}

fn work() -> Result<(), Box<dyn Error>> {
    let config = WorkerConfig::read(Settings::from_process())?;
    let telemetry = telemetry::init(&config.telemetry, "regimen-worker")?;
    process::runtime()?.block_on(async {
        let listener = TcpListener::bind(config.metrics_addr).await?;
        let env = Env::new(config, Shutdown::on_signals()?)?;
        regimen_worker::run(env, listener, telemetry.metrics.clone()).await?;
        Ok(())
    })
}

fn apply_migrations() -> Result<(), Box<dyn Error>> {
    let mut settings = Settings::from_process();
    let url = database_url(&mut settings);
    let url = settings.finish(url)?;
    let report = process::runtime()?.block_on(migrate(&url))?;
    if report.applied.is_empty() {
        process::say(&format!("nothing to do: the database has version {}", report.version));
    } else {
        let applied = report.applied.join(", ");
        process::say(&format!("applied {applied}; the database has version {}", report.version));
    }
    Ok(())
}
