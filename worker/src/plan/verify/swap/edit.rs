//! Writes a plan with one food in another's place: the food itself, and every word of it.

use std::ops::Range;

use regimen_common::food::{Literals, Register, find, names_known};
use serde_json::Value;

use super::{Offender, Taken, traits};
use crate::plan::meal::{Food, ShoppingList};
use crate::plan::needs::Needs;
use crate::plan::reference;
use crate::plan::verify::sums::Amounts;
use crate::plan::verify::{food, texts};
use crate::plan::{MealPlan, Plan};

/// Foods in a list at most, by the plans' schema.
const MOST_LISTED: usize = 20;

/// The day with what was taken; none where a mention cannot be told to be of one of the
/// foods that go, or a word of them would stay.
pub(super) fn replaced(day: &MealPlan, taken: &[&Taken<'_>], needs: &Needs) -> Option<MealPlan> {
    let mut new = day.clone();
    for one in taken {
        let place = new.meals.get_mut(one.offender.meal)?.foods.get_mut(one.offender.number)?;
        *place = portion(one, place);
    }
    let plan = Plan::Meal(Box::new(new));
    let mut json = serde_json::to_value(&plan).ok()?;
    let mut edits: Vec<(String, String)> = Vec::new();
    let mut lost = false;
    texts::about_food(&plan, &json, &mut |text| {
        let at = text.pointer();
        let nearby = meal_of(&at);
        // The food's own name first, whose words are more than what is wrong with it.
        let mut words = text.text.to_owned();
        for one in taken {
            words = without_name(&words, one);
        }
        let wrong = food::offences(&text.with(&words), needs);
        for found in wrong.into_iter().rev() {
            match taken_for(&words, &found, taken, nearby) {
                Some(one) => words.replace_range(found.clone(), &like(&words[found], one.to.name)),
                None => lost = true,
            }
        }
        if words != text.text {
            edits.push((at, words));
        }
    });
    if lost {
        return None;
    }
    for (at, words) in edits {
        *json.pointer_mut(&at)? = Value::from(words);
    }
    let mut new: MealPlan = serde_json::from_value(json).ok()?;
    for one in taken {
        let grams = weight(&new, one.to.name);
        list(&mut new.shopping_list, one, grams);
    }
    (!keeps_words(&new, taken)).then_some(new)
}

/// The food that comes, as much as has the energy of the one that goes.
fn portion(one: &Taken<'_>, old: &Food) -> Food {
    let grams =
        if one.grams < 20.0 { (one.grams * 10.0).round() / 10.0 } else { one.grams.round() };
    let per_gram = &one.to.nutrients;
    let amounts = Amounts {
        calories: per_gram.calories * grams,
        protein: per_gram.protein * grams,
        carbs: per_gram.carbs * grams,
        fats: per_gram.fats * grams,
        fiber: per_gram.fiber * grams,
    }
    .rounded();
    Food {
        name: like(&old.name, one.to.name),
        portion: format!("{grams} g"),
        grams,
        calories: amounts.calories,
        protein: amounts.protein,
        carbs: amounts.carbs,
        fats: amounts.fats,
        fiber: amounts.fiber,
    }
}

/// The number of the meal a text stands in.
fn meal_of(at: &str) -> Option<usize> {
    at.strip_prefix("/meals/")?.split('/').next()?.parse().ok()
}

/// `name` with a capital where `old` has one.
fn like(old: &str, name: &str) -> String {
    let capital = old.chars().next().is_some_and(char::is_uppercase);
    let mut letters = name.chars();
    match letters.next() {
        Some(first) if capital => first.to_uppercase().chain(letters).collect(),
        _ => name.to_owned(),
    }
}

/// `text` with the name of the food that comes wherever it has that of the one that goes.
fn without_name(text: &str, one: &Taken<'_>) -> String {
    let (lower, name) = (text.to_ascii_lowercase(), one.offender.name.to_ascii_lowercase());
    let mut new = String::with_capacity(text.len());
    let mut from = 0;
    for (at, _) in lower.match_indices(&name) {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        if [before, after].into_iter().flatten().any(char::is_alphanumeric) {
            continue;
        }
        new.push_str(&text[from..at]);
        new.push_str(&like(&text[at..], one.to.name));
        from = at + name.len();
    }
    new.push_str(&text[from..]);
    new
}

/// Which of the foods that go a mention is of: one that shares a word with it or is the
/// same by what it contains ("cheese" of cheddar), of its own meal first.
fn taken_for<'t>(
    text: &str,
    found: &Range<usize>,
    taken: &[&'t Taken<'t>],
    meal: Option<usize>,
) -> Option<&'t Taken<'t>> {
    let mention = text.get(found.clone())?;
    let (words, of) = (reference::all_words(mention), traits(mention));
    let is_of = |offender: &Offender| {
        let own = reference::all_words(&offender.name);
        own.iter().any(|word| words.contains(word) && word.len() > 2)
            || (!of.is_empty() && of == offender.traits)
    };
    let mut related: Vec<&&Taken<'_>> = taken.iter().filter(|one| is_of(one.offender)).collect();
    related.sort_by_key(|one| meal != Some(one.offender.meal));
    related.first().map(|one| **one)
}

/// The weight of a food in the whole day.
fn weight(day: &MealPlan, name: &str) -> f64 {
    let foods = day.meals.iter().flat_map(|meal| &meal.foods);
    foods.filter(|food| food.name.eq_ignore_ascii_case(name)).map(|food| food.grams).sum()
}

/// Lists the food that came once, with its weight.
fn list(shopping: &mut ShoppingList, one: &Taken<'_>, grams: f64) {
    let name = one.to.name;
    let entry = format!("{} ({grams} g)", like(&one.offender.name, name));
    let ShoppingList { proteins, vegetables, carbs, fats, pantry_staples, .. } = shopping;
    let mut is_listed = false;
    for shelf in [&mut *proteins, vegetables, &mut *carbs, &mut *fats, pantry_staples] {
        shelf.retain_mut(|item| {
            if !item.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)) {
                return true;
            }
            item.clone_from(&entry);
            !std::mem::replace(&mut is_listed, true)
        });
    }
    let per_gram = &one.to.nutrients;
    let energy = [4.0 * per_gram.protein, 4.0 * per_gram.carbs, 9.0 * per_gram.fats];
    let most = energy.into_iter().fold(0.0, f64::max);
    let shelf = [proteins, carbs, fats].into_iter().zip(energy).find(|(_, part)| *part >= most);
    if let Some((shelf, _)) = shelf.filter(|(shelf, _)| !is_listed && shelf.len() < MOST_LISTED) {
        shelf.push(entry);
    }
}

/// Whether a word that names one of the foods that went is left anywhere, unless another
/// food of the day has it.
fn keeps_words(day: &MealPlan, taken: &[&Taken<'_>]) -> bool {
    let kept: Vec<String> = day
        .meals
        .iter()
        .flat_map(|meal| &meal.foods)
        .flat_map(|food| reference::all_words(&food.name))
        .collect();
    let nothing = Literals::default();
    let gone: Vec<String> = taken
        .iter()
        .flat_map(|one| reference::all_words(&one.offender.name))
        .filter(|word| !kept.contains(word) && names_known(word, &nothing))
        .filter(|word| !find(word, Register::Listed, &nothing).is_empty())
        .collect();
    let Ok(json) = serde_json::to_value(day) else { return true };
    let mut left = false;
    texts::all(&json, &mut |text| {
        let words = reference::all_words(text.text);
        left |= words.iter().any(|word| gone.contains(word));
    });
    left
}
