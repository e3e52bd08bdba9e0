//! The three modes with real headers, tokens and a real key endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

const SECRET: &str = "a-test-secret-of-more-than-32-bytes";
const ISSUER: &str = "https://ref.example/auth/v1";
const USER: &str = "0b8f3c1e-4a57-4d0a-9a63-5f0d1c2b7e11";
const OTHER: &str = "7d444840-9dc0-11d1-b245-5ffdce74fad2";
const ES256_1: &[u8] = include_bytes!("../../tests/keys/es256_1.pem");
const ES256_2: &[u8] = include_bytes!("../../tests/keys/es256_2.pem");
const ES256_1_PUBLIC: &[u8] = include_bytes!("../../tests/keys/es256_1.pub.pem");
const RS256: &[u8] = include_bytes!("../../tests/keys/rs256.pem");

fn id(text: &str) -> Uuid {
    text.parse().unwrap()
}

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

fn config(mode: AuthMode) -> AuthConfig {
    AuthConfig {
        mode,
        jwt_secrets: vec![SecretString::from(SECRET)],
        issuer: Some(ISSUER.to_owned()),
        audience: "authenticated".to_owned(),
        jwks_url: None,
        service_keys: vec![SecretString::from("old key"), SecretString::from("new key")],
        allow_anonymous: false,
        admin_table: None,
    }
}

fn authenticator(mode: AuthMode) -> Authenticator {
    Authenticator::new(config(mode), Clock::fixed(start())).unwrap()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "authenticated", "sub": USER, "role": "authenticated",
        "email": "ada@example.com", "exp": start().timestamp() + 3600})
}

fn token(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, key).unwrap()
}

fn hs256(claims: &Value) -> String {
    token(Algorithm::HS256, None, &EncodingKey::from_secret(SECRET.as_bytes()).unwrap(), claims)
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn with_token(token: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {token}"))])
}

#[tokio::test]
async fn a_signed_token_names_its_user() {
    let caller = authenticator(AuthMode::Jwt).authenticate(&with_token(&hs256(&claims()))).await;
    let caller = caller.unwrap();
    assert_eq!(caller.acting_for(None).unwrap(), id(USER));
    assert_eq!(caller.acting_for(Some(id(USER))).unwrap(), id(USER));
    let refused = caller.acting_for(Some(id(OTHER))).unwrap_err();
    assert!(matches!(refused, ApiError::Forbidden(_)));
}

#[tokio::test]
async fn wrong_tokens_are_refused() {
    let gate = authenticator(AuthMode::Jwt);
    let refuse =
        async |claims: Value| gate.authenticate(&with_token(&hs256(&claims))).await.unwrap_err();
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        claims
    };
    assert!(matches!(
        refuse(with("iss", json!("https://evil.example"))).await,
        AuthError::NotForUs
    ));
    assert!(matches!(refuse(with("iss", json!(null))).await, AuthError::Invalid));
    assert!(matches!(refuse(with("aud", json!("other"))).await, AuthError::NotForUs));
    assert!(matches!(refuse(with("aud", json!(["a", "b"]))).await, AuthError::NotForUs));
    assert!(matches!(refuse(with("aud", json!(null))).await, AuthError::Invalid));
    assert!(matches!(refuse(with("exp", json!(null))).await, AuthError::Invalid));
    assert!(matches!(refuse(with("exp", json!("never"))).await, AuthError::Invalid));
    assert!(matches!(refuse(with("exp", json!(1))).await, AuthError::Expired));
    assert!(matches!(refuse(with("role", json!("service_role"))).await, AuthError::ServiceRole));
    let foreign = EncodingKey::from_secret(b"another secret of more than 32 bytes").unwrap();
    let forged = token(Algorithm::HS256, None, &foreign, &claims());
    assert!(gate.authenticate(&with_token(&forged)).await.is_err());
}

