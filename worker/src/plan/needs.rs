//! What one person's plan must satisfy, taken from their answers and targets.

use std::ops::RangeInclusive;

use regimen_common::food::{Avoid, Diet, Learnt, Literals, Rule, Style};
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_common::safety::Code;

use super::training::{GearSet, Regions};
use super::words::Place;

/// A day's calories may be off the target by this share (contract: 5 %).
pub const CALORIE_TOLERANCE: f64 = 0.05;
/// A day's macronutrient may be off its target by this share (contract: 10 %).
pub const MACRO_TOLERANCE: f64 = 0.10;
/// Grams a macronutrient may always be off: 10 % of next to nothing cannot be
/// cooked.
const MACRO_SLACK_G: f64 = 5.0;

/// The language of plans for whom nothing tells another one.
pub const ENGLISH: &str = "English";

/// What is allowed for an amount.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Band {
    /// What is aimed at.
    pub target: f64,
    /// Least allowed.
    pub low: f64,
    /// Most allowed.
    pub high: f64,
}

impl Band {
    /// A share of the target to either side, at least `slack`.
    fn around(target: f64, share: f64, slack: f64) -> Self {
        let room = (target * share).max(slack);
        Self { target, low: (target - room).max(0.0), high: target + room }
    }

    /// Whether an amount is allowed.
    pub fn contains(&self, amount: f64) -> bool {
        (self.low..=self.high).contains(&amount)
    }
}

/// What one person's plan must satisfy.
#[derive(Debug, Clone, PartialEq)]
pub struct Needs {
    /// kcal a day.
    pub calories: Band,
    /// Protein, g a day.
    pub protein: Band,
    /// Carbohydrate, g a day.
    pub carbs: Band,
    /// Fat, g a day.
    pub fats: Band,
    /// The ways of eating to keep to.
    pub diet: Diet,
    /// Those of them that a model found in words nobody else knew.
    pub learnt_styles: Vec<Style>,
    /// The answer about them as it was written, which a plan may quote.
    pub diet_answer: String,
    /// What they forbid.
    pub rules: Vec<Rule>,
    /// Allergies and intolerances, from their own question and from conditions
    /// that are one (coeliac disease).
    pub allergies: Avoid,
    /// Disliked foods.
    pub dislikes: Avoid,
    /// The language the plan is written in, by its English name.
    pub language: &'static str,
    /// In which languages the plan may name foods.
    pub named: Literals,
    /// Meals a day.
    pub meals: RangeInclusive<u8>,
    /// Training days a week.
    pub training_days: RangeInclusive<u8>,
    /// Where to train; never empty.
    pub places: Vec<Place>,
    /// What is at hand outside a gym.
    pub gear: GearSet,
    /// Body parts not to load.
    pub injuries: Regions,
    /// What speaks for caution.
    pub cautions: Vec<Code>,
}

impl Needs {
    /// The needs of the person with these answers and targets.
    pub fn of(quiz: &Quiz, nutrition: &Nutrition) -> Self {
        let macros = nutrition.macros;
        let diet = Diet::read(&quiz.dietary_style);
        let grams = |target: u32| Band::around(f64::from(target), MACRO_TOLERANCE, MACRO_SLACK_G);
        let locale = quiz.language().unwrap_or_default();
        let allergies = allergies(quiz, &diet).in_language_of(locale);
        let dislikes = Avoid::dislikes(&quiz.disliked_foods.join("\n")).in_language_of(locale);
        let mut needs = Self {
            calories: Band::around(f64::from(nutrition.goal_calories), CALORIE_TOLERANCE, 0.0),
            protein: grams(macros.protein_g),
            carbs: grams(macros.carbs_g),
            fats: grams(macros.fat_g),
            named: allergies.languages(),
            allergies,
            rules: diet.rules(),
            diet,
            learnt_styles: Vec::new(),
            diet_answer: quiz.dietary_style.trim().to_owned(),
            dislikes,
            language: quiz.language_name(),
            meals: quiz.meals().meals(),
            training_days: quiz.frequency().training_days(),
            places: places(&quiz.training_environment),
            gear: gear(quiz),
            injuries: injuries(quiz),
            cautions: Vec::new(),
        };
        needs.loosen();
        needs
    }

