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
        let secrets = env.list("STRIPE_WEBHOOK_SECRET");
        let secrets = secrets.into_iter().map(SecretString::from).collect();
        let tolerance = env.seconds("STRIPE_TOLERANCE_SECONDS", DEFAULT_TOLERANCE.as_secs_f64());
        Self {
            verifier: Verifier::new(secrets, tolerance.max(Duration::from_secs(1))),
            mode: Mode::from_env(env, environment),
            access: StripeAccess::from_env(env),
            offers: Offers::from_env(env),
            timeout: env.seconds("STRIPE_TIMEOUT_SECONDS", 8.0).max(Duration::from_millis(100)),
            app_url: env.url("APP_URL"),
        }
    }
}
