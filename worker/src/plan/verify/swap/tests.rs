//! Swaps of the forbidden foods models write most, and those that must not be made.

use serde_json::json;

use super::*;
use crate::plan::sample;
use crate::plan::verify::judge;
use crate::plan::verify::tests::needs_with;

/// Answer | food | g | kcal, protein, carbohydrate, fat | recipe | what must have come, or
/// `-` where no swap may be made.
const CASES: &str = "
    peanuts | Peanut butter | 30 | 177, 7, 7, 15 | Spread the peanut butter on the rice. | sunflower seed butter
    tree nuts | Almonds | 30 | 174, 6.4, 6.5, 15 | Scatter the almonds over it. | seeds
    nuts | Walnut halves | 30 | 196, 4.6, 4.1, 19.6 | Top with the walnuts. | seeds
    milk | Semi-skimmed milk | 250 | 118, 9, 12, 4 | Pour the milk over it. | milk
    milk | Greek yogurt | 200 | 130, 20, 7.2, 2.8 | Stir in the yogurt. | tofu
    milk | Feta cheese | 50 | 132, 7.1, 2, 10.7 | Crumble the feta over it. | 
    milk | Cheddar | 40 | 164, 9.3, 1, 13.6 | Scatter the grated cheddar over it and bake. | -
    milk | Butter | 10 | 72, 0.1, 0, 8.1 | Fry it in the butter. | oil
    eggs | Eggs | 100 | 143, 12.6, 0.7, 9.5 | Add the eggs and stir gently. | tofu
    eggs | Eggs | 100 | 143, 12.6, 0.7, 9.5 | Crack the eggs into the pan. | -
    eggs | Whole eggs | 100 | 143, 12.6, 0.7, 9.5 | Beat two eggs with the milk. | -
    gluten | Wholegrain bread | 80 | 200, 10, 33.6, 2.8 | Serve with the bread. | corn tortillas
    gluten | Whole wheat pasta | 200 | 298, 11.6, 60, 3.4 | Cook the pasta until done. | 
    gluten | Couscous | 180 | 202, 6.8, 42, 0.4 | Steam the couscous. | 
    gluten | Rolled oats | 60 | 227, 8, 40, 4 | Soak the oats. | dry
    gluten | Soy sauce | 15 | 8, 1.2, 0.7, 0 | Season with soy sauce. | juice
    soy | Firm tofu | 150 | 218, 23.7, 3, 13 | Fry the tofu. | 
    fish | Salmon fillet | 150 | 300, 33, 0, 18 | Roast the salmon. | 
    shellfish | Shrimp | 150 | 150, 36, 0.3, 0.8 | Sear the shrimp. | breast
    shellfish | Shrimp | 150 | 150, 36, 0.3, 0.8 | Devein the shrimp. | -
    sesame | Tahini | 20 | 119, 3.4, 4.2, 10.8 | Drizzle with tahini. | sunflower seed butter
    mushrooms | Button mushrooms | 100 | 24, 3.1, 3.3, 0.3 | Soften the mushrooms. | zucchini
    sulphites | White wine | 100 | 82, 0.1, 2.6, 0 | Pour in the wine. | -
    fish | Fish stock | 200 | 30, 4, 1, 1 | Simmer in the fish stock. | -
    peanuts | Peanut butter | 30 | 177, 7, 7, 15 | Serve with satay noodles. | sunflower seed butter
    eggs, soy, poultry | Eggs | 100 | 143, 12.6, 0.7, 9.5 | Add the eggs. | -";

/// The sample day with this food beside what it has, which is what the day lacks of it.
fn with(food: &str, grams: f64, figures: [f64; 4], recipe: &str) -> MealPlan {
    let mut day = sample::meal_plan();
    let [calories, protein, carbs, fats] = figures;
    let meal = &mut day.meals[1];
    meal.meal_name = format!("Rice bowl with {}", food.to_lowercase());
    meal.recipe = recipe.to_owned();
    meal.foods.push(Food {
        name: food.to_owned(),
        portion: format!("{grams} g"),
        grams,
        calories,
        protein,
        carbs,
        fats,
        fiber: 0.0,
    });
    // Real figures: the sample's are made up.
    let real = |name: &str, grams: f64, figures: [f64; 4]| {
        let [calories, protein, carbs, fats] = figures.map(|per_100| per_100 * grams / 100.0);
        let portion = format!("{grams} g");
        Food { name: name.to_owned(), portion, grams, calories, protein, carbs, fats, fiber: 0.0 }
    };
    day.meals[0].foods = vec![
        real("Puffed rice", 60.0, [379.0, 6.5, 86.0, 1.0]),
        real("Blueberries", 150.0, [58.0, 0.7, 14.5, 0.3]),
    ];
    let [chicken, rice] = [&mut 0, &mut 1].map(|at| *at);
    day.meals[1].foods[chicken] = real("Chicken breast", 180.0, [165.0, 31.0, 0.0, 3.6]);
    day.meals[1].foods[rice] = real("Brown rice", 200.0, [123.0, 2.6, 25.6, 1.0]);
    day.meals[2].foods = vec![
        real("Lean beef", 180.0, [180.0, 27.0, 0.0, 7.5]),
        real("Baked potatoes", 250.0, [93.0, 2.0, 21.6, 0.1]),
        real("Olive oil", 20.0, [900.0, 0.0, 0.0, 100.0]),
    ];
    day.shopping_list.vegetables.push(format!("{food}, {grams} g"));
    day
}

