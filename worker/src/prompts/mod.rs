//! Prompt texts, versioned, with quiz text delimited as data.
