//! Verifies the `Stripe-Signature` header over the raw body.
//!
//! Scheme (Stripe's webhook documentation, "Verify manually"): the header is
//! `t=<unix seconds>,v1=<hex>[,v1=<hex>…][,v0=…]`; the signed bytes are `t`, a
//! dot and the body as received; the MAC is HMAC-SHA256 keyed with the whole
//! secret text, `whsec_` included. The header has several `v1` while two
//! secrets of an endpoint are valid, and several secrets may be configured
//! here, so one matching pair is enough.
//!
//! Freshness: a timestamp older than the tolerance is refused; one from the
//! future is accepted, as in Stripe's own libraries. Only a holder of the
//! secret can sign a future time, so refusing it would protect nothing and
//! would lose genuine events while our clock runs slow.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// The default tolerance, which is Stripe's own.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no header.
    #[error("the Stripe-Signature header is missing; only Stripe may call this address")]
    Missing,
    /// The header is not a list of `name=value`.
    #[error("the Stripe-Signature header is malformed; expected t=<seconds>,v1=<hex>")]
    Malformed,
    /// No `t` in the header.
    #[error("the Stripe-Signature header has no timestamp (t)")]
    NoTimestamp,
    /// `t` is not a count of seconds, or there are two of them.
    #[error("the timestamp (t) of the Stripe-Signature header is not one whole number of seconds")]
    BadTimestamp,
    /// No `v1` in the header.
    #[error("the Stripe-Signature header has no v1 signature")]
    NoSignature,
    /// Signed longer ago than the tolerance.
    #[error(
        "the signature is {age} seconds old, more than the {tolerance} allowed; Stripe signs every delivery anew"
    )]
    TooOld {
        /// Seconds since it was signed.
        age: i64,
        /// Seconds allowed.
        tolerance: u64,
    },
    /// No configured secret matches any of the signatures.
    #[error(
        "no signature matches; check that STRIPE_WEBHOOK_SECRET is this endpoint's own secret and that no proxy changes the body"
    )]
    Mismatch,
}

impl SignatureError {
    /// Its name in metrics.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::NoTimestamp => "no_timestamp",
            Self::BadTimestamp => "bad_timestamp",
            Self::NoSignature => "no_signature",
            Self::TooOld { .. } => "too_old",
            Self::Mismatch => "mismatch",
        }
    }
}

/// Checks deliveries against the endpoint's secrets.
#[derive(Debug, Clone)]
pub struct Verifier {
    secrets: Vec<SecretString>,
    tolerance: Duration,
}

impl Verifier {
    /// A verifier for any of `secrets`; more than one during a rotation.
    pub fn new(secrets: Vec<SecretString>, tolerance: Duration) -> Self {
        Self { secrets, tolerance }
    }

    /// Whether there is any secret.
    pub fn is_configured(&self) -> bool {
        !self.secrets.is_empty()
    }

    /// Accepts `body` if one of the secrets signed it recently enough.
    /// `now` is in Unix seconds.
    ///
    /// # Errors
    /// The header is missing or malformed, too old, or of another secret or body.
    pub fn verify(
        &self,
        header: Option<&[u8]>,
        body: &[u8],
        now: i64,
    ) -> Result<(), SignatureError> {
        let header = header.ok_or(SignatureError::Missing)?;
        let header = SignedHeader::parse(header)?;
        let matched = self.secrets.iter().any(|secret| header.is_signed_by(secret, body));
        if !matched {
            return Err(SignatureError::Mismatch);
        }
        let age = now.saturating_sub(header.seconds);
        let tolerance = self.tolerance.as_secs();
        if i64::try_from(tolerance).is_ok_and(|limit| age > limit) {
            return Err(SignatureError::TooOld { age, tolerance });
        }
        Ok(())
    }
}

/// The header that Stripe would send for `body`, signed at `seconds`: for tests and for
/// the load generator.
pub fn sign(secret: &SecretString, body: &[u8], seconds: i64) -> String {
    let timestamp = seconds.to_string();
    let signature = mac(secret, &timestamp, body).map(|mac| mac.finalize().into_bytes());
    format!("t={timestamp},v1={}", signature.map(hex::encode).unwrap_or_default())
}

struct SignedHeader<'a> {
    timestamp: &'a str,
    seconds: i64,
    signatures: Vec<[u8; 32]>,
}

impl<'a> SignedHeader<'a> {
    fn parse(header: &'a [u8]) -> Result<Self, SignatureError> {
        let header = std::str::from_utf8(header).map_err(|_| SignatureError::Malformed)?;
        let mut timestamp = None;
        let mut signatures = Vec::new();
        let mut any_v1 = false;
        for part in header.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or(SignatureError::Malformed)?;
            match name {
                "t" if timestamp.replace(value).is_some() => {
                    return Err(SignatureError::BadTimestamp);
                }
                "v1" => {
                    any_v1 = true;
                    let mut bytes = [0; 32];
                    if hex::decode_to_slice(value, &mut bytes).is_ok() {
                        signatures.push(bytes);
                    }
                }
                // v0 is a dummy on test events; other schemes may follow.
                _ => {}
            }
        }
        let timestamp = timestamp.ok_or(SignatureError::NoTimestamp)?;
        if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SignatureError::BadTimestamp);
        }
        let seconds = timestamp.parse().map_err(|_| SignatureError::BadTimestamp)?;
        if !any_v1 {
            return Err(SignatureError::NoSignature);
        }
        Ok(Self { timestamp, seconds, signatures })
    }

    fn is_signed_by(&self, secret: &SecretString, body: &[u8]) -> bool {
        // `verify_slice` compares in constant time. Which of several signatures matched
        // is not secret, so stopping early is fine.
        mac(secret, self.timestamp, body).is_some_and(|mac| {
            self.signatures.iter().any(|bytes| mac.clone().verify_slice(bytes).is_ok())
        })
    }
}

