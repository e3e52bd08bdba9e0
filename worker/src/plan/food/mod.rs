//! What foods are and contain, and how that is found in a text.
//!
//! The knowledge is in `data/*.txt`, by hand: what falls under which allergen
//! follows Annex II of Regulation (EU) No 1169/2011 and, for the United
//! States, FALCPA and the FASTER act; names follow the habits of USDA
//! FoodData Central, with British spellings beside them.

mod declared;
mod exception;
mod literal;
mod negation;
mod scan;
mod traits;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod tables;

use std::sync::LazyLock;

use super::lexicon::{Bits, Lexicon, Marks, Problem};

pub use declared::Avoid;
pub(crate) use literal::Literals;
pub(crate) use scan::{Found, Register, find};
pub use traits::{Trait, Traits};

/// Marks that say how a term is used, beside the traits; from the top bit down.
pub(crate) mod usage {
    use super::Bits;

    /// The food itself: "free from" in its name would be a contradiction.
    pub(crate) const INHERENT: Bits = 1 << 63;
    /// Not a food but a promise: its traits are absent from what follows.
    pub(crate) const FREES: Bits = 1 << 62;
    /// The name of a group, as in "nuts and dairy".
    pub(crate) const GENERIC: Bits = 1 << 61;
    /// Counts only where foods are listed, because in prose it is mostly a verb.
    pub(crate) const NOUN: Bits = 1 << 60;
    /// Counts only in the plural.
    pub(crate) const PLURAL: Bits = 1 << 59;
    /// Who declares it means its trait in every form, not this food alone.
    pub(crate) const WHOLE: Bits = 1 << 58;
    /// All of them.
    pub(crate) const ALL: Bits = INHERENT | FREES | GENERIC | NOUN | PLURAL | WHOLE;
}

const TABLES: [&str; 6] = [
    include_str!("data/allergens.txt"),
    include_str!("data/animal.txt"),
    include_str!("data/plants.txt"),
    include_str!("data/dishes.txt"),
    include_str!("data/harmless.txt"),
    include_str!("data/names.txt"),
];

static FOODS: LazyLock<(Lexicon, Vec<Problem>)> = LazyLock::new(|| {
    Lexicon::load(&TABLES, &Marks { bit, implied: |bits| Traits(bits).with_implied().0 })
});

/// The food tables, read once per process.
pub(crate) fn foods() -> &'static Lexicon {
    &FOODS.0
}

fn bit(mark: &str) -> Option<Bits> {
    Some(match mark {
        "inherent" => usage::INHERENT,
        "frees" => usage::FREES,
        "generic" => usage::GENERIC,
        "noun" => usage::NOUN,
        "plural" => usage::PLURAL,
        "whole" => usage::WHOLE,
        _ => Traits::of(&[*Trait::ALL.iter().find(|one| one.mark() == mark)?]).0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        assert_eq!(FOODS.1, [], "mend plan/food/data");
        let terms = foods().entries().len();
        println!("{terms} terms");
        assert!(terms > 1500);
    }
}