#[tokio::test]
async fn a_token_may_be_long_but_not_endless() {
    let gate = authenticator(AuthMode::Jwt);
    let mut large = claims();
    large["user_metadata"] = json!({"avatar": "a".repeat(21_000)});
    let long = hs256(&large);
    assert!((28_000..30_000).contains(&long.len()), "{}", long.len());
    assert!(gate.authenticate(&with_token(&long)).await.is_ok());
    large["user_metadata"] = json!({"avatar": "a".repeat(24_000)});
    let refused = gate.authenticate(&with_token(&hs256(&large))).await.unwrap_err();
    let refused = ApiError::from(refused).into_response();
    assert_eq!(refused.status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
}

#[tokio::test]
async fn unreadable_credentials_are_refused() {
    let gate = authenticator(AuthMode::Jwt);
    let good = hs256(&claims());
    let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
    let none = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap());
    let long = "a".repeat(MAX_CREDENTIAL_BYTES + 1);
    for bad in ["", "x", "..", "a.b.c", &unsigned, &none, &long] {
        assert!(gate.authenticate(&with_token(bad)).await.is_err(), "{bad}");
    }
    let basic = headers(&[("authorization", "Basic YTpi")]);
    assert!(matches!(gate.authenticate(&basic).await, Err(AuthError::Malformed)));
    assert!(matches!(gate.authenticate(&HeaderMap::new()).await, Err(AuthError::Missing)));
    let mut twice = with_token(&good);
    twice.append("authorization", HeaderValue::from_static("Bearer other"));
    assert!(matches!(gate.authenticate(&twice).await, Err(AuthError::Ambiguous)));
}

#[tokio::test]
async fn a_user_cannot_name_another_in_a_header() {
    let mut headers = with_token(&hs256(&claims()));
    headers.insert(USER_HEADER, HeaderValue::from_static(OTHER));
    let refused = authenticator(AuthMode::Jwt).authenticate(&headers).await;
    assert!(matches!(refused, Err(AuthError::SomebodyElse)));
}

#[tokio::test]
async fn either_service_key_acts_for_the_named_user() {
    let gate = authenticator(AuthMode::Service);
    for pair in [("apikey", "old key"), ("apikey", "new key"), ("authorization", "Bearer new key")]
    {
        let caller = gate.authenticate(&headers(&[pair])).await.unwrap();
        assert_eq!(caller.acting_for(Some(id(USER))).unwrap(), id(USER));
        assert!(matches!(caller.acting_for(None), Err(ApiError::Invalid(_))));
    }
    for wrong in ["old ke", "old keyx", "new key,old key"] {
        assert!(matches!(
            gate.authenticate(&headers(&[("apikey", wrong)])).await,
            Err(AuthError::Invalid)
        ));
    }
    let named = headers(&[("apikey", "new key"), (USER_HEADER, USER)]);
    let caller = gate.authenticate(&named).await.unwrap();
    assert_eq!(caller.acting_for(None).unwrap(), id(USER));
    assert!(matches!(caller.acting_for(Some(id(OTHER))), Err(ApiError::BadRequest(_))));
    let unnamed = headers(&[("apikey", "new key"), (USER_HEADER, "me")]);
    assert!(matches!(gate.authenticate(&unnamed).await, Err(AuthError::UserNotAnId)));
}

#[tokio::test]
async fn off_takes_the_named_user_at_their_word() {
    let gate = authenticator(AuthMode::Off);
    let caller = gate.authenticate(&headers(&[(USER_HEADER, USER)])).await.unwrap();
    assert_eq!(caller.acting_for(None).unwrap(), id(USER));
    assert!(gate.authenticate(&HeaderMap::new()).await.unwrap().acting_for(None).is_err());
}

/// A real endpoint whose answer a test can change, counting its calls.
#[derive(Clone, Default)]
struct KeyServer {
    answer: Arc<std::sync::Mutex<Option<Value>>>,
    calls: Arc<AtomicUsize>,
}