/// What this person needs, with bands as wide as the day: the food alone is wrong with it.
fn needs_for(answer: &str, day: &MealPlan) -> Needs {
    let mut needs = match answer {
        "mushrooms" => needs_with(&json!({ "dislikedFoods": answer })),
        _ => needs_with(&json!({ "foodAllergies": answer })),
    };
    let total = crate::plan::verify::sums::Amounts::of_day(day);
    let bands = [&mut needs.calories, &mut needs.protein, &mut needs.carbs, &mut needs.fats];
    let sums = [total.calories, total.protein, total.carbs, total.fats];
    for (band, sum) in bands.into_iter().zip(sums) {
        let share = if sum == total.calories { 0.05 } else { 0.15 };
        (band.target, band.low, band.high) = (sum, sum * (1.0 - share), sum * (1.0 + share));
    }
    needs
}

#[test]
fn the_forbidden_food_goes_everywhere_and_one_of_its_kind_comes() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for line in CASES.lines().filter(|line| line.contains('|')) {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [answer, food, grams, figures, recipe, expected] = fields[..] else { panic!("{line}") };
        let figures: Vec<f64> = figures.split(", ").map(|text| text.parse().unwrap()).collect();
        let day = with(food, grams.parse().unwrap(), figures.try_into().unwrap(), recipe);
        let needs = needs_for(answer, &day);
        let judged = judge(Plan::Meal(Box::new(day)), &needs);
        assert!(!judged.found.is_clean(), "{line}");
        let swapped: Vec<&str> = judged
            .repairs
            .iter()
            .filter_map(|repair| match repair {
                Repair::Swapped { to, .. } => Some(to.as_str()),
                _ => None,
            })
            .collect();
        seen += 1;
        if expected == "-" {
            if judged.accepted {
                wrong.push(format!("{line}: swapped {swapped:?}"));
            }
            let knows =
                table::of(food, traits(food)).is_some_and(|kind| !kind.substitutes.is_empty());
            let advised = judged.correction().contains("this person may eat");
            if advised != knows {
                wrong.push(format!("{line}: {}", judged.correction()));
            }
            continue;
        }
        if !(judged.accepted && swapped.len() == 1 && swapped[0].contains(expected)) {
            let all: Vec<String> =
                judged.found.violations.iter().map(ToString::to_string).collect();
            wrong.push(format!("{line}: {swapped:?} {all:#?}"));
            continue;
        }
        assert!(verify(&judged.plan, &needs).is_clean(), "{line}");
        // Nothing of it is left, and what came is listed once, with its weight.
        let text = serde_json::to_string(&judged.plan).unwrap().to_lowercase();
        let kept = swapped[0].to_lowercase();
        let gone = food.to_lowercase();
        let Plan::Meal(day) = &judged.plan else { panic!("{line}") };
        let came = day.meals[1].foods.last().unwrap();
        let foods = day.meals.iter().flat_map(|meal| &meal.foods);
        let all: f64 = foods.filter(|food| food.name == came.name).map(|food| food.grams).sum();
        let entry = format!("{} ({all} g)", came.name);
        let listed = serde_json::to_string(&day.shopping_list).unwrap();
        let consistent = (kept.contains(&gone) || !text.contains(&gone))
            && came.name.eq_ignore_ascii_case(swapped[0])
            && listed.matches(&entry).count() == 1
            && day.meals[1].meal_name.to_lowercase().contains(&kept);
        if !consistent {
            wrong.push(format!("{line}: {came:?} {entry} in {listed}, {}", day.meals[1].meal_name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen, 26);
}

/// A plan in which the same food is wrong twice gets one answer, and sums that hold.
#[test]
fn a_food_in_two_meals_is_swapped_in_both() {
    let mut day = with("Almonds", 30.0, [174.0, 6.4, 6.5, 15.0], "Scatter the almonds over it.");
    let twice = day.meals[1].foods.last().unwrap().clone();
    day.meals[0].foods.push(twice);
    day.personalized_tips.push("A few almonds help against hunger.".to_owned());
    let needs = needs_for("tree nuts", &day);
    let judged = judge(Plan::Meal(Box::new(day)), &needs);
    assert!(judged.accepted, "{:?}", judged.found);
    let Plan::Meal(day) = &judged.plan else { panic!() };
    let seeds: Vec<f64> = day
        .meals
        .iter()
        .flat_map(|meal| &meal.foods)
        .filter(|food| food.name.ends_with("seeds"))
        .map(|food| food.grams)
        .collect();
    assert_eq!(seeds.len(), 2);
    let listed = serde_json::to_string(&day.shopping_list).unwrap();
    assert!(listed.contains(&format!("seeds ({} g)", seeds[0] + seeds[1])), "{listed}");
    let tip = day.personalized_tips.last().unwrap();
    assert!(tip.starts_with("A few ") && tip.ends_with(" seeds help against hunger."), "{tip}");
}

/// What else is wrong with a plan is not swapped away, and a plan that ignores the person
/// is not mended food by food.
#[test]
fn a_swap_bypasses_no_check() {
    let figures = [174.0, 6.4, 6.5, 15.0];
    let day = with("Almonds", 30.0, figures, "See https://example.org for the recipe.");
    let needs = needs_for("tree nuts", &day);
    assert!(!judge(Plan::Meal(Box::new(day)), &needs).accepted);

    // Nothing says which food the tip means.
    let mut day = with("Almonds", 30.0, figures, "Scatter the almonds over it.");
    day.personalized_tips.push("Pesto goes well with it.".to_owned());
    assert!(!judge(Plan::Meal(Box::new(day)), &needs).accepted);

    let mut day = with("Almonds", 30.0, figures, "Scatter the almonds over it.");
    for name in ["Walnuts", "Cashews", "Hazelnuts"] {
        let food = Food { name: name.to_owned(), ..day.meals[1].foods[2].clone() };
        day.meals[0].foods.push(food);
    }
    let needs = needs_for("tree nuts", &day);
    assert!(!judge(Plan::Meal(Box::new(day)), &needs).accepted);
}