/// `None` never happens: HMAC takes keys of any length.
fn mac(secret: &SecretString, timestamp: &str, body: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(body);
    Some(mac)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // A vector computed with Stripe's Python library.
    const SECRET: &str = "whsec_test_0123456789abcdef";
    const SIGNED_AT: i64 = 1_795_392_000;
    const BODY: &[u8] = br#"{"id":"evt_test_1","object":"event","type":"invoice.paid"}"#;
    const V1: &str = "f932ccecd9c78482a644820a5666136d36fa1000db3baa6ddacebe0e45cf9f10";

    fn verifier(secrets: &[&str]) -> Verifier {
        let secrets = secrets.iter().map(|&secret| SecretString::from(secret)).collect();
        Verifier::new(secrets, DEFAULT_TOLERANCE)
    }

    fn check(header: &str) -> Result<(), SignatureError> {
        verifier(&[SECRET]).verify(Some(header.as_bytes()), BODY, SIGNED_AT)
    }

    #[test]
    fn the_official_vector_passes_and_we_sign_the_same() {
        assert_eq!(check(&format!("t={SIGNED_AT},v1={V1}")), Ok(()));
        let ours = sign(&SecretString::from(SECRET), BODY, SIGNED_AT);
        assert_eq!(ours, format!("t={SIGNED_AT},v1={V1}"));
    }

    #[test]
    fn any_v1_counts_and_other_schemes_do_not() {
        let wrong = "0".repeat(64);
        assert_eq!(check(&format!("t={SIGNED_AT},v1={wrong},v1={V1},v0={wrong}")), Ok(()));
        assert_eq!(check(&format!("t={SIGNED_AT},v1={V1},v1={wrong}")), Ok(()));
        assert_eq!(check(&format!("t={SIGNED_AT},v1=zz,v1={V1}")), Ok(()));
        let only_v0 = check(&format!("t={SIGNED_AT},v0={V1}"));
        assert_eq!(only_v0, Err(SignatureError::NoSignature));
    }

    #[test]
    fn any_configured_secret_counts() {
        let header = format!("t={SIGNED_AT},v1={V1}");
        for secrets in [["whsec_new", SECRET], [SECRET, "whsec_new"]] {
            let verified = verifier(&secrets).verify(Some(header.as_bytes()), BODY, SIGNED_AT);
            assert_eq!(verified, Ok(()));
        }
        let verified = verifier(&["whsec_new"]).verify(Some(header.as_bytes()), BODY, SIGNED_AT);
        assert_eq!(verified, Err(SignatureError::Mismatch));
        assert!(!verifier(&[]).is_configured());
    }

    #[test]
    fn every_kind_of_bad_header_has_its_name() {
        use SignatureError::*;
        let cases = [
            ("", Malformed),
            ("t", Malformed),
            ("nonsense", Malformed),
            ("t=1795392000,", Malformed),
            ("v1=aa", NoTimestamp),
            ("t=,v1=aa", BadTimestamp),
            ("t=soon,v1=aa", BadTimestamp),
            ("t=-5,v1=aa", BadTimestamp),
            ("t=+5,v1=aa", BadTimestamp),
            ("t=99999999999999999999,v1=aa", BadTimestamp),
            ("t=1795392000,t=1795392000,v1=aa", BadTimestamp),
            ("t=1795392000", NoSignature),
            ("t=1795392000,v1=", Mismatch),
            ("t=1795392000,v1=f932", Mismatch),
        ];
        for (header, expected) in cases {
            assert_eq!(check(header), Err(expected), "{header}");
        }
        let verifier = verifier(&[SECRET]);
        assert_eq!(verifier.verify(None, BODY, SIGNED_AT), Err(Missing));
        assert_eq!(verifier.verify(Some(b"t=\xff,v1=aa"), BODY, SIGNED_AT), Err(Malformed));
    }

    #[test]
    fn only_the_past_goes_stale() {
        let header = format!("t={SIGNED_AT},v1={V1}");
        let at = |now| verifier(&[SECRET]).verify(Some(header.as_bytes()), BODY, now);
        assert_eq!(at(SIGNED_AT + 300), Ok(()));
        assert_eq!(at(SIGNED_AT + 301), Err(SignatureError::TooOld { age: 301, tolerance: 300 }));
        assert_eq!(at(SIGNED_AT - 100_000), Ok(()));
        let patient = Verifier::new(vec![SecretString::from(SECRET)], Duration::from_secs(600));
        assert_eq!(patient.verify(Some(header.as_bytes()), BODY, SIGNED_AT + 301), Ok(()));
    }

    proptest! {
        #[test]
        fn what_we_sign_verifies_and_one_changed_byte_does_not(
            secret in "[ -~]{0,80}",
            body in proptest::collection::vec(any::<u8>(), 1..200),
            seconds in 0_i64..4_000_000_000,
            place in any::<prop::sample::Index>(),
        ) {
            let header = sign(&SecretString::from(secret.as_str()), &body, seconds);
            let verifier = verifier(&[&secret]);
            prop_assert_eq!(verifier.verify(Some(header.as_bytes()), &body, seconds), Ok(()));
            let mut changed = body.clone();
            changed[place.index(body.len())] ^= 1;
            prop_assert_eq!(
                verifier.verify(Some(header.as_bytes()), &changed, seconds),
                Err(SignatureError::Mismatch)
            );
        }

        #[test]
        fn no_header_panics(header in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = verifier(&[SECRET]).verify(Some(&header), BODY, SIGNED_AT);
        }
    }
}
