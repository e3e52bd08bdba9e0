//! The nutrient values of each food, compared with physical limits and with
//! USDA FoodData Central: invented numbers can have correct sums.

use regimen_common::food::{Register, Trait, find};
use regimen_common::lexicon::token::plain;

use super::swap;
use super::violation::Violation;
use crate::plan::MealPlan;
use crate::plan::meal::Food;
use crate::plan::needs::Needs;
use crate::plan::reference;

/// Pure fat has 9 kcal a gram; what rounding adds.
const MOST_KCAL_PER_GRAM: f64 = 9.1;
/// Energy follows from the macronutrients within this share, and so many kcal.
const ENERGY_SHARE: f64 = 0.2;
const ENERGY_KCAL: f64 = 15.0;
/// Nutrients may weigh more than the food by rounding.
const MASS_SHARE: f64 = 1.03;
const MASS_G: f64 = 1.0;
/// Below this a food is a pinch or a spoon, of which any figure is rounded.
const LEAST_GRAMS: f64 = 5.0;
/// Nobody pours more oil on one meal.
const MOST_PURE_FAT_G: f64 = 100.0;
/// The day of the largest portions; who eats more has larger ones.
const DAY_OF_PORTIONS_KCAL: f64 = 2_500.0;

/// Foods whose energy does not come from the three macronutrients, or not all of it.
const OTHER_ENERGY: [&str; 14] = [
    "sweetener",
    "stevia",
    "erythritol",
    "xylitol",
    "sorbitol",
    "maltitol",
    "monk fruit",
    "sugar free",
    "chewing gum",
    "baking powder",
    "bran",
    "extract",
    "vinegar",
    "psyllium",
];

/// Notes every food whose figures cannot be right.
pub(super) fn check(day: &MealPlan, needs: &Needs, violations: &mut Vec<Violation>) {
    for (index, meal) in day.meals.iter().enumerate() {
        for (number, food) in meal.foods.iter().enumerate() {
            let at = || format!("/meals/{index}/foods/{number}");
            let name = || food.name.chars().take(60).collect::<String>();
            if let Some(what) = impossible(food, needs) {
                violations.push(Violation::Impossible { at: at(), food: name(), what });
            } else if let Some(figures) = unlike_reference(food) {
                violations.push(Violation::Nutrients { at: at(), food: name(), figures });
            }
        }
    }
}

/// What no food can have.
fn impossible(food: &Food, needs: &Needs) -> Option<&'static str> {
    if food.grams <= 0.0 {
        return None;
    }
    let mass = food.protein + food.carbs + food.fats;
    let digested = 4.0 * (food.protein + (food.carbs - food.fiber).max(0.0)) + 9.0 * food.fats;
    let all = 4.0 * (food.protein + food.carbs) + 9.0 * food.fats;
    let low = (1.0 - ENERGY_SHARE) * digested - ENERGY_KCAL;
    let high = (1.0 + ENERGY_SHARE) * all + ENERGY_KCAL;
    if food.calories > MOST_KCAL_PER_GRAM * food.grams + ENERGY_KCAL {
        Some("more than 9 kcal a gram")
    } else if mass > MASS_SHARE * food.grams + MASS_G {
        Some("more nutrients than it weighs")
    } else if food.fats > 0.9 * food.grams && food.grams > MOST_PURE_FAT_G {
        Some("more oil or fat than anybody eats with one meal")
    } else if is_heap(food, needs) {
        Some("a larger portion than anybody eats with one meal")
    } else if !(low..=high).contains(&food.calories) && !has_other_energy(food, needs) {
        Some("energy that does not follow from its protein, carbohydrate and fat")
    } else {
        None
    }
}

/// More of a kind of food than fits into one meal.
fn is_heap(food: &Food, needs: &Needs) -> bool {
    let size = (needs.calories.target / DAY_OF_PORTIONS_KCAL).max(1.0);
    swap::most_grams(&food.name).is_some_and(|most| food.grams > size * most)
}

