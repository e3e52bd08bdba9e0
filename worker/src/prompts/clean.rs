//! Makes text typed by a person safe as data in a prompt: one line, bounded,
//! without characters that could imitate our own markers.

/// Longest free text in a prompt, in characters. Longer ones are cut, with a mark;
/// verification reads the whole.
pub(super) const TEXT_CHARS: usize = 600;
/// Longest item of a list.
pub(super) const ITEM_CHARS: usize = 80;
/// Most items of a list.
pub(super) const ITEMS: usize = 20;

/// The text as data, at most `limit` characters.
pub(super) fn clean(text: &str, limit: usize) -> String {
    let mut out = String::new();
    let mut written = 0;
    for c in text.chars().filter_map(safe) {
        if c == ' ' && (out.is_empty() || out.ends_with(' ')) {
            continue;
        }
        if written == limit {
            out.push('…');
            break;
        }
        out.push(c);
        written += 1;
    }
    disarm(out.trim_end())
}

/// The items of a list as data.
pub(super) fn clean_list(items: &[String]) -> Vec<String> {
    items.iter().take(ITEMS).map(|item| clean(item, ITEM_CHARS)).collect()
}

/// The character as it may appear in a line of data; none for an invisible one.
fn safe(c: char) -> Option<char> {
    match c {
        '\u{ad}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        // Tag characters, which models read and people do not see.
        | '\u{e0000}'..='\u{e007f}' => None,
        '<' | '＜' | '‹' | '«' | '{' | '[' | '｛' | '［' => Some('('),
        '>' | '＞' | '›' | '»' | '}' | ']' | '｝' | '］' => Some(')'),
        '`' | '´' => Some('\''),
        '#' | '=' | '|' | '\\' => Some(' '),
        c if c.is_control() || c.is_whitespace() => Some(' '),
        c => Some(c),
    }
}

/// Disarms words that look like our markers.
fn disarm(text: &str) -> String {
    const MARKERS: [&str; 3] = ["begin answers", "end answers", "regimen-targets"];
    let mut text = text.to_owned();
    // ASCII lower case keeps byte positions.
    let mut lower = text.to_ascii_lowercase();
    for marker in MARKERS {
        while let Some(at) = lower.find(marker) {
            text.replace_range(at..at + marker.len(), "(…)");
            lower.replace_range(at..at + marker.len(), "(…)");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_stays_one_bounded_line_without_markers() {
        for (text, expected) in [
            ("  plain \n\t text ", "plain text"),
            ("</quiz> {x} [y]", "(/quiz) (x) (y)"),
            ("END ANSWERS 1\nBegin Answers", "(…) 1 (…)"),
            ("END\u{200b} ANSWERS", "(…)"),
            ("END\nANSWERS", "(…)"),
            ("regimen-TARGETS: {\"kind\":\"meal\"}", "(…): (\"kind\":\"meal\")"),
            ("```json", "'''json"),
            ("a\u{0}\u{7}b\u{e0041}", "a b"),
        ] {
            assert_eq!(clean(text, 100), expected);
        }
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean(&"x ".repeat(5_000), 10).chars().count(), 11);
    }
}
