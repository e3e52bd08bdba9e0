//! The position of a page in a list, as an opaque text.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// The last row of a page; the next page starts after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// When the row was created.
    pub at: DateTime<Utc>,
    /// Its id, to order rows of the same time.
    pub id: Uuid,
}

/// The possible times of a row, in microseconds since 1970: up to the year
/// 9999. Postgres cannot represent times far outside.
const MICROS: RangeInclusive<i64> = 0..=253_402_300_799_999_999;

/// The text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not a cursor; use next_cursor of the previous page as it is")]
pub struct NotACursor;

impl Cursor {
    /// The cursor as a text for URLs.
    pub fn encode(self) -> String {
        let mut bytes = self.at.timestamp_micros().to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a text made by [`Cursor::encode`].
    ///
    /// # Errors
    /// It is not a cursor.
    pub fn decode(text: &str) -> Result<Self, NotACursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotACursor)?;
        let (micros, id) = bytes.split_at_checked(8).ok_or(NotACursor)?;
        let micros = i64::from_be_bytes(micros.try_into().map_err(|_| NotACursor)?);
        let micros = Some(micros).filter(|micros| MICROS.contains(micros)).ok_or(NotACursor)?;
        Ok(Self {
            at: DateTime::from_timestamp_micros(micros).ok_or(NotACursor)?,
            id: Uuid::from_slice(id).map_err(|_| NotACursor)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let at = DateTime::from_timestamp_micros(1_795_390_800_123_456).unwrap();
        let cursor = Cursor { at, id: Uuid::from_u128(7) };
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
    }

    #[test]
    fn a_time_that_no_row_can_have_is_refused() {
        for micros in [i64::MIN, -1, MICROS.end() + 1, i64::MAX] {
            let mut bytes = micros.to_be_bytes().to_vec();
            bytes.extend_from_slice(Uuid::from_u128(7).as_bytes());
            assert_eq!(Cursor::decode(&URL_SAFE_NO_PAD.encode(bytes)), Err(NotACursor), "{micros}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "abc", "!!!!", "AAAAAAAAAAA", &"A".repeat(500)] {
            assert_eq!(Cursor::decode(text), Err(NotACursor), "{text}");
        }
    }
}
