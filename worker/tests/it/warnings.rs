//! What of a person's answers about food was not understood is told where they
//! look: in the answer to the request, in the job and in the plan. And plans
//! are made for ways of eating as people write them.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, answers, job_ids, soon};

/// Ways of eating as people write them.
pub(crate) const WAYS_OF_EATING: &[&str] = &[
    "Halal",
    "kosher",
    "Celiac",
    "Sin gluten",
    "Plant-based",
    "Pescetarian",
    "Veggie",
    "Non-vegetarian",
    "Vegetarian but eats fish",
    "Jain",
    "Egg-free",
    "Low carb",
    "Whole30",
    "No pork",
    "Low FODMAP",
];

fn with(changes: &Value) -> Value {
    let mut answers = answers();
    for (name, value) in changes.as_object().unwrap() {
        answers[name] = value.clone();
    }
    json!({ "kinds": ["meal"], "answers": answers })
}

#[tokio::test]
async fn words_nobody_understood_are_told_from_the_request_to_the_plan() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = Uuid::new_v4();
    let odd = with(&json!({
        "foodAllergies": "peanuts, zebrine", "dietaryStyle": "Quinzelian", "injuries": "vexilium",
    }));

    let accepted: Value =
        ingress.door().post_plans(user, &odd, None).await.unwrap().json().await.unwrap();
    let told: Vec<_> = accepted["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["pointer"].as_str().unwrap(), one["words"][0].as_str().unwrap()))
        .collect();
    let expected = [
        ("/answers/foodAllergies", "zebrine"),
        ("/answers/dietaryStyle", "quinzelian"),
        ("/answers/injuries", "vexilium"),
    ];
    assert_eq!(told, expected, "{accepted}");

    let job = job_ids(&accepted)[0];
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(view["warnings"], accepted["warnings"]);
    assert_eq!(view["plan"]["unchecked"], accepted["warnings"]);
    let active = ingress.get(user, "/v1/plans/meal/active").await;
    assert_eq!(active["plan"]["unchecked"], accepted["warnings"]);

    let plain = with(&json!({"foodAllergies": "Erdnüsse", "dietaryStyle": "Veggie"}));
    let request = ingress.door().request(Method::POST, user, "/generate-plans").json(&plain);
    let accepted: Value = request.send().await.unwrap().json().await.unwrap();
    assert_eq!(accepted["warnings"], json!([]), "{accepted}");
    let view = soon("the plan", ingress.ended(user, job_ids(&accepted)[0])).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert!(view.get("warnings").is_none() && view["plan"].get("unchecked").is_none());
}

