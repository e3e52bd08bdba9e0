//! The secrets of the development stack: drawn once and kept with its data, so
//! that the next run can open the data and accept old tokens.

use std::path::Path;

use crate::key_values::{self, FileError};
use crate::servers::{Passwords, secret};

const POSTGRES: &str = "POSTGRES_PASSWORD";
const REDIS: &str = "REDIS_PASSWORD";
const JWT: &str = "JWT_SECRET";
const STRIPE: &str = "STRIPE_WEBHOOK_SECRET";

/// All of them.
#[derive(Clone)]
pub(crate) struct Secrets {
    /// The passwords of PostgreSQL and Redis.
    pub(crate) passwords: Passwords,
    /// The key of the access tokens that the ingress accepts.
    pub(crate) jwt: String,
    /// The signing secret of the Stripe events that the ingress accepts.
    pub(crate) stripe_webhook: String,
}

impl Secrets {
    /// Those of `folder`; missing ones are drawn and stored.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub(crate) fn of(folder: &Path) -> Result<Self, FileError> {
        let path = folder.join("secrets");
        let mut kept = key_values::read(&path)?.unwrap_or_default();
        let known = kept.len();
        let mut take = |name: &str, draw: fn() -> String| {
            kept.entry(name.to_owned()).or_insert_with(draw).clone()
        };
        let passwords = Passwords { postgres: take(POSTGRES, secret), redis: take(REDIS, secret) };
        let jwt = take(JWT, secret);
        let stripe_webhook = take(STRIPE, || format!("whsec_{}", secret()));
        if kept.len() > known {
            key_values::write(&path, kept.iter().map(|(name, value)| (&**name, &**value)))?;
        }
        Ok(Self { passwords, jwt, stripe_webhook })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_drawn_once() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Secrets::of(one.path()).unwrap();
        assert_eq!(Secrets::of(one.path()).unwrap().jwt, first.jwt);
        assert_ne!(Secrets::of(two.path()).unwrap().jwt, first.jwt);
        assert_ne!(first.passwords.postgres, first.passwords.redis);
    }
}
