//! Every setting there is, as `.env.example` has them; tests hold it against
//! what the binaries read.

use std::collections::BTreeSet;

const ENV_EXAMPLE: &str = include_str!("../../../.env.example");

/// The settings of `binary` (ingress or worker), or of both where nothing is
/// said. The file is divided by lines that read `#### both`, `#### ingress` and
/// `#### worker`.
pub fn documented(binary: Option<&str>) -> BTreeSet<&'static str> {
    let mut section = "";
    let mut names = BTreeSet::new();
    for line in ENV_EXAMPLE.lines() {
        if let Some(heading) = line.strip_prefix("#### ") {
            section = heading.trim();
        } else if (section == "both" || binary.is_none_or(|binary| section == binary))
            && let Some(name) = assignment(line)
        {
            names.insert(name);
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
