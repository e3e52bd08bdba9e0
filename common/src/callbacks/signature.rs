//! Signs callbacks according to Standard Webhooks: HMAC-SHA256 over
//! `id.timestamp.body` with the bytes of a `whsec_` secret, in base64, one
//! signature per configured secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;

use crate::config::Env;

/// The allowed size of a secret, in bytes, by the specification.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Signs with every configured secret.
#[derive(Debug, Clone)]
pub struct Signer {
    keys: Vec<SecretSlice<u8>>,
}

impl Signer {
    /// Reads `CALLBACK_SECRETS`; mistakes are recorded in `env`, without the secrets.
    /// `None` without secrets: callbacks are disabled.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let mut keys = Vec::new();
        for (place, text) in env.list("CALLBACK_SECRETS").iter().enumerate() {
            match key(text) {
                Some(key) => keys.push(key),
                None => env.error(
                    "CALLBACK_SECRETS",
                    format!("number {} must be whsec_ and the base64 of 24 to 64 bytes", place + 1),
                ),
            }
        }
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// The header `webhook-signature` of a message sent at `timestamp` (Unix seconds).
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.keys.iter().filter_map(|key| {
            // A key of any length is accepted, so no signature is missing.
            let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret()).ok()?;
            mac.update(format!("{id}.{timestamp}.").as_bytes());
            mac.update(body);
            Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn key(text: &str) -> Option<SecretSlice<u8>> {
    let key = STANDARD.decode(text.strip_prefix("whsec_")?).ok()?;
    KEY_BYTES.contains(&key.len()).then(|| SecretSlice::from(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of the specification's reference libraries.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED_AT: i64 = 1_614_265_330;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signer(secrets: &str) -> (Option<Signer>, Vec<String>) {
        let mut env = Env::from_pairs([("CALLBACK_SECRETS", secrets)]);
        let signer = Signer::from_env(&mut env);
        let errors = env.finish(Some(())).err().map(|errors| errors.0).unwrap_or_default();
        (signer, errors.into_iter().map(|error| error.to_string()).collect())
    }

    #[test]
    fn the_reference_signature_comes_out() {
        let (signer, errors) = signer(SECRET);
        assert!(errors.is_empty(), "{errors:?}");
        assert_eq!(signer.unwrap().sign(ID, SIGNED_AT, BODY), SIGNATURE);
    }

    #[test]
    fn every_secret_signs_while_one_replaces_the_other() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let (both, _) = signer(&format!("{other},{SECRET}"));
        let header = both.unwrap().sign(ID, SIGNED_AT, BODY);
        let (first, second) = header.split_once(' ').unwrap();
        assert_eq!(second, SIGNATURE);
        assert_eq!(first, signer(&other).0.unwrap().sign(ID, SIGNED_AT, BODY));
    }

    #[test]
    fn secrets_of_another_form_are_named_by_their_place_and_not_shown() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        for bad in ["secret", "whsec_???", "whsec_", &short] {
            let (_, errors) = signer(&format!("{SECRET},{bad}"));
            assert_eq!(errors.len(), 1, "{bad}");
            assert!(errors[0].starts_with("CALLBACK_SECRETS: number 2"), "{errors:?}");
            assert!(bad == "secret" || !errors[0].contains(bad) || bad == "whsec_", "{errors:?}");
        }
        assert!(signer("").0.is_none());
        assert!(!format!("{:?}", signer(SECRET)).contains("MfKQ"));
    }
}
