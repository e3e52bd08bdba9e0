//! The cheapest right step for a plan with a food its person must not eat: another food
//! of the same kind in its place.
//!
//! A swap is arithmetic: the amount with the same energy, figures of the reference, every
//! mention in recipes, names and lists, sums added up again. It bypasses nothing: the
//! whole plan is verified as any reply is, and is given up when anything is left to say
//! against it, when a word of the food is left anywhere, or when a recipe says of it what
//! no other food survives ("crack the eggs"). Then the provider is asked to correct it.

mod edit;
mod table;

use regimen_common::food::{Register, Trait, Traits, find};

use super::food;
use super::repair::{Repair, repair};
use super::violation::Violation;
use super::{Verdict, verify};
use crate::plan::meal::{Food, Meal};
use crate::plan::needs::{ENGLISH, Needs};
use crate::plan::{MealPlan, Plan};
use table::{Kind, Substitute};

/// With more foods wrong the reply did not listen, and had better be written anew.
const MOST_FOODS: usize = 3;
/// So many combinations of substitutes are tried.
const TRIES: usize = 4;
/// The share of energy that may come from another macronutrient.
const MOST_DISTANCE: f64 = 0.5;
/// Below this a food is a seasoning, whose macronutrients do not matter.
const LITTLE_KCAL: f64 = 40.0;
/// New weight over old.
const LEAST_RATIO: f64 = 0.4;
const MOST_RATIO: f64 = 2.5;
/// What a different weight, and a food that the meal has already, count against closeness.
const RATIO_WEIGHT: f64 = 0.15;
const TWICE_WEIGHT: f64 = 0.3;
/// The same of each place further down in the table.
const PLACE_WEIGHT: f64 = 0.03;

/// A food that must go.
struct Offender {
    meal: usize,
    number: usize,
    name: String,
    /// What it is.
    traits: Traits,
}

/// A food that must go, and what comes.
struct Taken<'o> {
    offender: &'o Offender,
    to: &'static Substitute,
    grams: f64,
}

/// The plan with other foods in the place of those this person must not eat, sound in
/// every other way; none where that is not possible.
pub fn swap(plan: &Plan, verdict: &Verdict, needs: &Needs) -> Option<(Plan, Vec<Repair>)> {
    let Plan::Meal(day) = plan else { return None };
    // The names of substitutes are English.
    if needs.language != ENGLISH {
        return None;
    }
    let offenders = offenders(day, verdict);
    if offenders.is_empty() || offenders.len() > MOST_FOODS {
        return None;
    }
    let choices: Vec<Vec<Taken<'_>>> =
        offenders.iter().map(|offender| candidates(offender, day, needs)).collect();
    let most = choices.iter().map(Vec::len).max()?.min(TRIES);
    for rank in 0..most {
        let taken: Option<Vec<&Taken<'_>>> =
            choices.iter().map(|own| own.get(rank).or(own.last())).collect();
        let taken = taken?;
        let Some(new) = edit::replaced(day, &taken, needs) else { continue };
        let mut plan = Plan::Meal(Box::new(new));
        let mut repairs: Vec<Repair> = taken
            .iter()
            .map(|one| Repair::Swapped {
                from: one.offender.name.clone(),
                to: one.to.name.to_owned(),
            })
            .collect();
        repairs.extend(repair(&mut plan, needs));
        if verify(&plan, needs).is_clean() {
            return Some((plan, repairs));
        }
    }
    None
}

/// What would be right in the place of foods that could not be swapped, a sentence each.
pub fn advice(plan: &Plan, verdict: &Verdict, needs: &Needs) -> Vec<String> {
    let Plan::Meal(day) = plan else { return Vec::new() };
    let mut sentences: Vec<String> = Vec::new();
    for offender in offenders(day, verdict).iter().take(MOST_FOODS) {
        if let Some(one) = scored(offender, day, needs).first() {
            let name: String = offender.name.chars().take(60).collect();
            sentences.push(format!(
                "In the place of {name:?} this person may eat {}, about {:.0} g of it.",
                one.to.name, one.grams
            ));
        }
    }
    sentences.dedup();
    sentences
}

/// Most anybody eats of a food with one meal of a day of 2,500 kcal, g, as far as its kind
/// is known.
pub(super) fn most_grams(name: &str) -> Option<f64> {
    table::of(name, traits(name))?.most
}

