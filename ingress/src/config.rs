//! Settings of the ingress, read once at start; every mistake is reported.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use regimen_common::callbacks::{Rules, Signer};
use regimen_common::config::{ConfigErrors, Env, Environment, Setting};
use regimen_common::db::url_from_env;
use regimen_common::redis;
use regimen_common::safety::Code;
use regimen_common::telemetry::TelemetryConfig;
use secrecy::SecretString;
use url::Url;

use crate::auth::AuthConfig;
use crate::limits::UsageLimits;
use crate::middleware::LimitsConfig;
use crate::serve::Ending;
use crate::stripe_api::StripeConfig;
use crate::watching::WatchingConfig;

/// The settings of the ingress.
#[derive(Debug)]
pub struct IngressConfig {
    /// `ENVIRONMENT`.
    pub environment: Environment,
    /// `LISTEN_ADDR`: where the API is served.
    pub listen_addr: SocketAddr,
    /// `METRICS_ADDR`: where `/metrics` is served, for operators only.
    pub metrics_addr: SocketAddr,
    /// `ADDRESS_FILE`: where the bound addresses are written.
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
    /// Authentication.
    pub auth: AuthConfig,
    /// Limits of requests and connections.
    pub limits: LimitsConfig,
    /// Rate limits, quotas and the limit of the backlog.
    pub usage: UsageLimits,
    /// `SHUTDOWN_DELAY_SECONDS`: how long requests are still accepted after SIGTERM, and
    /// `SHUTDOWN_GRACE_SECONDS`: how long open ones may finish after that.
    pub ending: Ending,
    /// The settings of accepted jobs.
    pub jobs: JobLimits,
    /// The settings of watching jobs.
    pub watching: WatchingConfig,
    /// `ALLERGY_POLICY`: the handling of allergies that are not understood.
    pub allergy_policy: AllergyPolicy,
    /// `CAUTIONS_OFF`: disabled cautions.
    pub cautions_off: BTreeSet<Code>,
    /// Webhooks and payments.
    pub stripe: StripeConfig,
    /// The operators' console, and the page to try the service out.
    pub console: ConsoleConfig,
    /// Where each setting comes from, for operators.
    pub settings: Vec<Setting>,
    /// The rules of callback URLs; none when workers have no `CALLBACK_SECRETS` to sign
    /// with.
    pub callbacks: Option<Rules>,
}

/// The settings of accepted jobs.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// `QUEUE_EXPIRY_SECONDS`: a job not started by then expires.
    pub expires_in_seconds: f64,
    /// `PER_USER_RUNNING`: how many of one user's jobs may run at once.
    pub per_user: i64,
}

/// The settings of the console.
#[derive(Debug, Clone)]
pub struct ConsoleConfig {
    /// `CONSOLE`: whether it has any route.
    pub on: bool,
    /// `DEMO`: whether `/try` is open to everybody.
    pub demo: bool,
    /// `SUPABASE_URL`, `SUPABASE_ANON_KEY`: signs operators in by e-mail and password.
    pub supabase: Option<SupabaseConfig>,
    /// `BUDGET_DAILY_USD`: what the overview compares the day's costs with; workers
    /// enforce it.
    pub daily_budget_usd: Option<f64>,
    /// `CONSOLE_TRACE_URL`: the page of a trace, with `{trace_id}` in place of its id.
    pub trace_url: Option<String>,
    /// `CONSOLE_SENTRY_URL`: the same of what Sentry has about a trace.
    pub sentry_url: Option<String>,
}

/// Where operators' passwords are checked.
#[derive(Debug, Clone)]
pub struct SupabaseConfig {
    /// The project.
    pub url: Url,
    /// Its public key.
    pub anon_key: SecretString,
}

