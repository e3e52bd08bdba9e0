//! Chooses the dishes and foods of a day and finds their amounts.

use crate::chance::Chance;

use super::dishes::{Course, DISHES, Dish};
use super::food::{Food, Portion};
use super::portions::{Goal, Unknown, solve, worst_miss};
use super::targets::Targets;
use super::taste::Taste;

/// A meal with its foods and amounts.
#[derive(Debug, Clone)]
pub(super) struct Served {
    pub(super) dish: &'static Dish,
    pub(super) slot: Slot,
    /// The names that fill the dish's placeholders.
    pub(super) names: Vec<&'static str>,
    pub(super) foods: Vec<Portion>,
}

/// A meal's place in the day.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    /// breakfast, lunch, dinner or snack.
    pub(super) name: &'static str,
    /// Minutes after midnight.
    pub(super) minute: usize,
    course: Course,
    /// Its part of the day's energy.
    share: f64,
}

/// How many combinations of dishes are tried before the best is taken.
const TRIES: usize = 24;
/// From this try on, concentrated foods are added to help.
const BOOST_FROM: usize = 5;

/// A food chosen for a meal, its amount still open.
struct Chosen<'a> {
    food: &'a Food,
    meal: usize,
}

/// The day's meals for `targets`, as near to them as these foods come.
pub(super) fn compose(foods: &[Food], targets: &Targets, chance: &mut Chance) -> Vec<Served> {
    let goal_totals = totals_of(targets);
    let slots = slots(targets);
    let goal = Goal {
        totals: goal_totals,
        meals: slots.iter().map(|slot| slot.share * goal_totals[0]).collect(),
    };
    let mut best: Option<(f64, Vec<Served>)> = None;
    for attempt in 0..TRIES {
        let day = one_day(foods, targets, &slots, &goal, attempt, chance);
        let miss = worst_miss(sum(&day), &goal);
        if best.as_ref().is_none_or(|(least, _)| miss < *least) {
            best = Some((miss, day));
        }
        // Half a tolerance leaves room for whoever adds up in another order.
        if miss < 0.5 {
            break;
        }
    }
    best.map(|(_, day)| day).unwrap_or_default()
}

/// Puts a food that the person must not eat in the place of one that does the same in
/// its dish, with as much energy, as a model does that forgets an answer.
pub(super) fn forbid(day: &mut [Served], foods: &[Food], targets: &Targets, chance: &mut Chance) {
    let taste = Taste::new(targets);
    let kin = |own: &Food, other: &Food| own.roles.iter().any(|role| other.is(role));
    let mut places: Vec<(usize, usize, &Food)> = Vec::new();
    for (meal, served) in day.iter().enumerate() {
        for (at, portion) in served.foods.iter().enumerate() {
            let Some(own) = foods.iter().find(|food| food.name == portion.name) else { continue };
            let others = foods.iter().filter(|other| kin(own, other) && !taste.allows(other));
            places.extend(others.map(|other| (meal, at, other)));
        }
    }
    if places.is_empty() {
        return;
    }
    let (meal, at, food) = places[chance.index(places.len())];
    let (served, energy) = (&mut day[meal], food.per_gram()[0]);
    let portion = &mut served.foods[at];
    let grams = food.weighable((portion.calories / energy).min(food.most)).max(1.0);
    for name in served.names.iter_mut().filter(|name| **name == portion.name) {
        *name = food.name;
    }
    *portion = food.portion(grams);
}

/// kcal, protein, carbohydrates and fat asked for, the missing ones made up.
pub(super) fn totals_of(targets: &Targets) -> [f64; 4] {
    let calories = targets.calories.filter(|value| *value >= 400.0).unwrap_or(2000.0).min(8000.0);
    let protein = targets.protein_g.unwrap_or(calories * 0.25 / 4.0);
    let fats = targets.fats_g.unwrap_or(calories * 0.28 / 9.0);
    let carbs = targets.carbs_g.unwrap_or(((calories - 4.0 * protein - 9.0 * fats) / 4.0).max(0.0));
    [calories, protein, carbs, fats]
}

fn slots(targets: &Targets) -> Vec<Slot> {
    let slot = |name, course, share| Slot { name, minute: 0, course, share };
    let breakfast = slot("breakfast", Course::Breakfast, 0.27);
    let lunch = slot("lunch", Course::Main, 0.36);
    let dinner = slot("dinner", Course::Main, 0.37);
    let snack = slot("snack", Course::Snack, 0.11);
    let count = targets.meals.unwrap_or(3.0).clamp(1.0, 8.0).round();
    let mut day = match count {
        1.0 => vec![dinner],
        2.0 => vec![lunch, dinner],
        _ => vec![breakfast, lunch, dinner],
    };
    // Where further snacks go, in the order in which they are added.
    for place in [2, 1, 5, 4, 2] {
        let missing = count > f64::from(u32::try_from(day.len()).unwrap_or(u32::MAX));
        if missing && day.len() >= 3 {
            day.insert(place.min(day.len()), snack);
        }
    }
    let whole: f64 = day.iter().map(|slot| slot.share).sum();
    let (first, last) = window(targets, day.len());
    let gaps = day.len().saturating_sub(1).max(1);
    for (index, slot) in day.iter_mut().enumerate() {
        slot.share /= whole;
        slot.minute = (first + (last - first) * index / gaps) / 15 * 15;
    }
    day
}

