//! What `regimen-ingress check` looks at: the stores, Stripe and its webhook, and
//! what only the ingress uses: the keys of tokens, web origins.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use regimen_common::check::{
    Checked, Finding, Look, Pools, StripeSettings, database, look, otlp, redis, sentry, stripe,
};
use regimen_common::clock::Clock;
use regimen_common::config::{Env, Environment};

use crate::auth::{AuthConfig, AuthMode, Authenticator};
use crate::config::{ConsoleConfig, IngressConfig};
use crate::middleware::AllowedOrigins;
use crate::stripe_api::WEBHOOK_PATH;

impl Checked for IngressConfig {
    fn take(env: &mut Env) -> Option<Self> {
        Self::take(env)
    }

    fn judge(&self) -> Vec<Finding> {
        let is_container = Path::new("/.dockerenv").exists();
        let mut findings = vec![listens(self.listen_addr, is_container), origins(self)];
        findings.extend(stripe_settings(self));
        let found = match &self.callbacks {
            None => "off: a callback_url is refused",
            Some(_) => "a callback_url is accepted; the workers need the same secrets",
        };
        findings.push(Finding::ok("CALLBACK_SECRETS", found));
        findings.push(console(&self.console));
        findings.push(sentry(&self.telemetry.sentry));
        findings
    }

    fn looks(&self) -> Vec<Look<'_>> {
        let pools = Pools { size: self.database_pool_size, beside: 0 };
        let mut looks = database(&self.database_url, self.environment, pools);
        looks.push(redis(&self.redis_url, &self.redis_prefix, self.environment));
        looks.push(look("JWKS_URL", async move { keys(&self.auth).await.into_iter().collect() }));
        looks.extend(stripe(StripeSettings {
            access: &self.stripe.access,
            mode: self.stripe.mode,
            offers: &self.stripe.offers,
            webhook: Some(WEBHOOK_PATH),
        }));
        looks.push(look("OTEL_EXPORTER_OTLP_ENDPOINT", otlp(&self.telemetry.otlp)));
        looks
    }
}

fn listens(address: SocketAddr, is_container: bool) -> Finding {
    let subject = "LISTEN_ADDR";
    match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() && is_container => Finding::warn(
            subject,
            format!("{address}: within a container nobody outside of it gets there"),
            format!("set LISTEN_ADDR=0.0.0.0:{}", address.port()),
        ),
        ip if ip.is_loopback() => {
            Finding::ok(subject, format!("{address}, for a proxy on this machine alone"))
        }
        _ => Finding::ok(subject, format!("{address}")),
    }
}

fn origins(config: &IngressConfig) -> Finding {
    let subject = "ALLOWED_ORIGINS";
    match &config.limits.allowed_origins {
        AllowedOrigins::Any => Finding::ok(subject, "any page; fine for development"),
        AllowedOrigins::Exactly(origins) if origins.is_empty() => {
            let found = "none: no page in a browser may call";
            if config.environment == Environment::Development {
                return Finding::ok(subject, found);
            }
            Finding::warn(subject, found, "name the app's origins: https://app.example.test")
        }
        AllowedOrigins::Exactly(origins) => {
            Finding::ok(subject, format!("exactly {}", origins.join(", ")))
        }
    }
}

fn console(config: &ConsoleConfig) -> Finding {
    let found = match (config.on, &config.supabase) {
        (false, _) => "off: neither /console nor /try is there",
        (true, None) => "at /console; operators sign in by token, service key or link",
        (true, Some(_)) => "at /console; operators sign in by password, token or link",
    };
    Finding::ok("CONSOLE", found)
}

fn stripe_settings(config: &IngressConfig) -> Vec<Finding> {
    let stripe = &config.stripe;
    let mut findings = Vec::new();
    let has_key = stripe.access.key.is_some();
    if !has_key {
        findings.push(Finding::ok("STRIPE_SECRET_KEY", "off: nothing can be sold"));
    } else if stripe.offers.sold.is_empty() {
        let found = "is not set: nothing can be sold, and any subscription gives pro";
        findings.push(Finding::warn("STRIPE_PRICES", found, "set it: NAME=price_…"));
    }
    let subject = "STRIPE_WEBHOOK_SECRET";
    findings.push(match (stripe.verifier.is_configured(), has_key) {
        (true, _) => Finding::ok(subject, "deliveries are verified"),
        (false, false) => Finding::ok(subject, "off: every delivery is refused"),
        (false, true) => Finding::warn(
            subject,
            "is not set: every delivery is refused, and payments are seen a day late",
            "copy the endpoint's signing secret (whsec_…) from the dashboard",
        ),
    });
    findings
}

/// Whether the keys that tokens are signed with can be had.
async fn keys(config: &AuthConfig) -> Option<Finding> {
    let subject = "JWKS_URL";
    if config.mode != AuthMode::Jwt {
        return None;
    }
    let authenticator = match Authenticator::new(config.clone(), Clock::system()) {
        Ok(authenticator) => authenticator,
        Err(error) => {
            let advice = "correct JWT_SECRET and JWKS_URL";
            return Some(Finding::fail("AUTH_MODE", error.to_string(), advice));
        }
    };
    Some(match authenticator.count_keys().await? {
        Ok(0) => Finding::fail(
            subject,
            "answers with no key that can be used (ES256 or RS256)",
            "publish asymmetric signing keys in the project, or use JWT_SECRET",
        ),
        Ok(count) => Finding::ok(subject, format!("answers with {count} keys")),
        Err(error) => Finding::fail(
            subject,
            format!("{error}: no token these keys sign is accepted"),
            "correct the address, or let this machine reach it",
        ),
    })
}

#[cfg(test)]
mod tests {
    use regimen_common::check::Level;

    use super::*;

    #[test]
    fn within_a_container_the_loopback_address_serves_nobody() {
        let level =
            |address: &str, is_container| listens(address.parse().unwrap(), is_container).level;
        assert_eq!(level("127.0.0.1:8080", true), Level::Warn);
        assert_eq!(level("127.0.0.1:8080", false), Level::Ok);
        assert_eq!(level("0.0.0.0:8080", true), Level::Ok);
    }
}
