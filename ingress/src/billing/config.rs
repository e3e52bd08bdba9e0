//! Settings of everything that has to do with Stripe.

use std::time::Duration;

use regimen_common::billing::signature::{DEFAULT_TOLERANCE, Verifier};
use regimen_common::billing::{Mode, StripeAccess};
use regimen_common::config::{Env, Environment};
use secrecy::SecretString;

/// What the ingress knows of Stripe.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// `STRIPE_WEBHOOK_SECRET` (several, comma separated, while one is rolled)
    /// and `STRIPE_TOLERANCE_SECONDS`.
    pub verifier: Verifier,
    /// `STRIPE_LIVEMODE`: real money or tests.
    pub mode: Mode,
    /// `STRIPE_SECRET_KEY` and `STRIPE_BASE_URL`.
    pub access: StripeAccess,
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
        }
    }
}
