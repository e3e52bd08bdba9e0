//! Texts that a plan must not contain for people whom they may harm.

use regimen_common::lexicon::token::tokens;
use regimen_common::safety::Code;
use serde_json::Value;

use super::texts;
use super::violation::Violation;
use crate::plan::needs::Needs;

/// Word stems about counting calories and losing weight, in plain letters, in the most
/// common languages of plans.
const COUNTING: [&str; 6] = ["calori", "kalori", "kcal", "deficit", "defizit", "kilokal"];

/// No text, numeric fields aside, may count calories for people with an eating disorder.
pub(super) fn check(json: &Value, needs: &Needs, violations: &mut Vec<Violation>) {
    if !needs.cautions.contains(&Code::EatingDisorder) {
        return;
    }
    texts::all(json, &mut |text| {
        let words = tokens(text.text);
        let counting = words
            .iter()
            .filter_map(|token| token.word())
            .find(|word| COUNTING.iter().any(|stem| word.starts_with(stem)));
        if let Some(word) = counting {
            let what = word.chars().take(40).collect();
            violations.push(Violation::Sensitive { at: text.pointer(), what });
        }
    });
}
