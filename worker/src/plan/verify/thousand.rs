//! How far planted figures are from the truth before and after repair, on a thousand plans.

use regimen_common::job::PlanKind;
use regimen_simulator::{Settings, Simulator};
use serde_json::{Value, json};

use super::tests::needs;
use super::{mend_figures, nutrients};
use crate::plan::meal::Food;
use crate::plan::{MealPlan, Plan, parse, reference};

const PLANS: u32 = 1_000;
/// In a prompt it makes the reply one with invented figures.
const MARK: &str = "FIGURES-FROM-MEMORY";

/// Asks the simulator for the plan of person `n`.
async fn plan(client: &reqwest::Client, url: &str, n: u32, mark: &str) -> MealPlan {
    let kcal = 1_500 + 7 * (n % 240);
    let targets =
        json!({ "kind": "meal", "calories": kcal, "meals": 3 + n % 3, "seed": n.to_string() });
    let body = json!({ "model": "gpt-6-luna", "max_completion_tokens": 16_000, "messages":
        [{ "role": "user", "content": format!("{mark}\nREGIMEN-TARGETS: {targets}") }] });
    let url = format!("{url}/v1/chat/completions");
    let reply = client.post(url).bearer_auth("sk-test").json(&body).send().await.unwrap();
    let reply: Value = reply.json().await.unwrap();
    let text = reply["choices"][0]["message"]["content"].as_str().unwrap();
    match parse(PlanKind::Meal, text).unwrap() {
        Plan::Meal(day) => *day,
        Plan::Workout(_) => panic!("a workout"),
    }
}

fn foods(day: &MealPlan) -> Vec<&Food> {
    day.meals.iter().flat_map(|meal| &meal.foods).collect()
}

/// Which foods of the day have figures that are told as wrong.
fn told(day: &MealPlan) -> Vec<bool> {
    let mut violations = Vec::new();
    let mut needs = needs();
    needs.calories.target = day.daily_totals.calories;
    nutrients::check(day, &needs, &mut violations);
    let texts: Vec<String> = violations.iter().map(ToString::to_string).collect();
    let mut told = Vec::new();
    for (meal, one) in day.meals.iter().enumerate() {
        for food in 0..one.foods.len() {
            let at = format!("/meals/{meal}/foods/{food}:");
            told.push(texts.iter().any(|text| text.starts_with(&at)));
        }
    }
    told
}

#[derive(Default)]
struct Tally {
    foods: u32,
    known: u32,
    alarms: u32,
    planted: u32,
    mended: u32,
    asked_again: u32,
    /// kcal a planted food is off, in sum.
    off: [f64; 2],
    unnoticed_off: f64,
    /// kcal a day is off, in sum.
    day_off: [f64; 2],
    /// Plans nothing is told of, and what they are off, kcal a day.
    passed: u32,
    passed_off: f64,
}

#[tokio::test]
async fn planted_figures_of_a_thousand_plans_are_mended_or_told() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let client = reqwest::Client::builder().build().unwrap();
    let rule = json!({ "rules": [{ "marker": MARK, "action": { "do": "wrong_figures" } }] });
    let control = format!("{}/control", simulator.url());
    assert!(client.post(control).json(&rule).send().await.unwrap().status().is_success());

    let mut tally = Tally::default();
    for n in 0..PLANS {
        let truth = plan(&client, &simulator.url(), n, "").await;
        let wrong = plan(&client, &simulator.url(), n, MARK).await;
        let mut mended = Plan::Meal(Box::new(wrong.clone()));
        mend_figures(&mut mended);
        let Plan::Meal(mended) = mended else { panic!("a workout") };
        tally.alarms += u32::try_from(told(&truth).iter().filter(|told| **told).count()).unwrap();
        let told = told(&mended);
        let all = foods(&truth).into_iter().zip(foods(&wrong)).zip(foods(&mended)).zip(&told);
        let mut day = [0.0; 2];
        for (((real, before), after), told) in all {
            assert_eq!(real.name, before.name);
            tally.foods += 1;
            tally.known += u32::from(reference::of(&real.name).is_some());
            let off = [before, after].map(|food| food.calories - real.calories);
            day = [day[0] + off[0], day[1] + off[1]];
            let planted = (real.protein - before.protein).abs() > 0.15
                || (real.carbs - before.carbs).abs() > 0.15;
            if !planted {
                continue;
            }
            tally.planted += 1;
            tally.mended += u32::from(before != after);
            tally.asked_again += u32::from(*told);
            if before == after && !told {
                tally.unnoticed_off += off[1].abs();
            }
            tally.off = [tally.off[0] + off[0].abs(), tally.off[1] + off[1].abs()];
        }
        tally.day_off = [tally.day_off[0] + day[0].abs(), tally.day_off[1] + day[1].abs()];
        if !told.contains(&true) {
            tally.passed += 1;
            tally.passed_off += day[1].abs();
        }
    }
    let share = |part: u32, of: u32| 100.0 * f64::from(part) / f64::from(of);
    let planted = f64::from(tally.planted);
    println!(
        "figures: {PLANS} plans with {} foods, {:.1} % known to the reference; {} planted figures: {:.0} % \
         mended, {:.0} % asked for again, {:.0} % unnoticed, off by {:.0} kcal; a food with them is off by {:.0} kcal before \
         and {:.0} after repair, a day by {:.0} and {:.0}; {} plans pass, off by {:.0} kcal a day; {} \
         false alarms without planted figures",
        tally.foods,
        share(tally.known, tally.foods),
        tally.planted,
        share(tally.mended, tally.planted),
        share(tally.asked_again, tally.planted),
        share(tally.planted - tally.mended - tally.asked_again, tally.planted),
        tally.unnoticed_off / f64::from(tally.planted - tally.mended - tally.asked_again),
        tally.off[0] / planted,
        tally.off[1] / planted,
        tally.day_off[0] / f64::from(PLANS),
        tally.day_off[1] / f64::from(PLANS),
        tally.passed,
        tally.passed_off / f64::from(tally.passed.max(1)),
        tally.alarms,
    );
    assert!(tally.planted > 1_000, "{}", tally.planted);
    assert_eq!(tally.alarms, 0);
    assert!(tally.off[1] < tally.off[0], "{:?}", tally.off);
}
