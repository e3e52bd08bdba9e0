//! JSON as hosts and models write it. Unambiguous deviations are repaired
//! (control characters, unpaired surrogates, trailing commas, comments, a byte
//! order mark); other errors stay errors.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The code points that represent unpaired surrogates until their halves may meet: a
/// stream may be split between them. They are for private use, so that no ordinary text
/// contains them.
const HALVES: u32 = 0x10_F800;
const HIGH: std::ops::Range<u32> = 0xD800..0xDC00;
const LOW: std::ops::Range<u32> = 0xDC00..0xE000;

/// Parses one JSON document of a host. Unpaired surrogates are kept for [`joined`].
///
/// # Errors
/// It is not JSON, even after repair.
pub fn document(text: &str) -> Result<Value, serde_json::Error> {
    let text = text.trim_matches(invisible);
    serde_json::from_str(text).or_else(|error| {
        let mended = Mender::new(text, Half::Kept).all();
        serde_json::from_str(&mended).map_err(|_| error)
    })
}

/// Parses all JSON documents of a host's body, one after another.
///
/// # Errors
/// One of them is not JSON, even after repair.
pub fn documents(text: &str) -> Result<Vec<Value>, serde_json::Error> {
    let read = |text: &str| -> Result<Vec<Value>, serde_json::Error> {
        serde_json::Deserializer::from_str(text).into_iter().collect()
    };
    let text = text.trim_matches(invisible);
    read(text).or_else(|error| read(&Mender::new(text, Half::Kept).all()).map_err(|_| error))
}

/// `text` with adjacent surrogates joined; others become U+FFFD.
pub fn joined(text: &str) -> Cow<'_, str> {
    let half = |letter: char| u32::from(letter).checked_sub(HALVES).map(|half| half + HIGH.start);
    if !text.chars().any(|letter| half(letter).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let Some(first) = half(letter) else {
            out.push(letter);
            continue;
        };
        let second = letters.peek().copied().and_then(half).filter(|half| LOW.contains(half));
        match second.filter(|_| HIGH.contains(&first)) {
            Some(second) => {
                letters.next();
                let code = 0x1_0000 + ((first - HIGH.start) << 10) + (second - LOW.start);
                out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            None => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    Cow::Owned(out)
}

/// The JSON object at the start of `text`, repaired, and its length in `text`; none if it
/// does not end there.
pub(super) fn object_at(text: &str) -> Option<(String, usize)> {
    let mut mender = Mender::new(text, Half::Replaced);
    mender.object().then_some(())?;
    Some((mender.out, mender.at))
}

/// Invisible characters without meaning around JSON.
pub(super) fn invisible(letter: char) -> bool {
    letter.is_whitespace()
        || control(letter)
        || matches!(letter, '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{ad}')
}

fn control(letter: char) -> bool {
    matches!(letter, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}')
}

/// The handling of an unpaired surrogate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// Its other half may be in the next piece.
    Kept,
    /// It is replaced.
    Replaced,
}

/// Copies JSON text and repairs it.
struct Mender<'a> {
    text: &'a str,
    at: usize,
    out: String,
    half: Half,
}

impl<'a> Mender<'a> {
    fn new(text: &'a str, half: Half) -> Self {
        Self { text, at: 0, out: String::with_capacity(text.len()), half }
    }

    fn all(mut self) -> String {
        while self.token().is_some() {}
        self.out
    }

    /// Copies up to the end of the object that starts here; false if it has none.
    fn object(&mut self) -> bool {
        let mut depth = 0_usize;
        while let Some(token) = self.token() {
            match token {
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return true;
            }
        }
        false
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Copies one string or one character outside strings, and returns its first
    /// character.
    fn token(&mut self) -> Option<char> {
        let letter = self.rest().chars().next()?;
        match letter {
            '"' => return self.string(),
            '/' if self.comment() => return Some(' '),
            ',' if self.closes_next() => {}
            _ if invisible(letter) => self.out.push(if letter == '\n' { '\n' } else { ' ' }),
            _ => self.out.push(letter),
        }
        self.at += letter.len_utf8();
        Some(letter)
    }

    /// Skips a comment, if one starts here.
    fn comment(&mut self) -> bool {
        let rest = self.rest();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            return false;
        };
        self.at += length;
        true
    }

    /// Whether only a closing bracket follows this comma.
    fn closes_next(&self) -> bool {
        let mut ahead =
            Self { text: self.text, at: self.at + 1, out: String::new(), half: self.half };
        loop {
            match ahead.rest().chars().next() {
                Some(letter) if invisible(letter) => ahead.at += letter.len_utf8(),
                Some('/') if ahead.comment() => {}
                next => return matches!(next, Some('}' | ']')),
            }
        }
    }

    /// Copies a string; none if it does not end.
    fn string(&mut self) -> Option<char> {
        self.out.push('"');
        self.at += 1;
        loop {
            let letter = self.rest().chars().next()?;
            match letter {
                '\\' => self.escape()?,
                '\n' => self.write("\\n", 1),
                '\t' => self.write("\\t", 1),
                _ if control(letter) => self.at += letter.len_utf8(),
                _ => {
                    self.out.push(letter);
                    self.at += letter.len_utf8();
                }
            }
            if letter == '"' {
                return Some('"');
            }
        }
    }

