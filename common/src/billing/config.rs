//! Stripe settings of both processes.

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::event::Event;
use crate::config::{Env, Environment};

/// Stripe's mode of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Live mode: real money.
    Live,
    /// Stripe's test mode and sandboxes.
    Test,
}

impl Mode {
    /// Reads `STRIPE_LIVEMODE`; by default only production is live.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        let live = env.flag("STRIPE_LIVEMODE", environment == Environment::Production);
        if live { Self::Live } else { Self::Test }
    }

    /// Why an event must not be applied here: it belongs to the other mode, or to a
    /// connected account. `None` if it may be.
    pub fn mismatch(self, event: &Event) -> Option<&'static str> {
        let other_mode = event.livemode.is_some_and(|live| live != (self == Self::Live));
        if other_mode {
            return Some("livemode");
        }
        event.account.is_some().then_some("connected_account")
    }
}

/// An offer to users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name in requests.
    pub name: String,
    /// Its Stripe price.
    pub price: String,
}

/// Our offers among everything that the Stripe account sells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// `STRIPE_PRICES`: what users can buy, the default first.
    pub sold: Vec<Offer>,
    /// Those prices, and the prices and products of `STRIPE_OLD_PRICES`, which are no
    /// longer sold but still give pro. Empty if `STRIPE_PRICES` is unset: then every
    /// subscription gives pro.
    pub entitling: Vec<String>,
}

impl Offers {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let mut sold: Vec<Offer> = Vec::new();
        for entry in env.list("STRIPE_PRICES") {
            let (name, price) = entry.split_once('=').unwrap_or(("pro", &entry));
            let (name, price) = (name.trim(), price.trim());
            if name.is_empty() || !is_stripe_id(price) {
                env.error("STRIPE_PRICES", format!("{entry} is not NAME=price_…"));
            } else if sold.iter().any(|offer| offer.name == name) {
                env.error("STRIPE_PRICES", format!("names {name} twice"));
            } else {
                sold.push(Offer { name: name.to_owned(), price: price.to_owned() });
            }
        }
        let old = env.list("STRIPE_OLD_PRICES");
        for id in old.iter().filter(|id| !is_stripe_id(id)) {
            env.error("STRIPE_OLD_PRICES", format!("{id} is neither price_… nor prod_…"));
        }
        if sold.is_empty() && !old.is_empty() {
            env.error("STRIPE_PRICES", "is required with STRIPE_OLD_PRICES: NAME=price_…");
        }
        let prices = sold.iter().map(|offer| offer.price.clone());
        let entitling = prices.chain(old).collect();
        Self { sold, entitling }
    }
}

/// Whether `text` may be the id of a Stripe object. Ids become parts of URLs, so other
/// characters are refused. Prices created as plans have ids chosen by the owner, such as
/// `pro-monthly`.
pub fn is_stripe_id(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

const KEY: &str = "STRIPE_SECRET_KEY";

/// How to reach Stripe's API.
#[derive(Debug, Clone)]
pub struct StripeAccess {
    /// `STRIPE_SECRET_KEY`: a secret or, better, a restricted key. Without it no call to
    /// Stripe can be made.
    pub key: Option<SecretString>,
    /// `STRIPE_BASE_URL`: tests use another URL.
    pub base_url: Url,
}

impl StripeAccess {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, mode: Mode) -> Self {
        let key = env.secret(KEY);
        if let Some(key) = &key {
            judge_key(env, key.expose_secret(), mode);
        }
        let base_url = env.or("STRIPE_BASE_URL", "https://api.stripe.com".to_owned());
        let base_url = match base_url.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.path() == "/" => Some(url),
            _ => {
                env.error("STRIPE_BASE_URL", "must be scheme://host, without a path");
                None
            }
        };
        Self { key, base_url: base_url.unwrap_or_else(stripe) }
    }

    /// The URL of `path`, which starts with a slash.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(path);
        url
    }
}

/// Whether a key can be the right one, as far as its first letters tell.
fn judge_key(env: &mut Env, key: &str, mode: Mode) {
    let kind = key.split('_').next().unwrap_or_default();
    let mode_word = key.split('_').find(|part| matches!(*part, "live" | "test"));
    let is_live = mode_word.map(|word| word == "live");
    match (kind, is_live) {
        ("pk", _) => env.error(KEY, "is a publishable key; use a secret or restricted one (rk_…)"),
        ("whsec", _) => {
            env.error(KEY, "is a webhook's secret, which belongs into STRIPE_WEBHOOK_SECRET");
        }
        (_, Some(live)) if live != (mode == Mode::Live) => env.error(
            KEY,
            format!(
                "is a key of {} mode, and this deployment handles {}; use the other key, or set \
                 STRIPE_LIVEMODE or ENVIRONMENT",
                if live { "live" } else { "test" },
                if live { "tests" } else { "real money" },
            ),
        ),
        ("sk" | "rk", Some(_)) => {}
        _ => env.warn(KEY, "looks like no key of Stripe's (rk_live_…)", "copy it once more"),
    }
}

