//! The adapters against the simulator, and the simulator's plans against our
//! verification: two readings of the same formats and foods that share no code.

use std::sync::Arc;
use std::time::Duration;

use regimen_common::job::PlanKind;
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_simulator::{Settings, Simulator};
use regimen_worker::llm::anthropic::Messages;
use regimen_worker::llm::feature::Features;
use regimen_worker::llm::gemini::GenerateContent;
use regimen_worker::llm::openai::{ChatCompletions, Dialect};
use regimen_worker::llm::{
    GenerateRequest, LazyPrompt, Prompt, Provider, Reasoning, ReplySchema, Timeouts, hashed_user,
    interpret,
};
use regimen_worker::plan::verify::verify;
use regimen_worker::plan::{self, Needs};
use regimen_worker::prompts;
use secrecy::SecretString;
use serde_json::{Value, json};
use uuid::Uuid;

use super::transport;

fn key() -> SecretString {
    "simulator".into()
}

/// Every adapter with the model and the reasoning it asks for.
fn adapters(simulator: &Simulator) -> Vec<(Box<dyn Provider>, &'static str, Reasoning)> {
    let base = |path: &str| format!("{}{path}", simulator.url()).parse().unwrap();
    let effort = |effort: &str| Reasoning::Effort(effort.to_owned());
    let chat =
        |dialect, path| Box::new(ChatCompletions::new(dialect, &base(path), key(), transport()));
    vec![
        (chat(Dialect::Openai, "/v1"), "gpt-6-luna", effort("low")),
        (Box::new(Messages::new(&base(""), key(), transport())), "claude-haiku-5-5", effort("low")),
        (
            Box::new(GenerateContent::new(&base(""), key(), transport())),
            "gemini-3.5-flash-lite",
            effort("LOW"),
        ),
        (chat(Dialect::Compatible, "/llama/v1"), "llama-3.3-70b", Reasoning::Unset),
    ]
}

/// A person like `changes` who is otherwise unremarkable.
fn person(changes: &Value) -> (Quiz, Nutrition, Needs) {
    let mut answers = json!({
        "age": 34, "gender": "female", "height": {"cm": 168}, "currentWeight": {"kg": 70},
        "targetWeight": {"kg": 64}, "mainGoal": "Weight loss", "timeFrame": "3 months",
        "lifestyle": "Calm", "groceryBudget": "Medium", "dietaryStyle": "No restrictions",
        "mealsPerDay": "3 (standard)", "motivationLevel": 7, "stressLevel": 4,
        "sleepQuality": "Good", "exerciseFrequency": "3-4 times/week",
        "preferredExercise": ["Strength"], "trainingEnvironment": ["Home"],
        "cookingSkill": "Beginner", "cookingTime": "15-30 min"
    });
    for (name, value) in changes.as_object().unwrap() {
        answers[name] = value.clone();
    }
    let quiz = Quiz::read(&answers).unwrap();
    let nutrition = Nutrition::of(&quiz);
    let needs = Needs::of(&quiz, &nutrition);
    (quiz, nutrition, needs)
}

async fn ask(
    provider: &dyn Provider,
    model: &str,
    reasoning: &Reasoning,
    kind: PlanKind,
    person: &(Quiz, Nutrition, Needs),
    seed: Uuid,
) -> String {
    let (quiz, nutrition, needs) = person;
    let text = prompts::build(kind, quiz, nutrition, needs, seed);
    let request = GenerateRequest {
        prompt: Arc::new(LazyPrompt::from(Prompt {
            system: text.system,
            user: text.user,
            schema: Arc::new(ReplySchema::new(plan::schema(kind))),
            schema_name: format!("{kind}_plan"),
            user_hash: hashed_user(seed),
        })),
        model: model.to_owned(),
        max_output_tokens: 16_000,
        reasoning: reasoning.clone(),
        correction: None,
        without: Features::default(),
    };
    let limit = Duration::from_secs(30);
    let timeouts = Timeouts { first_byte: limit, stall: limit, total: limit };
    let raw = provider.prepare(&request)(timeouts).await.unwrap();
    interpret(provider.name(), &raw).unwrap().text
}

