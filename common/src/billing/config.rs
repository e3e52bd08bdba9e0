//! What both processes are told about Stripe.

use secrecy::SecretString;
use url::Url;

use super::event::Event;
use crate::config::{Env, Environment};

/// Whether this deployment handles real money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Real money.
    Live,
    /// Stripe's test mode and sandboxes.
    Test,
}

impl Mode {
    /// Reads `STRIPE_LIVEMODE`; unset, production is live and everything else a test.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        let live = env.flag("STRIPE_LIVEMODE", environment == Environment::Production);
        if live { Self::Live } else { Self::Test }
    }

    /// Why an event must never be applied here: it is of the other mode, or
    /// of a connected account. `None` when it may be.
    pub fn mismatch(self, event: &Event) -> Option<&'static str> {
        let other_mode = event.livemode.is_some_and(|live| live != (self == Self::Live));
        if other_mode {
            return Some("livemode");
        }
        event.account.is_some().then_some("connected_account")
    }
}

/// How to reach Stripe's API.
#[derive(Debug, Clone)]
pub struct StripeAccess {
    /// `STRIPE_SECRET_KEY`: a secret or, better, a restricted key. Without it
    /// nothing can be asked or sold.
    pub key: Option<SecretString>,
    /// `STRIPE_BASE_URL`: another address in tests.
    pub base_url: Url,
}

impl StripeAccess {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let key = env.secret("STRIPE_SECRET_KEY");
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

    /// The address of `path`, which starts with a slash.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        url.set_path(path);
        url
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
        let access = StripeAccess::from_env(&mut env);
        assert_eq!(access.url("/v1/events").as_str(), "http://127.0.0.1:8420/v1/events");
        let mut env = Env::from_pairs([("STRIPE_BASE_URL", "http://127.0.0.1/v1")]);
        StripeAccess::from_env(&mut env);
        assert_eq!(env.finish(Some(())).unwrap_err().0[0].name, "STRIPE_BASE_URL");
    }
}
