//! What may stand in the place of a food: kinds of foods, and substitutes with the figures
//! of USDA FoodData Central.

use std::sync::LazyLock;

use regimen_common::food::{Trait, Traits};

use crate::plan::reference::{self, Nutrients};

const TABLE: &str = include_str!("substitutes.txt");

/// A food to take instead.
#[derive(Debug)]
pub(super) struct Substitute {
    /// As a plan names it.
    pub(super) name: &'static str,
    /// Per gram.
    pub(super) nutrients: Nutrients,
}

/// Foods that do the same in a dish.
#[derive(Debug)]
pub(super) struct Kind {
    /// A food is of it by one of these names, in the singular, between spaces.
    names: Vec<String>,
    /// Or by one of these traits.
    traits: Traits,
    pub(super) substitutes: Vec<Substitute>,
    /// Words of a recipe that says of the food what holds for none of the substitutes.
    pub(super) unless: Vec<&'static str>,
    /// Most anybody eats with one meal of a day of 2,500 kcal, g.
    pub(super) most: Option<f64>,
}

static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(|| {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.filter_map(kind).collect()
});

/// The kind of the food with this name and these traits.
pub(super) fn of(name: &str, traits: Traits) -> Option<&'static Kind> {
    let name = spaced(name);
    let named = |kind: &&Kind| {
        kind.names.iter().any(|own| name.contains(own.as_str()))
            || !kind.traits.and(traits).is_empty()
    };
    KINDS.iter().find(named)
}

/// The words of a name between spaces, so that no word is found within another.
fn spaced(name: &str) -> String {
    format!(" {} ", reference::all_words(name).join(" "))
}

fn kind(line: &'static str) -> Option<Kind> {
    let mut columns = line.split('|').skip(1);
    let mut list = |mark| columns.next().map(|column| items(column, mark));
    let (names, substitutes, unless) = (list(',')?, list(';')?, list(',')?);
    let most = columns.next().and_then(|column| column.trim().parse().ok());
    let (marks, names): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| name.starts_with(':'));
    let is_marked =
        |one: &&Trait| marks.iter().any(|mark| mark.strip_prefix(':') == Some(one.mark()));
    let traits: Vec<Trait> = Trait::ALL.iter().filter(is_marked).copied().collect();
    let names = names.into_iter().map(spaced).collect();
    let substitute = |text: &'static str| {
        let (name, row) = text.split_once('=')?;
        Some(Substitute { name: name.trim(), nutrients: reference::row(row.trim())? })
    };
    let substitutes = substitutes.into_iter().filter_map(substitute).collect();
    Some(Kind { names, traits: Traits::of(&traits), substitutes, unless, most })
}

fn items(column: &'static str, mark: char) -> Vec<&'static str> {
    column.split(mark).map(str::trim).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_substitute_stands_in_the_reference_and_is_what_its_name_says() {
        let written = TABLE.lines().filter(|line| !line.starts_with('#'));
        let written: usize = written.map(|line| line.matches(" = ").count()).sum();
        let mut read = 0;
        for substitute in KINDS.iter().flat_map(|kind| &kind.substitutes) {
            read += 1;
            let Nutrients { calories, protein, carbs, fats, .. } = substitute.nutrients;
            if let Some(known) = reference::of(substitute.name) {
                let faults = known.faults([calories, protein, carbs, fats]);
                assert_eq!(faults, [""; 0], "{}", substitute.name);
            }
            // The same food under a promise is no other food.
            assert!(!substitute.name.contains("free"), "{}", substitute.name);
        }
        assert_eq!(read, written);
        assert!(read > 60, "{read}");
    }

    #[test]
    fn every_kind_that_has_substitutes_has_a_largest_portion() {
        for kind in KINDS.iter().filter(|kind| !kind.substitutes.is_empty()) {
            assert!(
                kind.most.is_some_and(|most| (50.0..2_000.0).contains(&most)),
                "{:?}",
                kind.names
            );
        }
    }

    #[test]
    fn every_trait_of_the_table_is_one() {
        let marks: Vec<&str> = TABLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(|line| line.split(['|', ',']))
            .filter_map(|item| item.trim().strip_prefix(':'))
            .collect();
        assert!(marks.len() > 10);
        for mark in marks {
            assert!(Trait::ALL.iter().any(|one| one.mark() == mark), "{mark}");
        }
    }
}
