//! Unpaired surrogates in JSON escapes: `\ud83d` without `\ude00`.
//!
//! JavaScript produces them by cutting a text inside an emoji. JSON's grammar
//! allows them, but they are not characters, so no string can hold them.

/// Replaces an unpaired surrogate. Not a character itself.
pub(super) const MARK: char = '\u{ffff}';
const MARK_ESCAPE: &str = "\\uffff";
/// Bytes of an escape such as `\ud83d`.
const LENGTH: usize = 6;

/// The JSON `text` with every unpaired surrogate replaced by [`MARK`]; none if there is
/// none.
pub(super) fn marked(text: &str) -> Option<String> {
    let mut marked = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        marked.push_str(before);
        let length = match unit(escape) {
            Some(0xd800..=0xdbff) if is_trailing(escape.get(LENGTH..)) => 2 * LENGTH,
            Some(0xd800..=0xdfff) => {
                found = true;
                marked.push_str(MARK_ESCAPE);
                rest = escape.get(LENGTH..).unwrap_or_default();
                continue;
            }
            Some(_) => LENGTH,
            // The backslash and the escaped character, which may be missing at the end.
            None => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (kept, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        marked.push_str(kept);
        rest = after;
    }
    marked.push_str(rest);
    found.then_some(marked)
}

/// The UTF-16 code unit of an escape at the start of `text`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
}

fn is_trailing(text: Option<&str>) -> bool {
    text.and_then(unit).is_some_and(|unit| (0xdc00..=0xdfff).contains(&unit))
}
