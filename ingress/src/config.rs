//! Settings of the ingress, read once at start; every mistake is reported.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regimen_common::callbacks::{Rules, Signer};
use regimen_common::config::{ConfigErrors, Env, Environment, database_url};
use regimen_common::safety::Code;
use regimen_common::telemetry::TelemetryConfig;
use secrecy::SecretString;

use crate::auth::AuthConfig;
use crate::limits::UsageLimits;
use crate::middleware::LimitsConfig;
use crate::stripe_api::StripeConfig;
use crate::watching::WatchingConfig;

/// Everything the ingress can be told.
#[derive(Debug)]
pub struct IngressConfig {
    /// `ENVIRONMENT`.
    pub environment: Environment,
    /// `LISTEN_ADDR`: where the API is served.
    pub listen_addr: SocketAddr,
    /// `METRICS_ADDR`: where `/metrics` is served, for operators only.
    pub metrics_addr: SocketAddr,
    /// `ADDRESS_FILE`: told the bound addresses once ready.
    pub address_file: Option<PathBuf>,
    /// `DATABASE_URL`, or the five old names.
    pub database_url: SecretString,
    /// `DATABASE_POOL_SIZE`: connections to Postgres.
    pub database_pool_size: usize,
    /// `REDIS_URL`.
    pub redis_url: SecretString,
    /// `REDIS_PREFIX`: the hash tag of all keys.
    pub redis_prefix: String,
    /// Logs and error reports.
    pub telemetry: TelemetryConfig,
    /// How callers prove who they are.
    pub auth: AuthConfig,
    /// What a client may send, how fast, and from where.
    pub limits: LimitsConfig,
    /// How often users may do what, and how much may wait.
    pub usage: UsageLimits,
    /// `SHUTDOWN_GRACE_SECONDS`: how long open requests may finish after SIGTERM.
    pub grace: Duration,
    /// What accepting a job depends on.
    pub jobs: JobLimits,
    /// How clients may watch their jobs.
    pub watching: WatchingConfig,
    /// `ALLERGY_POLICY`: what becomes of an allergy nobody understands.
    pub allergy_policy: AllergyPolicy,
    /// `CAUTIONS_OFF`: rules of caution that say and change nothing.
    pub cautions_off: BTreeSet<Code>,
    /// Webhooks and payments.
    pub stripe: StripeConfig,
    /// Which addresses callers may ask to be called at; nothing where workers
    /// have no `CALLBACK_SECRETS` to sign with.
    pub callbacks: Option<Rules>,
}

/// What accepting a job depends on.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// `QUEUE_EXPIRY_SECONDS`: not started by then means expired.
    pub expires_in_seconds: f64,
    /// `PER_USER_RUNNING`: how many of one user's jobs may run at once.
    pub per_user: i64,
}

/// What becomes of words of the answer about allergies that nobody understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllergyPolicy {
    /// They are told, and the plan is compared with them as they are written.
    Tell,
    /// The request is refused.
    Strict,
}

impl FromStr for AllergyPolicy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tell" => Ok(Self::Tell),
            "strict" => Ok(Self::Strict),
            _ => Err("must be tell or strict"),
        }
    }
}

impl IngressConfig {
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
        let database_url = database_url(env);
        let redis_url = env.required::<String>("REDIS_URL").map(SecretString::from);
        let config = Self {
            environment,
            listen_addr: env.address("LISTEN_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080))),
            metrics_addr: env.address("METRICS_ADDR", SocketAddr::from(([127, 0, 0, 1], 9090))),
            address_file: env.optional("ADDRESS_FILE"),
            database_url: SecretString::default(),
            database_pool_size: env.number("DATABASE_POOL_SIZE", 16, 2..=500),
            redis_url: SecretString::default(),
            redis_prefix: env.or("REDIS_PREFIX", "regimen".to_owned()),
            telemetry: TelemetryConfig::take(env, environment),
            auth: AuthConfig::from_env(env, environment),
            limits: LimitsConfig::from_env(env, environment),
            usage: UsageLimits::from_env(env),
            grace: env.seconds("SHUTDOWN_GRACE_SECONDS", 20.0),
            jobs: JobLimits {
                expires_in_seconds: env.number("QUEUE_EXPIRY_SECONDS", 900.0, 1.0..=86_400.0),
                per_user: env.number("PER_USER_RUNNING", 2, 1..=1_000),
            },
            watching: WatchingConfig::from_env(env),
            allergy_policy: env.or("ALLERGY_POLICY", AllergyPolicy::Tell),
            cautions_off: env.names("CAUTIONS_OFF", Code::ALL, Code::as_str),
            stripe: StripeConfig::from_env(env, environment),
            callbacks: callbacks(env),
        };
        Some(Self { database_url: database_url?, redis_url: redis_url?, ..config })
    }
}

/// The rules, where there is a secret to sign with. It is not kept: only
/// workers sign.
fn callbacks(env: &mut Env) -> Option<Rules> {
    let (signer, rules) = (Signer::from_env(env), Rules::from_env(env));
    signer.map(|_| rules)
}

#[cfg(test)]
mod tests {
    use regimen_common::test_support::env_example::assert_documented;

    use super::*;

    #[test]
    fn every_setting_is_documented_and_every_documented_one_is_read() {
        let mut env = Env::from_pairs::<String, String>([]);
        IngressConfig::take(&mut env);
        assert_documented("ingress", &env);
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
        ]);
        let config = IngressConfig::take(&mut env);
        assert!(config.is_some());
        assert!(!format!("{config:?} {env:?}").contains(secret));
    }
}
