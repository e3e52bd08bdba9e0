//! Enums with one spelling for SQL, JSON, URLs and logs.

/// A name that a type does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a {what}; known are: {known}")]
pub struct UnknownName {
    what: &'static str,
    found: String,
    known: String,
}

impl UnknownName {
    /// `found` is not among the `known` names of a `what`.
    pub fn new(what: &'static str, found: &str, known: &[&str]) -> Self {
        Self { what, found: found.chars().take(40).collect(), known: known.join(", ") }
    }
}

/// Implements an enum with one spelling for SQL, JSON, URLs and logs.
macro_rules! named {
    ($type:ident, $what:literal, { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Every value's spelling, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The one spelling used in SQL, JSON, URLs and logs.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::named::UnknownName;

            fn from_str(text: &str) -> Result<Self, $crate::named::UnknownName> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err($crate::named::UnknownName::new($what, text, Self::NAMES)),
                }
            }
        }
    };
}

pub(crate) use named;
