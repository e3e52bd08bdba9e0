//! Cautions and safe targets: who should not eat in a deficit, and what to be
//! careful about.
//!
//! [`crate::nutrition`] stays what the app has always shown. [`assess`] finds
//! the cautions of a person and makes the targets of the plan safe. Pure; the
//! rules and their sources are in [`Code`]. [`injured_parts`] finds what exercises
//! must spare.

mod cautions;
mod injuries;
mod words;

use std::collections::BTreeSet;

pub use cautions::{Caution, Code};
pub use injuries::{PARTS, injured_parts, unread_injuries};

use crate::nutrition::Nutrition;
use crate::quiz::{MainGoal, Quiz};

/// Below this is underweight (World Health Organization).
const LEAST_BMI: f64 = 18.5;
/// Below this age nobody diets.
const ADULT: u8 = 18;
/// Most body weight to lose a week.
const MOST_LOSS_A_WEEK: f64 = 0.01;
const KCAL_PER_KG: f64 = 7_700.0;
const DAYS: f64 = 7.0;

/// The cautions, and the targets of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Assessment {
    /// The cautions.
    pub cautions: Vec<Caution>,
    /// The person's targets, made safe.
    pub targets: Nutrition,
}

/// Assesses one person; the rules in `off` are disabled.
pub fn assess(quiz: &Quiz, nutrition: &Nutrition, off: &BTreeSet<Code>) -> Assessment {
    let mut codes = body_and_goal(quiz);
    codes.extend(conditions(quiz));
    codes.extend(medications(quiz));
    codes.retain(|code| !off.contains(code));
    let least = least_calories(quiz, nutrition, &codes, off);
    let least = least.filter(|least| *least > nutrition.goal_calories);
    let targets =
        least.map_or_else(|| nutrition.clone(), |kcal| nutrition.with_calories(quiz, kcal));
    Assessment { cautions: codes.into_iter().map(Caution::from).collect(), targets }
}

/// The lowest energy intake per day, if any rule sets one.
fn least_calories(
    quiz: &Quiz,
    nutrition: &Nutrition,
    codes: &[Code],
    off: &BTreeSet<Code>,
) -> Option<u32> {
    let whole = |kcal: f64| kcal.ceil() as u32;
    if codes.iter().any(|code| code.forbids_deficit()) {
        return Some(whole(nutrition.tdee));
    }
    let most = quiz.current_weight.kg() * MOST_LOSS_A_WEEK * KCAL_PER_KG / DAYS;
    (!off.contains(&Code::FastLoss)).then(|| whole(nutrition.tdee - most))
}

impl Code {
    /// Whether a person with this must not eat less than they use.
    fn forbids_deficit(self) -> bool {
        matches!(
            self,
            Self::Under18
                | Self::Pregnancy
                | Self::Breastfeeding
                | Self::Underweight
                | Self::TargetUnderweight
                | Self::GoalContradiction
                | Self::EatingDisorder
        )
    }
}

fn body_and_goal(quiz: &Quiz) -> Vec<Code> {
    let metres = quiz.height.cm() / 100.0;
    let (weight, target) = (quiz.current_weight.kg(), quiz.target_weight.kg());
    let bmi = |kg: f64| kg / (metres * metres);
    let loses = matches!(quiz.goal(), MainGoal::WeightLoss | MainGoal::MildWeightLoss);
    let deficit = loses || quiz.goal() == MainGoal::BodyRecomposition;
    let fast = wished_weeks(&quiz.time_frame)
        .is_some_and(|weeks| (weight - target) / weight > MOST_LOSS_A_WEEK * weeks);
    let mut codes = Vec::new();
    let mut add = |holds: bool, code: Code| codes.extend(holds.then_some(code));
    add(quiz.age < ADULT, Code::Under18);
    add(bmi(weight) < LEAST_BMI && (deficit || target < weight), Code::Underweight);
    add(bmi(target) < LEAST_BMI && target < weight, Code::TargetUnderweight);
    add(loses && target >= weight, Code::GoalContradiction);
    add(fast, Code::FastLoss);
    codes
}

