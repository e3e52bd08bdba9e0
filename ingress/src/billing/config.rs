//! Settings of everything that has to do with Stripe.

use std::time::Duration;

use regimen_common::billing::signature::{DEFAULT_TOLERANCE, Verifier};
use regimen_common::billing::{Mode, StripeAccess};
use regimen_common::config::{Env, Environment};
use secrecy::SecretString;
use url::Url;

use super::is_stripe_id;

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
    /// `STRIPE_PRICES`: what can be bought, the default first.
    pub prices: Vec<Offer>,
    /// `STRIPE_TIMEOUT_SECONDS`: how long one call may take.
    pub timeout: Duration,
    /// `APP_URL`: where people come back to unless they name another place.
    pub app_url: Option<Url>,
}

/// Something that can be bought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// What clients call it.
    pub name: String,
    /// Stripe's price.
    pub price: String,
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
            prices: offers(env),
            timeout: env.seconds("STRIPE_TIMEOUT_SECONDS", 8.0).max(Duration::from_millis(100)),
            app_url: env.url("APP_URL"),
        }
    }
}

fn offers(env: &mut Env) -> Vec<Offer> {
    let mut offers: Vec<Offer> = Vec::new();
    for entry in env.list("STRIPE_PRICES") {
        let (name, price) = entry.split_once('=').unwrap_or(("pro", &entry));
        let (name, price) = (name.trim(), price.trim());
        if name.is_empty() || !is_stripe_id(price) {
            env.error("STRIPE_PRICES", format!("{entry} is not NAME=price_…"));
        } else if offers.iter().any(|offer| offer.name == name) {
            env.error("STRIPE_PRICES", format!("names {name} twice"));
        } else {
            offers.push(Offer { name: name.to_owned(), price: price.to_owned() });
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Vec<(String, String)>, usize> {
        let mut env = Env::from_pairs([("STRIPE_PRICES", value)]);
        let offers = offers(&mut env).into_iter().map(|offer| (offer.name, offer.price)).collect();
        env.finish(Some(offers)).map_err(|errors| errors.0.len())
    }

    #[test]
    fn what_can_be_bought_has_a_name_each() {
        let pair = |name: &str, price: &str| (name.to_owned(), price.to_owned());
        let both = vec![pair("monthly", "price_1"), pair("yearly", "price_2")];
        assert_eq!(read("monthly=price_1, yearly=price_2"), Ok(both));
        assert_eq!(read("price_1"), Ok(vec![pair("pro", "price_1")]));
        assert_eq!(read("a=price_1,a=price_2"), Err(1));
        assert_eq!(read("=price_1, b=, c=price/1"), Err(3));
    }
}
