//! Holds the plans against their targets over many people.

use serde_json::json;

use super::targets::Kind;
use super::*;

fn meal_plan(planner: &Planner, targets: &Targets) -> Value {
    serde_json::from_str(&planner.text(targets, None)).unwrap()
}

fn sum(list: &Value, name: &str) -> f64 {
    list.as_array().unwrap().iter().map(|item| item[name].as_f64().unwrap()).sum()
}

/// The strictest reading of "fits": sums exact, calories 5 %, macros 10 %.
fn misses(plan: &Value, targets: &Targets) -> Vec<String> {
    let mut found = Vec::new();
    let goal = menu::totals_of(targets);
    let kinds = [("calories", 0.05), ("protein", 0.1), ("carbs", 0.1), ("fats", 0.1)];
    for ((name, share), aim) in kinds.into_iter().zip(goal) {
        let total = plan["daily_totals"][name].as_f64().unwrap();
        if (total - aim).abs() > share * aim {
            found.push(format!("{name}: {total} for {aim}"));
        }
        let meals = sum(&plan["meals"], &format!("total_{name}"));
        assert!((meals - total).abs() < 0.2, "{name}: {meals} in meals, {total} in the day");
    }
    for meal in plan["meals"].as_array().unwrap() {
        for name in ["calories", "protein", "carbs", "fats", "fiber"] {
            let foods = sum(&meal["foods"], name);
            let total = meal[format!("total_{name}")].as_f64().unwrap();
            assert!((foods - total).abs() < 0.06, "{name}: {foods} in foods, {total} in the meal");
        }
    }
    found
}

fn person(number: u64, diet: &str, allergies: &[&str]) -> Targets {
    let mut chance = Chance::new(("person", number, diet));
    let weight = 48.0 + chance.unit() * 70.0;
    let calories = (1200.0 + chance.unit() * 2200.0).round();
    let protein = (weight * 1.8).round().min(calories * 0.4 / 4.0);
    let fats = (calories * 0.28 / 9.0).round();
    let carbs = ((calories - 4.0 * protein - 9.0 * fats) / 4.0).round();
    Targets {
        kind: Some(Kind::Meal),
        calories: Some(calories),
        protein_g: Some(protein),
        carbs_g: Some(carbs),
        fats_g: Some(fats),
        meals: Some((2 + number % 5) as f64),
        diet: vec![diet.to_owned()],
        allergies: allergies.iter().map(|text| (*text).to_owned()).collect(),
        seed: Some(format!("person {number}")),
        ..Targets::default()
    }
}

