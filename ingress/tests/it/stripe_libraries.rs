//! Stripe's own libraries and our verifier judge the same: what they sign is
//! taken by the real ingress, and what we sign they take.

use std::io::Write;
use std::process::Stdio;

use regimen_common::billing::signature::sign;
use regimen_common::clock::Clock;
use regimen_common::test_support::Language;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::harness::Ingress;

const SECRET: &str = "whsec_test_0123456789abcdef";

#[tokio::test]
async fn stripes_python_library_agrees() {
    let Some(python) = Language::python("stripe") else { return };
    agrees(&python, "verify.py", "stripe-python").await;
}

#[tokio::test]
async fn stripes_node_library_agrees() {
    let Some(node) = Language::node("stripe") else { return };
    agrees(&node, "verify.cjs", "stripe-node").await;
}

async fn agrees(language: &Language, script: &str, library: &str) {
    let ingress = Ingress::start(&[("STRIPE_WEBHOOK_SECRET", SECRET)]).await;
    let body = json!({"id": format!("evt_{library}"), "object": "event", "livemode": false,
        "created": 1_795_392_000, "type": "customer.updated", "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "cus_1", "object": "customer", "name": "Zoë 🏋"}}})
    .to_string();
    let now = Clock::system().now().timestamp();
    let header = sign(&SecretString::from(SECRET), body.as_bytes(), now);
    let url = format!("{}/api/stripe/webhook", ingress.url);
    let told = json!({"url": url, "secret": SECRET, "body": body, "header": header});
    let mut script = language.script(script);
    let judged = tokio::task::spawn_blocking(move || {
        let mut child =
            script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script");
        child.stdin.take().unwrap().write_all(told.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let judged = judged.await.unwrap();
    assert!(judged.status.success(), "{judged:?}");
    let judged: Value = serde_json::from_slice(&judged.stdout).unwrap();
    assert!(judged["library"].as_str().unwrap().starts_with(library), "{judged}");
    assert_eq!(judged["good"], 200, "{judged}");
    assert_eq!(judged["other_body"], 400, "{judged}");
    assert_eq!(judged["other_secret"], 400, "{judged}");
    assert_eq!(judged["read"], format!("evt_{library}"), "{judged}");
    assert_eq!(judged["refused"], true, "{judged}");
    let client = ingress.database.client().await;
    let sql = "select payload from regimen.stripe_events";
    let stored = client.query(sql, &[]).await.unwrap();
    let stored: Vec<String> = stored.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored, [body], "the very bytes, once");
}
