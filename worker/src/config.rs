//! Settings of the worker, read once at start; every mistake is reported.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use regimen_common::config::{ConfigErrors, Env, Environment, Setting};
use regimen_common::db::jobs::ClaimPolicy;
use regimen_common::db::url_from_env;
use regimen_common::dispatch::Weights;
use regimen_common::redis;
use regimen_common::telemetry::TelemetryConfig;
use secrecy::SecretString;
use uuid::Uuid;

use crate::budget::BudgetConfig;
use crate::llm::catalogue::Catalogue;
use crate::llm::config::FallbackConfig;
use crate::llm::policy::FallbackPolicy;
use crate::mail::MailConfig;
use crate::retention::RetentionConfig;
use crate::stripe::StripeConfig;
use crate::webhook::WebhookConfig;

/// The settings of the worker.
#[derive(Debug)]
pub struct WorkerConfig {
    /// `ENVIRONMENT`.
    pub environment: Environment,
    /// `DATABASE_URL`, or the five old names.
    pub database_url: SecretString,
    /// `DATABASE_POOL_SIZE`: connections to Postgres.
    pub database_pool_size: usize,
    /// `REDIS_URL`.
    pub redis_url: SecretString,
    /// `REDIS_PREFIX`: the hash tag of all keys.
    pub redis_prefix: String,
    /// `METRICS_ADDR`: where `/metrics`, `/livez` and `/readyz` are served.
    pub metrics_addr: SocketAddr,
    /// `ADDRESS_FILE`: where the bound addresses are written.
    pub address_file: Option<PathBuf>,
    /// Logs and error reports.
    pub telemetry: TelemetryConfig,
    /// `WORKER_SLOTS`: plan jobs at once.
    pub slots: usize,
    /// `LEASE_SECONDS`, `JOB_DEADLINE_SECONDS`, `PER_USER_RUNNING`.
    pub claim: ClaimPolicy,
    /// `WEIGHT_PRO`, `WEIGHT_FREE`: shares while both classes wait.
    pub weights: Weights,
    /// `DRAIN_SECONDS`: how long running jobs may finish after SIGTERM.
    pub drain: Duration,
    /// `RETRY_ROUNDS_SECONDS`: waits before each further round.
    pub retry_rounds: Vec<Duration>,
    /// `RECONCILE_SECONDS`: between two runs of the reconciler.
    pub reconcile_every: Duration,
    /// The AI providers, in their order.
    pub providers: FallbackConfig,
    /// `PROVIDER_*`: attempts, waits and timeouts of provider calls.
    pub fallback: FallbackPolicy,
    /// `MODEL_CATALOGUE`: the models.
    pub catalogue: Catalogue,
    /// Stripe events.
    pub stripe: StripeConfig,
    /// The mail server; without one no mails are sent.
    pub mail: Option<MailConfig>,
    /// Callbacks.
    pub callbacks: WebhookConfig,
    /// `KEEP_*`, `RETENTION_SECONDS`, `ERASURE_GRACE_SECONDS`: retention and erasure.
    pub retention: RetentionConfig,
    /// `BUDGET_*`: the budgets.
    pub budgets: BudgetConfig,
    /// `ASK_UNKNOWN_WORDS`: whether a model is asked what words about food mean that no
    /// table knows.
    pub ask_unknown_words: bool,
    /// Every setting as operators may see it.
    pub settings: Vec<Setting>,
}

impl WorkerConfig {
    /// Reads the settings.
    ///
    /// # Errors
    /// Every mistake found, by variable name.
    pub fn read(mut env: Env) -> Result<Self, ConfigErrors> {
        let config = Self::take(&mut env);
        env.finish(config)
    }

    /// Asks for every variable once.
    pub fn take(env: &mut Env) -> Option<Self> {
        let environment = env.or("ENVIRONMENT", Environment::Production);
        let database_url = url_from_env(env);
        let redis_url = redis::url_from_env(env);
        let slots = env.number("WORKER_SLOTS", 64, 1..=10_000);
        let lease = env.number("LEASE_SECONDS", 10.0, 1.0..=600.0);
        let config = Self {
            environment,
            database_url: SecretString::default(),
            database_pool_size: env.number("DATABASE_POOL_SIZE", 8, 2..=500),
            redis_url: SecretString::default(),
            redis_prefix: env.or("REDIS_PREFIX", "regimen".to_owned()),
            metrics_addr: env.address("METRICS_ADDR", SocketAddr::from(([127, 0, 0, 1], 9091))),
            address_file: env.optional("ADDRESS_FILE"),
            telemetry: TelemetryConfig::take(env, environment),
            slots,
            claim: ClaimPolicy {
                worker_id: format!("worker-{}", Uuid::now_v7().simple()),
                lease: Duration::from_secs_f64(lease),
                deadline: env.seconds("JOB_DEADLINE_SECONDS", 180.0),
                per_user: env.number("PER_USER_RUNNING", 2, 1..=1_000),
            },
            weights: Weights {
                first: env.number("WEIGHT_PRO", 4, 1..=1_000),
                second: env.number("WEIGHT_FREE", 1, 1..=1_000),
            },
            drain: env.seconds("DRAIN_SECONDS", 90.0),
            retry_rounds: env.waits("RETRY_ROUNDS_SECONDS", &[30, 120, 600]),
            reconcile_every: env.seconds("RECONCILE_SECONDS", 1.0),
            providers: FallbackConfig::from_env(env),
            stripe: StripeConfig::from_env(env, environment),
            mail: MailConfig::from_env(env, environment),
            callbacks: WebhookConfig::from_env(env),
            retention: RetentionConfig::from_env(env),
            fallback: FallbackPolicy::from_env(env),
            catalogue: Catalogue::from_env(env)?,
            budgets: BudgetConfig::from_env(env),
            ask_unknown_words: env.flag("ASK_UNKNOWN_WORDS", true),
            settings: Vec::new(),
        };
        let config = Self { settings: env.settings(), ..config };
        Some(Self { database_url: database_url?, redis_url: redis_url?, ..config })
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use regimen_common::test_support::env_example::assert_documented;

    use super::*;

    #[test]
    fn every_setting_is_documented_and_every_documented_one_is_read() {
        let mut env = Env::from_pairs::<String, String>([]);
        WorkerConfig::take(&mut env);
        assert_documented("worker", &env);
    }

    #[test]
    fn nothing_secret_shows_when_the_settings_are_printed() {
        let secret = "do-not-show-this-secret-anywhere";
        let mut env = Env::from_pairs([
            ("DATABASE_URL", format!("postgres://u:{secret}@localhost/db")),
            ("REDIS_URL", format!("redis://:{secret}@localhost")),
            ("SENTRY_DSN", format!("https://{secret}@localhost/1")),
            ("JWT_SECRET", secret.to_owned()),
            ("SERVICE_KEYS", secret.to_owned()),
            ("OPENAI_API_KEY", secret.to_owned()),
            ("ANTHROPIC_API_KEY", secret.to_owned()),
            ("CALLBACK_SECRETS", format!("whsec_{}", STANDARD.encode(secret))),
        ]);
        let config = WorkerConfig::take(&mut env);
        assert!(config.as_ref().is_some_and(|config| config.callbacks.signer.is_some()));
        let shown = format!("{config:?} {env:?}");
        assert!(!shown.contains(secret) && !shown.contains(&STANDARD.encode(secret)));
    }
}
