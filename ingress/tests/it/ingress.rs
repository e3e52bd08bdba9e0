//! A real ingress on a port of its own, with its own database and Redis prefix.

use metrics_exporter_prometheus::PrometheusBuilder;
use regimen_common::clock::Clock;
use regimen_common::config::Env;
use regimen_common::shutdown::Shutdown;
use regimen_common::telemetry::MetricsPage;
use regimen_common::test_support::{TestDatabase, TestRedis};
use regimen_ingress::config::IngressConfig;
use regimen_ingress::state::AppState;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::documentation;

/// A running ingress; it stops when the value is dropped.
pub(crate) struct Ingress {
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    pub(crate) state: AppState,
    serving: JoinHandle<Result<(), regimen_ingress::RunError>>,
}

impl Ingress {
    /// Starts one; `settings` come on top of the test's database and Redis.
    pub(crate) async fn start(
        database: &TestDatabase,
        redis: &TestRedis,
        settings: &[(&str, &str)],
    ) -> Self {
        Self::start_at(database, redis, settings, Clock::system()).await
    }

    /// The same with a clock of the test's.
    pub(crate) async fn start_at(
        database: &TestDatabase,
        redis: &TestRedis,
        settings: &[(&str, &str)],
        clock: Clock,
    ) -> Self {
        regimen_common::process::install_crypto();
        let basics = [
            ("ENVIRONMENT", "development"),
            ("DATABASE_URL", database.url()),
            ("REDIS_URL", redis.url()),
            ("REDIS_PREFIX", redis.prefix()),
            ("AUTH_MODE", "off"),
        ];
        let pairs = basics.iter().filter(|(name, _)| !settings.iter().any(|(set, _)| set == name));
        let env = Env::from_pairs(pairs.chain(settings).copied());
        let config = IngressConfig::read(env).unwrap();
        let state = AppState::new(config, clock, Shutdown::default()).unwrap();
        let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let operators = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", api.local_addr().unwrap());
        let metrics = MetricsPage::new(PrometheusBuilder::new().build_recorder().handle());
        let serving = tokio::spawn(regimen_ingress::run(api, operators, state.clone(), metrics));
        let client = reqwest::Client::builder().build().unwrap();
        documentation::load(&client, &url).await;
        Self { url, client, state, serving }
    }
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
