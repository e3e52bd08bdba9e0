//! The foods of a plan, checked against allergies, dislikes and diets.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regimen_common::food::{
    Avoid, Found, Register, Style, Trait, Traits, Words, find, names_known,
};
use regimen_common::lexicon::token::{plain, tokens};
use serde_json::Value;

use super::texts::{self, Text};
use super::violation::Violation;
use crate::plan::needs::{ENGLISH, Needs};
use crate::plan::{MealPlan, Plan};

/// The mildest form of intermittent fasting, twelve hours without food; the
/// prompt asks for less.
const EATING_WINDOW_HOURS: f64 = 12.0;

/// Looks at every text that may name food, and at all texts for what does not
/// belong in a plan.
pub(super) fn check(plan: &Plan, json: &Value, needs: &Needs, violations: &mut Vec<Violation>) {
    check_foreign(json, violations);
    if nothing_to_avoid(needs) {
        return;
    }
    check_names(plan, needs, violations);
    texts::about_food(plan, json, &mut |text| {
        let own = unquoted(text, &needs.diet_answer);
        let text = &text.with(&own);
        let words = &Words::of(text.text);
        allergens(text, words, &needs.allergies, violations);
        dislikes(text, words, &needs.dislikes, violations);
        styles(text, words, needs, violations);
    });
}

fn nothing_to_avoid(needs: &Needs) -> bool {
    needs.allergies.is_empty() && needs.dislikes.is_empty() && needs.rules.is_empty()
}

/// In another language the tables know only the EU allergens and everyday foods: each
/// food they do not know has its English name in brackets, or nobody could judge it.
fn check_names(plan: &Plan, needs: &Needs, violations: &mut Vec<Violation>) {
    let Plan::Meal(day) = plan else { return };
    if needs.language == ENGLISH {
        return;
    }
    for (index, meal) in day.meals.iter().enumerate() {
        for (number, food) in meal.foods.iter().enumerate() {
            if !(names_known(&food.name, &needs.named) || food.name.contains(['(', '（'])) {
                violations.push(Violation::Untranslated {
                    at: format!("/meals/{index}/foods/{number}/name"),
                    food: food.name.chars().take(60).collect(),
                });
            }
        }
    }
}

/// A sentence without the person's own answer in brackets or quotation marks, which
/// says what the plan keeps to ("without onion", "pork not allowed"); as long as before.
fn unquoted<'t>(text: &Text<'t>, answer: &str) -> Cow<'t, str> {
    const MARKS: [(&str, &str); 4] = [("(", ")"), ("\"", "\""), ("“", "”"), ("'", "'")];
    if answer.is_empty() || text.register() != Register::Prose {
        return Cow::Borrowed(text.text);
    }
    let quotes = MARKS.map(|(open, close)| format!("{open}{answer}{close}"));
    match quotes.iter().find(|quote| text.text.contains(quote.as_str())) {
        Some(quote) => Cow::Owned(text.text.replace(quote, &" ".repeat(quote.len()))),
        None => Cow::Borrowed(text.text),
    }
}

fn allergens(text: &Text<'_>, words: &Words, avoid: &Avoid, violations: &mut Vec<Violation>) {
    for (found, contains) in avoid.dangers_in(words, text.register()) {
        if repeats(text, &found) {
            continue;
        }
        let food = snippet(text.text, &found);
        violations.push(Violation::Allergen { at: text.pointer(), food, contains });
    }
}

fn dislikes(text: &Text<'_>, words: &Words, avoid: &Avoid, violations: &mut Vec<Violation>) {
    for (found, _) in avoid.open_in(words, text.register()) {
        if repeats(text, &found) {
            continue;
        }
        let food = snippet(text.text, &found);
        violations.push(Violation::Disliked { at: text.pointer(), food });
    }
}

fn styles(text: &Text<'_>, words: &Words, needs: &Needs, violations: &mut Vec<Violation>) {
    if needs.rules.is_empty() {
        return;
    }
    for found in words.foods(text.register(), &needs.named) {
        for rule in &needs.rules {
            let contains = rule.faults(&found);
            if !contains.is_empty() && !repeats(text, &found) {
                violations.push(Violation::Diet {
                    style: rule.style,
                    at: text.pointer(),
                    food: snippet(text.text, &found),
                    contains: contains.iter().map(Trait::name).map(str::to_owned).collect(),
                });
            }
        }
    }
}

/// Where a text names what this person must not or does not eat; not overlapping, in order.
pub(super) fn offences(text: &Text<'_>, needs: &Needs) -> Vec<Range<usize>> {
    if nothing_to_avoid(needs) {
        return Vec::new();
    }
    let own = unquoted(text, &needs.diet_answer);
    let text = &text.with(&own);
    let (words, register) = (&Words::of(text.text), text.register());
    let dangers = needs.allergies.dangers_in(words, register);
    let open = needs.dislikes.open_in(words, register);
    let mut all: Vec<Found> = dangers.into_iter().chain(open).map(|(found, _)| found).collect();
    if !needs.rules.is_empty() {
        let wrong = |found: &Found| needs.rules.iter().any(|rule| !rule.faults(found).is_empty());
        all.extend(words.foods(register, &needs.named).into_iter().filter(wrong));
    }
    all.retain(|found| !repeats(text, found));
    let mut ranges: Vec<Range<usize>> = all.into_iter().map(|found| found.range).collect();
    ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
    ranges.dedup_by(|next, kept| next.start < kept.end);
    ranges
}

