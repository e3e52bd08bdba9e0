//! Removes markup from the texts of a reply: the app shows them as they are, so
//! HTML would be executed and Markdown shown as stars and hashes.
//!
//! Executable markup stays for [`super::verify`] to refuse, because a reply
//! with a script followed injected instructions.

use serde_json::Value;

/// Tags that never belong in a text.
const ACTIVE: [&str; 10] =
    ["script", "iframe", "object", "embed", "style", "svg", "img", "link", "meta", "form"];

/// Makes every text of a plan plain.
pub(super) fn texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(plain) = plain(text) {
                *text = plain;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(texts),
        Value::Object(members) => members.values_mut().for_each(texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The text without markup; none if it has none.
fn plain(text: &str) -> Option<String> {
    let marked = |c: char| matches!(c, '<' | '&' | '*' | '_' | '`' | '#' | '[') || is_unseen(c);
    if !text.contains(marked) {
        return None;
    }
    let text: String = text.chars().filter(|c| !is_unseen(*c)).collect();
    let text = without_entities(&without_tags(&text));
    let text = without_links(&without_headings(&text));
    let text =
        ["**", "__", "*", "_", "`"].iter().fold(text, |text, mark| without_pairs(&text, mark));
    Some(text.trim().to_owned())
}

/// Invisible characters, except those that join letters of Persian, Indic scripts and
/// emoji.
fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e0000}'..='\u{e007f}' | '\u{fff9}'..='\u{fffb}')
}

/// "<b>Oats</b>" is "Oats"; "< 5 g" stays.
fn without_tags(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        match tag(rest) {
            Some((name, length)) if !is_active(&rest[..length], &name) => {
                if matches!(name.as_str(), "br" | "p" | "li" | "div")
                    && !out.is_empty()
                    && !out.ends_with([' ', '\n'])
                {
                    out.push(' ');
                }
                rest = &rest[length..];
            }
            _ => {
                out.push('<');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The name and length of the tag or comment at the start of `text`.
fn tag(text: &str) -> Option<(String, usize)> {
    let end = text.find('>')? + 1;
    let inside = text[1..end - 1].trim_start_matches('/');
    let name: String = inside.chars().take_while(char::is_ascii_alphanumeric).collect();
    let comment = inside.starts_with("!--");
    let begins = inside.starts_with(|c: char| c.is_ascii_alphabetic());
    (comment || (begins && end <= 200)).then(|| (name.to_ascii_lowercase(), end))
}

fn is_active(tag: &str, name: &str) -> bool {
    let lower = tag.to_ascii_lowercase();
    ACTIVE.contains(&name) || lower.contains("javascript:") || lower.contains(" on")
}

fn without_entities(text: &str) -> String {
    const ENTITIES: [(&str, &str); 6] = [
        ("&nbsp;", " "),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&apos;", "'"),
        ("&deg;", "°"),
        // Last, so that nothing is decoded twice; "&lt;" stays unchanged.
        ("&amp;", "&"),
    ];
    ENTITIES.iter().fold(text.to_owned(), |text, (entity, plain)| text.replace(entity, plain))
}

/// "## Step 1" is "Step 1".
fn without_headings(text: &str) -> String {
    let lines = text.split('\n').map(|line| {
        let rest = line.trim_start().trim_start_matches('#');
        let hashes = line.trim_start().len() - rest.len();
        if (1..=6).contains(&hashes) && rest.starts_with(' ') { rest.trim_start() } else { line }
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// "[oats](page)" is "oats", unless the page is on another site, which is refused.
fn without_links(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('[') {
        let link = rest[at..].find("](").and_then(|middle| {
            let end = rest[at + middle..].find(')')?;
            Some((
                &rest[at + 1..at + middle],
                &rest[at + middle + 2..at + middle + end],
                middle + end,
            ))
        });
        match link {
            Some((label, target, length)) if !target.contains(':') && !label.contains('[') => {
                out.push_str(&rest[..at]);
                out.push_str(label);
                rest = &rest[at + length + 1..];
            }
            _ => {
                out.push_str(&rest[..=at]);
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Removes pairs of a mark around a text: "**warm** it", not "2 * 3 * 4".
fn without_pairs(text: &str, mark: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(mark) {
        let after = &rest[at + mark.len()..];
        let before_is_word = rest[..at].ends_with(char::is_alphanumeric);
        let close = after.find(mark).filter(|close| {
            let inner = &after[..*close];
            let hugs = !inner.is_empty()
                && !inner.starts_with(char::is_whitespace)
                && !inner.ends_with(char::is_whitespace)
                && !inner.contains('\n');
            hugs && !(mark.starts_with('_') && before_is_word)
        });
        out.push_str(&rest[..at]);
        match close {
            Some(close) => {
                out.push_str(&after[..close]);
                rest = &after[close + mark.len()..];
            }
            None => {
                out.push_str(mark);
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_taken_out_and_text_is_not() {
        for (text, expected) in [
            ("**Warm** the *oats* and `stir`", "Warm the oats and stir"),
            ("## Step 1\nHeat <b>slowly</b><br>then serve", "Step 1\nHeat slowly then serve"),
            ("[oats](#oats) & salt &amp; oil", "oats & salt & oil"),
            ("zero\u{200b} width \u{202e}and\u{202c} tags", "zero width and tags"),
            ("__bold__ snake_case_name", "bold snake_case_name"),
            ("<!-- note --><p class=\"x\">Rice</p>", "Rice"),
        ] {
            assert_eq!(plain(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "< 5 g of salt, 2 * 3 * 4 steps",
            "a < b > c",
            "5 * 10",
            "#1 choice",
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "<a onclick=\"x()\">",
            "[more](https://example.com)",
            "می\u{200c}خواهم",
            "&lt;b&gt;",
        ] {
            assert_eq!(plain(text).as_deref().unwrap_or(text), text);
        }
        assert_eq!(plain("Oats with milk"), None);
    }
}
