//! Compares `.env.example` with the config structs, so that each has every
//! variable of the other.

use crate::check::documented;
use crate::config::Env;

/// Compares what `binary` asked for with what the file says it reads.
///
/// # Panics
/// The variables `asked` for and those documented for `binary` differ.
pub fn assert_documented(binary: &str, asked: &Env) {
    let documented = documented(Some(binary));
    let missing: Vec<_> = asked.asked().difference(&documented).collect();
    let stale: Vec<_> = documented.difference(asked.asked()).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        ".env.example and the {binary}'s settings differ: not documented {missing:?}, documented but never read {stale:?}"
    );
}
