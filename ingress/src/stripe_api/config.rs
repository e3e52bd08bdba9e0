//! The Stripe settings of the ingress.

use std::time::Duration;

use regimen_common::billing::signature::{DEFAULT_TOLERANCE, Verifier};
use regimen_common::billing::{Mode, Offers, StripeAccess};
use regimen_common::config::{Env, Environment};
use secrecy::SecretString;
use url::Url;

/// The Stripe settings of the ingress.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// `STRIPE_WEBHOOK_SECRET` (several, comma-separated, during a rotation) and
    /// `STRIPE_TOLERANCE_SECONDS`.
    pub verifier: Verifier,
    /// `STRIPE_LIVEMODE`: real money or tests.
    pub mode: Mode,
    /// `STRIPE_SECRET_KEY` and `STRIPE_BASE_URL`.
    pub access: StripeAccess,
    /// `STRIPE_PRICES` and `STRIPE_OLD_PRICES`: the prices and products that give pro.
    pub offers: Offers,
    /// `STRIPE_TIMEOUT_SECONDS`: the time limit of one call.
    pub timeout: Duration,
    /// `APP_URL`: the default return URL.
    pub app_url: Option<Url>,
}

impl StripeConfig {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        let secrets = webhook_secrets(env);
        let tolerance = DEFAULT_TOLERANCE.as_secs_f64();
        let tolerance = env.number("STRIPE_TOLERANCE_SECONDS", tolerance, 1.0..=86_400.0);
        let timeout = env.number("STRIPE_TIMEOUT_SECONDS", 8.0, 0.1..=600.0);
        let mode = Mode::from_env(env, environment);
        Self {
            verifier: Verifier::new(secrets, Duration::from_secs_f64(tolerance)),
            mode,
            access: StripeAccess::from_env(env, mode),
            offers: Offers::from_env(env),
            timeout: Duration::from_secs_f64(timeout),
            app_url: env.url("APP_URL"),
        }
    }
}

/// Any text can be a secret; Stripe's begin alike.
fn webhook_secrets(env: &mut Env) -> Vec<SecretString> {
    const NAME: &str = "STRIPE_WEBHOOK_SECRET";
    let secrets = env.list(NAME);
    for (n, secret) in secrets.iter().enumerate() {
        if !secret.starts_with("whsec_") {
            let found = format!("number {} does not begin with whsec_, as Stripe's do", n + 1);
            env.warn(NAME, found, "copy the endpoint's signing secret from the dashboard");
        }
    }
    secrets.into_iter().map(SecretString::from).collect()
}
