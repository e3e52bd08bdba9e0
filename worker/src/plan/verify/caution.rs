//! Texts that a plan must not contain for people whom they may harm.

use regimen_common::lexicon::token::tokens;
use regimen_common::safety::Code;
use serde_json::Value;

use super::texts;
use super::violation::Violation;
use crate::plan::Plan;
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
        if let Some(what) = counting(text.text) {
            violations.push(Violation::Sensitive { at: text.pointer(), what });
        }
    });
}

/// Removes the tips that count calories, for the same people; says how many. A plan keeps
/// at least one tip of its own.
pub(super) fn drop_tips(plan: &mut Plan, needs: &Needs) -> usize {
    if !needs.cautions.contains(&Code::EatingDisorder) {
        return 0;
    }
    let harmless = |tip: &String| counting(tip).is_none();
    let mut dropped = 0;
    let mut retain = |tips: &mut Vec<String>| {
        let before = tips.len();
        tips.retain(harmless);
        dropped += before - tips.len();
    };
    let own = match plan {
        Plan::Meal(day) => {
            day.meals.iter_mut().for_each(|meal| retain(&mut meal.tips));
            &mut day.personalized_tips
        }
        Plan::Workout(week) => &mut week.personalized_tips,
    };
    if own.iter().any(harmless) {
        retain(own);
    }
    dropped
}

/// A word that counts calories or speaks of losing weight.
fn counting(text: &str) -> Option<String> {
    let words = tokens(text);
    let word = words
        .iter()
        .filter_map(|token| token.word())
        .find(|word| COUNTING.iter().any(|stem| word.starts_with(stem)))?;
    Some(word.chars().take(40).collect())
}
