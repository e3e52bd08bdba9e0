//! Service keys of trusted backends: two at once during a rotation.

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{AuthError, AuthSetupError};

/// The valid keys, kept as digests: of equal length for the comparison, and useless in a
/// memory dump.
pub(super) struct ServiceKeys(Vec<[u8; 32]>);

impl std::fmt::Debug for ServiceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceKeys({} keys)", self.0.len())
    }
}

impl ServiceKeys {
    pub(super) fn new(keys: &[SecretString]) -> Result<Self, AuthSetupError> {
        if keys.is_empty() {
            return Err(AuthSetupError::NoServiceKey);
        }
        Ok(Self(keys.iter().map(|key| digest(key.expose_secret())).collect()))
    }

    /// Compares with every key, so that the time reveals neither which one matched nor
    /// where one differs.
    pub(super) fn check(&self, presented: &str) -> Result<(), AuthError> {
        let presented = digest(presented);
        let none = Choice::from(0);
        let found = self.0.iter().fold(none, |found, key| found | key.ct_eq(&presented));
        if bool::from(found) { Ok(()) } else { Err(AuthError::Invalid) }
    }
}

fn digest(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}