fn conditions(quiz: &Quiz) -> Vec<Code> {
    let health = quiz.health_conditions.iter().chain(&quiz.health_conditions_other);
    let health = health.chain(&quiz.medications).chain(&quiz.injuries);
    let other = quiz.challenges.iter().chain(&quiz.secondary_goals);
    let other = other.chain([&quiz.lifestyle, &quiz.main_goal]);
    let health: BTreeSet<&str> = health.flat_map(|text| words::conditions(text)).collect();
    let other: BTreeSet<&str> = other.flat_map(|text| words::conditions(text)).collect();
    // "Heart health" is also a goal.
    let codes = [
        ("pregnant", Code::Pregnancy, true),
        ("breastfeeding", Code::Breastfeeding, true),
        ("eating_disorder", Code::EatingDisorder, true),
        ("diabetes", Code::Diabetes, false),
        ("kidney", Code::Kidney, false),
        ("heart", Code::Heart, false),
    ];
    let named =
        |name: &str, anywhere: bool| health.contains(name) || (anywhere && other.contains(name));
    codes
        .into_iter()
        .filter(|(name, _, anywhere)| named(name, *anywhere))
        .map(|(_, code, _)| code)
        .collect()
}

fn medications(quiz: &Quiz) -> Vec<Code> {
    let texts = quiz.medications.iter().chain(&quiz.health_conditions_other);
    let named: BTreeSet<&str> = texts.flat_map(|text| words::medications(text)).collect();
    Code::ALL.iter().copied().filter(|code| named.contains(code.as_str())).collect()
}

