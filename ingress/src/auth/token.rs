//! Verifies access tokens: key first, then signature, then claims.
//!
//! The token's header only selects the key. Each key has the one algorithm it
//! is used with: the shared secret HS256, a published key its own. So a public
//! key can never be used as an HMAC secret, and `none` has no key.

use std::collections::HashSet;
use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};
use regimen_common::clock::Clock;
use secrecy::{ExposeSecret, SecretString};

use super::claims::Claims;
use super::jwks::{FetchError, Jwks, PublishedKey};
use super::verified::{SignedBy, TokenHash, VerifiedToken, VerifiedTokens};
use super::{AuthConfig, AuthError, AuthSetupError, Caller};

/// Verifies access tokens of one Supabase project.
pub(super) struct Tokens {
    /// One, or two during a rotation.
    secrets: Vec<DecodingKey>,
    published: Option<Jwks>,
    issuer: Option<String>,
    audience: String,
    allow_anonymous: bool,
    clock: Clock,
    verified: VerifiedTokens,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Tokens {
    pub(super) fn new(config: AuthConfig, clock: Clock) -> Result<Self, AuthSetupError> {
        // Supabase signs with the text itself, not with its decoded form.
        let key =
            |secret: &SecretString| DecodingKey::from_secret(secret.expose_secret().as_bytes());
        let secrets = config.jwt_secrets.iter().map(key).collect::<Result<Vec<_>, _>>();
        let secrets = secrets.map_err(AuthSetupError::TokenKey)?;
        let published = config.jwks_url.map(|url| Jwks::new(url, clock.clone())).transpose()?;
        if secrets.is_empty() && published.is_none() {
            return Err(AuthSetupError::NoTokenKey);
        }
        Ok(Self {
            secrets,
            published,
            issuer: config.issuer,
            audience: config.audience,
            allow_anonymous: config.allow_anonymous,
            clock,
            verified: VerifiedTokens::default(),
        })
    }

    /// The user whose token this is.
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, AuthError> {
        let hash = TokenHash::of(token);
        if let Some(known) = self.verified.get(&hash)
            && self.still_uses(known.key.as_ref()).await?
        {
            known.validity.check(self.clock.now())?;
            return Ok(known.caller);
        }
        let header = decode_header(token).map_err(|_| AuthError::Invalid)?;
        let (claims, key) = match header.alg {
            Algorithm::HS256 => (self.verify_by_secret(token)?, None),
            Algorithm::ES256 | Algorithm::RS256 => {
                let kid = header.kid.ok_or(AuthError::Invalid)?;
                let published = self.published_key(&kid).await?;
                if published.algorithm != header.alg {
                    return Err(AuthError::Invalid);
                }
                let claims = self.verify(token, &published.key, published.algorithm)?;
                (claims, Some(SignedBy { kid, key: published.key }))
            }
            _ => return Err(AuthError::Invalid),
        };
        let (validity, now) = (claims.validity(), self.clock.now());
        validity.check(now)?;
        let caller = claims.into_caller(self.allow_anonymous)?;
        self.verified.insert(hash, VerifiedToken { key, validity, caller: caller.clone() }, now);
        Ok(caller)
    }

    /// Whether a verified token's key is still published; our secrets never change.
    async fn still_uses(&self, key: Option<&SignedBy>) -> Result<bool, AuthError> {
        let Some(SignedBy { kid, key }) = key else { return Ok(true) };
        Ok(Arc::ptr_eq(&self.published_key(kid).await?.key, key))
    }

    /// Tries each secret.
    fn verify_by_secret(&self, token: &str) -> Result<Claims, AuthError> {
        let mut refused = AuthError::Invalid;
        for secret in &self.secrets {
            match self.verify(token, secret, Algorithm::HS256) {
                Err(AuthError::Invalid) => {}
                // Any other error means that the signature is valid.
                Err(error) => refused = error,
                Ok(claims) => return Ok(claims),
            }
        }
        Err(refused)
    }

    /// Fetches the published keys before the first token.
    pub(super) async fn look_at_keys(&self) {
        if let Some(published) = &self.published {
            published.look_ahead().await;
        }
    }

    pub(super) async fn count_keys(&self) -> Option<Result<usize, FetchError>> {
        Some(self.published.as_ref()?.count().await)
    }

    async fn published_key(&self, kid: &str) -> Result<PublishedKey, AuthError> {
        let published = self.published.as_ref().ok_or(AuthError::Invalid)?;
        published.key(kid).await?.ok_or(AuthError::Invalid)
    }

    /// Signature, issuer and audience. Times are checked by our clock, with each request.
    fn verify(
        &self,
        token: &str,
        key: &DecodingKey,
        algorithm: Algorithm,
    ) -> Result<Claims, AuthError> {
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.set_audience(&[&self.audience]);
        validation.required_spec_claims = HashSet::from(["exp".to_owned(), "aud".to_owned()]);
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".to_owned());
        }
        let verified: TokenData<Claims> =
            decode(token, key, &validation).map_err(|error| refusal(&error))?;
        Ok(verified.claims)
    }
}

fn refusal(error: &jsonwebtoken::errors::Error) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidIssuer | ErrorKind::InvalidAudience => AuthError::NotForUs,
        _ => AuthError::Invalid,
    }
}
