//! Compares `.env.example` with the config structs, so that each has every
//! variable of the other.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::Env;

/// Which part of `.env.example` belongs to which binary. The file is divided by
/// lines that read `#### both`, `#### ingress` and `#### worker`.
///
/// # Panics
/// The variables `asked` for and those documented for `binary` differ.
pub fn assert_documented(binary: &str, asked: &Env) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.env.example");
    let text = std::fs::read_to_string(&path).expect(".env.example stands at the repository's top");
    let documented = documented(&text, binary);
    let asked: BTreeSet<String> = asked.asked().iter().map(|&name| name.to_owned()).collect();
    let missing: Vec<_> = asked.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&asked).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        ".env.example and the {binary}'s settings differ: not documented {missing:?}, documented but never read {stale:?}"
    );
}

fn documented(text: &str, binary: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("#### ") {
            section = heading.trim();
        } else if (section == "both" || section == binary)
            && let Some(name) = assignment(line)
        {
            names.insert(name.to_owned());
        }
    }
    names
}

/// `NAME=value`, also behind a `#` directly before the name.
fn assignment(line: &str) -> Option<&str> {
    let (name, _) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some(name)
}
