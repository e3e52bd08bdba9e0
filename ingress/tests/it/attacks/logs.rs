//! What must not reach the log, and what must not be able to write into it.

use reqwest::Method;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::harness::{Ingress, JWT_SECRET, Send, plans, token};

#[tokio::test]
async fn no_secret_is_logged_even_at_trace_level() {
    let service = "a-service-key-of-more-than-32-bytes!";
    let settings = [
        ("RUST_LOG", "trace"),
        ("SERVICE_KEYS", service),
        ("STRIPE_WEBHOOK_SECRET", "whsec_of_the_logging_test"),
        ("OPENAI_API_KEY", "sk-of-the-logging-test"),
    ];
    let ingress = Ingress::start(&settings).await;
    let user = Uuid::new_v4();
    let token = token(user);
    let mut body = plans();
    body["answers"]["foodAllergies"] = serde_json::json!("peanuts and bee stings");
    let answers = [
        ingress.post("/v1/plans", user, &body).await,
        ingress.anonymous(Method::GET, "/v1/usage").bearer_auth(format!("{token}x")).answer().await,
        ingress.anonymous(Method::GET, "/v1/usage").header("apikey", service).answer().await,
        ingress.get("/v1/usage", user).await,
    ];
    assert_eq!(answers.map(|answer| answer.status.as_u16()), [202, 401, 401, 200]);
    // What is only said at lower levels shows that they are on.
    let mut garbage = tokio::net::TcpStream::connect(ingress.address()).await.unwrap();
    garbage.write_all(b"garbage\r\n\r\n").await.unwrap();
    ingress.await_log("connection ended");
    let logs = ingress.logs();
    let signature = token.rsplit_once('.').unwrap().1;
    let mut secrets =
        vec![JWT_SECRET, service, signature, "whsec_of_the_logging_test", "sk-of-the-logging-test"];
    // Health data is nobody's business in a log either.
    secrets.extend(["peanuts and bee stings", "ada@example.com"]);
    let store_urls = [ingress.database.url().to_owned(), ingress.redis_url().to_owned()];
    let passwords: Vec<String> = store_urls.iter().filter_map(|url| password(url)).collect();
    secrets.extend(passwords.iter().map(String::as_str));
    for secret in secrets {
        let line = logs.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret}");
    }
}

fn password(url: &str) -> Option<String> {
    url::Url::parse(url).unwrap().password().map(str::to_owned)
}

#[tokio::test]
async fn a_client_cannot_write_lines_into_the_log() {
    let ingress = Ingress::start(&[("RUST_LOG", "debug")]).await;
    let user = Uuid::new_v4();
    let forged = "x\n{\"level\":\"ERROR\",\"message\":\"forged\"}\u{1b}[31m";
    let mut body = plans();
    body["answers"]["gender"] = serde_json::json!(forged);
    body["provider"] = serde_json::json!(forged);
    ingress.post("/v1/plans", user, &body).await;
    let encoded: String = url::form_urlencoded::byte_serialize(forged.as_bytes()).collect();
    ingress.get(&format!("/v1/jobs/{encoded}"), user).await;
    ingress.get(&format!("/{encoded}?{encoded}"), user).await;
    for line in ingress.logs().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_ne!(event["message"], "forged");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}