    fn write(&mut self, text: &str, length: usize) {
        self.out.push_str(text);
        self.at += length;
    }

    /// Copies an escape: control characters are dropped, unpaired surrogates replaced,
    /// and needless backslashes removed.
    fn escape(&mut self) -> Option<()> {
        let rest = self.rest();
        let letter = rest.chars().nth(1)?;
        match letter {
            '"' | '\\' | '/' | 'n' | 'r' | 't' => {
                self.out.push('\\');
                self.out.push(letter);
                self.at += 2;
            }
            'b' | 'f' => self.at += 2,
            'u' => match unit(rest) {
                Some(code) => self.unit(code),
                // Not four digits: the parser refuses it.
                None => self.write("\\u", 2),
            },
            _ => {
                self.at += 1;
            }
        }
        Some(())
    }

    fn unit(&mut self, code: u32) {
        let rest = self.rest();
        let keep = |length: usize| rest.get(..length).unwrap_or_default();
        let pair = HIGH.contains(&code)
            && rest.get(6..).and_then(unit).is_some_and(|low| LOW.contains(&low));
        if pair {
            self.write(keep(12), 12);
        } else if HIGH.contains(&code) || LOW.contains(&code) {
            let kept = char::from_u32(HALVES + (code - HIGH.start));
            let half = kept.filter(|_| self.half == Half::Kept);
            self.out.push(half.unwrap_or(char::REPLACEMENT_CHARACTER));
            self.at += 6;
        } else if matches!(code, 0x09 | 0x0a | 0x0d) || !char::from_u32(code).is_some_and(control) {
            self.write(keep(6), 6);
        } else {
            self.at += 6;
        }
    }
}

/// The number of the `\uXXXX` at the start of `text`.
fn unit(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
    u32::from_str_radix(digits, 16).ok()
}

/// A JSON value in which no key has two different values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Unambiguous(pub Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Unambiguous(value))) = fields.next_entry::<String, _>()? {
            if map.get(&key).is_some_and(|before| *before != value) {
                return Err(A::Error::custom(format_args!("{key:?} says two different things")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(text: &str) -> Option<Value> {
        let (mended, length) = object_at(text)?;
        assert!(length <= text.len());
        serde_json::from_str(&mended).ok()
    }

    #[test]
    fn what_has_one_meaning_only_is_mended() {
        for (text, right) in [
            (r#"{"a":"pla\u0000in"}"#, json!({"a": "plain"})),
            ("{\"a\":\"one\ntwo\tthree\u{0}\"}", json!({"a": "one\ntwo\tthree"})),
            (r#"{"a":"x\u0007\u009fy\b"}"#, json!({"a": "xy"})),
            (r#"{"a":"\u000aé\u00e9"}"#, json!({"a": "\néé"})),
            (r#"{"a":"\ud83d!"}"#, json!({"a": "\u{fffd}!"})),
            (r#"{"a":"\ude00\ud83d"}"#, json!({"a": "\u{fffd}\u{fffd}"})),
            (r#"{"a":"\ud83d\ude00"}"#, json!({"a": "😀"})),
            (r#"{"a":[1,2,],"b":{"c":1 , } , }"#, json!({"a": [1, 2], "b": {"c": 1}})),
            ("{\"a\": 1, // why\n /* not */ \"b\": \"//x\",}", json!({"a": 1, "b": "//x"})),
            (r#"{"a":"it\'s"}"#, json!({"a": "it's"})),
            ("{\u{feff}\"a\":\u{a0}1}", json!({"a": 1})),
        ] {
            assert_eq!(object(text), Some(right), "{text}");
        }
    }

    #[test]
    fn whatever_else_is_wrong_stays_wrong() {
        for text in
            [r#"{"a":"b"#, r#"{"a":[1}"#, r#"{"a" 1}"#, r#"{"a":"\u12"}"#, "{'a':1}", "{a:1}"]
        {
            assert_eq!(object(text), None, "{text}");
        }
        assert!(document("{\"a\":1}x").is_err());
        assert_eq!(documents("{\"a\":1}\n{\"b\":2,}\n").unwrap().len(), 2);
    }

    #[test]
    fn halves_meet_across_the_pieces_of_a_stream() {
        let piece = |text: &str| document(text).unwrap()["t"].as_str().unwrap().to_owned();
        let (first, second) = (piece(r#"{"t":"a\ud83d"}"#), piece(r#"{"t":"\ude00b"}"#));
        assert_eq!(joined(&format!("{first}{second}")), "a😀b");
        assert_eq!(joined(&format!("{second}{first}")), "\u{fffd}ba\u{fffd}");
        assert!(matches!(joined("plain"), Cow::Borrowed("plain")));
    }

    #[test]
    fn a_key_that_says_two_things_is_refused() {
        let read = |text: &str| serde_json::from_str::<Unambiguous>(text).map(|value| value.0);
        assert_eq!(read(r#"{"a":1,"a":1}"#).unwrap(), json!({"a": 1}));
        assert!(
            read(r#"{"x":[{"a":1,"a":2}]}"#).unwrap_err().to_string().contains("two different")
        );
    }
}
