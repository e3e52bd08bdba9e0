//! Writes the bound addresses to a file once the process is ready.
//!
//! The file is renamed into place, so its existence is the signal that the
//! process is ready.

use std::io;
use std::path::Path;

/// Writes `KEY=VALUE` lines to `path`.
///
/// # Errors
/// The file could not be written.
pub fn write(path: &Path, entries: &[(&str, String)]) -> io::Result<()> {
    let text: String = entries.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text)?;
    std::fs::rename(draft, path)
}