fn has_other_energy(food: &Food, needs: &Needs) -> bool {
    let name = plain(&food.name);
    let found = find(&food.name, Register::Listed, &needs.named);
    OTHER_ENERGY.iter().any(|other| name.contains(other))
        || found.iter().any(|found| found.any().contains(Trait::Alcohol))
}

/// The figures of a food that the reference knows otherwise.
fn unlike_reference(food: &Food) -> Option<Vec<&'static str>> {
    if food.grams < LEAST_GRAMS {
        return None;
    }
    let known = reference::of(&food.name)?;
    let per_gram = [food.calories, food.protein, food.carbs, food.fats].map(|sum| sum / food.grams);
    let faults = known.faults(per_gram);
    (!faults.is_empty()).then_some(faults)
}

/// Sets wrong figures to those of the reference, where it is sure which food is meant.
/// How many foods were mended.
pub(super) fn mend(day: &mut MealPlan) -> usize {
    let mut mended = 0;
    for food in day.meals.iter_mut().flat_map(|meal| &mut meal.foods) {
        if unlike_reference(food).is_none() {
            continue;
        }
        let Some(known) = reference::of(&food.name).filter(|known| known.sure) else { continue };
        let tenth = |grams: f64| (grams * 10.0).round() / 10.0;
        let [kcal, protein, carbs, fats] = known.usual.map(|per_gram| per_gram * food.grams);
        food.calories = kcal.round();
        food.protein = tenth(protein);
        food.carbs = tenth(carbs);
        food.fats = tenth(fats);
        food.fiber = food.fiber.min(food.carbs);
        mended += 1;
    }
    mended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample;
    use crate::plan::verify::tests::needs;

    fn with(name: &str, grams: f64, figures: [f64; 4]) -> MealPlan {
        let mut day = sample::meal_plan();
        let [calories, protein, carbs, fats] = figures;
        let food = &mut day.meals[0].foods[0];
        *food = Food {
            name: name.to_owned(),
            portion: String::new(),
            grams,
            calories,
            protein,
            carbs,
            fats,
            fiber: 0.0,
        };
        day
    }

    fn wrong(name: &str, grams: f64, figures: [f64; 4]) -> bool {
        let mut violations = Vec::new();
        check(&with(name, grams, figures), &needs(), &mut violations);
        violations.iter().any(|violation| violation.to_string().contains("/meals/0/foods/0"))
    }

    #[test]
    fn impossible_figures_are_found_whatever_the_food() {
        assert!(wrong("Zorblax", 10.0, [300.0, 5.0, 2.0, 3.0]));
        assert!(wrong("Zorblax", 50.0, [480.0, 40.0, 40.0, 18.0]));
        assert!(wrong("Zorblax", 200.0, [100.0, 20.0, 40.0, 10.0]));
        assert!(wrong("Olive oil", 900.0, [8100.0, 0.0, 0.0, 900.0]));
        assert!(wrong("Almonds", 400.0, [2316.0, 84.8, 86.4, 199.6]));
        assert!(wrong("Soy sauce", 250.0, [133.0, 20.3, 12.3, 1.5]));
        assert!(wrong("Whey protein powder", 300.0, [1200.0, 237.0, 21.0, 15.0]));
        assert!(!wrong("Almonds", 120.0, [695.0, 25.4, 25.9, 59.9]));
        assert!(!wrong("Brown rice", 500.0, [615.0, 13.0, 128.0, 5.0]));
        assert!(!wrong("Red wine", 150.0, [125.0, 0.1, 3.9, 0.0]));
        assert!(!wrong("Erythritol sweetener", 10.0, [0.0, 0.0, 10.0, 0.0]));
        assert!(!wrong("Zorblax", 200.0, [330.0, 20.0, 40.0, 10.0]));
    }

    #[test]
    fn invented_figures_that_add_up_are_found_for_foods_of_the_reference() {
        assert!(wrong("Almonds", 30.0, [60.0, 3.0, 12.0, 0.0]));
        assert!(wrong("Chicken breast", 150.0, [620.0, 20.0, 90.0, 20.0]));
        assert!(wrong("Carrots", 100.0, [210.0, 30.0, 20.0, 1.0]));
        assert!(wrong("Mandeln (almonds)", 30.0, [60.0, 3.0, 12.0, 0.0]));
        assert!(!wrong("Almonds", 30.0, [179.0, 6.4, 6.5, 15.0]));
        assert!(!wrong("Chicken breast", 150.0, [248.0, 46.5, 0.0, 5.4]));
        assert!(!wrong("Brown rice", 180.0, [220.0, 4.6, 46.0, 1.8]));
        assert!(!wrong("Brown rice, dry", 80.0, [290.0, 6.0, 61.0, 2.2]));
    }

    #[test]
    fn what_the_reference_is_sure_of_is_mended() {
        let mut day = with("Almonds", 30.0, [60.0, 3.0, 12.0, 0.0]);
        day.meals.truncate(1);
        day.meals[0].foods.truncate(1);
        assert_eq!(mend(&mut day), 1);
        let food = &day.meals[0].foods[0];
        assert!((170.0..190.0).contains(&food.calories) && food.fats > 14.0, "{food:?}");
        assert_eq!(mend(&mut day), 0);
    }

    /// Foods as nutrition labels have them, each with its figures per 100 g.
    #[test]
    fn real_foods_are_not_found_wrong_and_planted_figures_mostly_are() {
        let simulated = include_str!("../../../../load-tests/simulator/src/plan/foods.tsv");
        let labels = include_str!("../reference/labels.txt");
        let energy = |p: f64, c: f64, f: f64| 4.0 * (p + c) + 9.0 * f;
        let is_food = |line: &&str| !line.starts_with('#');
        let simulated = simulated.lines().filter(is_food);
        let labels = labels.lines().filter(is_food);
        let (mut real, mut matched, mut alarms) = (0, 0, Vec::new());
        let names = ["doubled", "trebled", "four tenths", "swapped", "chicken's", "oats'"];
        let mut planted = names.map(|name| (name, 0_u32));
        for line in simulated.chain(labels) {
            let fields: Vec<&str> = line.split('|').collect();
            let figure = |at: usize| fields[2 + at].parse::<f64>().unwrap();
            let [protein, carbs, fats] = [figure(0), figure(1), figure(2)];
            // Labels round, and count fibre in their own way.
            let own = [energy(protein, carbs, fats), protein, carbs, fats];
            real += 1;
            if wrong(fields[0], 100.0, own) {
                alarms.push(fields[0]);
            }
            if reference::of(fields[0]).is_none() {
                continue;
            }
            matched += 1;
            let times = |factor: f64| own.map(|figure| factor * figure);
            let swapped = [energy(carbs, protein, fats), carbs, protein, fats];
            let chicken = [165.0, 31.0, 0.0, 3.6];
            let oats = [380.0, 13.0, 67.0, 7.0];
            let all = [times(2.0), times(3.0), times(0.4), swapped, chicken, oats];
            for ((_, found), figures) in planted.iter_mut().zip(all) {
                *found += u32::from(wrong(fields[0], 100.0, figures));
            }
        }
        let shares: Vec<String> = planted
            .iter()
            .map(|(name, found)| {
                format!("{name} {:.0} %", 100.0 * f64::from(*found) / f64::from(matched))
            })
            .collect();
        println!(
            "figures: {real} real foods: {matched} known to the reference, {} false alarms; of planted \
             figures of known foods were found: {}",
            alarms.len(),
            shares.join(", ")
        );
        assert_eq!(alarms, [""; 0]);
        let all: u32 = planted.iter().map(|(_, found)| found).sum();
        assert!(f64::from(all) > 0.7 * 6.0 * f64::from(matched), "{planted:?}");
    }
}
