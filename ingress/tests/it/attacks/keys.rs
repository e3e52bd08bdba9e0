//! Attacks on the published keys: withdrawn ones, other people's, and tokens
//! that bring their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use uuid::Uuid;

use crate::harness::{Ingress, Send, claims};

const ES256_1: &[u8] = include_bytes!("../../keys/es256_1.pem");
const ES256_1_PUBLIC: &[u8] = include_bytes!("../../keys/es256_1.pub.pem");
const ES256_2: &[u8] = include_bytes!("../../keys/es256_2.pem");
const RS256: &[u8] = include_bytes!("../../keys/rs256.pem");
const RS256_PUBLIC: &[u8] = include_bytes!("../../keys/rs256.pub.pem");

/// An endpoint with a key set, or none while `keys` is `None`.
pub(super) struct KeyServer {
    pub(super) url: String,
    calls: Arc<AtomicUsize>,
}

impl KeyServer {
    pub(super) async fn start(keys: Option<Value>) -> Self {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let answer = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let keys = keys.clone();
            async move {
                match keys {
                    Some(keys) => axum::Json(keys).into_response(),
                    None => StatusCode::BAD_GATEWAY.into_response(),
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, calls }
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

fn ec(pem: &[u8]) -> EncodingKey {
    EncodingKey::from_ec_pem(pem).unwrap()
}

fn published(kid: &str, key: &EncodingKey, algorithm: Algorithm) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).unwrap();
    jwk.common.key_id = Some(kid.to_owned());
    json!(jwk)
}

/// A token whose header is `header`, signed by `key` with `algorithm`.
fn forged(header: &Value, algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

/// The same signed with an empty secret, which the library does not do.
pub(super) fn signed_with_nothing(header: &Value, claims: &Value) -> String {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let text = |value: &Value| part(value.to_string().as_bytes());
    let message = format!("{}.{}", text(header), text(claims));
    let mac = Hmac::<Sha256>::new_from_slice(b"").unwrap().chain_update(&message).finalize();
    format!("{message}.{}", part(&mac.into_bytes()))
}

/// An ingress that believes only the published keys: there is no shared secret.
async fn ingress(keys: &KeyServer) -> Ingress {
    let url = format!("{}/auth/v1/.well-known/jwks.json", keys.url);
    Ingress::start(&[("JWT_SECRET", ""), ("JWKS_URL", &url)]).await
}

async fn status(ingress: &Ingress, token: &str) -> u16 {
    let request = ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(token);
    request.answer().await.status.as_u16()
}

#[tokio::test]
async fn only_tokens_of_a_published_key_are_believed() {
    let (valid, deleted) = (ec(ES256_1), ec(ES256_2));
    let rsa = EncodingKey::from_rsa_pem(RS256).unwrap();
    let set = json!({"keys": [
        published("ec", &valid, Algorithm::ES256),
        published("rsa", &rsa, Algorithm::RS256),
    ]});
    let (keys, evil) = (KeyServer::start(Some(set)).await, KeyServer::start(Some(json!({}))).await);
    let ingress = ingress(&keys).await;
    let user = Uuid::new_v4();
    let mut claims = claims(user);
    claims["iss"] = json!(format!("{}/auth/v1", keys.url));
    let signed = |kid: &str, algorithm, key: &EncodingKey| {
        let mut header = Header::new(algorithm);
        header.kid = Some(kid.to_owned());
        encode(&header, &claims, key).unwrap()
    };
    assert_eq!(status(&ingress, &signed("ec", Algorithm::ES256, &valid)).await, 200);
    assert_eq!(status(&ingress, &signed("rsa", Algorithm::RS256, &rsa)).await, 200);

    let own = published("own", &deleted, Algorithm::ES256);
    let (es256, hs256) = (Algorithm::ES256, Algorithm::HS256);
    let secret = |bytes: &[u8]| EncodingKey::from_secret(bytes).unwrap();
    let modulus = published("rsa", &rsa, Algorithm::RS256)["n"].to_string();
    let with =
        |header: Value, algorithm, key: &EncodingKey| forged(&header, algorithm, key, &claims);
    let attacks = [
        ("a deleted key", signed("gone", es256, &deleted)),
        ("a deleted key under a valid name", signed("ec", es256, &deleted)),
        ("the key of another algorithm", signed("rsa", es256, &valid)),
        ("no key named", with(json!({"alg": "ES256"}), es256, &valid)),
        ("the EC key as HMAC secret", signed("ec", hs256, &secret(ES256_1_PUBLIC))),
        ("the RSA key as HMAC secret", signed("rsa", hs256, &secret(RS256_PUBLIC))),
        ("the modulus as HMAC secret", signed("rsa", hs256, &secret(modulus.as_bytes()))),
        ("an empty HMAC secret", signed_with_nothing(&json!({"alg": "HS256", "kid": ""}), &claims)),
        (
            "a key brought along",
            with(json!({"alg": "ES256", "kid": "own", "jwk": own}), es256, &deleted),
        ),
        (
            "a key set brought along",
            with(
                json!({"alg": "ES256", "kid": "own", "jku": evil.url, "x5u": evil.url}),
                es256,
                &deleted,
            ),
        ),
        (
            "a critical extension nobody knows",
            with(
                json!({"alg": "ES256", "kid": "ec", "crit": ["b64"], "b64": false}),
                es256,
                &deleted,
            ),
        ),
        (
            "a path as key id",
            with(json!({"alg": "ES256", "kid": "../../dev/null"}), es256, &deleted),
        ),
        ("SQL as key id", with(json!({"alg": "ES256", "kid": "' or 1=1 --"}), es256, &deleted)),
        ("an object as key id", with(json!({"alg": "ES256", "kid": {"a": 1}}), es256, &valid)),
        (
            "the algorithm in small letters",
            with(json!({"alg": "es256", "kid": "ec"}), es256, &valid),
        ),
    ];
    // Within the floor nobody knows whether a key of an unknown name is new.
    let unknown = [
        "a deleted key",
        "a key brought along",
        "a key set brought along",
        "a path as key id",
        "SQL as key id",
    ];
    for (attack, token) in attacks {
        let expected = if unknown.contains(&attack) { 503 } else { 401 };
        assert_eq!(status(&ingress, &token).await, expected, "{attack}");
    }
    assert_eq!(keys.calls(), 1, "unknown key ids are no load on the sign-in service");
    assert_eq!(evil.calls(), 0, "no address in a token is called");
    let profiles = "select count(*) from public.profiles where id = $1";
    assert_eq!(ingress.count(profiles, user).await, 0);
}

#[tokio::test]
async fn without_any_key_nobody_is_believed_and_nobody_is_told_off() {
    let keys = KeyServer::start(None).await;
    let ingress = ingress(&keys).await;
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some("ec".to_owned());
    let token = encode(&header, &claims(Uuid::new_v4()), &ec(ES256_1)).unwrap();
    for _ in 0..3 {
        let request = ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(&token);
        let answer = request.answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (503, "unavailable"));
        assert!(answer.header("retry-after").is_some());
    }
    // One at the start, which costs no patience, and one for the first token.
    assert!(keys.calls() <= 2, "a sign-in service that is down is left alone for a while");
}
