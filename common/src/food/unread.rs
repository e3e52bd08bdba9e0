//! The words of a person's answers about food that were not understood, for the
//! response, the job and the plan.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Avoid, Diet};
use crate::quiz::Quiz;

/// A warning about an answer: words that were not understood, or an adjustment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Unread {
    /// The answer, as an RFC 6901 pointer into the request.
    #[schema(example = "/answers/foodAllergies")]
    pub pointer: String,
    /// The words, in plain letters; none for an adjusted answer.
    pub words: Vec<String>,
    /// The consequence for the plan, for people.
    #[schema(
        example = "These words were not understood. The plan is checked for them as they are written, and for nothing they may mean: name the foods in other words."
    )]
    pub text: String,
}

/// The highest number of words shown per answer.
const MOST_WORDS: usize = 20;
/// A longer word is cut.
const MOST_CHARS: usize = 60;

/// The words of these answers that were not understood.
pub fn unread(quiz: &Quiz) -> Vec<Unread> {
    let allergies = Avoid::allergies(quiz.food_allergies.as_deref().unwrap_or_default());
    let diet = Diet::read(&quiz.dietary_style);
    let allergies = warning(
        "/answers/foodAllergies",
        allergies.unread(),
        "These words were not understood. The plan is checked for them as they are written, and \
         for nothing else they may mean: name the foods in other words.",
    );
    let diet = warning(
        "/answers/dietaryStyle",
        diet.unread(),
        "The plan is asked for in this style, but is not checked against these words: no rule is \
         known for them. Name the foods to leave out under foodAllergies or dislikedFoods.",
    );
    [allergies, diet].into_iter().flatten().collect()
}

fn warning(pointer: &str, words: &[String], text: &str) -> Option<Unread> {
    let mut shown: Vec<String> = Vec::new();
    for word in words {
        let word: String = word.chars().take(MOST_CHARS).collect();
        if !shown.contains(&word) && shown.len() < MOST_WORDS {
            shown.push(word);
        }
    }
    (!shown.is_empty()).then(|| Unread {
        pointer: pointer.to_owned(),
        words: shown,
        text: text.to_owned(),
    })
}