#[test]
fn meal_plans_meet_their_targets_in_every_diet() {
    let planner = Planner::new().unwrap();
    let diets =
        ["no restrictions", "vegetarian", "vegan", "pescatarian", "paleo", "mediterranean", "keto"];
    let mut wrong = Vec::new();
    for diet in diets {
        let mut bad = 0;
        for number in 0..60 {
            let targets = person(number, diet, &[]);
            let missed = misses(&meal_plan(&planner, &targets), &targets);
            bad += usize::from(!missed.is_empty());
            wrong.extend(missed.into_iter().map(|miss| format!("{diet} {number}: {miss}")));
        }
        println!("{diet}: {bad} of 60 miss");
    }
    assert!(wrong.is_empty(), "{} misses:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn allergic_people_get_plans_that_fit_and_are_safe() {
    let planner = Planner::new().unwrap();
    let combinations: [(&str, &[&str]); 5] = [
        ("vegan", &["soy", "gluten", "nuts"]),
        (
            "no restrictions",
            &["dairy", "egg", "gluten", "soy", "peanut", "tree nut", "fish", "shellfish"],
        ),
        ("vegetarian", &["dairy", "egg"]),
        ("pescatarian", &["gluten", "nuts"]),
        ("paleo", &["fish", "shellfish", "egg"]),
    ];
    for (diet, allergies) in combinations {
        for number in 0..20 {
            let targets = person(number, diet, allergies);
            let plan = meal_plan(&planner, &targets);
            let missed = misses(&plan, &targets);
            assert!(missed.is_empty(), "{diet} {allergies:?} {number}: {missed:?}");
            let taste = taste::Taste::new(&targets);
            for meal in plan["meals"].as_array().unwrap() {
                for served in meal["foods"].as_array().unwrap() {
                    let known = planner.foods.iter().find(|food| food.name == served["name"]);
                    assert!(taste.allows(known.unwrap()), "{diet} {allergies:?}: {served}");
                }
            }
        }
    }
}

#[test]
fn the_number_of_meals_and_their_names_are_as_asked() {
    let planner = Planner::new().unwrap();
    for count in 1..=7 {
        let targets = Targets { meals: Some(f64::from(count)), ..person(1, "vegan", &[]) };
        let plan = meal_plan(&planner, &targets);
        assert_eq!(plan["meals"].as_array().unwrap().len(), count as usize);
    }
}

#[test]
fn workout_weeks_have_the_days_asked_for_and_add_up() {
    let planner = Planner::new().unwrap();
    for days in 1..=7_u32 {
        let targets = Targets {
            kind: Some(Kind::Workout),
            days: Some(f64::from(days)),
            places: vec!["home".to_owned(), "outdoor".to_owned()],
            equipment: vec!["dumbbells".to_owned()],
            injuries: vec!["bad left knee".to_owned()],
            ..Targets::default()
        };
        let plan: Value = serde_json::from_str(&planner.text(&targets, None)).unwrap();
        let week = plan["weekly_plan"].as_array().unwrap();
        let summary = &plan["weekly_summary"];
        assert_eq!(week.len(), days as usize);
        assert_eq!(summary["total_workout_days"], days);
        assert_eq!(summary["rest_days"], 7 - days);
        assert_eq!(
            summary["total_time_minutes"].as_f64().unwrap(),
            sum(&plan["weekly_plan"], "duration_minutes")
        );
        for exercise in week.iter().flat_map(|day| day["exercises"].as_array().unwrap()) {
            let name = exercise["name"].as_str().unwrap();
            let known = planner.exercises.iter().find(|known| known.name == name).unwrap();
            assert!(!known.loads.contains(&"knee"), "{name}");
            assert!(["none", "dumbbells"].contains(&known.equipment), "{name}");
        }
        assert!(week.iter().all(|day| day["exercises"].as_array().unwrap().len() >= 4), "{days}");
    }
}

#[test]
fn equal_targets_share_a_plan_and_seeds_vary_it() {
    let planner = Planner::new().unwrap();
    let targets = person(3, "vegan", &[]);
    assert!(Arc::ptr_eq(&planner.text(&targets, None), &planner.text(&targets, None)));
    let plans: std::collections::HashSet<Arc<str>> = (0..64)
        .map(|seed| {
            planner.text(&Targets { seed: Some(format!("{seed}")), ..targets.clone() }, None)
        })
        .collect();
    assert!(plans.len() >= 8, "{}", plans.len());
}

#[test]
fn whole_number_schemas_still_add_up() {
    let planner = Planner::new().unwrap();
    let number = json!({"type": "integer"});
    let food = json!({"type": "object", "properties": {"name": {"type": "string"}, "calories": number, "protein": number, "carbs": number, "fats": number, "fiber": number}});
    let totals = json!({"total_calories": number, "total_protein": number, "total_carbs": number, "total_fats": number, "total_fiber": number, "foods": {"type": "array", "items": food}});
    let schema = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "meals": {"type": "array", "items": {"type": "object", "properties": totals}},
            "daily_totals": {"type": "object", "properties": {"calories": number, "protein": number, "carbs": number, "fats": number}}
        }
    });
    let targets = person(5, "no restrictions", &[]);
    let plan: Value = serde_json::from_str(&planner.text(&targets, Some(&schema))).unwrap();
    assert!(
        plan["meals"][0]["foods"][0]["protein"].is_i64()
            || plan["meals"][0]["foods"][0]["protein"].is_u64()
    );
    assert_eq!(misses(&plan, &targets), Vec::<String>::new());
    assert!(plan.get("shopping_list").is_none());
}

#[test]
fn a_forgotten_answer_puts_one_forbidden_food_where_one_of_its_kind_was() {
    let planner = Planner::new().unwrap();
    let mut forbidden = 0;
    for number in 0..20 {
        let targets = person(number, "", &["milk", "gluten"]);
        let taste = taste::Taste::new(&targets);
        let plan: Value = serde_json::from_str(&planner.forbidden(&targets, None)).unwrap();
        let meals = plan["meals"].as_array().unwrap();
        let foods = meals.iter().flat_map(|meal| meal["foods"].as_array().unwrap());
        let known = |name: &Value| planner.foods.iter().find(|food| food.name == name).unwrap();
        let wrong: Vec<_> =
            foods.map(|food| known(&food["name"])).filter(|food| !taste.allows(food)).collect();
        assert!(wrong.len() <= 1, "{number}");
        for food in wrong {
            forbidden += 1;
            assert!(plan["shopping_list"].to_string().contains(food.name), "{number}");
        }
    }
    assert!(forbidden > 15, "{forbidden}");
}