/// Foods of the plan with something against what they are.
fn offenders(day: &MealPlan, verdict: &Verdict) -> Vec<Offender> {
    let mut offenders: Vec<Offender> = Vec::new();
    for violation in &verdict.violations {
        let (Violation::Allergen { at, .. }
        | Violation::Disliked { at, .. }
        | Violation::Diet { at, .. }) = violation
        else {
            continue;
        };
        let Some((meal, number)) = place(at) else { continue };
        let known = offenders.iter().any(|one| (one.meal, one.number) == (meal, number));
        let food = day.meals.get(meal).and_then(|meal| meal.foods.get(number));
        if let Some(food) = food.filter(|_| !known) {
            offenders.push(Offender {
                meal,
                number,
                name: food.name.clone(),
                traits: traits(&food.name),
            });
        }
    }
    offenders
}

/// Meal and food of `/meals/1/foods/2/name`.
fn place(at: &str) -> Option<(usize, usize)> {
    let mut steps = at.strip_prefix("/meals/")?.split('/');
    let meal = steps.next()?.parse().ok()?;
    if steps.next()? != "foods" {
        return None;
    }
    Some((meal, steps.next()?.parse().ok()?))
}

/// What a name openly is, beside what all plants are.
fn traits(name: &str) -> Traits {
    let vague = Traits::of(&[
        Trait::Plant,
        Trait::Root,
        Trait::Fodmap,
        Trait::Fruit,
        Trait::Seed,
        Trait::Starch,
        Trait::Grain,
    ]);
    let found = find(name, Register::Listed, &Default::default());
    found.iter().fold(Traits::NONE, |all, found| all.or(found.open)).without(vague)
}

/// What may come in a food's place, the closest first.
fn candidates<'o>(offender: &'o Offender, day: &MealPlan, needs: &Needs) -> Vec<Taken<'o>> {
    let kind = table::of(&offender.name, offender.traits);
    let described = kind.is_some_and(|kind| is_described(&day.meals[offender.meal], kind));
    if described { Vec::new() } else { scored(offender, day, needs) }
}

/// The same whatever the recipe says.
fn scored<'o>(offender: &'o Offender, day: &MealPlan, needs: &Needs) -> Vec<Taken<'o>> {
    let Some(meal) = day.meals.get(offender.meal) else { return Vec::new() };
    let Some(old) = meal.foods.get(offender.number) else { return Vec::new() };
    let Some(kind) = table::of(&old.name, offender.traits) else { return Vec::new() };
    let scored = kind.substitutes.iter().zip(0_u8..).filter_map(|(to, place)| {
        let (grams, distance) = portion(old, to)?;
        let twice = meal.foods.iter().any(|food| food.name.eq_ignore_ascii_case(to.name));
        let score =
            distance + if twice { TWICE_WEIGHT } else { 0.0 } + PLACE_WEIGHT * f64::from(place);
        food::may_eat(to.name, needs).then_some((score, Taken { offender, to, grams }))
    });
    let mut scored: Vec<_> = scored.collect();
    scored.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    scored.into_iter().map(|(_, taken)| taken).collect()
}

/// Whether the recipe says what is true of the food alone.
fn is_described(meal: &Meal, kind: &Kind) -> bool {
    let texts = meal.tips.iter().chain([&meal.recipe]);
    let plain: Vec<String> =
        texts.map(|text| format!(" {} ", regimen_common::lexicon::token::plain(text))).collect();
    let says = |word: &str| plain.iter().any(|text| text.contains(&format!(" {word} ")));
    kind.unless.iter().any(|word| says(word))
}

/// The weight of a substitute with the energy of the old food, and how far it is from
/// it; none where it is another kind of thing.
fn portion(old: &Food, to: &Substitute) -> Option<(f64, f64)> {
    let new = &to.nutrients;
    let little = old.calories < LITTLE_KCAL || new.calories <= 0.0;
    let even = old.calories / new.calories;
    let grams = if little { old.grams } else { even };
    let ratio = if old.grams > 0.0 { grams / old.grams } else { 1.0 };
    let distance = if little {
        0.0
    } else {
        let shares = |energy: [f64; 3]| {
            let all: f64 = energy.iter().sum();
            energy.map(|part| if all > 0.0 { part / all } else { 0.0 })
        };
        let of = |p: f64, c: f64, f: f64| shares([4.0 * p, 4.0 * c, 9.0 * f]);
        let [own, others] =
            [of(old.protein, old.carbs, old.fats), of(new.protein, new.carbs, new.fats)];
        own.iter().zip(others).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0
    };
    let fits = grams > 0.0 && (LEAST_RATIO..=MOST_RATIO).contains(&ratio);
    (fits && distance <= MOST_DISTANCE).then(|| (grams, distance + RATIO_WEIGHT * ratio.ln().abs()))
}

#[cfg(test)]
mod tests;
