//! `cargo xtask figures`: collects the figures that tests print about unusual
//! replies and answers. It measures nothing itself.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::session::Session;
use regimen_devtools::process::{Output, Process, ProcessError};

/// The prefix of a line with a figure.
const MARK: &str = "figures: ";
/// The tests that print figures, and how many lines each prints.
const TESTS: [(&str, usize); 9] = [
    ("allergens_declared_in_any_language_are_kept_out_in_it_and_in_english", 1),
    ("calls_per_plan_while_three_replies_in_ten_are_odd", 1),
    ("calls_per_plan_while_three_replies_in_ten_have_a_forbidden_food", 1),
    ("measures_are_read_right_or_refused", 1),
    ("planted_figures_of_a_thousand_plans_are_mended_or_told", 1),
    ("real_foods_are_not_found_wrong_and_planted_figures_mostly_are", 1),
    ("what_people_answer_keeps_foods_out_and_lets_others_in", 1),
    ("what_people_declare_in_their_language_is_kept_out_in_it_and_in_english", LANGUAGES + 1),
    ("what_people_declare_keeps_them_from_what_they_must_not_eat_and_from_little_else", 1),
];
/// A line for each language, one for answers in several and one for the foods of USDA.
const LANGUAGES: usize = 51;

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FiguresError {
    /// The tests do not compile, or one of them failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The log of the tests cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A test was renamed or no longer prints its figures.
    #[error("{found} figures instead of {expected}; see {}", log.display())]
    Missing {
        /// The number of lines found.
        found: usize,
        /// The expected number.
        expected: usize,
        /// The log of the tests.
        log: PathBuf,
    },
}

/// Runs the tests and prints their figures.
///
/// # Errors
/// A test failed, or a figure is missing.
pub(crate) fn run(session: &Session) -> Result<ExitCode, FiguresError> {
    let path = session.workspace.place("figures.log");
    let failed = |source| FiguresError::Log { path: path.clone(), source };
    // Emptied first, because a log is appended to.
    std::fs::write(&path, "").map_err(failed)?;
    session.say("running the tests that print figures");
    let mut test = session.workspace.cargo();
    test.args(["test", "--workspace", "--no-fail-fast", "--", "--nocapture"]);
    test.args(TESTS.map(|(name, _)| name));
    Process::run(session, "cargo test", test, Output::Log(&path))?;

    let log = std::fs::read_to_string(&path).map_err(failed)?;
    let figures: Vec<&str> = figures(&log).collect();
    let expected = TESTS.iter().map(|(_, lines)| lines).sum();
    if figures.len() != expected {
        let found = figures.len();
        return Err(FiguresError::Missing { found, expected, log: path });
    }
    let mut out = std::io::stdout().lock();
    // Fails only if the reader has closed the pipe.
    let _ = figures.iter().try_for_each(|figure| writeln!(out, "{figure}"));
    Ok(ExitCode::SUCCESS)
}

/// The figures in the tests' output; the name of a test may precede one.
fn figures(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter_map(|line| line.split_once(MARK)).map(|(_, figure)| figure)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_wherever_they_stand_in_a_line() {
        let log = "test a ... figures: 1 of 2\nok\nfigures: 3\nother";
        assert_eq!(figures(log).collect::<Vec<_>>(), ["1 of 2", "3"]);
    }
}
