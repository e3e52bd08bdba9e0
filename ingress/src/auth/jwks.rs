//! The project's published signing keys (JWKS), cached.
//!
//! A set is used for at most [`MAX_AGE`]. A token with an unknown key id causes
//! one fetch, but never more than one per [`FLOOR`], so that invented key ids
//! cannot cause load on the key endpoint. Until the next fetch is due, an
//! unknown key may be new or invented, and the error says so. While the
//! endpoint is down, the last good set stays in use.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use regimen_common::clock::Clock;
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::AuthSetupError;

/// Supabase's edge caches the set for about the same time.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);
/// The shortest time between two fetches.
const FLOOR: TimeDelta = TimeDelta::seconds(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const FETCH_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_SET_BYTES: usize = 256 * 1024;
/// RSA keys below 2048 bits are not accepted.
const MIN_RSA_MODULUS_BASE64: usize = 256 * 4 / 3;

/// A signing key together with the only algorithm it is used with.
#[derive(Debug, Clone)]
pub(super) struct PublishedKey {
    pub(super) algorithm: Algorithm,
    /// The same one as long as the key is published unchanged.
    pub(super) key: Arc<DecodingKey>,
    jwk: Jwk,
}

/// Why the set could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, an error status, or a timeout.
    #[error("the key set cannot be fetched")]
    Http(#[from] reqwest::Error),
    /// The reply is too large for a key set.
    #[error("the key set is larger than {MAX_SET_BYTES} bytes")]
    TooLarge,
    /// The reply is not a key set.
    #[error("the key set cannot be read")]
    Format(#[from] serde_json::Error),
    /// The last fetch was a moment ago, and it is not repeated yet.
    #[error("the key set is not fetched again for {} s", .0.as_secs())]
    Recently(Duration),
}

impl FetchError {
    /// When a retry makes sense.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Recently(wait) => *wait,
            Self::Http(_) | Self::TooLarge | Self::Format(_) => FLOOR.to_std().unwrap_or_default(),
        }
    }
}

type KeySet = HashMap<String, PublishedKey>;

struct Cached {
    keys: Arc<KeySet>,
    fetched_at: DateTime<Utc>,
}

/// The cache. Concurrent requests may call all methods.
pub(super) struct Jwks {
    url: Url,
    client: reqwest::Client,
    clock: Clock,
    cached: RwLock<Option<Cached>>,
    /// When the latest fetch began; held during a fetch.
    latest_fetch: Mutex<Option<DateTime<Utc>>>,
}

impl Jwks {
    pub(super) fn new(url: Url, clock: Clock) -> Result<Self, AuthSetupError> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(FETCH_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(AuthSetupError::Client)?;
        let cached = RwLock::new(None);
        Ok(Self { url, client, clock, cached, latest_fetch: Mutex::new(None) })
    }

    /// The key named `kid`; `None` when the project has no such key.
    ///
    /// # Errors
    /// The key is unknown and cannot be fetched now.
    pub(super) async fn key(&self, kid: &str) -> Result<Option<PublishedKey>, FetchError> {
        let (found, fresh) = self.look_up(kid);
        if found.is_some() && fresh {
            return Ok(found);
        }
        let mut latest_fetch = match self.latest_fetch.try_lock() {
            Ok(guard) => guard,
            // Another request is fetching: a known key need not wait for that.
            Err(_) if found.is_some() => return Ok(found),
            Err(_) => self.latest_fetch.lock().await,
        };
        // The fetch of another request may have brought the key.
        let (found, fresh) = self.look_up(kid);
        if found.is_some() && fresh {
            return Ok(found);
        }
        match self.refresh(&mut latest_fetch).await {
            Ok(()) => Ok(self.look_up(kid).0),
            Err(_) if found.is_some() => Ok(found),
            Err(error) => Err(error),
        }
    }

    /// Fetches the set before the first token, and logs a failure: the first token then
    /// tries again.
    pub(super) async fn look_ahead(&self) {
        let mut latest_fetch = self.latest_fetch.lock().await;
        if latest_fetch.is_some() {
            return;
        }
        if let Err(error) = self.refresh(&mut latest_fetch).await {
            tracing::error!(
                url = %self.url,
                error = &error as &dyn std::error::Error,
                "the keys at JWKS_URL cannot be fetched, so no token they sign is accepted; \
                 correct the address or let this process reach it; trying again with the next token"
            );
            *latest_fetch = None;
        }
    }

