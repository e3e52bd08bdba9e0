//! Binary of the ingress: reads the settings, binds, runs. See lib.rs.

use std::process::ExitCode;

use regimen_common::config::Env;
use regimen_common::{process, start, telemetry};
use regimen_ingress::config::IngressConfig;
use regimen_ingress::state::AppState;

fn main() -> ExitCode {
    process::main(|| {
        process::install_crypto();
        let config = IngressConfig::read(Env::from_process())?;
        let telemetry = telemetry::init(&config.telemetry, "regimen-ingress")?;
        regimen_ingress::metrics::register();
        process::runtime()?.block_on(async {
            let api = start::listen("LISTEN_ADDR", config.listen_addr).await?;
            let operators = start::listen("METRICS_ADDR", config.metrics_addr).await?;
            let state = AppState::new(config, start::signals()?)?;
            regimen_ingress::run(api, operators, state, telemetry.metrics.clone()).await?;
            Ok(())
        })
    })
}
