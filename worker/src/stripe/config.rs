//! The Stripe settings of the worker.

use std::time::Duration;

use regimen_common::billing::entitlement::EntitlementPolicy;
use regimen_common::billing::{Mode, Offers, StripeAccess};
use regimen_common::config::{Env, Environment};

/// The Stripe settings of the worker.
#[derive(Debug, Clone)]
pub struct StripeConfig {
    /// `STRIPE_LIVEMODE`: real money or tests.
    pub mode: Mode,
    /// `STRIPE_SECRET_KEY` and `STRIPE_BASE_URL`.
    pub access: StripeAccess,
    /// `STRIPE_PRICES` and `STRIPE_OLD_PRICES`: what is ours.
    pub offers: Offers,
    /// `PAST_DUE_GRACE_DAYS`, `STRIPE_PRICES`, `STRIPE_OLD_PRICES`.
    pub policy: EntitlementPolicy,
    /// `EVENT_SLOTS`: events and mails handled at once.
    pub slots: usize,
    /// `BACKFILL_HOURS`: between two looks for events never delivered; `None` for never.
    pub backfill_every: Option<Duration>,
}

impl StripeConfig {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        let default = EntitlementPolicy::default().past_due_grace.as_secs_f64() / 86_400.0;
        let grace = env.number("PAST_DUE_GRACE_DAYS", default, 0.0..=90.0);
        let hours = env.number("BACKFILL_HOURS", 24.0, 0.0..=240.0);
        let mode = Mode::from_env(env, environment);
        let offers = Offers::from_env(env);
        Self {
            mode,
            access: StripeAccess::from_env(env, mode),
            policy: EntitlementPolicy {
                past_due_grace: Duration::from_secs_f64(grace * 86_400.0),
                entitling: offers.entitling.clone(),
            },
            offers,
            slots: env.number("EVENT_SLOTS", 8, 1..=500),
            backfill_every: (hours > 0.0).then(|| Duration::from_secs_f64(hours * 3_600.0)),
        }
    }
}