/// The real address; parsing it cannot fail, and no other value could stand in.
fn stripe() -> Url {
    #[expect(clippy::expect_used, reason = "a constant")]
    Url::parse("https://api.stripe.com").expect("a URL")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(livemode: serde_json::Value, account: serde_json::Value) -> Event {
        let event = json!({"id": "evt_1", "object": "event", "type": "invoice.paid",
            "livemode": livemode, "account": account});
        Event::from_value(event).unwrap()
    }

    #[test]
    fn the_other_mode_and_other_accounts_do_not_fit() {
        let (live, test) = (event(json!(true), json!(null)), event(json!(false), json!(null)));
        assert_eq!(Mode::Live.mismatch(&live), None);
        assert_eq!(Mode::Live.mismatch(&test), Some("livemode"));
        assert_eq!(Mode::Test.mismatch(&live), Some("livemode"));
        assert_eq!(Mode::Test.mismatch(&test), None);
        assert_eq!(Mode::Live.mismatch(&event(json!(null), json!(null))), None);
        let connected = event(json!(true), json!("acct_1"));
        assert_eq!(Mode::Live.mismatch(&connected), Some("connected_account"));
    }

    fn offers(pairs: &[(&str, &str)]) -> Result<Offers, usize> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let offers = Offers::from_env(&mut env);
        env.finish(Some(offers)).map_err(|errors| errors.0.len())
    }

    #[test]
    fn what_can_be_bought_has_a_name_each() {
        let sold = |value: &str| {
            let offers = offers(&[("STRIPE_PRICES", value)])?;
            Ok(offers.sold.into_iter().map(|offer| (offer.name, offer.price)).collect::<Vec<_>>())
        };
        let pair = |name: &str, price: &str| (name.to_owned(), price.to_owned());
        let both = vec![pair("monthly", "price_1"), pair("yearly", "price_2")];
        assert_eq!(sold("monthly=price_1, yearly=price_2"), Ok(both));
        assert_eq!(sold("price_1"), Ok(vec![pair("pro", "price_1")]));
        assert_eq!(sold("a=price_1,a=price_2"), Err(1));
        assert_eq!(sold("=price_1, b=, c=price/1"), Err(3));
    }

    #[test]
    fn what_is_sold_no_more_still_entitles() {
        let old = ("STRIPE_OLD_PRICES", "pro-2024,prod_Pro");
        let both = offers(&[("STRIPE_PRICES", "pro=price_1"), old]).unwrap();
        assert_eq!(both.entitling, ["price_1", "pro-2024", "prod_Pro"]);
        assert_eq!(offers(&[old]), Err(1), "nothing would tell what is sold");
        assert_eq!(offers(&[]), Ok(Offers::default()));
    }

    #[test]
    fn the_mode_follows_the_environment_unless_told() {
        let mode = |pairs: &[(&str, &str)], environment| {
            let mut env = Env::from_pairs(pairs.iter().copied());
            Mode::from_env(&mut env, environment)
        };
        assert_eq!(mode(&[], Environment::Production), Mode::Live);
        assert_eq!(mode(&[], Environment::Staging), Mode::Test);
        assert_eq!(mode(&[("STRIPE_LIVEMODE", "no")], Environment::Production), Mode::Test);
    }

    #[test]
    fn the_address_is_a_bare_origin() {
        let mut env = Env::from_pairs([("STRIPE_BASE_URL", "http://127.0.0.1:8420")]);
        let access = StripeAccess::from_env(&mut env, Mode::Test);
        assert_eq!(access.url("/v1/events").as_str(), "http://127.0.0.1:8420/v1/events");
        let mut env = Env::from_pairs([("STRIPE_BASE_URL", "http://127.0.0.1/v1")]);
        StripeAccess::from_env(&mut env, Mode::Test);
        assert_eq!(env.finish(Some(())).unwrap_err().0[0].name, "STRIPE_BASE_URL");
    }
}