    /// Fetches unless the last fetch is too recent.
    async fn refresh(&self, latest_fetch: &mut Option<DateTime<Utc>>) -> Result<(), FetchError> {
        let now = self.clock.now();
        // A clock that was set back must not prolong the wait.
        let since = latest_fetch.map(|at| (now - at).max(TimeDelta::zero()));
        if let Some(left) =
            since.map(|since| FLOOR - since).filter(|left| *left > TimeDelta::zero())
        {
            return Err(FetchError::Recently(left.to_std().unwrap_or_default()));
        }
        *latest_fetch = Some(now);
        match self.fetch().await {
            Ok(mut keys) => {
                self.read(|cached| keep_unchanged(&mut keys, cached));
                let cached = Cached { keys: Arc::new(keys), fetched_at: now };
                *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(cached);
                Ok(())
            }
            Err(error) => {
                if self.read(|cached| cached.is_some()) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "keeping the last key set"
                    );
                }
                Err(error)
            }
        }
    }

    /// How many keys the set has now.
    pub(super) async fn count(&self) -> Result<usize, FetchError> {
        Ok(self.fetch().await?.len())
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut response = self.client.get(self.url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > MAX_SET_BYTES {
                return Err(FetchError::TooLarge);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(parse(&body)?)
    }

    fn look_up(&self, kid: &str) -> (Option<PublishedKey>, bool) {
        let now = self.clock.now();
        self.read(|cached| match cached {
            Some(set) => (set.keys.get(kid).cloned(), now < set.fetched_at + MAX_AGE),
            None => (None, false),
        })
    }

    fn read<T>(&self, look: impl FnOnce(Option<&Cached>) -> T) -> T {
        look(self.cached.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }
}

/// Tokens that an unchanged key has verified stay verified.
fn keep_unchanged(keys: &mut KeySet, cached: Option<&Cached>) {
    let Some(cached) = cached else { return };
    for (kid, new) in keys {
        if let Some(old) = cached.keys.get(kid).filter(|old| old.jwk == new.jwk) {
            new.key = old.key.clone();
        }
    }
}

/// Parses a set, without keys that are not for verifying ES256 or RS256.
fn parse(body: &[u8]) -> Result<KeySet, serde_json::Error> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(body)?;
    let keys = set.keys.into_iter().filter_map(|key| usable(serde_json::from_value(key).ok()?));
    Ok(keys.collect())
}

fn usable(jwk: Jwk) -> Option<(String, PublishedKey)> {
    let kid = jwk.common.key_id.clone()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            Algorithm::ES256
        }
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= MIN_RSA_MODULUS_BASE64 => Algorithm::RS256,
        // A symmetric key in a public document is not a secret.
        _ => return None,
    };
    let declared = match algorithm {
        Algorithm::ES256 => KeyAlgorithm::ES256,
        _ => KeyAlgorithm::RS256,
    };
    if jwk.common.key_algorithm.is_some_and(|named| named != declared) {
        return None;
    }
    let key = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
    Some((kid, PublishedKey { algorithm, key, jwk }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(modulus: &str) -> KeySet {
        let key = serde_json::json!({
            "kid": "one", "kty": "RSA", "alg": "RS256", "use": "sig",
            "n": modulus.repeat(MIN_RSA_MODULUS_BASE64 / 4 + 1), "e": "AQAB",
        });
        parse(serde_json::json!({ "keys": [key] }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_key_stays_the_same_as_long_as_it_is_published_unchanged() {
        let cached = Cached { keys: Arc::new(set("u7-_")), fetched_at: DateTime::UNIX_EPOCH };
        let same = |mut keys: KeySet| {
            keep_unchanged(&mut keys, Some(&cached));
            Arc::ptr_eq(&keys["one"].key, &cached.keys["one"].key)
        };
        assert!(same(set("u7-_")));
        assert!(!same(set("v7-_")), "another key of the same name");
    }
}
