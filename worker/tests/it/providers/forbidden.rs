//! What a reply with a food its person must not eat costs.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use regimen_common::job::PlanKind;
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_worker::llm::fallback::Request;
use regimen_worker::llm::log::{Judge, Judgement};
use regimen_worker::llm::policy::FallbackPolicy;
use regimen_worker::llm::{Prompt, Reply, ReplySchema};
use regimen_worker::plan::verify::{Repair, judge, verify};
use regimen_worker::plan::{self, Needs, Plan};
use regimen_worker::prompts;
use serde_json::json;
use uuid::Uuid;

use super::bench::{Kept, Sim, quick, request};
use super::matrix::PROVIDERS;
use crate::fitting_plans::person;

const PLANS: u32 = 300;
/// Answers the simulator understands as we do.
const ALLERGIES: [&str; 9] = [
    "peanuts",
    "no nuts!!",
    "lactose intolerant",
    "milk",
    "eggs",
    "gluten",
    "soy",
    "fish",
    "shellfish",
];

/// Judges as the worker does, or as it would without swaps.
struct Verifies {
    needs: Needs,
    swaps: bool,
}

impl Judge for Verifies {
    type Plan = (Plan, bool);

    async fn judge(&self, reply: &Reply) -> Judgement<Self::Plan> {
        let plan = match plan::parse(PlanKind::Meal, &reply.text) {
            Ok(plan) => plan,
            Err(error) => return Judgement::Invalid(error.to_string()),
        };
        let judged = judge(plan, &self.needs);
        if judged.accepted && (self.swaps || judged.found.is_clean()) {
            assert!(verify(&judged.plan, &self.needs).is_clean());
            let swapped =
                judged.repairs.iter().any(|repair| matches!(repair, Repair::Swapped { .. }));
            return Judgement::Accept((judged.plan, swapped));
        }
        Judgement::Correct(judged.correction())
    }
}

struct Cost {
    calls: f64,
    most: u32,
    forbidden: u64,
    swapped: u32,
}

/// Has plans made for people with an allergy while `kind` befalls three replies in ten.
async fn cost(swaps: bool) -> Cost {
    let sim = Sim::start().await;
    sim.control(json!({ "mix": { "percent": 30, "kinds": ["forbidden_food"], "seed": 5 } })).await;
    // A busy machine is no silent provider.
    let patience = Duration::from_secs(20);
    let policy = FallbackPolicy { stall: patience, first_byte: patience, ..quick() };
    let fallback = &sim.fallback(&PROVIDERS, policy, None);
    let run = async |n: u32| {
        let mut rng = StdRng::seed_from_u64(u64::from(n));
        let mut answers = person(&mut rng);
        answers["foodAllergies"] = json!(ALLERGIES[rng.random_range(0..ALLERGIES.len())]);
        answers["dietaryStyle"] = json!("No restrictions");
        let quiz = Quiz::read(&answers).unwrap();
        let nutrition = Nutrition::of(&quiz);
        let needs = Needs::of(&quiz, &nutrition);
        let seed = Uuid::from_u128(u128::from(n) + 1);
        let texts = prompts::build(PlanKind::Meal, &quiz, &nutrition, &needs, seed);
        let base = request("unused", Duration::from_secs(120));
        let prompt = Prompt {
            system: texts.system,
            user: texts.user,
            schema: ReplySchema::new(plan::schema(PlanKind::Meal)).into(),
            schema_name: "meal_plan".to_owned(),
            user_hash: base.prompt.read().user_hash.clone(),
        };
        // Each provider in turn comes first.
        let first = PROVIDERS.into_iter().cycle().nth(n as usize);
        let prompt = std::sync::Arc::new(prompt.into());
        let request = Request { provider: first, prompt, prompt_bytes: 30_000, ..base };
        fallback.run(&request, &Verifies { needs, swaps }, &Kept::default()).await
    };
    let mut runs = stream::iter(0..PLANS).map(run).buffer_unordered(8);
    let (mut most, mut swapped) = (0, 0);
    while let Some(ran) = runs.next().await {
        let delivered = ran.unwrap();
        most = most.max(delivered.calls);
        swapped += u32::from(delivered.plan.1);
    }
    let seen = sim.get("/control/stats").await;
    let calls = seen["calls"].as_f64().unwrap() / f64::from(PLANS);
    let forbidden = seen["outcomes"]["forbidden_food"].as_u64().unwrap();
    Cost { calls, most, forbidden, swapped }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_per_plan_while_three_replies_in_ten_have_a_forbidden_food() {
    let (with, without) = (cost(true).await, cost(false).await);
    println!(
        "figures: provider calls per accepted plan, 30 % of replies with a forbidden food: {:.2} \
         (at most {}; {} of {} such replies swapped), {:.2} without swaps (at most {}), {PLANS} plans each",
        with.calls, with.most, with.swapped, with.forbidden, without.calls, without.most
    );
    assert!(with.forbidden > 60, "{}", with.forbidden);
    assert!(with.calls <= 1.2 && with.calls < without.calls, "{}", with.calls);
}
