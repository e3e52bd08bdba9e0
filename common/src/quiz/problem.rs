//! Errors of a set of answers, with their places.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// One answer that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuizProblem {
    /// Where, as an RFC 6901 pointer relative to the answers object, e.g.
    /// `/height/cm`; empty for the object itself.
    #[schema(example = "/height/cm")]
    pub pointer: String,
    /// What is wrong there and what would be right. For the sender only: it may
    /// say in which ways the answer can be read.
    #[schema(example = "must be between 100 and 275 cm")]
    pub message: String,
}

/// Answers that cannot be used, with every reason at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidQuiz {
    /// At least one, at most one for each pointer, in no particular order.
    pub problems: Vec<QuizProblem>,
}

impl fmt::Display for InvalidQuiz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only where: messages may tell of the answers, and this text may be kept.
        f.write_str("the quiz answers cannot be used; wrong or missing:")?;
        for (n, QuizProblem { pointer, .. }) in self.problems.iter().enumerate() {
            let separator = if n == 0 { "" } else { "," };
            let place = if pointer.is_empty() { "the answers" } else { pointer };
            write!(f, "{separator} {place}")?;
        }
        Ok(())
    }
}

impl std::error::Error for InvalidQuiz {}

/// Gathers problems: one for each pointer (the first is the most basic one),
/// and no more than a person would read.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<QuizProblem>);

impl Problems {
    const MAX: usize = 100;

    pub(super) fn add(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        let pointer = pointer.into();
        if self.0.len() < Self::MAX && self.0.iter().all(|known| known.pointer != pointer) {
            self.0.push(QuizProblem { pointer, message: message.into() });
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= Self::MAX
    }

    /// `value`, unless there was a problem.
    pub(super) fn or<T>(self, value: T) -> Result<T, InvalidQuiz> {
        if self.0.is_empty() { Ok(value) } else { Err(InvalidQuiz { problems: self.0 }) }
    }
}
