//! Binary of the ingress: reads the settings, binds, runs. See lib.rs.

use std::process::ExitCode;

use regimen_common::config::Env;
use regimen_common::shutdown::Shutdown;
use regimen_common::{process, telemetry};
use regimen_ingress::config::IngressConfig;
use regimen_ingress::state::AppState;
use tokio::net::TcpListener;

fn main() -> ExitCode {
    process::main(|| {
        process::install_crypto();
        let config = IngressConfig::read(Env::from_process())?;
        let telemetry = telemetry::init(&config.telemetry, "regimen-ingress")?;
        process::runtime()?.block_on(async {
            let api = TcpListener::bind(config.listen_addr).await?;
            let operators = TcpListener::bind(config.metrics_addr).await?;
            let state = AppState::new(config, Shutdown::on_signals()?)?;
            regimen_ingress::run(api, operators, state, telemetry.metrics.clone()).await?;
            Ok(())
        })
    })
}
