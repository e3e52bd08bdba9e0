//! Quizzes as the app's front end really sends them on the old routes, and what
//! it finds in its tables when it was refused.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Ingress, quiz};

const CALCULATED: &str = "select count(*) from public.quiz_results
                          where user_id = $1 and calculations ->> 'goalCalories' is not null";

fn with(field: &str, value: Value) -> Value {
    let mut answers = quiz();
    answers[field] = value;
    answers
}

/// Stores a quiz as the front end does before it calls.
async fn store(ingress: &Ingress, user: Uuid, answers: &Value) -> Uuid {
    let client = ingress.database.client().await;
    let profile = "insert into public.profiles (id, email) values ($1, 'ana@example.test')
                   on conflict do nothing";
    client.execute(profile, &[&user]).await.unwrap();
    let quiz = "insert into public.quiz_results (user_id, answers) values ($1, $2) returning id";
    client.query_one(quiz, &[&user, answers]).await.unwrap().get(0)
}

/// The call of the quiz page, about a stored quiz.
async fn generate(ingress: &Ingress, user: Uuid, quiz: Uuid, answers: &Value) -> Answer {
    let body = json!({
        "user_id": user, "quiz_result_id": quiz, "answers": answers,
        "ai_provider": "openai", "model_name": "gpt-4o-mini",
    });
    ingress.post("/generate-plans", user, &body).await
}

fn warned(answer: &Answer) -> Vec<&str> {
    let warnings = answer.body["warnings"].as_array().unwrap();
    warnings.iter().map(|warning| warning["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_cannot_be_used_and_is_not_needed_is_left_out_and_told() {
    let ingress = Ingress::start(&[("RATE_GENERATE_PLANS", "100/h")]).await;
    let long = "knee ".repeat(500);
    for (field, value) in [
        ("neck", json!({"cm": "NaN"})),
        ("waist", json!({"ft": "0", "inch": "0"})),
        ("neck", json!({"cm": "12"})),
        ("bodyFat", json!(0)),
        ("bodyFat", json!("72")),
        ("preferredExercise", json!([])),
        ("injuries", json!(long)),
        ("height", json!({"ft": "2", "inch": "4"})),
    ] {
        let (user, answers) = (Uuid::new_v4(), with(field, value));
        let stored = store(&ingress, user, &answers).await;
        let answer = generate(&ingress, user, stored, &answers).await;
        assert_eq!(answer.status, 200, "{field}: {answer:?}");
        assert_eq!(warned(&answer), [format!("/answers/{field}")]);
        let job = answer.body["jobs"][0]["status_url"].as_str().unwrap();
        let view = ingress.get(job, user).await;
        assert_eq!(view.body["warnings"], answer.body["warnings"], "{field}");
        // The routes that are new are as strict as ever.
        let body = json!({"answers": answers, "kinds": ["meal"]});
        let strict = ingress.post("/v1/plans", user, &body).await;
        let accepted = matches!(field, "waist" | "bodyFat" | "neck") && strict.status == 202;
        assert!(accepted || strict.status == 422, "{field}: {strict:?}");
    }
}

#[tokio::test]
async fn the_height_of_who_registered_in_feet_is_put_right() {
    let ingress = Ingress::start(&[]).await;
    let right = with("height", json!({"ft": "5", "inch": "10"}));
    let wrong = with("height", json!({"ft": "2", "inch": "4"}));
    let mut calculations = Vec::new();
    for answers in [&right, &wrong] {
        let user = Uuid::new_v4();
        let stored = store(&ingress, user, answers).await;
        let answer = generate(&ingress, user, stored, answers).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        calculations.push(answer.body["calculations"].clone());
    }
    assert_eq!(calculations[0], calculations[1]);
}

#[tokio::test]
async fn a_refusal_names_the_first_field_in_words_a_person_understands() {
    let ingress = Ingress::start(&[]).await;
    for (field, value, detail) in [
        ("age", json!("12"), "age must be a whole number from 13 to 120"),
        ("height", json!({"cm": "30"}), "height (cm) must be between 100 and 275 cm"),
        ("currentWeight", json!({"kg": "NaN"}), "current weight (kg) is missing"),
        ("mainGoal", json!(""), "main goal is required"),
    ] {
        let (user, answers) = (Uuid::new_v4(), with(field, value));
        let stored = store(&ingress, user, &answers).await;
        let refused = generate(&ingress, user, stored, &answers).await;
        assert_eq!(refused.status, 422, "{field}: {refused:?}");
        assert_eq!(refused.body["detail"], detail);
    }
}

#[tokio::test]
async fn the_targets_of_a_stored_quiz_are_there_whatever_refuses_the_plans() {
    let settings = [("RATE_GENERATE_PLANS", "1/h"), ("MAX_QUEUED", "6")];
    let ingress = Ingress::start(&settings).await;
    let user = Uuid::new_v4();
    let first = store(&ingress, user, &quiz()).await;
    assert_eq!(generate(&ingress, user, first, &quiz()).await.status, 200);
    // 429 of the rate.
    let second = store(&ingress, user, &quiz()).await;
    assert_eq!(generate(&ingress, user, second, &quiz()).await.status, 429);
    assert_eq!(ingress.count(CALCULATED, user).await, 2);
    // 422 of another field.
    let other = Uuid::new_v4();
    let stored = store(&ingress, other, &quiz()).await;
    let body = json!({"quiz_result_id": stored, "answers": quiz(), "ai_provider": "nobody"});
    assert_eq!(ingress.post("/generate-plans", other, &body).await.status, 422);
    assert_eq!(ingress.count(CALCULATED, other).await, 1);
    // 429 of the month: all generations of the plan are used up.
    let monthly = Uuid::new_v4();
    let stored = store(&ingress, monthly, &quiz()).await;
    let used = "insert into regimen.generations (id, user_id)
                select gen_random_uuid(), $1 from generate_series(1, 200)";
    ingress.database.client().await.execute(used, &[&monthly]).await.unwrap();
    assert_eq!(generate(&ingress, monthly, stored, &quiz()).await.status, 429);
    assert_eq!(ingress.count(CALCULATED, monthly).await, 1);
    // 503 of a full queue.
    let late = Uuid::new_v4();
    for _ in 0..3 {
        let filler = Uuid::new_v4();
        let stored = store(&ingress, filler, &quiz()).await;
        generate(&ingress, filler, stored, &quiz()).await;
    }
    let stored = store(&ingress, late, &quiz()).await;
    assert_eq!(generate(&ingress, late, stored, &quiz()).await.status, 503);
    assert_eq!(ingress.count(CALCULATED, late).await, 1);
    // Somebody else's quiz stays as it is, and so does one that has its targets.
    let theirs = store(&ingress, Uuid::new_v4(), &quiz()).await;
    let foreign = generate(&ingress, user, theirs, &quiz()).await;
    assert_eq!(foreign.status, 429);
    let untouched = "select count(*) from public.quiz_results
                     where user_id <> $1 and calculations is null";
    assert_eq!(ingress.count(untouched, user).await, 1);
}
