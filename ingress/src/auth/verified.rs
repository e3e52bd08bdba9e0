//! Verified tokens, so that a signature is checked once and not with every
//! request.
//!
//! A token is known by its hash. Whether it is valid at the moment, and its key still
//! published, is asked with every request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use jsonwebtoken::DecodingKey;
use sha2::{Digest, Sha256};

use super::claims::Validity;
use super::{AuthError, Caller};

/// About 10 MB; beyond it those that have expired are forgotten.
const MOST: usize = 50_000;

/// SHA-256 of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(token: &str) -> Self {
        Self(Sha256::digest(token).into())
    }
}

/// The published key of a signature.
#[derive(Clone)]
pub(super) struct SignedBy {
    pub(super) kid: String,
    pub(super) key: Arc<DecodingKey>,
}

/// What is known of a verified token.
#[derive(Clone)]
pub(super) struct VerifiedToken {
    /// `None` for a shared secret.
    pub(super) key: Option<SignedBy>,
    pub(super) validity: Validity,
    pub(super) caller: Caller,
}

/// The verified tokens of a process.
#[derive(Default)]
pub(super) struct VerifiedTokens(RwLock<HashMap<TokenHash, VerifiedToken>>);

impl VerifiedTokens {
    pub(super) fn get(&self, hash: &TokenHash) -> Option<VerifiedToken> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    pub(super) fn insert(&self, hash: TokenHash, token: VerifiedToken, now: DateTime<Utc>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        make_room(&mut known, MOST, now);
        known.insert(hash, token);
    }
}

/// All are forgotten when few have expired: to look for those with each token would cost
/// more than to verify anew.
fn make_room(known: &mut HashMap<TokenHash, VerifiedToken>, most: usize, now: DateTime<Utc>) {
    if known.len() < most {
        return;
    }
    known.retain(|_, token| !matches!(token.validity.check(now), Err(AuthError::Expired)));
    if known.len() > most / 2 {
        known.clear();
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use uuid::Uuid;

    use super::*;

    fn token(expires_at: DateTime<Utc>) -> VerifiedToken {
        let claims = serde_json::json!({
            "sub": Uuid::from_u128(1), "role": "authenticated", "exp": expires_at.timestamp(),
        });
        let claims: super::super::claims::Claims = serde_json::from_value(claims).unwrap();
        let validity = claims.validity();
        VerifiedToken { key: None, validity, caller: claims.into_caller(false).unwrap() }
    }

    /// Of 10 tokens some have expired; how many are left when there is room for 10.
    fn left(expired: usize) -> usize {
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let ends = |n| if n < expired { TimeDelta::hours(-1) } else { TimeDelta::hours(1) };
        let tokens = (0..10).map(|n| (TokenHash::of(&n.to_string()), token(now + ends(n))));
        let mut known = tokens.collect();
        make_room(&mut known, 11, now);
        assert_eq!(known.len(), 10);
        make_room(&mut known, 10, now);
        known.len()
    }

    #[test]
    fn tokens_beyond_the_limit_are_forgotten_the_expired_ones_first() {
        assert_eq!((left(7), left(5), left(4), left(0)), (3, 5, 0, 0));
    }
}
