//! Daily energy expenditure, and the share of it that a goal asks to eat.

use crate::quiz::{ExerciseFrequency, MainGoal, Quiz, Sex};

use super::rounding::{decimals, whole};

/// Body fat in percent: the person's own value, or else the U.S. Navy circumference
/// method (Hodgdon and Beckett, 1984; metric form, in cm), with one decimal. None if a
/// circumference is missing, if the formula has no value (a neck wider than the waist) or
/// none above zero, and for other genders.
pub(super) fn body_fat(quiz: &Quiz) -> Option<f64> {
    quiz.body_fat.or_else(|| navy_body_fat(quiz))
}

fn navy_body_fat(quiz: &Quiz) -> Option<f64> {
    let height = quiz.height.cm();
    let (neck, waist) = (quiz.neck?.cm(), quiz.waist?.cm());
    let density = match quiz.sex() {
        Sex::Male => 1.0324 - 0.19077 * (waist - neck).log10() + 0.15456 * height.log10(),
        Sex::Female => {
            let girth = waist + quiz.hip?.cm() - neck;
            1.29579 - 0.35004 * girth.log10() + 0.22100 * height.log10()
        }
        Sex::Other => return None,
    };
    let percent = decimals(495.0 / density - 450.0, 1);
    // False for NaN too.
    (percent > 0.0 && percent.is_finite()).then_some(percent)
}

/// Basal metabolic rate in kcal a day: Katch-McArdle on lean mass if the body fat is
/// known and plausible, else Mifflin-St Jeor (1990).
pub(super) fn basal_rate(quiz: &Quiz, body_fat: Option<f64>) -> f64 {
    let weight = quiz.current_weight.kg();
    if let Some(percent) = body_fat.filter(|percent| *percent > 2.0 && *percent < 60.0) {
        let lean = weight * (1.0 - percent / 100.0);
        return 370.0 + 21.6 * lean;
    }
    let sex_term = match quiz.sex() {
        Sex::Male => 5.0,
        Sex::Female => -161.0,
        Sex::Other => -78.0,
    };
    10.0 * weight + 6.25 * quiz.height.cm() - 5.0 * f64::from(quiz.age) + sex_term
}

/// The factor of activity on the basal rate: training first, then a correction for the
/// job, within 1.2 to 1.9.
pub(super) fn activity_multiplier(quiz: &Quiz) -> f64 {
    let training = match quiz.frequency() {
        ExerciseFrequency::Never | ExerciseFrequency::Unknown => 1.2,
        ExerciseFrequency::OneToTwo => 1.375,
        ExerciseFrequency::ThreeToFour => 1.55,
        ExerciseFrequency::FiveToSix => 1.725,
        ExerciseFrequency::Daily => 1.9,
    };
    let job = quiz.occupation_activity.as_deref().unwrap_or_default().to_lowercase();
    let names = |words: &[&str]| words.iter().any(|word| job.contains(word));
    if names(&["physical", "on feet", "active job", "manual"]) {
        f64::min(training + 0.15, 1.9)
    } else if names(&["desk", "sedentary"]) {
        f64::max(training - 0.1, 1.2)
    } else {
        training
    }
}

/// Energy to eat a day in kcal: expenditure times the goal's factor, with a minimum for
/// health, and at most 700 kcal above expenditure.
pub(super) fn goal_calories(quiz: &Quiz, basal: f64, expenditure: f64) -> u32 {
    let least = match quiz.sex() {
        Sex::Male => 1500.0,
        Sex::Female | Sex::Other => 1200.0,
    };
    let floor = f64::max(1.1 * basal, least);
    let ceiling = expenditure + 700.0;
    whole(f64::max(floor, f64::min(expenditure * goal_factor(quiz.goal()), ceiling)))
}

fn goal_factor(goal: MainGoal) -> f64 {
    match goal {
        MainGoal::WeightLoss => 0.84,
        MainGoal::MildWeightLoss => 0.92,
        MainGoal::BodyRecomposition => 0.94,
        MainGoal::MaintainWeight
        | MainGoal::ImproveFlexibility
        | MainGoal::GeneralHealth
        | MainGoal::Other => 1.0,
        MainGoal::ImproveStrength | MainGoal::ImproveEndurance => 1.05,
        MainGoal::BuildMuscle => 1.12,
    }
}

/// Weeks until the target weight at 7,700 kcal a kilogram; none when intake
/// equals expenditure.
pub(super) fn weeks_to_target(quiz: &Quiz, goal_calories: u32, expenditure: f64) -> Option<u64> {
    let balance = f64::from(goal_calories) - expenditure;
    let distance = (quiz.target_weight.kg() - quiz.current_weight.kg()).abs();
    let weeks = distance / (balance * 7.0 / 7700.0).abs();
    (balance != 0.0).then_some(weeks.round_ties_even() as u64)
}
