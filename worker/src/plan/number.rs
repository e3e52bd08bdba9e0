//! Numbers as models write them: a count may come as `12.0`.

use serde::{Deserialize, Deserializer};

/// Parses a count that may have a fraction, and rounds it. Negative and oversized values
/// are refused.
///
/// # Errors
/// Not a number, or outside 0..=1,000,000.
pub(super) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let value = f64::deserialize(deserializer)?;
    if (0.0..=1_000_000.0).contains(&value) {
        // In range and non-negative, so the cast is exact after rounding.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked above"
        )]
        return Ok(value.round() as u32);
    }
    Err(serde::de::Error::custom(format_args!("{value} is not a count from 0 to 1000000")))
}