    /// The needs with what was learnt of words that no table knows. They only grow.
    #[must_use]
    pub fn knowing(mut self, learnt: &[Learnt]) -> Self {
        for one in learnt {
            self.allergies = self.allergies.and(&one.avoid());
        }
        for style in learnt.iter().flat_map(Learnt::styles) {
            if !self.diet.has(style) {
                self.diet.styles.push(style);
                self.learnt_styles.push(style);
            }
        }
        self.rules = self.diet.rules();
        self.named = self.allergies.languages();
        self.loosen();
        self
    }

    /// The needs with what speaks for caution; foods a medicine does not go with are
    /// left out like disliked ones.
    #[must_use]
    pub fn cautious(mut self, cautions: Vec<Code>) -> Self {
        const GRAPEFRUIT: [Code; 4] = [
            Code::WarfarinVitaminK,
            Code::StatinGrapefruit,
            Code::CalciumBlockerGrapefruit,
            Code::ImmunosuppressantGrapefruit,
        ];
        let left_out = [
            (cautions.iter().any(|code| GRAPEFRUIT.contains(code)), "grapefruit, grapefruit juice"),
            (
                cautions.contains(&Code::MaoiTyramine),
                "aged cheese, salami, sauerkraut, kimchi, soy sauce, beer",
            ),
            (cautions.contains(&Code::Alcohol), "alcohol"),
        ];
        for (_, foods) in left_out.into_iter().filter(|(holds, _)| *holds) {
            self.dislikes = self.dislikes.and(&Avoid::dislikes(foods));
        }
        self.cautions = cautions;
        self
    }

    /// The equipment at hand in a place.
    pub fn gear_at(&self, place: Place) -> GearSet {
        match place {
            Place::Gym => GearSet::EVERYTHING,
            Place::Home => self.gear,
            Place::Outdoor => self.gear.or(GearSet::OUTDOORS),
        }
    }

    /// Opens bands that cannot be met together.
    fn loosen(&mut self) {
        if self.diet.is_low_in_carbohydrate() {
            // The app's targets keep carbohydrate high. Less of it, with
            // fat in its place, is what the style asks for.
            self.carbs.low = 0.0;
            self.fats.high = f64::INFINITY;
        }
        let energy = 4.0 * (self.protein.target + self.carbs.target) + 9.0 * self.fats.target;
        if energy > self.calories.high {
            // Protein by body weight and fat by share exceed the day's energy.
            self.fats.low = 0.0;
            self.protein.low = self.protein.low.min(0.8 * self.protein.target);
        }
    }
}

fn allergies(quiz: &Quiz, diet: &Diet) -> Avoid {
    let declared = Avoid::allergies(quiz.food_allergies.as_deref().unwrap_or_default());
    let conditions = quiz.health_conditions.iter().chain(&quiz.health_conditions_other);
    conditions.fold(declared.and(&diet.avoid), |all, text| all.with_groups_of(text))
}

fn places(answers: &[String]) -> Vec<Place> {
    const NAMES: [(Place, &[&str]); 3] = [
        (Place::Gym, &["gym", "fitness", "studio", "box", "pool"]),
        (Place::Home, &["home", "house", "apartment", "indoor", "garage"]),
        (
            Place::Outdoor,
            &["outdoor", "outside", "park", "street", "nature", "track", "beach", "pool"],
        ),
    ];
    let text = answers.join("\n").to_lowercase();
    // "Home gym" is a place at home; its equipment is another question.
    let text = text.replace("home gym", "home");
    let named: Vec<_> = NAMES
        .into_iter()
        .filter(|(_, names)| names.iter().any(|name| text.contains(name)))
        .map(|(place, _)| place)
        .collect();
    if named.is_empty() { Place::ALL.to_vec() } else { named }
}

fn gear(quiz: &Quiz) -> GearSet {
    let own = GearSet::named_in(&quiz.equipment.join("\n"));
    let at_home = GearSet::named_in(
        &quiz.training_environment.join("\n").to_lowercase().replace("commercial gym", ""),
    );
    // Who names swimming or cycling has where to do it.
    let sports = GearSet::implied_by(&quiz.preferred_exercise.join("\n"));
    let sports = sports.without(GearSet::EVERYTHING.without(GearSet::OUTDOORS));
    own.or(at_home).or(sports)
}

fn injuries(quiz: &Quiz) -> Regions {
    let conditions = quiz.health_conditions.iter().chain(&quiz.health_conditions_other);
    quiz.injuries
        .iter()
        .chain(conditions)
        .fold(Regions::default(), |all, text| all.or(Regions::named_in(text)))
}
