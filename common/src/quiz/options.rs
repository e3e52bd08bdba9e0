//! The closed questions of the quiz: the options that the client offers, and
//! how other text is interpreted.
//!
//! Answers stay text in [`super::Quiz`] (prompts and saved plans quote them);
//! the formulas and the verification use these types. Unknown text is never an
//! error here, because the app has changed its wording over the years: each
//! type has a documented default.

use std::ops::RangeInclusive;

/// Lower case, trimmed, with every kind of dash as `-`.
fn normal(text: &str) -> String {
    text.trim().to_lowercase().replace(['–', '—', '‑'], "-")
}

/// The sex a formula is given for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sex {
    /// "male", in any case.
    Male,
    /// "female", in any case.
    Female,
    /// Any other answer; formulas use the mean of both.
    Other,
}

impl Sex {
    /// Reads the free-text gender answer.
    pub fn from_text(text: &str) -> Self {
        match normal(text).as_str() {
            "male" => Self::Male,
            "female" => Self::Female,
            _ => Self::Other,
        }
    }
}

/// How often a person trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ExerciseFrequency {
    /// "Never".
    Never,
    /// "1-2 times/week".
    OneToTwo,
    /// "3-4 times/week".
    ThreeToFour,
    /// "5-6 times/week".
    FiveToSix,
    /// "Daily".
    Daily,
    /// Anything else; counted as little activity.
    Unknown,
}

impl ExerciseFrequency {
    /// Reads the answer by its beginning.
    pub fn from_text(text: &str) -> Self {
        let text = normal(text);
        [
            ("never", Self::Never),
            ("1-2", Self::OneToTwo),
            ("3-4", Self::ThreeToFour),
            ("5-6", Self::FiveToSix),
            ("daily", Self::Daily),
        ]
        .into_iter()
        .find_map(|(start, frequency)| text.starts_with(start).then_some(frequency))
        .unwrap_or(Self::Unknown)
    }

    /// The training days per week for the answer. "Never" gets an easy start, "Daily" may
    /// keep one day of rest, an unknown answer allows any number.
    pub fn training_days(self) -> RangeInclusive<u8> {
        match self {
            Self::Never => 1..=3,
            Self::OneToTwo => 1..=2,
            Self::ThreeToFour => 3..=4,
            Self::FiveToSix => 5..=6,
            Self::Daily => 6..=7,
            Self::Unknown => 1..=7,
        }
    }
}

/// A diet that forbids or favours foods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DietaryStyle {
    /// "No restrictions".
    NoRestrictions,
    /// "Vegetarian".
    Vegetarian,
    /// "Vegan".
    Vegan,
    /// "Pescatarian".
    Pescatarian,
    /// "Keto".
    Keto,
    /// "Paleo".
    Paleo,
    /// "Mediterranean".
    Mediterranean,
    /// "Intermittent fasting".
    IntermittentFasting,
}

impl DietaryStyle {
    /// Every diet that the answer names, so that "vegan keto" is both. "Other" and
    /// unknown text name none.
    pub fn named_in(text: &str) -> Vec<Self> {
        let text = normal(text);
        [
            ("no restrictions", Self::NoRestrictions),
            ("vegetarian", Self::Vegetarian),
            ("vegan", Self::Vegan),
            ("pescatarian", Self::Pescatarian),
            ("keto", Self::Keto),
            ("paleo", Self::Paleo),
            ("mediterranean", Self::Mediterranean),
            ("intermittent fasting", Self::IntermittentFasting),
        ]
        .into_iter()
        .filter_map(|(name, style)| text.contains(name).then_some(style))
        .collect()
    }
}

/// The goals of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MainGoal {
    /// "Weight loss", and "Extreme weight loss", which always had the same factor.
    WeightLoss,
    /// "Build muscle".
    BuildMuscle,
    /// "Body recomposition": less fat and more muscle at once.
    BodyRecomposition,
    /// "Maintain weight".
    MaintainWeight,
    /// "Mild weight loss".
    MildWeightLoss,
    /// "Improve strength".
    ImproveStrength,
    /// "Improve endurance".
    ImproveEndurance,
    /// "Improve flexibility".
    ImproveFlexibility,
    /// "General health".
    GeneralHealth,
    /// Anything else; energy intake equals expenditure.
    Other,
}