impl ConsoleConfig {
    /// Reads the variables; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        const TRACE_ID: &str = "{trace_id}";
        let is_development = environment == Environment::Development;
        let (url, anon_key) = (env.url("SUPABASE_URL"), env.secret("SUPABASE_ANON_KEY"));
        if let Some(url) = &url
            && url.scheme() != "https"
            && !is_development
        {
            env.error("SUPABASE_URL", "must be https outside development: passwords go there");
        }
        for (name, alone) in [
            ("SUPABASE_URL", url.is_some() && anon_key.is_none()),
            ("SUPABASE_ANON_KEY", anon_key.is_some() && url.is_none()),
        ] {
            if alone {
                let found = "has no effect alone: nobody signs in to the console by password";
                env.warn(name, found, "set SUPABASE_URL and SUPABASE_ANON_KEY, or neither");
            }
        }
        let (on, demo) = (env.flag("CONSOLE", true), env.flag("DEMO", is_development));
        if demo && !is_development {
            let found = "is on: whoever reaches this process has plans made, which costs money";
            env.warn("DEMO", found, "unset it where the budget is not for everybody");
        }
        let mut link = |name: &'static str| {
            let link = env.text(name);
            let is_fit = |url: &String| {
                url.contains(TRACE_ID) && url.replace(TRACE_ID, "0").parse::<Url>().is_ok()
            };
            if link.as_ref().is_some_and(|url| !is_fit(url)) {
                env.error(name, "must be a web address with {trace_id} in it");
            }
            link
        };
        let (trace_url, sentry_url) = (link("CONSOLE_TRACE_URL"), link("CONSOLE_SENTRY_URL"));
        Self {
            on,
            demo,
            supabase: url.zip(anon_key).map(|(url, anon_key)| SupabaseConfig { url, anon_key }),
            daily_budget_usd: env.optional("BUDGET_DAILY_USD").filter(|usd: &f64| *usd >= 0.0),
            trace_url,
            sentry_url,
        }
    }
}

/// The handling of words in the answer about allergies that are not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllergyPolicy {
    /// They are reported, and searched for in the plan literally.
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
        let database_url = url_from_env(env);
        let redis_url = redis::url_from_env(env);
        let config = Self {
            environment,
            listen_addr: env.address("LISTEN_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080))),
            metrics_addr: env.address("METRICS_ADDR", SocketAddr::from(([127, 0, 0, 1], 9090))),
            address_file: env.optional("ADDRESS_FILE"),
            database_url: SecretString::default(),
            database_pool_size: env.number("DATABASE_POOL_SIZE", 8, 2..=500),
            redis_url: SecretString::default(),
            redis_prefix: env.or("REDIS_PREFIX", "regimen".to_owned()),
            telemetry: TelemetryConfig::take(env, environment),
            auth: AuthConfig::from_env(env, environment),
            limits: LimitsConfig::from_env(env, environment),
            usage: UsageLimits::from_env(env),
            ending: Ending {
                delay: Duration::from_secs_f64(env.number(
                    "SHUTDOWN_DELAY_SECONDS",
                    // No load balancer has to notice the end of a developer's process.
                    if environment == Environment::Development { 0.0 } else { 5.0 },
                    0.0..=600.0,
                )),
                grace: env.seconds("SHUTDOWN_GRACE_SECONDS", 20.0),
            },
            jobs: JobLimits {
                expires_in_seconds: env.number("QUEUE_EXPIRY_SECONDS", 900.0, 1.0..=86_400.0),
                per_user: env.number("PER_USER_RUNNING", 2, 1..=1_000),
            },
            watching: WatchingConfig::from_env(env),
            allergy_policy: env.or("ALLERGY_POLICY", AllergyPolicy::Tell),
            cautions_off: env.names("CAUTIONS_OFF", Code::ALL, Code::as_str),
            stripe: StripeConfig::from_env(env, environment),
            console: ConsoleConfig::from_env(env, environment),
            callbacks: callbacks(env),
            settings: Vec::new(),
        };
        let config = Self { settings: env.settings(), ..config };
        Some(Self { database_url: database_url?, redis_url: redis_url?, ..config })
    }
}

/// The rules, if there is a signing secret. It is not kept, because only workers sign.
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
