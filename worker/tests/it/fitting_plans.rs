//! Prompts, a provider that answers them, and verification fit together: for
//! people of every kind, the simulator reads the targets we write and answers
//! plans that we accept. It has its own idea of foods and exercises, so that
//! either side's mistakes show here.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use regimen_common::job::PlanKind;
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_simulator::{Settings, Simulator};
use regimen_worker::plan::verify::{Violation, repair, verify};
use regimen_worker::plan::{self, Needs};
use regimen_worker::prompts;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::warnings::WAYS_OF_EATING;

/// People asked for; a plan of each kind for each of them.
const PEOPLE: u64 = 300;

fn pick<'a>(rng: &mut StdRng, choices: &[&'a str]) -> &'a str {
    choices[rng.random_range(0..choices.len())]
}

/// Somebody with the answers the app's client offers.
pub(crate) fn person(rng: &mut StdRng) -> Value {
    let weight = rng.random_range(50..=120);
    json!({
        "age": rng.random_range(18..=70),
        "gender": pick(rng, &["male", "female", "other"]),
        "height": {"cm": rng.random_range(150..=200).to_string()},
        "currentWeight": {"kg": weight.to_string()},
        "targetWeight": {"kg": (weight - 5).to_string()},
        "mainGoal": pick(rng, &["Weight loss", "Build muscle", "Body recomposition", "Maintain weight", "Mild weight loss", "Extreme weight loss", "Improve strength", "Improve endurance", "General health"]),
        "timeFrame": "3 months", "lifestyle": "Calm", "groceryBudget": "Medium (moderate)",
        "dietaryStyle": pick(rng, &["No restrictions", "No restrictions", "Vegetarian", "Vegan", "Pescatarian", "Mediterranean", "Keto", "Paleo", "Intermittent fasting", "Other"]),
        "mealsPerDay": pick(rng, &["2 (intermittent fasting)", "3 (standard)", "4-5 (smaller meals)", "6+ (frequent eating)"]),
        "motivationLevel": 7, "stressLevel": 4, "sleepQuality": "Good",
        "exerciseFrequency": pick(rng, &["Never", "1-2 times/week", "3-4 times/week", "5-6 times/week", "Daily"]),
        "preferredExercise": [pick(rng, &["Strength training", "Cardio", "Yoga"])],
        "trainingEnvironment": [pick(rng, &["Gym", "Home", "Outdoor"]), pick(rng, &["Home", "Outdoor"])],
        "equipment": [pick(rng, &["None", "Dumbbells", "Resistance bands", "Kettlebell", "Pull-up bar"])],
        "foodAllergies": pick(rng, &["", "none", "no nuts!!", "lactose intolerant", "shelfish", "gluten/dairy", "peanuts", "eggs", "soy", "fish", "sesame"]),
        "dislikedFoods": pick(rng, &["", "mushrooms", "liver", "broccoli, olives"]),
        "injuries": pick(rng, &["", "none", "bad knees", "lower back pain", "shoulder", "wrist", "ankle sprain"]),
        "cookingSkill": "Beginner", "cookingTime": "15-30 min"
    })
}

async fn answer(
    client: &reqwest::Client,
    simulator: &Simulator,
    prompt: &prompts::PromptTexts,
) -> String {
    let body = json!({
        "model": "gpt-6-luna",
        "messages": [
            {"role": "developer", "content": prompt.system},
            {"role": "user", "content": prompt.user}
        ],
        "max_completion_tokens": 16_000
    });
    let reply = client
        .post(format!("{}/v1/chat/completions", simulator.url()))
        .bearer_auth("sk-test")
        .json(&body)
        .send()
        .await
        .unwrap();
    let reply: Value = reply.json().await.unwrap();
    reply["choices"][0]["message"]["content"]
        .as_str()
        .unwrap_or_else(|| panic!("{reply}"))
        .to_owned()
}

/// What `verify` finds in the plan a sound provider answers this person.
async fn found(
    client: &reqwest::Client,
    simulator: &Simulator,
    kind: PlanKind,
    answers: &Value,
    seed: u64,
) -> Vec<Violation> {
    let quiz = Quiz::read(answers).unwrap();
    let nutrition = Nutrition::of(&quiz);
    let needs = Needs::of(&quiz, &nutrition);
    let prompt = prompts::build(kind, &quiz, &nutrition, &needs, Uuid::from_u128(seed.into()));
    let mut plan = plan::parse(kind, &answer(client, simulator, &prompt).await).unwrap();
    repair(&mut plan, &needs);
    verify(&plan, &needs).violations
}

async fn provider() -> (reqwest::Client, Simulator) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    (reqwest::Client::builder().build().unwrap(), simulator)
}

#[tokio::test]
async fn people_of_every_kind_get_plans_that_pass() {
    let (client, simulator) = provider().await;
    let (mut passed, mut refused) = (0, Vec::new());
    for number in 0..PEOPLE {
        let answers = person(&mut StdRng::seed_from_u64(number));
        for kind in PlanKind::ALL {
            let violations = found(&client, &simulator, *kind, &answers, number + 1).await;
            passed += usize::from(violations.is_empty());
            if let Some(first) = violations.first() {
                let classes: Vec<_> = violations.iter().map(Violation::class).collect();
                refused.push(format!("{number} {kind} {classes:?}: {first}"));
            }
        }
    }
    refused.iter().for_each(|line| println!("{line}"));
    println!("{passed} plans passed, {} refused", refused.len());
    assert!(refused.len() * 50 <= passed, "more than 2 % of a sound provider's plans are refused");
}

/// Whatever dishes the seed draws, none holds what the style forbids.
#[tokio::test]
async fn no_draw_of_dishes_breaks_a_way_of_eating() {
    let (client, simulator) = provider().await;
    let mut refused = Vec::new();
    for style in WAYS_OF_EATING {
        let mut answers = crate::fleet::answers();
        answers["dietaryStyle"] = json!(style);
        for seed in 1..=60 {
            let violations = found(&client, &simulator, PlanKind::Meal, &answers, seed).await;
            refused.extend(violations.iter().map(|found| format!("{style} {seed}: {found}")));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}