/// The weeks in "3 months", "12 weeks", "1 year"; of a range the longest.
fn wished_weeks(time_frame: &str) -> Option<f64> {
    let text = time_frame.to_lowercase();
    let numbers = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
    let number = numbers
        .filter_map(|part| part.parse::<f64>().ok())
        .fold(None, |most, n| Some(f64::max(n, most.unwrap_or(n))))?;
    let unit = [("week", 1.0), ("month", 52.0 / 12.0), ("year", 52.0), ("day", 1.0 / DAYS)];
    let (_, weeks) = unit.into_iter().find(|(unit, _)| text.contains(unit))?;
    (number > 0.0).then_some(number * weeks)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn quiz(changes: &Value) -> Quiz {
        let mut answers = json!({
            "age": 30, "gender": "female", "height": {"cm": 170}, "currentWeight": {"kg": 80},
            "targetWeight": {"kg": 70}, "mainGoal": "Weight loss", "timeFrame": "6 months",
            "lifestyle": "Calm", "groceryBudget": "Medium", "dietaryStyle": "None",
            "mealsPerDay": "3 (standard)", "motivationLevel": 7, "stressLevel": 4,
            "sleepQuality": "Good", "exerciseFrequency": "3-4 times/week",
            "preferredExercise": ["Strength"], "trainingEnvironment": ["Home"],
            "cookingSkill": "Beginner", "cookingTime": "15-30 min"
        });
        for (name, value) in changes.as_object().unwrap() {
            answers[name] = value.clone();
        }
        Quiz::read(&answers).unwrap()
    }

    fn assessed(changes: &Value, off: &[Code]) -> (Vec<Code>, Nutrition, Nutrition) {
        let quiz = quiz(changes);
        let nutrition = Nutrition::of(&quiz);
        let assessment = assess(&quiz, &nutrition, &off.iter().copied().collect());
        let codes = assessment.cautions.iter().map(|caution| caution.code).collect();
        (codes, nutrition, assessment.targets)
    }

    #[test]
    fn an_ordinary_person_gets_the_targets_as_they_are() {
        let (codes, nutrition, targets) = assessed(&json!({}), &[]);
        assert_eq!(codes, []);
        assert_eq!(targets, nutrition);
        assert!(f64::from(targets.goal_calories) < nutrition.tdee);
    }

    #[test]
    fn who_would_be_harmed_by_a_deficit_gets_none() {
        for (changes, code) in [
            (json!({"age": 15}), Code::Under18),
            (json!({"healthConditions": ["Pregnant"]}), Code::Pregnancy),
            (json!({"medications": "folic acid, estoy embarazada"}), Code::Pregnancy),
            (json!({"healthConditions_other": "stille gerade"}), Code::Breastfeeding),
            (json!({"healthConditions_other": "No allergies, pregnant"}), Code::Pregnancy),
            (json!({"lifestyle": "No alcohol, breastfeeding"}), Code::Breastfeeding),
            (json!({"healthConditions_other": "anorexia (in recovery)"}), Code::EatingDisorder),
            (json!({"currentWeight": {"kg": 45}, "targetWeight": {"kg": 43}}), Code::Underweight),
            (json!({"targetWeight": {"kg": 50}}), Code::TargetUnderweight),
            (
                json!({"currentWeight": {"kg": 60}, "targetWeight": {"kg": 80}}),
                Code::GoalContradiction,
            ),
        ] {
            let (codes, nutrition, targets) = assessed(&changes, &[]);
            assert!(codes.contains(&code), "{changes}: {codes:?}");
            assert!(f64::from(targets.goal_calories) >= nutrition.tdee, "{changes}");
            let energy =
                4 * (targets.macros.protein_g + targets.macros.carbs_g) + 9 * targets.macros.fat_g;
            assert!(energy.abs_diff(targets.goal_calories) < 20, "{changes}: {targets:?}");
            // What the app shows stays what it was.
            assert!(nutrition.goal_calories < targets.goal_calories, "{changes}");
        }
    }

    #[test]
    fn each_rule_has_a_switch() {
        let young = json!({"age": 15});
        let (codes, nutrition, targets) = assessed(&young, &[Code::Under18]);
        assert_eq!(codes, []);
        assert_eq!(targets, nutrition);
        for code in Code::ALL {
            assert!(!code.text().is_empty() && !code.as_str().contains(' '));
        }
    }

    #[test]
    fn a_wish_for_fast_loss_is_answered_by_a_slower_plan() {
        let (codes, ..) = assessed(&json!({"timeFrame": "2 weeks"}), &[]);
        assert_eq!(codes, [Code::FastLoss]);
        for (text, expected) in [
            ("3 months", Some(13.0)),
            ("12 weeks", Some(12.0)),
            ("1 year", Some(52.0)),
            ("6-12 weeks", Some(12.0)),
            ("soon", None),
        ] {
            assert_eq!(wished_weeks(text), expected, "{text}");
        }
        // Nobody loses more than 1 % of their weight a week, however small they are.
        let small = json!({"height": {"cm": 120}, "currentWeight": {"kg": 40},
            "targetWeight": {"kg": 38}, "gender": "male", "exerciseFrequency": "Daily"});
        let (_, nutrition, targets) = assessed(&small, &[]);
        let a_week = (nutrition.tdee - f64::from(targets.goal_calories)) * DAYS / KCAL_PER_KG;
        assert!(a_week <= 40.0 * MOST_LOSS_A_WEEK);
    }

    #[test]
    fn conditions_and_medicines_ask_for_a_doctor_and_keep_the_targets() {
        let changes = json!({
            "healthConditions": ["Type 2 diabetes"], "medications": "warfarin, simvastatin"
        });
        let (codes, nutrition, targets) = assessed(&changes, &[]);
        let expected = [Code::Diabetes, Code::WarfarinVitaminK, Code::StatinGrapefruit];
        assert_eq!(codes, expected);
        assert_eq!(targets, nutrition);
    }

    #[test]
    fn every_line_of_the_tables_has_a_code() {
        let lines = include_str!("data/medications.txt").lines();
        for line in lines.filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let name = line.split(" = ").next().unwrap();
            assert!(Code::ALL.iter().any(|code| code.as_str() == name), "{name}");
        }
    }
}
