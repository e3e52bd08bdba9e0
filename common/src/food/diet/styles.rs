//! The diets, what each forbids, and their names.

use std::sync::LazyLock;

use super::super::{Exception, Trait, Traits, foods};
use crate::lexicon::{Bits, Lexicon, Marks, Problem};

macro_rules! styles {
    ($($(#[$doc:meta])* $variant:ident => $mark:literal $name:literal),+ $(,)?) => {
        /// A way of eating.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Style {
            $($(#[$doc])* $variant,)+
        }

        impl Style {
            /// Every style.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the table of styles.
            pub fn mark(self) -> &'static str {
                match self { $(Self::$variant => $mark),+ }
            }

            /// The name in messages: "a … day".
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

styles! {
    /// Everything is eaten.
    Anything => "none" "unrestricted",
    /// Little meat, by the person's own measure.
    Flexible => "flexible" "flexitarian",
    /// No flesh.
    Vegetarian => "vegetarian" "vegetarian",
    /// No flesh, no eggs.
    LactoVegetarian => "lacto-vegetarian" "lacto-vegetarian",
    /// No flesh, no milk.
    OvoVegetarian => "ovo-vegetarian" "ovo-vegetarian",
    /// Nothing of animals.
    Vegan => "vegan" "vegan",
    /// No meat but fish.
    Pescatarian => "pescatarian" "pescatarian",
    /// Poultry, no other flesh.
    Pollotarian => "pollotarian" "pollotarian",
    /// Poultry and fish, no other flesh.
    PolloPescatarian => "pollo-pescatarian" "red-meat-free",
    /// Very little carbohydrate.
    Keto => "keto" "keto",
    /// Little carbohydrate.
    LowCarb => "low-carb" "low-carb",
    /// What farming brought is left out.
    Paleo => "paleo" "paleo",
    /// Stricter than paleo, for thirty days.
    Whole30 => "whole30" "Whole30",
    /// Little processed meat.
    Mediterranean => "mediterranean" "mediterranean",
    /// Meals within some hours of the day.
    Fasting => "fasting" "fasting",
    /// Islamic rules.
    Halal => "halal" "halal",
    /// Jewish rules.
    Kosher => "kosher" "kosher",
    /// Jain rules: no flesh, eggs, honey, onions, roots.
    Jain => "jain" "Jain",
    /// No flesh, eggs, onions, mushrooms, alcohol.
    Sattvic => "sattvic" "sattvic",
    /// No beef.
    Hindu => "hindu" "Hindu",
    /// Little fermentable carbohydrate.
    LowFodmap => "low-fodmap" "low-FODMAP",
    /// Nothing of plants.
    Carnivore => "carnivore" "carnivore",
    /// Fruit, nuts and seeds.
    Fruitarian => "fruitarian" "fruitarian",
    /// Nothing cooked.
    Raw => "raw" "raw-food",
    /// No sugar added.
    NoSugar => "no-sugar" "sugar-free",
    /// What raises blood sugar slowly.
    LowGi => "low-gi" "low-GI",
    /// No alcohol.
    NoAlcohol => "no-alcohol" "alcohol-free",
    /// Known by name; nothing in it can be checked by what a food is.
    Unchecked => "unchecked" "special",
}

const FLESH: Traits = Traits::of(&[
    Trait::Meat,
    Trait::Pork,
    Trait::Beef,
    Trait::Lamb,
    Trait::Poultry,
    Trait::Gelatin,
    Trait::Fish,
    Trait::Crustacean,
    Trait::Mollusc,
]);

impl Style {
    /// What it forbids; a food counts when it is one of these or usually
    /// contains one.
    pub fn forbids(self) -> Traits {
        let flesh_and = |more: &[Trait]| FLESH.or(Traits::of(more));
        match self {
            Self::Anything | Self::Flexible | Self::Fasting | Self::Raw | Self::Unchecked => {
                Traits::NONE
            }
            Self::Vegetarian => FLESH,
            Self::LactoVegetarian => flesh_and(&[Trait::Egg]),
            Self::OvoVegetarian => flesh_and(&[Trait::Milk]),
            Self::Vegan => flesh_and(&[Trait::Milk, Trait::Egg, Trait::Honey]),
            Self::Pescatarian => FLESH.without(SEAFOOD),
            Self::Pollotarian => FLESH,
            Self::PolloPescatarian => FLESH.without(SEAFOOD),
            Self::Keto | Self::LowCarb => {
                Traits::of(&[Trait::Grain, Trait::Starch, Trait::Sugar, Trait::Sweet])
            }
            Self::Paleo => Traits::of(&[
                Trait::Grain,
                Trait::Gluten,
                Trait::Legume,
                Trait::Peanut,
                Trait::Soy,
                Trait::Milk,
                Trait::Sugar,
            ]),
            Self::Whole30 => Self::Paleo.forbids().or(Traits::of(&[Trait::Alcohol, Trait::Honey])),
            Self::Mediterranean => Traits::of(&[Trait::Processed]),
            Self::Halal => Traits::of(&[Trait::Pork, Trait::Alcohol, Trait::Gelatin]),
            Self::Kosher => {
                Traits::of(&[Trait::Pork, Trait::Crustacean, Trait::Mollusc, Trait::Gelatin])
            }
            Self::Jain => flesh_and(&[
                Trait::Egg,
                Trait::Honey,
                Trait::Onion,
                Trait::Garlic,
                Trait::Potato,
                Trait::Root,
                Trait::Mushroom,
                Trait::Alcohol,
            ]),
            Self::Sattvic => flesh_and(&[
                Trait::Egg,
                Trait::Onion,
                Trait::Garlic,
                Trait::Mushroom,
                Trait::Alcohol,
            ]),
            Self::Hindu => Traits::of(&[Trait::Beef]),
            Self::LowFodmap => Traits::of(&[
                Trait::Onion,
                Trait::Garlic,
                Trait::Wheat,
                Trait::Legume,
                Trait::Lactose,
                Trait::Honey,
                Trait::Mushroom,
                Trait::StoneFruit,
                Trait::Fodmap,
            ]),
            Self::Carnivore => Traits::of(&[
                Trait::Plant,
                Trait::Grain,
                Trait::Gluten,
                Trait::Legume,
                Trait::Starch,
                Trait::Sugar,
                Trait::Sweet,
                Trait::Peanut,
                Trait::TreeNut,
                Trait::Soy,
                Trait::Sesame,
                Trait::Celery,
                Trait::Coconut,
                Trait::Corn,
                Trait::Buckwheat,
                Trait::Tomato,
                Trait::Capsicum,
                Trait::Eggplant,
                Trait::Onion,
                Trait::Garlic,
                Trait::Mushroom,
                Trait::Citrus,
                Trait::Banana,
                Trait::Avocado,
                Trait::Cocoa,
                Trait::Berry,
                Trait::StoneFruit,
            ]),
            Self::Fruitarian => {
                flesh_and(&[Trait::Milk, Trait::Egg, Trait::Honey, Trait::Grain, Trait::Starch])
            }
            Self::NoSugar | Self::LowGi => Traits::of(&[Trait::Sugar]),
            Self::NoAlcohol => Traits::of(&[Trait::Alcohol]),
        }
    }

    /// What it allows of what it forbids.
    pub(super) fn exceptions(self) -> Vec<Exception> {
        match self {
            Self::Pollotarian | Self::PolloPescatarian => {
                vec![Exception::Group(Traits::of(&[Trait::Poultry]))]
            }
            // Brewed from wheat, and a spoonful at a time.
            Self::Keto | Self::LowCarb => {
                let term = foods().longest(&["soy", "sauce"].map(|word| foods().word(word)));
                term.map(|(entry, _)| Exception::Food(entry)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Whether what a food only may contain counts as well.
    pub fn is_strict(self) -> bool {
        matches!(self, Self::Halal | Self::Kosher)
    }

    /// Whether all or much of it cannot be checked by what a food is.
    pub fn is_unchecked(self) -> bool {
        matches!(self, Self::Unchecked | Self::Raw | Self::Flexible)
    }
}

const SEAFOOD: Traits = Traits::of(&[Trait::Fish, Trait::Crustacean, Trait::Mollusc]);

static STYLES: LazyLock<(Lexicon, Vec<Problem>)> = LazyLock::new(|| {
    let table = include_str!("../data/styles.txt");
    Lexicon::load(&[table], &Marks { bit, implied: |bits| bits })
});

fn bit(mark: &str) -> Option<Bits> {
    Style::ALL.iter().find(|style| style.mark() == mark).map(|style| 1 << *style as u32)
}

/// The table of names.
pub(super) fn names() -> &'static Lexicon {
    &STYLES.0
}

/// The styles in a set of marks.
pub(super) fn of(bits: Bits) -> impl Iterator<Item = Style> {
    Style::ALL.iter().copied().filter(move |style| bits >> *style as u32 & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        let twice = |problem: &Problem| matches!(problem, Problem::Twice { .. });
        let others: Vec<_> = STYLES.1.iter().filter(|problem| !twice(problem)).collect();
        assert!(others.is_empty(), "{others:?}");
        assert!(names().entries().len() > 300);
    }
}
