//! Attacks in paths, queries and headers.

use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::json;
use uuid::Uuid;

use super::bodies::HOSTILE;
use crate::harness::{Ingress, Send, claims, plans, signed};

/// Escapes that a path or query may carry and that decode to trouble.
const ESCAPES: [&str; 8] = [
    "%00",
    "%ff%fe",
    "%c0%af",
    "%2e%2e%2f%2e%2e%2f",
    "%0d%0aset-cookie:%20x=1",
    "%1b%5b31m",
    "%ED%A0%80",
    "%252e%252e%252f",
];

#[tokio::test]
async fn escapes_in_paths_name_nothing() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    for escape in ESCAPES {
        for path in [
            format!("/v1/jobs/{escape}"),
            format!("/v1/jobs/{escape}/events"),
            format!("/v1/plans/{escape}/active"),
            format!("/plan-status/{escape}"),
            format!("/{escape}"),
        ] {
            let answer = ingress.get(&path, user).await;
            let expected = [(400, "bad-request"), (404, "not-found")];
            let got = (answer.status.as_u16(), answer.problem());
            assert!(expected.contains(&got), "{path}: {answer:?}");
            assert!(!answer.headers.contains_key("set-cookie"), "{path}");
        }
    }
}

#[tokio::test]
async fn hostile_queries_are_refused_with_the_parameters_name() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let far = |micros: i64| {
        use base64::Engine;
        let bytes = [micros.to_be_bytes().as_slice(), &[7; 16]].concat();
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
    };
    let numbers = ["1e999", "NaN", "-1", "0", "101", "9223372036854775808", "1%00", "1;2", "%20"];
    let queries = numbers
        .iter()
        .map(|number| format!("limit={number}"))
        .chain(ESCAPES.iter().flat_map(|escape| {
            ["status", "kind", "cursor", "limit"].map(|name| format!("{name}={escape}"))
        }))
        .chain([i64::MIN, -1, i64::MAX].map(|micros| format!("cursor={}", far(micros))))
        .chain(["limit=1&limit=2".to_owned(), format!("cursor={}", "A".repeat(5_000))]);
    for query in queries {
        let answer = ingress.get(&format!("/v1/jobs?{query}"), user).await;
        assert!([400, 422].contains(&answer.status.as_u16()), "{query}: {answer:?}");
        answer.problem();
    }
}

#[tokio::test]
async fn hostile_headers_are_refused_or_ignored() {
    let ingress = Ingress::start(&[("RATE_GENERATE_PLANS", "1000/h")]).await;
    let user = Uuid::new_v4();
    let long = "k".repeat(256);
    let keys: [&[u8]; 6] =
        [b"a b", b"\xff\xfe", b"\xc3\xa4", b"a\tb", long.as_bytes(), b"\"; drop table x"];
    for key in keys {
        let request = ingress.request(Method::POST, "/v1/plans", user).json(&plans());
        let key = HeaderValue::from_bytes(key).unwrap();
        let answer = request.header("idempotency-key", key).answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (400, "bad-request"), "{answer:?}");
    }
    let job = format!("/v1/jobs/{}/events", Uuid::new_v4());
    for id in ["1e9", "-1", "99999999999999999999", "0x1", "\u{e4}", "' or 1=1"] {
        let request = ingress.request(Method::GET, &job, user);
        let answer = request.header("last-event-id", id).answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (404, "not-found"), "{id}");
    }
    for id in HOSTILE.iter().map(|text| text.as_bytes()).chain([b"\xff".as_slice()]) {
        // What no client library would send as a header is not sent here either.
        let Ok(id) = HeaderValue::from_bytes(id) else { continue };
        let request = ingress.request(Method::GET, "/v1/usage", user);
        let answer = request
            .header("x-request-id", &id)
            .header("prefer", &id)
            .header("user-agent", &id)
            .header("x-forwarded-for", &id)
            .header("origin", &id)
            .answer()
            .await;
        assert_eq!(answer.status, 200, "{id:?}");
        let own = answer.header("x-request-id").unwrap();
        assert!(own.parse::<Uuid>().is_ok(), "{own} was the client's");
        assert!(answer.headers.values().all(|value| *value != id), "{answer:?} echoes {id:?}");
    }
}

#[tokio::test]
async fn hostile_claims_of_a_valid_token_are_data() {
    let ingress = Ingress::start(&[]).await;
    for email in ["a\u{0}@b", "a@b\r\nBcc: c@d", "'; drop table x; --@b", "@", &"a@".repeat(500)] {
        let user = Uuid::new_v4();
        let mut claims = claims(user);
        claims["email"] = json!(email);
        claims["user_metadata"] = json!({"role": "admin", "roles": ["admin"]});
        let request = ingress.anonymous(Method::POST, "/v1/plans").json(&plans());
        let answer = request.bearer_auth(signed(&claims)).answer().await;
        assert_eq!(answer.status, 202, "{email:?}: {answer:?}");
        let profiles = "select count(*) from public.profiles where id = $1";
        assert_eq!(ingress.count(profiles, user).await, 1);
    }
}

#[tokio::test]
async fn hostile_deliveries_are_refused_before_they_are_read() {
    let ingress = Ingress::start(&[("STRIPE_WEBHOOK_SECRET", "whsec_of_the_attack_test")]).await;
    let secret = secrecy::SecretString::from("whsec_of_the_attack_test");
    let now = regimen_common::clock::Clock::system().now().timestamp();
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("no JSON", b"{".to_vec()),
        ("invalid UTF-8", b"{\"id\":\"\xff\"}".to_vec()),
        ("a number beyond numbers", br#"{"id":"evt_1","created":1e999}"#.to_vec()),
        ("deep nesting", deep.into_bytes()),
        (
            "NUL as id",
            br#"{"id":"evt_\u0000","object":"event","type":"x","created":1,"data":{"object":{}}}"#
                .to_vec(),
        ),
        ("SQL as id", br#"{"id":"'; drop table x","object":"event"}"#.to_vec()),
    ];
    for (attack, body) in bodies {
        let header = regimen_common::billing::signature::sign(&secret, &body, now);
        let request = ingress.anonymous(Method::POST, "/api/stripe/webhook").body(body.clone());
        let signed = request.header("stripe-signature", header).answer().await;
        assert_eq!((signed.status.as_u16(), signed.problem()), (400, "bad-request"), "{attack}");
        let request = ingress.anonymous(Method::POST, "/api/stripe/webhook").body(body);
        let forged = request.header("stripe-signature", format!("t={now},v1={}", "0".repeat(64)));
        assert_eq!(forged.answer().await.status, 400, "{attack}");
    }
}
