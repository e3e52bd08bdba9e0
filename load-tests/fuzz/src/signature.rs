//! The parser of `Stripe-Signature`: the first line is the header, the rest the
//! body.

use regimen_common::billing::signature::{DEFAULT_TOLERANCE, Verifier, sign};
use secrecy::SecretString;

/// The clock of the test, Unix seconds.
const NOW: i64 = 1_795_000_000;
const SECRET: &str = "whsec_of_the_fuzzer";

pub(crate) fn run(bytes: &[u8]) {
    let newline = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (header, body) = bytes.split_at(newline);
    let body = body.get(1..).unwrap_or_default();
    let secret = SecretString::from(SECRET);
    let verifier =
        Verifier::new(vec![SecretString::from("whsec_old"), secret.clone()], DEFAULT_TOLERANCE);
    if verifier.verify(Some(header), body, NOW).is_ok() {
        accepted(header, body, &secret);
    }
    // For any body: what was signed now is valid, and only for this body.
    let signed = sign(&secret, body, NOW);
    assert!(verifier.verify(Some(signed.as_bytes()), body, NOW).is_ok());
    let mut other = body.to_vec();
    other.push(b' ');
    assert!(verifier.verify(Some(signed.as_bytes()), &other, NOW).is_err());
    assert!(Verifier::new(Vec::new(), DEFAULT_TOLERANCE).verify(Some(header), body, NOW).is_err());
}

/// Only a header with the correct signature of its own, recent time may pass.
fn accepted(header: &[u8], body: &[u8], secret: &SecretString) {
    let Ok(header) = std::str::from_utf8(header) else { panic!("accepted a header of no text") };
    let times = header.split(',').filter_map(|part| part.trim().strip_prefix("t="));
    let genuine = times.filter_map(|time| time.parse::<i64>().ok()).any(|time| {
        let signed = sign(secret, body, time);
        let signature = signed.rsplit('=').next().unwrap_or_default();
        NOW - time <= 300 && header.to_ascii_lowercase().contains(signature)
    });
    assert!(genuine, "accepted {header:?}");
}
