//! Prints the findings as a table and writes them to a file.

use std::io::{self, Write};
use std::path::Path;

use super::check::Line;

/// Whether every promise was kept.
pub(super) fn all_kept(lines: &[Line]) -> bool {
    lines.iter().all(|line| line.kept)
}

/// Writes the report into a file and prints it.
///
/// # Errors
/// The file cannot be written.
pub(super) fn publish(path: &Path, heading: &str, lines: &[Line]) -> io::Result<()> {
    let text = text(heading, lines);
    std::fs::write(path, &text)?;
    // Fails only if the reader has closed the pipe.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn text(heading: &str, lines: &[Line]) -> String {
    let row = |line: &Line| {
        let promise = line.promise.unwrap_or_default();
        let verdict = match (line.promise, line.kept) {
            (None, _) => "",
            (Some(_), true) => "kept",
            (Some(_), false) => "BROKEN",
        };
        format!("| {} | {} | {promise} | {verdict} |\n", line.what, line.value)
    };
    let rows: String = lines.iter().map(row).collect();
    let mut text = format!("{heading}\n\n| what | found | promised | |\n|---|---|---|---|\n{rows}");
    for line in lines.iter().filter(|line| !line.examples.is_empty()) {
        text.push_str(&format!("\n{}, for example:\n\n", line.what));
        line.examples.iter().for_each(|example| text.push_str(&format!("- {example}\n")));
    }
    text
}
