//! Verified tokens, so that a signature is checked once and not with every
//! request.
//!
//! A token is known by its hash. Whether it is valid at the moment, and its key still
//! published, is asked with every request.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::DecodingKey;
use sha2::{Digest, Sha256};

use super::Caller;
use super::claims::Validity;

/// About 10 MB; beyond it all are forgotten, and verified again.
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

    pub(super) fn insert(&self, hash: TokenHash, token: VerifiedToken) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(hash, token);
    }
}