impl KeyServer {
    async fn start(&self) -> url::Url {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let server = self.clone();
        let answer = move || {
            server.calls.fetch_add(1, Ordering::SeqCst);
            let answer = server.answer.lock().unwrap().clone();
            async move {
                match answer {
                    Some(keys) => axum::Json(keys).into_response(),
                    None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
        let router = Router::new().route("/jwks.json", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url.parse().unwrap()
    }

    fn publish(&self, keys: &[(&str, &EncodingKey, Algorithm)]) {
        let keys: Vec<_> = keys
            .iter()
            .map(|(kid, key, algorithm)| {
                let mut jwk = Jwk::from_encoding_key(key, *algorithm).unwrap();
                jwk.common.key_id = Some((*kid).to_owned());
                jwk
            })
            .collect();
        *self.answer.lock().unwrap() = Some(json!({"keys": keys}));
    }

    fn fail(&self) {
        *self.answer.lock().unwrap() = None;
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn gate_with(server: &KeyServer, clock: &Clock) -> Authenticator {
    let jwks_url = Some(server.start().await);
    let config = AuthConfig { jwks_url, ..config(AuthMode::Jwt) };
    Authenticator::new(config, clock.clone()).unwrap()
}

#[tokio::test]
async fn published_keys_verify_with_their_own_algorithm_only() {
    let (server, clock) = (KeyServer::default(), Clock::fixed(start()));
    let ec = EncodingKey::from_ec_pem(ES256_1).unwrap();
    let rsa = EncodingKey::from_rsa_pem(RS256).unwrap();
    server.publish(&[("ec", &ec, Algorithm::ES256), ("rsa", &rsa, Algorithm::RS256)]);
    let gate = gate_with(&server, &clock).await;
    let accepted = async |token: String| gate.authenticate(&with_token(&token)).await.is_ok();

    assert!(accepted(token(Algorithm::ES256, Some("ec"), &ec, &claims())).await);
    assert!(accepted(token(Algorithm::RS256, Some("rsa"), &rsa, &claims())).await);
    assert!(accepted(hs256(&claims())).await, "the legacy secret stays valid beside them");
    assert!(!accepted(token(Algorithm::ES256, Some("rsa"), &ec, &claims())).await);
    assert!(!accepted(token(Algorithm::RS256, Some("ec"), &rsa, &claims())).await);
    assert!(!accepted(token(Algorithm::RS512, Some("rsa"), &rsa, &claims())).await);
    assert!(!accepted(token(Algorithm::ES256, None, &ec, &claims())).await);
    let public_as_secret = EncodingKey::from_secret(ES256_1_PUBLIC).unwrap();
    assert!(!accepted(token(Algorithm::HS256, Some("ec"), &public_as_secret, &claims())).await);
    let other = EncodingKey::from_ec_pem(ES256_2).unwrap();
    assert!(!accepted(token(Algorithm::ES256, Some("ec"), &other, &claims())).await);
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_rotation_is_seen_and_made_up_key_ids_are_not_load() {
    let (server, clock) = (KeyServer::default(), Clock::fixed(start()));
    let one = EncodingKey::from_ec_pem(ES256_1).unwrap();
    let two = EncodingKey::from_ec_pem(ES256_2).unwrap();
    let first = token(Algorithm::ES256, Some("one"), &one, &claims());
    let second = token(Algorithm::ES256, Some("two"), &two, &claims());
    server.publish(&[("one", &one, Algorithm::ES256)]);
    let gate = gate_with(&server, &clock).await;
    let accepted = async |token: &str| gate.authenticate(&with_token(token)).await.is_ok();

    assert!(accepted(&first).await);
    server.publish(&[("two", &two, Algorithm::ES256)]);
    for _ in 0..20 {
        // Within the floor nothing is fetched, so nobody knows what the key is.
        assert_eq!(wait_for(&gate, &second).await, 30);
    }
    assert_eq!(server.calls(), 1);
    clock.set(start() + TimeDelta::seconds(12));
    assert_eq!(wait_for(&gate, &second).await, 18);
    clock.set(start() + TimeDelta::seconds(30));
    assert!(accepted(&second).await, "an unknown key id makes one fetch");
    assert!(!accepted(&first).await, "a withdrawn key is no key");
    assert_eq!(server.calls(), 2);
    clock.set(start() + TimeDelta::seconds(61));
    let made_up = token(Algorithm::ES256, Some("made up"), &one, &claims());
    let refused = gate.authenticate(&with_token(&made_up)).await;
    assert!(matches!(refused, Err(AuthError::Invalid)), "asked just now, and there is none");
    assert_eq!(server.calls(), 3);
    server.fail();
    clock.set(start() + TimeDelta::seconds(92));
    assert_eq!(wait_for(&gate, &made_up).await, 30, "nobody could be asked");
    assert!(accepted(&second).await, "a known key outlives that");
    assert_eq!(server.calls(), 4);
}

/// The Retry-After of a refusal that does not judge the token.
async fn wait_for(gate: &Authenticator, token: &str) -> u64 {
    let refused = gate.authenticate(&with_token(token)).await.unwrap_err();
    let refused = ApiError::from(refused).into_response();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    refused.headers()["retry-after"].to_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn keys_are_fetched_ahead_and_a_failure_of_that_costs_nothing() {
    let (server, clock) = (KeyServer::default(), Clock::fixed(start()));
    let one = EncodingKey::from_ec_pem(ES256_1).unwrap();
    let first = with_token(&token(Algorithm::ES256, Some("one"), &one, &claims()));
    let gate = gate_with(&server, &clock).await;
    gate.look_at_keys().await;
    server.publish(&[("one", &one, Algorithm::ES256)]);
    assert!(gate.authenticate(&first).await.is_ok(), "the first token asks again at once");
    gate.look_at_keys().await;
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn while_one_secret_replaces_the_other_both_hold() {
    let (old, new) =
        ("an-old-secret-of-more-than-32-bytes!", "a-new-secret-of-more-than-32-bytes!");
    let both = format!("{old},{new}");
    let pairs = [("JWT_SECRET", both.as_str()), ("ENVIRONMENT", "development")];
    let mut env = regimen_common::config::Env::from_pairs(pairs);
    let config = AuthConfig::from_env(&mut env, regimen_common::config::Environment::Development);
    let gate = Authenticator::new(config, Clock::fixed(start())).unwrap();
    let signed = |secret: &str, claims: &Value| {
        let key = EncodingKey::from_secret(secret.as_bytes()).unwrap();
        with_token(&token(Algorithm::HS256, None, &key, claims))
    };
    for secret in [old, new, both.as_str()] {
        assert!(gate.authenticate(&signed(secret, &claims())).await.is_ok(), "{secret}");
    }
    let mut late = claims();
    late["exp"] = json!(1);
    let refused = gate.authenticate(&signed(new, &late)).await;
    assert!(matches!(refused, Err(AuthError::Expired)), "{refused:?}");
    let refused =
        gate.authenticate(&signed("a-third-secret-of-more-than-32-bytes", &claims())).await;
    assert!(matches!(refused, Err(AuthError::Invalid)), "{refused:?}");
}

#[tokio::test]
async fn the_last_good_set_outlives_an_outage() {
    let (server, clock) = (KeyServer::default(), Clock::fixed(start()));
    let one = EncodingKey::from_ec_pem(ES256_1).unwrap();
    let mut long_lived = claims();
    long_lived["exp"] = json!(start().timestamp() + 86_400);
    let first = with_token(&token(Algorithm::ES256, Some("one"), &one, &long_lived));
    let gate = gate_with(&server, &clock).await;

    let unavailable = gate.authenticate(&first).await.unwrap_err();
    assert!(matches!(unavailable, AuthError::KeysUnavailable(FetchError::Http(_))));
    let at_once = gate.authenticate(&first).await.unwrap_err();
    assert!(matches!(at_once, AuthError::KeysUnavailable(FetchError::Recently(_))));
    assert_eq!(server.calls(), 1);

    server.publish(&[("one", &one, Algorithm::ES256)]);
    clock.set(start() + TimeDelta::seconds(31));
    assert!(gate.authenticate(&first).await.is_ok());
    server.fail();
    clock.set(start() + TimeDelta::hours(2));
    assert!(gate.authenticate(&first).await.is_ok());
    assert_eq!(server.calls(), 3, "it did ask again after ten minutes");
}

#[tokio::test]
async fn a_verified_token_is_asked_for_its_time_with_every_request() {
    let clock = Clock::fixed(start());
    let gate = Authenticator::new(config(AuthMode::Jwt), clock.clone()).unwrap();
    let token = hs256(&claims());
    for _ in 0..2 {
        assert_eq!(gate.authenticate(&with_token(&token)).await.unwrap().user_id, Some(id(USER)));
    }
    let (signed, _) = token.rsplit_once('.').unwrap();
    let other_signature = format!("{signed}.{}", "A".repeat(43));
    let refused = gate.authenticate(&with_token(&other_signature)).await;
    assert!(matches!(refused, Err(AuthError::Invalid)), "{refused:?}");
    let somebody_else = gate
        .authenticate(&headers(&[
            ("authorization", &format!("Bearer {token}")),
            (USER_HEADER, OTHER),
        ]))
        .await;
    assert!(matches!(somebody_else, Err(AuthError::SomebodyElse)), "{somebody_else:?}");
    clock.set(start() + TimeDelta::seconds(3_631));
    let refused = gate.authenticate(&with_token(&token)).await;
    assert!(matches!(refused, Err(AuthError::Expired)), "{refused:?}");
}
