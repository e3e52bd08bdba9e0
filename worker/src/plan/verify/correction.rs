//! The one correction request: every violation with its place and the correct
//! value, worst first, bounded in length.

use super::violation::Violation;
use crate::prompts;

/// Longest correction text, in characters.
pub const LIMIT_CHARS: usize = 3_000;
/// Longest line of it; snippets are bounded where they are taken.
const LINE_CHARS: usize = 400;

/// Formulates the violations for the provider, with `advice` about them.
pub fn correction(violations: &[Violation], advice: &[String]) -> String {
    let mut sorted: Vec<_> = violations.iter().collect();
    sorted.sort_by_key(|violation| std::cmp::Reverse(violation.severity()));
    let mut lines: Vec<String> = Vec::new();
    let mut room = LIMIT_CHARS - prompts::CORRECTION.chars().count() - 40;
    let mut left = 0;
    let told = sorted.into_iter().map(|violation| format!("- {violation}"));
    for line in told.chain(advice.iter().map(|line| format!("- {line}"))) {
        let line: String = line.replace(['\n', '\r'], " ").chars().take(LINE_CHARS).collect();
        let length = line.chars().count() + 1;
        if lines.contains(&line) {
            continue;
        }
        if length > room {
            left += 1;
            continue;
        }
        room -= length;
        lines.push(line);
    }
    if left > 0 {
        lines.push(format!("- and {left} more of these kinds"));
    }
    prompts::CORRECTION.replace("{violations}", &lines.join("\n"))
}
