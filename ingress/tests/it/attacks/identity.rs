//! Attacks on who somebody is.

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::keys::signed_with_nothing;
use crate::harness::{Ingress, Send, claims, plans, signed, token};

const ES256: &[u8] = include_bytes!("../../keys/es256_1.pem");
const ES256_PUBLIC: &[u8] = include_bytes!("../../keys/es256_1.pub.pem");

fn changed(user: Uuid, name: &str, value: Value) -> String {
    let mut claims = claims(user);
    claims[name] = value;
    signed(&claims)
}

/// Tokens that must not be believed: what is wrong, the token, the status.
fn bad_tokens(user: Uuid) -> Vec<(&'static str, String, u16)> {
    let good = token(user);
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let payload = unsigned.split_once('.').unwrap().1;
    let with_header = |header: &str| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header) + "." + payload
    };
    let signed_by =
        |algorithm, key: &EncodingKey| encode(&Header::new(algorithm), &claims(user), key).unwrap();
    let past = claims(user)["exp"].as_i64().unwrap() - 7_200;
    let future = claims(user)["exp"].as_i64().unwrap();
    vec![
        ("alg none", with_header(r#"{"alg":"none"}"#) + ".", 401),
        ("alg NONE", with_header(r#"{"alg":"NONE"}"#) + ".", 401),
        ("no signature", format!("{unsigned}."), 401),
        ("a foreign signature", format!("{payload}.{payload}.{signature}"), 401),
        ("another algorithm named", with_header(r#"{"alg":"HS512"}"#) + "." + signature, 401),
        (
            "a published key as HMAC secret",
            signed_by(Algorithm::HS256, &EncodingKey::from_secret(ES256_PUBLIC).unwrap()),
            401,
        ),
        (
            "a key nobody published",
            signed_by(Algorithm::ES256, &EncodingKey::from_ec_pem(ES256).unwrap()),
            401,
        ),
        ("an empty secret", signed_with_nothing(&json!({"alg": "HS256"}), &claims(user)), 401),
        ("expired", changed(user, "exp", json!(past)), 401),
        ("never expiring", changed(user, "exp", json!(null)), 401),
        ("an expiry beyond numbers", changed(user, "exp", json!("1e400")), 401),
        ("not valid yet", changed(user, "nbf", json!(future)), 401),
        ("for another audience", changed(user, "aud", json!("someone-else")), 401),
        ("for nobody", changed(user, "aud", json!([])), 401),
        ("from another issuer", changed(user, "iss", json!("https://evil.example/auth/v1")), 401),
        ("from no issuer", changed(user, "iss", json!(null)), 401),
        ("the service's own key", changed(user, "role", json!("service_role")), 403),
        ("the public key of the project", changed(user, "role", json!("anon")), 401),
        ("an anonymous session", changed(user, "is_anonymous", json!(true)), 403),
        ("SQL as user", changed(user, "sub", json!("' or 1=1 --")), 401),
        ("no user", changed(user, "sub", json!(null)), 401),
        ("an object as user", changed(user, "sub", json!({"$ne": null})), 401),
        ("no token", String::new(), 401),
        ("noise", "a.b.c".to_owned(), 401),
    ]
}

#[tokio::test]
async fn no_bad_token_is_believed_on_any_route() {
    let issuer = "https://ref.example/auth/v1";
    let ingress = Ingress::start(&[("JWT_ISSUER", issuer)]).await;
    let user = Uuid::new_v4();
    let good = changed(user, "iss", json!(issuer));
    let usage = ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(good).answer().await;
    assert_eq!(usage.status, 200);
    for (attack, token, status) in bad_tokens(user) {
        for (method, path) in [
            (Method::GET, "/v1/usage".to_owned()),
            (Method::POST, "/v1/plans".to_owned()),
            (Method::POST, "/generate-plans".to_owned()),
            (Method::GET, format!("/v1/jobs/{}", Uuid::new_v4())),
            (Method::GET, format!("/plan-status/{user}")),
        ] {
            let request = ingress.anonymous(method, &path).bearer_auth(&token).json(&plans());
            let answer = request.answer().await;
            // The other claims of most of these are fine but for the issuer.
            let expected = if status == 403 { [401, 403] } else { [401, 401] };
            assert!(expected.contains(&answer.status.as_u16()), "{attack} {path}: {answer:?}");
            answer.problem();
        }
    }
    assert_eq!(
        ingress.count("select count(*) from regimen.jobs where user_id = $1", user).await,
        0
    );
}

#[tokio::test]
async fn valid_tokens_of_others_than_users_are_forbidden() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    for (name, value) in [("role", json!("service_role")), ("is_anonymous", json!(true))] {
        let token = changed(user, name, value);
        let answer = ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(token).answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (403, "forbidden"));
    }
}

#[tokio::test]
async fn naming_another_user_gets_403_wherever_it_stands() {
    let ingress = Ingress::start(&[]).await;
    let (user, other) = (Uuid::new_v4(), Uuid::new_v4());
    let named = |path: &str| {
        let mut body = plans();
        body["user_id"] = json!(other);
        ingress.request(Method::POST, path, user).json(&body)
    };
    let get = |path: String| ingress.request(Method::GET, &path, user);
    for request in [
        named("/v1/plans"),
        named("/generate-plans"),
        named("/generate-complete-plan"),
        named("/generate-meal-plan"),
        named("/generate-workout-plan"),
        get(format!("/plan-status/{other}")),
        get(format!("/v1/usage?user_id={other}")),
        get(format!("/v1/jobs?user_id={other}")),
        get("/v1/usage".to_owned()).header("x-user-id", other.to_string()),
    ] {
        let answer = request.answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (403, "forbidden"), "{answer:?}");
    }
    let twice = get(format!("/v1/usage?user_id={user}&user_id={other}")).answer().await;
    assert_eq!(twice.status, 400);
    let own = get(format!("/v1/usage?user_id={user}")).answer().await;
    assert_eq!(own.status, 200);
}

#[tokio::test]
async fn the_ids_of_others_name_nothing() {
    let ingress = Ingress::start(&[]).await;
    let (owner, thief) = (Uuid::new_v4(), Uuid::new_v4());
    let accepted = ingress.post("/v1/plans", owner, &plans()).await;
    let job = accepted.body["jobs"][0]["id"].as_str().unwrap();
    let quiz = Uuid::new_v4();
    let sql = "insert into public.quiz_results (id, user_id, answers) values ($1, $2, '{}')";
    ingress.database.client().await.execute(sql, &[&quiz, &owner]).await.unwrap();
    for (method, path) in [
        (Method::GET, format!("/v1/jobs/{job}")),
        (Method::GET, format!("/v1/jobs/{job}/events")),
        (Method::DELETE, format!("/v1/jobs/{job}")),
        (Method::GET, "/v1/plans/meal/active".to_owned()),
    ] {
        let answer = ingress.request(method, &path, thief).answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (404, "not-found"), "{path}");
    }
    let mut stolen = plans();
    stolen["quiz_result_id"] = json!(quiz);
    assert_eq!(ingress.post("/v1/plans", thief, &stolen).await.status, 404);
    let listed = ingress.get("/v1/jobs", thief).await;
    assert!(!listed.body.to_string().contains(job));
    let still_there = ingress.get(&format!("/v1/jobs/{job}"), owner).await;
    assert_eq!(still_there.body["status"], "queued");
}

#[tokio::test]
async fn a_withdrawn_service_key_is_no_key() {
    let keys = "old-service-key-of-more-than-32-bytes,new-service-key-of-more-than-32-bytes";
    let ingress = Ingress::start(&[("AUTH_MODE", "service"), ("SERVICE_KEYS", keys)]).await;
    let user = Uuid::new_v4();
    let path = format!("/v1/usage?user_id={user}");
    let with = async |key: &str| {
        ingress.anonymous(Method::GET, &path).header("apikey", key).answer().await.status.as_u16()
    };
    for key in keys.split(',') {
        assert_eq!(with(key).await, 200);
    }
    assert_eq!(with("gone-service-key-of-more-than-32-bytes").await, 401);
    assert_eq!(with(keys).await, 401);
    let user_token = ingress.get(&path, user).await;
    assert_eq!(user_token.status, 401, "a user's token is no service key");
    let mut named = plans();
    named["user_id"] = json!(user);
    let request = ingress.anonymous(Method::POST, "/v1/plans").json(&named);
    let answer = request.bearer_auth(keys.split(',').next().unwrap()).answer().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert!(
        answer.header("ratelimit").unwrap().contains("r=4;"),
        "limits count for the named user"
    );
    let unnamed = ingress.anonymous(Method::POST, "/v1/plans").json(&plans());
    let unnamed = unnamed.header("apikey", keys.split(',').next().unwrap()).answer().await;
    assert_eq!(unnamed.pointers(), ["/user_id"]);
}
