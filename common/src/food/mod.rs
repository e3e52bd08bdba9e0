//! What foods are and contain, and how they are found in a text.
//!
//! The knowledge is in `data/*.txt`, written by hand: what belongs to which
//! allergen follows Annex II of Regulation (EU) No 1169/2011 and, for the
//! United States, FALCPA and the FASTER act. Names follow USDA FoodData
//! Central, with British spellings beside them.

mod ailment;
mod declared;
mod diet;
mod exception;
mod foreign;
mod languages;
mod learnt;
mod literal;
mod names;
mod negation;
mod scan;
mod traits;
mod unread;
mod vocabulary;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod spoken;
#[cfg(test)]
mod tables;

use std::sync::LazyLock;

use crate::lexicon::{Bits, Lexicon, Marks, Problem};

pub use declared::Avoid;
pub use diet::{Diet, Rule, Style};
pub use exception::Exception;
pub use languages::Languages;
pub use learnt::{Learnt, still_unread};
pub use literal::Literals;
pub use scan::{Found, Register, Words, find, names_known};
pub use traits::{Trait, Traits};
pub use unread::{Unread, unread};

/// Marks that say how a term is used, beside the traits; in the upper half of a set of bits;
/// the traits have the lower one, which the compiler checks.
pub(crate) mod usage {
    use super::Bits;

    /// The food itself: "free from" in its name would be a contradiction.
    pub(crate) const INHERENT: Bits = 1 << 127;
    /// Not a food but a promise: its traits are absent from what follows.
    pub(crate) const FREES: Bits = 1 << 126;
    /// The name of a group, as in "nuts and dairy".
    pub(crate) const GENERIC: Bits = 1 << 125;
    /// Counts only where foods are listed, because in prose it is mostly a verb.
    pub(crate) const NOUN: Bits = 1 << 124;
    /// Counts only in the plural.
    pub(crate) const PLURAL: Bits = 1 << 123;
    /// Who declares it means its trait in every form, not this food alone.
    pub(crate) const WHOLE: Bits = 1 << 122;
    /// The name of a condition: whoever declares it means its traits, but a
    /// plan that mentions it names no food.
    pub(crate) const CONDITION: Bits = 1 << 121;
    /// All of them.
    pub(crate) const ALL: Bits = INHERENT | FREES | GENERIC | NOUN | PLURAL | WHOLE | CONDITION;
    const _: () = assert!(ALL & super::Traits::EVERY.0 == 0, "a trait has the bit of a mark");
}

const TABLES: [&str; 7] = [
    include_str!("data/allergens.txt"),
    include_str!("data/animal.txt"),
    include_str!("data/plants.txt"),
    include_str!("data/dishes.txt"),
    include_str!("data/harmless.txt"),
    include_str!("data/names.txt"),
    include_str!("data/imitations.txt"),
];

static FOODS: LazyLock<(Lexicon, Vec<Problem>)> = LazyLock::new(|| {
    Lexicon::load(&TABLES, &Marks { bit, implied: |bits| Traits(bits).with_implied().0 })
});

/// The food tables, read once per process.
pub fn foods() -> &'static Lexicon {
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
        "condition" => usage::CONDITION,
        _ => Traits::of(&[*Trait::ALL.iter().find(|one| one.mark() == mark)?]).0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_tables_is_read() {
        assert_eq!(FOODS.1, [], "mend common/src/food/data");
        let terms = foods().entries().len();
        println!("{terms} terms");
        assert!(terms > 1500);
    }
}