impl MainGoal {
    /// The first goal of this list whose name is in the answer, in the order that the app
    /// has always used.
    pub fn from_text(text: &str) -> Self {
        let text = normal(text);
        [
            ("maintain weight", Self::MaintainWeight),
            ("mild weight loss", Self::MildWeightLoss),
            ("weight loss", Self::WeightLoss),
            ("body recomposition", Self::BodyRecomposition),
            ("build muscle", Self::BuildMuscle),
            ("improve strength", Self::ImproveStrength),
            ("improve endurance", Self::ImproveEndurance),
            ("improve flexibility", Self::ImproveFlexibility),
            ("general health", Self::GeneralHealth),
        ]
        .into_iter()
        .find_map(|(name, goal)| text.contains(name).then_some(goal))
        .unwrap_or(Self::Other)
    }
}

/// How many meals a day a person wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MealsPerDay {
    /// "2 (intermittent fasting)".
    Two,
    /// "3 (standard)".
    Three,
    /// "4-5 (smaller meals)".
    FourToFive,
    /// "6+ (frequent eating)".
    SixOrMore,
    /// Anything else; any sensible number fits.
    Unknown,
}

impl MealsPerDay {
    /// Reads the answer by its first digit; a bare number counts too.
    pub fn from_text(text: &str) -> Self {
        let text = normal(text);
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        match digits.parse::<u8>() {
            Ok(2) => Self::Two,
            Ok(3) => Self::Three,
            Ok(4 | 5) => Self::FourToFive,
            Ok(6..=10) => Self::SixOrMore,
            _ => Self::Unknown,
        }
    }

    /// The numbers of meals for the answer.
    pub fn meals(self) -> RangeInclusive<u8> {
        match self {
            Self::Two => 2..=2,
            Self::Three => 3..=3,
            Self::FourToFive => 4..=5,
            Self::SixOrMore => 6..=8,
            Self::Unknown => 2..=8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_offered_option_is_known() {
        for (text, days) in [
            ("Never", 1..=3),
            ("1-2 times/week", 1..=2),
            ("3–4 times/week", 3..=4),
            ("5-6 times/week", 5..=6),
            ("daily", 6..=7),
            ("when I feel like it", 1..=7),
        ] {
            assert_eq!(ExerciseFrequency::from_text(text).training_days(), days, "{text}");
        }
        for (text, meals) in [
            ("2 (intermittent fasting)", 2..=2),
            ("3 (standard)", 3..=3),
            ("4-5 (smaller meals)", 4..=5),
            ("6+ (frequent eating)", 6..=8),
            ("3", 3..=3),
            ("many", 2..=8),
        ] {
            assert_eq!(MealsPerDay::from_text(text).meals(), meals, "{text}");
        }
    }

    #[test]
    fn the_longest_goal_name_wins() {
        assert_eq!(MainGoal::from_text("Extreme weight loss"), MainGoal::WeightLoss);
        assert_eq!(MainGoal::from_text("MILD WEIGHT LOSS, please"), MainGoal::MildWeightLoss);
        assert_eq!(MainGoal::from_text("weight loss"), MainGoal::WeightLoss);
        assert_eq!(MainGoal::from_text("build muscle, weight loss"), MainGoal::WeightLoss);
        assert_eq!(MainGoal::from_text("become an astronaut"), MainGoal::Other);
    }

    #[test]
    fn a_mixed_diet_is_held_to_every_style_it_names() {
        assert_eq!(DietaryStyle::named_in("Vegan keto"), [DietaryStyle::Vegan, DietaryStyle::Keto]);
        assert_eq!(DietaryStyle::named_in("Vegetarian"), [DietaryStyle::Vegetarian]);
        assert!(DietaryStyle::named_in("Other").is_empty());
    }

    #[test]
    fn gender_is_read_whatever_its_case() {
        assert_eq!(Sex::from_text(" Female "), Sex::Female);
        assert_eq!(Sex::from_text("MALE"), Sex::Male);
        assert_eq!(Sex::from_text("non-binary"), Sex::Other);
    }
}
