//! Errors of a set of answers, with their places.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

/// One invalid answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct QuizProblem {
    /// Its RFC 6901 pointer relative to the answers object, e.g. `/height/cm`; empty for
    /// the object itself.
    #[schema(example = "/height/cm")]
    pub pointer: String,
    /// What is wrong and what would be valid. Only for the sender, because it may quote
    /// readings of the answer.
    #[schema(example = "must be between 100 and 275 cm")]
    pub message: String,
}

/// Invalid answers, with all errors at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidQuiz {
    /// At least one, at most one per pointer, in no particular order.
    pub problems: Vec<QuizProblem>,
}

impl fmt::Display for InvalidQuiz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Places only: messages may quote the answers, and this text may be stored.
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

/// Collects errors: one per pointer (the first is the most basic one), up to a readable
/// number.
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

    /// `value`, unless there was an error.
    pub(super) fn or<T>(self, value: T) -> Result<T, InvalidQuiz> {
        if self.0.is_empty() { Ok(value) } else { Err(InvalidQuiz { problems: self.0 }) }
    }
}