/// What verification says about the plan in `text`.
fn faults(kind: PlanKind, text: &str, needs: &Needs) -> Vec<String> {
    let plan = plan::parse(kind, text).unwrap();
    verify(&plan, needs).violations.iter().map(|violation| format!("{violation:?}")).collect()
}

#[tokio::test]
async fn every_adapter_gets_sound_plans_from_the_simulator() {
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let person = person(&json!({"dietaryStyle": "Vegetarian", "foodAllergies": "peanuts"}));
    for (provider, model, reasoning) in adapters(&simulator) {
        for kind in PlanKind::ALL {
            let seed = Uuid::from_u128(7);
            let text = ask(provider.as_ref(), model, &reasoning, *kind, &person, seed).await;
            let found = faults(*kind, &text, &person.2);
            assert!(found.is_empty(), "{} {kind}: {found:#?}", provider.name());
        }
    }
}

/// Answers that differ in what the plans must respect.
fn people() -> Vec<Value> {
    let diets = [
        "No restrictions",
        "Vegetarian",
        "Vegan",
        "Pescatarian",
        "Keto",
        "Paleo",
        "Mediterranean",
        "Intermittent fasting",
        "Other",
    ];
    let allergies = [
        "",
        "no nuts!!",
        "lactose intolerant",
        "shelfish",
        "gluten/dairy",
        "peanuts, soy",
        "eggs and fish",
        "sesame",
        "coeliac",
        "milk, egg, wheat, soy, fish",
    ];
    let dislikes = ["", "mushrooms, broccoli", "fish", "tofu", "bananas and rice"];
    let meals =
        ["2 (intermittent fasting)", "3 (standard)", "4-5 (smaller meals)", "6+ (frequent eating)"];
    let frequencies = ["Never", "1-2 times/week", "3-4 times/week", "5-6 times/week", "Daily"];
    let places =
        [json!(["Home"]), json!(["Gym"]), json!(["Outdoor"]), json!(["Home", "Gym", "Outdoor"])];
    let equipment = [
        json!([]),
        json!(["Dumbbells"]),
        json!(["Resistance bands", "Kettlebell"]),
        json!(["Pull-up bar", "Jump rope"]),
    ];
    let injuries = [
        "",
        "bad left knee",
        "lower back pain",
        "rotator cuff, wrist",
        "ankle sprain and sore neck",
    ];
    let weights = [52.0, 68.0, 81.5, 97.0, 119.9];
    (0..90)
        .map(|n| {
            json!({
                "dietaryStyle": diets[n % diets.len()],
                "foodAllergies": allergies[(n / 2) % allergies.len()],
                "dislikedFoods": dislikes[(n / 3) % dislikes.len()],
                "mealsPerDay": meals[(n / 5) % meals.len()],
                "exerciseFrequency": frequencies[(n / 7) % frequencies.len()],
                "trainingEnvironment": places[n % places.len()],
                "equipment": equipment[(n / 4) % equipment.len()],
                "injuries": injuries[(n / 2) % injuries.len()],
                "currentWeight": {"kg": weights[n % weights.len()]},
                "gender": if n % 2 == 0 { "male" } else { "female" },
            })
        })
        .collect()
}

#[tokio::test]
async fn the_simulators_plans_pass_verification_for_many_people() {
    let simulator = Simulator::start(Settings::default()).await.unwrap();
    let (provider, model, reasoning) = adapters(&simulator).swap_remove(0);
    let mut unsound = Vec::new();
    for (number, answers) in people().iter().enumerate() {
        let person = person(answers);
        for kind in PlanKind::ALL {
            let seed = Uuid::from_u128(number as u128);
            let text = ask(provider.as_ref(), model, &reasoning, *kind, &person, seed).await;
            let found = faults(*kind, &text, &person.2);
            unsound.extend(
                (!found.is_empty()).then(|| format!("{number} {kind} {answers}: {found:#?}")),
            );
        }
    }
    assert!(unsound.is_empty(), "{} unsound:\n{}", unsound.len(), unsound.join("\n"));
}
