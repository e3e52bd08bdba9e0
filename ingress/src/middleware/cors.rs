//! The web origins that may call the API from a browser.
//!
//! The same list contains the allowed return URLs of Stripe pages.

use std::time::Duration;

use axum::http::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH, LOCATION,
    RETRY_AFTER,
};
use axum::http::{HeaderValue, Method};
use regimen_common::config::{Env, Environment};
use tower_http::cors::{Any, CorsLayer};
use url::Url;

/// The longest time that a browser caches a preflight response (Chromium's maximum).
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(2 * 3600);
const METHODS: [Method; 4] = [Method::GET, Method::HEAD, Method::POST, Method::DELETE];

/// The origins of `ALLOWED_ORIGINS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigins {
    /// `*`, in development only, and never with credentials.
    Any,
    /// Exactly these, as browsers write them: `scheme://host[:port]`.
    Exactly(Vec<String>),
}

impl AllowedOrigins {
    /// Reads `ALLOWED_ORIGINS`; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        let names = env.list("ALLOWED_ORIGINS");
        if names == ["*"] {
            if environment == Environment::Development {
                return Self::Any;
            }
            env.error("ALLOWED_ORIGINS", "* is for ENVIRONMENT=development; name the origins");
        }
        if names.iter().any(|name| name == "*") && names.len() > 1 {
            let found = "* beside exact origins allows nobody more";
            env.warn("ALLOWED_ORIGINS", found, "remove it");
        }
        let mut origins = Vec::new();
        for name in names.into_iter().filter(|name| name != "*") {
            match exact_origin(&name) {
                Some(origin) => {
                    if environment == Environment::Production && origin.starts_with("http://") {
                        let found = format!("{name} is not encrypted");
                        env.warn("ALLOWED_ORIGINS", found, "serve the app over https");
                    }
                    origins.push(origin);
                }
                None => env.error(
                    "ALLOWED_ORIGINS",
                    format!("{name} is not an origin; write scheme://host or scheme://host:port"),
                ),
            }
        }
        Self::Exactly(origins)
    }

    /// Whether `url` has one of these origins. URLs with a user name never do.
    pub fn allow(&self, url: &Url) -> bool {
        let web = matches!(url.scheme(), "http" | "https");
        let plain = url.username().is_empty() && url.password().is_none();
        web && plain
            && match self {
                Self::Any => true,
                Self::Exactly(origins) => origins.contains(&url.origin().ascii_serialization()),
            }
    }
}

/// `name` as a browser would send it, if it is an origin and nothing more.
fn exact_origin(name: &str) -> Option<String> {
    let url = Url::parse(name).ok()?;
    let bare = matches!(url.scheme(), "http" | "https")
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && !name.contains('*');
    bare.then(|| url.origin().ascii_serialization())
}

pub(super) fn layer(origins: &AllowedOrigins) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods(METHODS)
        .allow_headers(request_headers())
        .expose_headers(response_headers())
        .max_age(PREFLIGHT_MAX_AGE);
    match origins {
        AllowedOrigins::Any => layer.allow_origin(Any),
        AllowedOrigins::Exactly(origins) => {
            let values = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
            layer.allow_origin(values.collect::<Vec<_>>()).allow_credentials(true)
        }
    }
}

/// The request headers that a page may send: those that are read here, and those that
/// EventSource polyfills and tracers (W3C Trace Context and Baggage, Sentry) add.
fn request_headers() -> [HeaderName; 15] {
    [
        ACCEPT,
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_TYPE,
        IF_NONE_MATCH,
        HeaderName::from_static("apikey"),
        HeaderName::from_static("baggage"),
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("last-event-id"),
        HeaderName::from_static("prefer"),
        HeaderName::from_static("sentry-trace"),
        HeaderName::from_static("traceparent"),
        HeaderName::from_static("tracestate"),
        HeaderName::from_static("x-client-info"),
        HeaderName::from_static("x-request-id"),
    ]
}

/// The response headers that a page may read.
fn response_headers() -> [HeaderName; 8] {
    [
        ETAG,
        LOCATION,
        RETRY_AFTER,
        HeaderName::from_static("idempotency-replayed"),
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        HeaderName::from_static("x-request-id"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str, environment: Environment) -> Result<AllowedOrigins, usize> {
        let mut env = Env::from_pairs([("ALLOWED_ORIGINS", value)]);
        let origins = AllowedOrigins::from_env(&mut env, environment);
        env.finish(Some(origins)).map_err(|errors| errors.0.len())
    }

    #[test]
    fn the_star_is_for_development() {
        assert_eq!(read("*", Environment::Development), Ok(AllowedOrigins::Any));
        assert_eq!(read("*", Environment::Staging), Err(1));
        assert_eq!(read("*", Environment::Production), Err(1));
    }

    #[test]
    fn origins_are_exact() {
        let good = "https://app.example, http://localhost:5173, https://App.Example:443/";
        let expected = ["https://app.example", "http://localhost:5173", "https://app.example"];
        let expected = AllowedOrigins::Exactly(expected.map(str::to_owned).to_vec());
        assert_eq!(read(good, Environment::Production), Ok(expected));
        let bad = "app.example, https://app.example/path, https://*.example, ftp://app.example, \
                   https://user@app.example, null";
        assert_eq!(read(bad, Environment::Production), Err(6));
    }

    #[test]
    fn only_links_to_an_origin_are_allowed() {
        let origins = read("https://app.example", Environment::Production).unwrap();
        let allow = |link: &str| origins.allow(&Url::parse(link).unwrap());
        assert!(allow("https://app.example/settings?tab=plan#top"));
        assert!(!allow("http://app.example/"));
        assert!(!allow("https://app.example:8443/"));
        assert!(!allow("https://app.example.evil.test/"));
        assert!(!allow("https://app.example@evil.test/"));
        assert!(!allow("https://evil.test@app.example/"));
        assert!(!allow("javascript://app.example/%0aalert(1)"));
        assert!(!AllowedOrigins::Any.allow(&Url::parse("javascript:alert(1)").unwrap()));
    }
}
