//! Prompt texts, versioned, with quiz text delimited as data.
//!
//! The texts are separate files beside this one. What a person typed reaches a
//! prompt only through `clean`, between two lines with the job's id, which the
//! person cannot know. The line `REGIMEN-TARGETS: {json}` comes last and
//! contains only our own data.

mod answers;
mod clean;
#[cfg(test)]
mod tests;
pub mod words;

use regimen_common::food::Style;
use regimen_common::job::PlanKind;
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_common::safety::Code;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::plan::needs::{Band, ENGLISH, Needs};
use crate::plan::training::Region;
use clean::{clean, clean_list};

/// The version of all texts here, stored with every attempt. Increase it with every
/// change of a text.
pub const VERSION: &str = "2026-11-2";

/// The correction request; `{violations}` is replaced.
pub const CORRECTION: &str = include_str!("correction.txt");

/// An upper bound of our own part of a prompt, bytes: rules, task, the names of the
/// answers, numbers, foods and body parts.
const OURS: usize = 12 * 1024;
/// A person's text is in the answers, and partly in the targets, where JSON may double it
/// and a mark may follow a cut.
const SHARE: usize = 4;
/// The longest number in place of a text, bytes.
const NUMBER: usize = 26;

const SYSTEM: &str = include_str!("system.txt");
const MEAL: &str = include_str!("meal.txt");
const WORKOUT: &str = include_str!("workout.txt");

/// Instructions for people with one of these cautions.
const CAUTIOUS: [(&[Code], &str); 3] = [
    (
        &[
            Code::Under18,
            Code::Pregnancy,
            Code::Breastfeeding,
            Code::EatingDisorder,
            Code::Diabetes,
            Code::Kidney,
            Code::Heart,
        ],
        "\n- The plan is gentle and cautious; exactly one tip advises to talk to a doctor first.",
    ),
    (
        &[
            Code::Under18,
            Code::Pregnancy,
            Code::Breastfeeding,
            Code::Underweight,
            Code::TargetUnderweight,
            Code::GoalContradiction,
            Code::EatingDisorder,
        ],
        "\n- The plan is not for losing weight, whatever the answers say: no text speaks of a calorie \
         deficit or of losing weight.",
    ),
    (
        &[Code::EatingDisorder],
        "\n- Tips and other texts do not mention calories, weight or burning off food; numbers \
         stand in their fields only.",
    ),
];

/// Plans are verified by the English names of foods and exercises.
const TRANSLATION: &str = " The name of each food, of each item of the shopping list and of each \
                           exercise has its English name in brackets behind it, as in \
                           \"Haferflocken (rolled oats)\". Values the schema lists stay as they are.";

/// The texts of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTexts {
    /// The rules.
    pub system: String,
    /// The task, the person's answers as data, and the targets.
    pub user: String,
}

/// The prompt for one job. The same arguments give the same text.
pub fn build(
    kind: PlanKind,
    quiz: &Quiz,
    nutrition: &Nutrition,
    needs: &Needs,
    seed: Uuid,
) -> PromptTexts {
    let task = match kind {
        PlanKind::Meal => meal_task(needs),
        PlanKind::Workout => WORKOUT
            .replace("{days}", &training_days(needs).to_string())
            .replace("{more}", &cautions(needs)),
    };
    let answers = answers::lines(quiz, nutrition);
    let targets = targets(kind, quiz, needs, seed);
    PromptTexts {
        system: system(needs, seed),
        user: format!(
            "{task}\nBEGIN ANSWERS {seed}\n{answers}END ANSWERS {seed}\n\nREGIMEN-TARGETS: {targets}\n"
        ),
    }
}

/// An upper bound of a prompt with these `answers`, system and user text together, bytes.
/// Much cheaper than building one.
pub fn most_bytes(answers: &Value) -> usize {
    OURS + SHARE * text_bytes(answers)
}

fn text_bytes(answers: &Value) -> usize {
    match answers {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        Value::Number(_) => NUMBER,
        Value::Null | Value::Bool(_) => 0,
    }
}

fn system(needs: &Needs, seed: Uuid) -> String {
    let translation = if needs.language == ENGLISH { "" } else { TRANSLATION };
    SYSTEM
        .replace("{id}", &seed.to_string())
        .replace("{language}", needs.language)
        .replace("{translation}", translation)
}

fn meal_task(needs: &Needs) -> String {
    let grams = |band: Band| format!("{:.0}", band.target);
    let mut more = String::new();
    if needs.fats.high.is_infinite() {
        more.push_str(
            "\n- Less carbohydrate is welcome, down to what this way of eating asks for, with fat \
             in its place; the energy stays.",
        );
    }
    if needs.diet.has(Style::Fasting) {
        more.push_str("\n- All meals lie within eight hours.");
    }
    more.push_str(&cautions(needs));
    for style in &needs.learnt_styles {
        more.push_str(&format!(
            "\n- The day is a {} one, whatever the answer calls it.",
            style.name()
        ));
    }
    if needs.diet.has(Style::Kosher) {
        more.push_str("\n- No meal has both meat and milk in it.");
    }
    MEAL.replace("{calories}", &grams(needs.calories))
        .replace("{protein}", &grams(needs.protein))
        .replace("{carbs}", &grams(needs.carbs))
        .replace("{fats}", &grams(needs.fats))
        .replace("{more}", &more)
        .replace("{meals}", &meals(needs).to_string())
}

/// The instructions for cautions, one per line.
fn cautions(needs: &Needs) -> String {
    let holds = |codes: &[Code]| codes.iter().any(|code| needs.cautions.contains(code));
    CAUTIOUS.iter().filter(|(codes, _)| holds(codes)).map(|(_, line)| *line).collect()
}

/// The number of meals to request: the fewest that fit, but three if any number does.
fn meals(needs: &Needs) -> u8 {
    3.clamp(*needs.meals.start(), *needs.meals.end())
}

/// The number of training days to request: the middle of what fits, two rather than one.
fn training_days(needs: &Needs) -> u8 {
    let (low, high) = (*needs.training_days.start(), *needs.training_days.end());
    ((low + high) / 2).max(high.min(2))
}

/// The way of eating as it was answered, and what a provider understood of it.
fn diet(quiz: &Quiz, needs: &Needs) -> String {
    let answer = clean(&quiz.dietary_style, clean::ITEM_CHARS);
    needs.learnt_styles.iter().fold(answer, |text, style| format!("{text}, {}", style.name()))
}

/// The machine-readable form of the needs. All text in it is either ours or cleaned, and
/// JSON-escaped.
fn targets(kind: PlanKind, quiz: &Quiz, needs: &Needs, seed: Uuid) -> Value {
    json!({
        "kind": kind,
        "calories": needs.calories.target,
        "protein_g": needs.protein.target,
        "carbs_g": needs.carbs.target,
        "fats_g": needs.fats.target,
        "meals": meals(needs),
        "diet": diet(quiz, needs),
        "allergies": clean_list(&needs.allergies.names()),
        "dislikes": clean_list(&needs.dislikes.names()),
        "days": training_days(needs),
        "equipment": clean_list(&quiz.equipment),
        "places": needs.places.iter().map(|place| place.as_str()).collect::<Vec<_>>(),
        "injuries": needs.injuries.iter().map(Region::name).collect::<Vec<_>>(),
        "seed": seed,
    })
}