/// The first and the last meal of a day, minutes after midnight.
fn window(targets: &Targets, meals: usize) -> (usize, usize) {
    match meals {
        _ if targets.diet.iter().any(|diet| diet.contains("intermittent")) => (690, 1140),
        0..=2 => (750, 1140),
        3..=4 => (450, 1140),
        _ => (435, 1230),
    }
}

fn one_day(
    foods: &[Food],
    targets: &Targets,
    slots: &[Slot],
    goal: &Goal,
    attempt: usize,
    chance: &mut Chance,
) -> Vec<Served> {
    let strict = Taste::new(targets);
    let mut allowed: Vec<&Food> = foods.iter().filter(|food| strict.allows(food)).collect();
    if !enough(&allowed) {
        let lenient = Taste::without_dislikes(targets);
        allowed = foods.iter().filter(|food| lenient.allows(food)).collect();
    }
    chance.shuffle(&mut allowed);
    let mut chosen: Vec<Chosen<'_>> = Vec::new();
    let mut meals: Vec<(&'static Dish, Vec<&'static str>)> = Vec::new();
    for (meal, slot) in slots.iter().enumerate() {
        let used: Vec<&str> = meals.iter().map(|(dish, _)| dish.name).collect();
        let (dish, picks) = choose(&allowed, &chosen, slot.course, &used, chance);
        meals.push((dish, picks.iter().map(|food| food.name).collect()));
        chosen.extend(picks.into_iter().map(|food| Chosen { food, meal }));
    }
    if attempt >= BOOST_FROM {
        boost(&allowed, &mut chosen, slots, attempt);
    }
    let amounts = weigh(&chosen, goal);
    serve(&chosen, &amounts, slots, meals)
}

/// Whether a day can be made of `foods` at all.
fn enough(foods: &[&Food]) -> bool {
    foods.len() >= 6
}

/// A dish for `course` with a food for each of its places.
fn choose<'a>(
    allowed: &[&'a Food],
    taken: &[Chosen<'a>],
    course: Course,
    used: &[&str],
    chance: &mut Chance,
) -> (&'static Dish, Vec<&'a Food>) {
    let mut dishes: Vec<&'static Dish> =
        DISHES.iter().filter(|dish| dish.course == course).collect();
    chance.shuffle(&mut dishes);
    dishes.sort_by_key(|dish| used.contains(&dish.name));
    for dish in &dishes {
        let mut picks: Vec<&'a Food> = Vec::new();
        for role in dish.places {
            let free = |food: &&&'a Food| {
                food.is(role) && !picks.iter().any(|pick| pick.name == food.name)
            };
            let fresh = |food: &&&'a Food| !taken.iter().any(|old| old.food.name == food.name);
            let pick =
                allowed.iter().filter(free).find(fresh).or_else(|| allowed.iter().find(free));
            picks.extend(pick.copied());
        }
        if picks.len() == dish.places.len() {
            return (dish, picks);
        }
    }
    // Very narrow tastes: any foods, under the plainest dish of the course.
    let plain = dishes.iter().min_by_key(|dish| dish.places.len()).copied().unwrap_or(&DISHES[0]);
    let many = plain.places.len();
    (plain, allowed.iter().copied().cycle().take(many.min(allowed.len())).collect())
}

/// Adds concentrated foods that the narrow diets may lack.
fn boost<'a>(allowed: &[&'a Food], chosen: &mut Vec<Chosen<'a>>, slots: &[Slot], attempt: usize) {
    let roles: &[&str] = match attempt % 3 {
        0 => &["powder", "powder", "main_carb", "oil"],
        1 => &["powder", "sweet", "oil", "berry"],
        _ => &["powder", "fruit", "main_carb", "main_protein", "berry", "veg"],
    };
    for (index, role) in roles.iter().enumerate() {
        let meal = index % slots.len();
        let known =
            |food: &&Food| !chosen.iter().any(|old| old.meal == meal && old.food.name == food.name);
        let pick = allowed.iter().copied().filter(known).find(|food| food.is(role));
        chosen.extend(pick.map(|food| Chosen { food, meal }));
    }
}

fn weigh(chosen: &[Chosen<'_>], goal: &Goal) -> Vec<f64> {
    let size = (goal.totals[0] / 2000.0).clamp(0.5, 4.0);
    let unknowns: Vec<Unknown> = chosen
        .iter()
        .map(|pick| Unknown {
            per_gram: pick.food.per_gram(),
            usual: pick.food.usual * size,
            most: pick.food.most * size.max(1.0),
            meal: pick.meal,
        })
        .collect();
    solve(&unknowns, goal)
}

fn serve(
    chosen: &[Chosen<'_>],
    amounts: &[f64],
    slots: &[Slot],
    meals: Vec<(&'static Dish, Vec<&'static str>)>,
) -> Vec<Served> {
    let portions = |meal: usize| {
        let own = chosen.iter().zip(amounts).filter(move |(pick, _)| pick.meal == meal);
        own.map(|(pick, grams)| pick.food.portion(pick.food.weighable(*grams).max(1.0))).collect()
    };
    let numbered = meals.into_iter().zip(slots).enumerate();
    numbered
        .map(|(meal, ((dish, names), slot))| Served {
            dish,
            slot: *slot,
            names,
            foods: portions(meal),
        })
        .collect()
}

/// kcal, protein, carbohydrates and fat of a day.
pub(super) fn sum(day: &[Served]) -> [f64; 4] {
    let foods = day.iter().flat_map(|meal| &meal.foods);
    foods.fold([0.0; 4], |sum, food| {
        [sum[0] + food.calories, sum[1] + food.protein, sum[2] + food.carbs, sum[3] + food.fats]
    })
}