/// Words no table knows are put to a model once: what it says is added to what is kept
/// from the person, and what it knows is told no more.
#[tokio::test]
async fn words_a_model_knows_are_kept_out_and_told_no_more() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let (ingress, worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let odd = with(&json!({
        "foodAllergies": "peanuts, moo juice, zebrine", "dietaryStyle": "Leafitarian",
    }));
    let post = async || {
        let user = Uuid::new_v4();
        let answer = ingress.door().post_plans(user, &odd, None).await.unwrap();
        let accepted: Value = answer.json().await.unwrap();
        let view = soon("the plan", ingress.ended(user, job_ids(&accepted)[0])).await;
        assert_eq!(view["status"], "succeeded", "{view}");
        (accepted, view)
    };
    let (accepted, view) = post().await;
    let words = |one: &Value| one["words"].clone();
    let told: Vec<Value> = accepted["warnings"].as_array().unwrap().iter().map(words).collect();
    assert_eq!(told, [json!(["moo juice", "zebrine"]), json!(["leafitarian"])], "{accepted}");
    for left in [&view["warnings"], &view["plan"]["unchecked"]] {
        let left: Vec<Value> = left.as_array().unwrap().iter().map(words).collect();
        assert_eq!(left, [json!(["zebrine"])], "{view}");
    }
    // The plan was asked for without milk, and vegan.
    let calls = view["attempts"].as_array().unwrap();
    assert_eq!(calls.len(), 2, "one call about the words, one for the plan: {view}");
    let cost: f64 = calls.iter().map(|call| call["cost_usd"].as_f64().unwrap()).sum();
    assert!(calls[0]["cost_usd"].as_f64().unwrap() > 0.0, "{view}");
    assert!((view["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-9, "{view}");
    let job = view["id"].as_str().unwrap().parse().unwrap();
    let asked = fleet.simulator.asked_for(job).await;
    let targets = asked.split("REGIMEN-TARGETS").last().unwrap();
    assert!(targets.contains("milk") && targets.contains("moo juice"), "{targets}");

    // What is known is not asked for again, by nobody.
    let (_, view) = post().await;
    assert_eq!(view["attempts"].as_array().unwrap().len(), 1, "{view}");
    assert_eq!(words(&view["plan"]["unchecked"][0]), json!(["zebrine"]), "{view}");
    drop(worker);
}

/// Where no answer comes, the words stay told and the plan is made.
#[tokio::test]
async fn a_model_that_does_not_answer_about_words_keeps_nobody_from_a_plan() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let broken = json!({"marker": "REGIMEN-WORDS", "action": {"do": "status", "status": 400}});
    fleet.simulator.control(json!({ "rules": [broken] })).await;
    let user = Uuid::new_v4();
    let odd = with(&json!({"foodAllergies": "moo juice"}));
    let answer = ingress.door().post_plans(user, &odd, None).await.unwrap();
    let accepted: Value = answer.json().await.unwrap();
    let view = soon("the plan", ingress.ended(user, job_ids(&accepted)[0])).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(view["plan"]["unchecked"], accepted["warnings"], "{view}");
    assert_eq!(view["warnings"], accepted["warnings"], "{view}");
}

/// A team that wants no such call makes none.
#[tokio::test]
async fn nobody_is_asked_about_words_where_that_is_switched_off() {
    let mut fleet = Fleet::new(&[("ASK_UNKNOWN_WORDS", "false")]).await;
    fleet.ask_all_providers();
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = Uuid::new_v4();
    let job = ingress.submit_body(user, &with(&json!({"foodAllergies": "moo juice"}))).await[0];
    let view = soon("the plan", ingress.ended(user, job)).await;
    assert_eq!(view["attempts"].as_array().unwrap().len(), 1, "{view}");
    assert_eq!(view["warnings"], view["plan"]["unchecked"], "{view}");
}

#[tokio::test]
async fn ways_of_eating_as_people_write_them_get_their_plan_at_the_first_call() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    for style in WAYS_OF_EATING {
        let user = Uuid::new_v4();
        let body = with(&json!({"dietaryStyle": style}));
        let job = ingress.submit_body(user, &body).await[0];
        let view = soon("the plan", ingress.ended(user, job)).await;
        let calls = view["attempts"].as_array().unwrap().len();
        assert_eq!((&view["status"], calls), (&json!("succeeded"), 1), "{style}: {view}");
    }
}

/// A deficit that would harm is said from the request to the plan, which is built
/// without it; the targets the app shows stay what they were.
#[tokio::test]
async fn cautions_are_told_from_the_request_to_the_plan_and_its_targets_are_safe() {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = Uuid::new_v4();
    let young = with(&json!({
        "age": 15, "mainGoal": "Weight loss", "medications": "simvastatin",
        "currentWeight": {"kg": 70}, "targetWeight": {"kg": 65}, "timeFrame": "6 months",
    }));

    let accepted: Value =
        ingress.door().post_plans(user, &young, None).await.unwrap().json().await.unwrap();
    let codes: Vec<_> = accepted["cautions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|caution| caution["code"].as_str().unwrap())
        .collect();
    assert_eq!(codes, ["under_18", "statin_grapefruit"], "{accepted}");
    let tdee = accepted["nutrition"]["tdee"].as_f64().unwrap();
    assert!(accepted["nutrition"]["goalCalories"].as_f64().unwrap() < tdee, "{accepted}");

    let view = soon("the plan", ingress.ended(user, job_ids(&accepted)[0])).await;
    assert_eq!(view["status"], "succeeded", "{view}");
    assert_eq!(view["plan"]["cautions"], accepted["cautions"]);
    assert_eq!(view["cautions"], accepted["cautions"]);
    let planned = view["plan"]["daily_totals"]["calories"].as_f64().unwrap();
    assert!(planned >= 0.95 * tdee, "{planned} kcal of {tdee}");
}

/// Where the policy is strict, an allergy nobody understands is refused, and any other
/// is not.
#[tokio::test]
async fn strict_allergies_are_refused_where_they_are_not_understood() {
    let fleet = Fleet::new(&[("ALLERGY_POLICY", "strict")]).await;
    let ingress = fleet.ingress().await;
    let post = async |allergies: &str| {
        let body = with(&json!({"foodAllergies": allergies}));
        let response = ingress.door().post_plans(Uuid::new_v4(), &body, None).await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, body) = post("peanuts, zebrine").await;
    assert_eq!(status, 422, "{body}");
    assert!(body.contains("/answers/foodAllergies") && body.contains("zebrine"), "{body}");
    for understood in ["peanuts", "Erdnüsse, 牛乳", "none", ""] {
        let (status, body) = post(understood).await;
        assert_eq!(status, 202, "{understood}: {body}");
    }
}
