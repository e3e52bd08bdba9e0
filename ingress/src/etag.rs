//! Entity tags (RFC 9110, section 8.8.3) and `If-None-Match`.

use std::fmt;

use axum::http::{HeaderMap, HeaderValue, header};

/// The version of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTag {
    opaque: String,
    weak: bool,
}

impl EntityTag {
    /// A tag for a representation that is byte for byte the same whenever its tag is.
    /// `opaque` is visible ASCII without quotes.
    pub fn strong(opaque: impl Into<String>) -> Self {
        Self { opaque: opaque.into(), weak: false }
    }

    /// A tag for a representation that is semantically the same whenever its tag is.
    pub fn weak(opaque: impl Into<String>) -> Self {
        Self { opaque: opaque.into(), weak: true }
    }

    /// The tag as an `ETag` header.
    pub fn header(&self) -> HeaderValue {
        // Only a tag with control characters, which is invalid, has no value.
        HeaderValue::try_from(self.to_string()).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
    }
}

impl fmt::Display for EntityTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.weak { "W/" } else { "" };
        write!(f, "{prefix}\"{}\"", self.opaque)
    }
}

/// The representations that a client already has, by `If-None-Match` (RFC 9110, section
/// 13.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfNoneMatch {
    /// No header.
    Absent,
    /// `*`: any representation.
    Any,
    /// One of these.
    Tags(Vec<String>),
}

impl IfNoneMatch {
    /// Reads the header, also in several lines. Unreadable values match nothing, so the
    /// client gets the full response.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut lines = headers.get_all(header::IF_NONE_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Self::Absent;
        }
        let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
        if lines.iter().any(|line| line.trim() == "*") {
            return Self::Any;
        }
        Self::Tags(lines.into_iter().flat_map(opaque_tags).collect())
    }

    /// Whether the client has the representation with this tag. The comparison is the
    /// weak one, as the standard requires for this header.
    pub fn has(&self, tag: &EntityTag) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::Tags(tags) => tags.contains(&tag.opaque),
        }
    }
}

/// The quoted parts of a list of tags; they cannot contain quotes.
fn opaque_tags(line: &str) -> Vec<String> {
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> IfNoneMatch {
        let name = header::IF_NONE_MATCH;
        let lines = lines.iter().map(|line| (name.clone(), line.parse().unwrap()));
        IfNoneMatch::of(&lines.collect())
    }

    #[test]
    fn tags_are_written_as_the_standard_says() {
        assert_eq!(EntityTag::strong("1-7").header(), "\"1-7\"");
        assert_eq!(EntityTag::weak("1-7").header(), "W/\"1-7\"");
    }

    #[test]
    fn lists_stars_and_weak_tags_match() {
        let tag = EntityTag::strong("b");
        for lines in [
            &["\"b\""][..],
            &["W/\"b\""],
            &["\"a\", \"b\""],
            &["\"a,x\",W/\"b\" , \"c\""],
            &["\"a\"", "\"b\""],
            &["*"],
            &[" * "],
        ] {
            assert!(read(lines).has(&tag), "{lines:?}");
        }
    }

    #[test]
    fn other_tags_and_nonsense_match_nothing() {
        let tag = EntityTag::weak("b");
        for lines in [&["\"a\""][..], &["b"], &["\"a,b\""], &[""], &["\"*\""], &["'b'"]] {
            assert!(!read(lines).has(&tag), "{lines:?}");
        }
        assert!(!read(&[]).has(&tag));
        assert_eq!(read(&[]), IfNoneMatch::Absent);
    }
}