/// Whether a food of this name has nothing against it for this person.
pub(super) fn may_eat(name: &str, needs: &Needs) -> bool {
    offences(&texts::name(name), needs).is_empty()
}

/// Whether a portion only repeats words of its food's name, which is looked at
/// as a whole.
fn repeats(text: &Text<'_>, found: &Found) -> bool {
    let Some(name) = text.of else { return false };
    // "3 tortillas (78 g)", "1 cup of milk", but nothing that adds another food.
    let tokens = tokens(text.text);
    let begins_anew = |at: usize| {
        tokens[..at].last().is_some_and(|before| before.word().is_none())
            && !tokens[at].word().is_none_or(|word| word.starts_with(|c: char| c.is_numeric()))
    };
    let adds = (0..tokens.len()).any(|at| {
        begins_anew(at) || matches!(tokens[at].word(), Some("and" | "with" | "plus" | "or"))
    });
    if adds {
        return false;
    }
    let name = plain(name);
    let portion = plain(text.text.get(found.range.clone()).unwrap_or(text.text));
    portion.split(' ').all(|word| {
        let word = word.trim_end_matches('s');
        name.split(' ').any(|own| own.trim_end_matches('s') == word)
    })
}

/// The food as the plan writes it; `range` is always on character boundaries.
fn snippet(text: &str, found: &Found) -> String {
    text.get(found.range.clone()).unwrap_or(text).chars().take(60).collect()
}

/// Signs that a reply followed somebody else's instructions, or repeats ours.
const FOREIGN: &[&str] = &[
    "http://",
    "https://",
    "www.",
    "<script",
    "<iframe",
    "<img",
    "<svg",
    "</",
    "javascript:",
    "regimen-targets",
    "ignore previous",
    "ignore all previous",
    "previous instructions",
    "system prompt",
    "as an ai",
    "language model",
    "```",
];

fn check_foreign(json: &Value, violations: &mut Vec<Violation>) {
    static SIGNS: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(FOREIGN).ok());
    texts::all(json, &mut |text| {
        let found = SIGNS.as_ref().and_then(|signs| signs.find(text.text));
        if let Some(found) = found {
            let what = FOREIGN[found.pattern().as_usize()].to_owned();
            violations.push(Violation::Foreign { at: text.pointer(), what });
        }
    });
}

/// The times of the meals, where a way of eating limits them.
pub(super) fn check_times(day: &MealPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    if !needs.diet.has(Style::Fasting) {
        return;
    }
    let times: Vec<f64> = day.meals.iter().filter_map(|meal| hour(&meal.meal_timing)).collect();
    let first = times.iter().copied().fold(f64::INFINITY, f64::min);
    let last = times.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if last - first > EATING_WINDOW_HOURS {
        violations
            .push(Violation::EatingWindow { hours: last - first, limit: EATING_WINDOW_HOURS });
    }
}

/// Meat and milk in one meal, where the way of eating keeps them apart.
pub(super) fn check_together(day: &MealPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    const MEAT: Traits = Traits::of(&[Trait::Meat]);
    const MILK: Traits = Traits::of(&[Trait::Milk]);
    if !needs.diet.has(Style::Kosher) {
        return;
    }
    for (index, meal) in day.meals.iter().enumerate() {
        let with = |traits: Traits| {
            meal.foods.iter().find(|food| {
                let found = find(&food.name, Register::Listed, &needs.named);
                found.iter().any(|found| !found.open.or(found.hidden).and(traits).is_empty())
            })
        };
        if let (Some(meat), Some(milk)) = (with(MEAT), with(MILK)) {
            let food: String =
                format!("{} and {}", meat.name, milk.name).chars().take(80).collect();
            violations.push(Violation::Diet {
                style: Style::Kosher,
                at: format!("/meals/{index}"),
                food,
                contains: vec!["meat and milk in one meal".to_owned()],
            });
        }
    }
}

/// The hour in "08:00", "8 am", "7:30 PM"; none for anything else.
fn hour(text: &str) -> Option<f64> {
    let text = text.trim().to_lowercase();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == ':')).unwrap_or(text.len());
    let (clock, rest) = text.split_at(end);
    let (hours, minutes) = clock.split_once(':').unwrap_or((clock, "0"));
    let hours: f64 = hours.parse().ok()?;
    let minutes: f64 = minutes.parse().ok()?;
    let noon = match rest.trim_start() {
        rest if rest.starts_with("pm") || rest.starts_with("p.m") => hours < 12.0,
        rest if rest.starts_with("am") || rest.starts_with("a.m") => {
            return Some(hours % 12.0 + minutes / 60.0);
        }
        _ => false,
    };
    (hours < 24.0).then_some(hours + if noon { 12.0 } else { 0.0 } + minutes / 60.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        for (text, expected) in [
            ("08:00", Some(8.0)),
            ("7:30 PM", Some(19.5)),
            ("12 pm", Some(12.0)),
            ("12:15 am", Some(0.25)),
            ("18:00-19:00", Some(18.0)),
            ("after training", None),
            ("", None),
        ] {
            assert_eq!(hour(text), expected, "{text}");
        }
    }
}
