//! `regimen-ingress check`: what only the ingress knows, and Stripe.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use regimen_common::check::{Level, offline_findings};
use regimen_common::config::Env;
use regimen_common::test_support::{Process, TestDatabase, TestRedis};
use regimen_ingress::config::IngressConfig;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::billing::{StripeStandIn, list, object};
use crate::harness::JWT_SECRET;

/// What `check --offline` says with these settings beside sound ones.
fn offline(settings: &[(&str, &str)]) -> Vec<(Level, String, String)> {
    let mut all = BTreeMap::from([
        ("ENVIRONMENT", "production"),
        ("DATABASE_URL", "postgres://u@localhost/app"),
        ("REDIS_URL", "redis://localhost"),
        ("LISTEN_ADDR", "0.0.0.0:8080"),
        ("JWT_SECRET", JWT_SECRET),
        ("ALLOWED_ORIGINS", "https://app.example.test"),
    ]);
    for (name, value) in settings {
        if value.is_empty() {
            all.remove(name);
        } else {
            all.insert(name, value);
        }
    }
    let findings = offline_findings::<IngressConfig>(Env::from_pairs(all)).into_iter();
    let findings = findings.map(|finding| {
        let advice = finding.advice.map(|advice| format!("; {advice}")).unwrap_or_default();
        (finding.level, finding.subject, finding.found + &advice)
    });
    let findings: Vec<_> = findings.filter(|(level, ..)| *level > Level::Ok).collect();
    assert!(!format!("{findings:?}").contains(JWT_SECRET), "{findings:?}");
    findings
}

/// A setting, its value, how bad it is, which line, and a part of it.
type Row<'a> = (&'a str, &'a str, Level, &'a str, &'a str);

#[test]
fn each_wrong_setting_has_its_line() {
    use Level::{Fail, Warn};
    assert_eq!(offline(&[]), []);
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.abcdefghijklmnop";
    let rows: &[Row<'_>] = &[
        ("LISTEN_ADDR", "8080", Fail, "LISTEN_ADDR", "such as 127.0.0.1:8080"),
        ("REDIS_URL", "foo", Fail, "REDIS_URL", "must be redis://"),
        ("JWT_SECRET", "short", Fail, "JWT_SECRET", "at least 32 bytes"),
        ("JWT_SECRET", "", Fail, "AUTH_MODE", "needs JWT_SECRET, JWKS_URL or both"),
        ("AUTH_MODE", "off", Fail, "AUTH_MODE", "development only"),
        ("AUTH_MODE", "service", Fail, "SERVICE_KEYS", "is required"),
        ("JWKS_URL", "http://ref.supabase.co/x", Fail, "JWKS_URL", "https"),
        ("ADMIN_TABLE", "a b", Fail, "ADMIN_TABLE", ""),
        ("ALLOWED_ORIGINS", "*", Fail, "ALLOWED_ORIGINS", "name the origins"),
        ("ALLOWED_ORIGINS", "https://*.example", Fail, "ALLOWED_ORIGINS", "is not an origin"),
        ("TRUSTED_PROXIES", "here", Fail, "TRUSTED_PROXIES", "no address or CIDR"),
        ("RATE_DAILY", "often", Fail, "RATE_DAILY", ""),
        ("ALLERGY_POLICY", "shout", Fail, "ALLERGY_POLICY", "tell or strict"),
        ("CAUTIONS_OFF", "all", Fail, "CAUTIONS_OFF", "is not one of"),
        ("STRIPE_TOLERANCE_SECONDS", "0.1", Fail, "STRIPE_TOLERANCE_SECONDS", "between 1 and"),
        ("STRIPE_TIMEOUT_SECONDS", "0.01", Fail, "STRIPE_TIMEOUT_SECONDS", "between 0.1 and"),
        ("STRIPE_SECRET_KEY", "rk_test_x", Fail, "STRIPE_SECRET_KEY", "key of test mode"),
        ("STRIPE_OLD_PRICES", "price_1", Fail, "STRIPE_PRICES", "is required"),
        ("SUPABASE_URL", "http://ref.example", Fail, "SUPABASE_URL", "must be https"),
        ("CONSOLE_TRACE_URL", "https://traces.example", Fail, "CONSOLE_TRACE_URL", "{trace_id}"),
        ("CONSOLE_SENTRY_URL", "https://sentry.example", Fail, "CONSOLE_SENTRY_URL", "{trace_id}"),
        ("CONSOLE", "perhaps", Fail, "CONSOLE", "true or false"),
        ("SUPABASE_URL", "https://ref.example", Warn, "SUPABASE_URL", "no effect alone"),
        ("SUPABASE_ANON_KEY", "x", Warn, "SUPABASE_ANON_KEY", "no effect alone"),
        ("DEMO", "on", Warn, "DEMO", "costs money"),
        ("ALLOWED_ORIGINS", "*,https://a.example", Warn, "ALLOWED_ORIGINS", "allows nobody more"),
        ("ALLOWED_ORIGINS", "http://a.example", Warn, "ALLOWED_ORIGINS", "not encrypted"),
        ("ALLOWED_ORIGINS", "", Warn, "ALLOWED_ORIGINS", "no page in a browser"),
        ("TRUSTED_PROXIES", "0.0.0.0/0", Warn, "TRUSTED_PROXIES", "trusts everybody"),
        ("SERVICE_KEYS", JWT_SECRET, Warn, "SERVICE_KEYS", "has no effect"),
        ("JWT_SECRET", token, Warn, "JWT_SECRET", "is a token"),
        ("JWKS_URL", "https://ref.supabase.co/keys", Warn, "JWKS_URL", "no token's iss"),
        ("STRIPE_WEBHOOK_SECRET", "secret", Warn, "STRIPE_WEBHOOK_SECRET", "whsec_"),
        ("STRIPE_SECRET_KEY", "rk_live_x", Warn, "STRIPE_WEBHOOK_SECRET", "a day late"),
        ("STRIPE_SECRET_KEY", "rk_live_x", Warn, "STRIPE_PRICES", "nothing can be sold"),
        ("STRIPE_PRICE_ID", "price_1", Warn, "STRIPE_PRICE_ID", "STRIPE_PRICES"),
    ];
    for (name, value, level, subject, part) in rows {
        let found = offline(&[(name, value)]);
        let line = found.iter().find(|(_, about, told)| about == subject && told.contains(part));
        let line = line.unwrap_or_else(|| panic!("{name}={value}: no such line in {found:?}"));
        assert_eq!(line.0, *level, "{name}={value}: {found:?}");
    }
    let port = offline(&[("LISTEN_ADDR", ""), ("PORT", "8080")]);
    assert!(port.iter().any(|(_, about, told)| about == "PORT" && told.contains("LISTEN_ADDR")));
}

/// The findings of the real binary about these settings.
struct Deployment {
    database: TestDatabase,
    redis: TestRedis,
}

impl Deployment {
    async fn new() -> Self {
        Self { database: TestDatabase::new().await, redis: TestRedis::new() }
    }

    async fn check(&self, settings: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
        let own = [
            ("ENVIRONMENT", "development"),
            ("DATABASE_URL", self.database.url()),
            ("REDIS_URL", self.redis.url()),
            ("REDIS_PREFIX", self.redis.prefix()),
            ("JWT_SECRET", JWT_SECRET),
        ];
        let all = own.iter().chain(settings).copied();
        let mut process = Process::spawn_with("regimen-ingress", &["check", "--json"], all);
        let code = process.wait_exit().await.code();
        let output = process.output();
        assert!(!output.contains(JWT_SECRET) && !output.contains(KEY), "{output}");
        let report: Value = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"));
        (code, report["findings"].as_array().unwrap().clone())
    }
}

/// The level of the line about `subject` that has `part`.
fn level(findings: &[Value], subject: &str, part: &str) -> String {
    let about = |finding: &&Value| {
        finding["subject"] == subject && finding["found"].as_str().unwrap().contains(part)
    };
    let line = findings.iter().find(about);
    let line = line.unwrap_or_else(|| panic!("no {subject} with {part} in {findings:#?}"));
    line["level"].as_str().unwrap().to_owned()
}

const KEY: &str = "rk_test_never_to_be_shown";

#[tokio::test]
async fn stripe_is_asked_for_all_that_is_sold_and_where_events_go() {
    let (deployment, stripe) = (Deployment::new().await, StripeStandIn::start().await);
    let price = |id: &str, change: &[(&str, Value)]| {
        let mut price = object("price");
        price["id"] = json!(id);
        for (name, value) in change {
            price[*name] = value.clone();
        }
        stripe.set(&format!("GET /v1/prices/{id}"), price);
    };
    price("price_Good", &[("livemode", json!(false)), ("active", json!(true))]);
    price("price_Archived", &[("livemode", json!(false)), ("active", json!(false))]);
    price("price_Live", &[("livemode", json!(true))]);
    price("price_Once", &[("livemode", json!(false)), ("recurring", Value::Null)]);
    stripe.set("GET /v1/prices", list("/v1/prices", &[]));
    let endpoint = |events: Value| {
        let url = "https://api.example.test/api/stripe/webhook";
        let version = regimen_common::billing::API_VERSION;
        let endpoint = json!({"object": "webhook_endpoint", "url": url, "status": "enabled",
            "enabled_events": events, "api_version": version});
        stripe.set("GET /v1/webhook_endpoints", list("/v1/webhook_endpoints", &[endpoint]));
    };
    endpoint(json!(["*"]));
    let prices = "a=price_Good,b=price_Archived,c=price_Live,d=price_Once,e=price_Missing";
    let settings = [
        ("STRIPE_SECRET_KEY", KEY),
        ("STRIPE_BASE_URL", stripe.url.as_str()),
        ("STRIPE_PRICES", prices),
        ("STRIPE_OLD_PRICES", "price_Archived,prod_Missing"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_x"),
    ];
    let (code, findings) = deployment.check(&settings).await;
    assert_eq!(code, Some(2));
    assert_eq!(level(&findings, "STRIPE_SECRET_KEY", "answered it"), "ok");
    assert_eq!(level(&findings, "STRIPE_PRICES", "price_Good exists"), "ok");
    assert_eq!(level(&findings, "STRIPE_PRICES", "price_Archived is archived"), "fail");
    assert_eq!(level(&findings, "STRIPE_PRICES", "price_Live is of the other mode"), "fail");
    assert_eq!(level(&findings, "STRIPE_PRICES", "price_Once is paid once"), "fail");
    assert_eq!(level(&findings, "STRIPE_PRICES", "price_Missing does not exist"), "fail");
    assert_eq!(level(&findings, "STRIPE_OLD_PRICES", "prod_Missing does not exist"), "fail");
    assert_eq!(level(&findings, "Stripe webhook", "sent every event"), "ok");
    endpoint(json!(["invoice.paid"]));
    let (_, findings) = deployment.check(&settings).await;
    assert_eq!(level(&findings, "Stripe webhook", "is not sent"), "fail");
    stripe.set("GET /v1/webhook_endpoints", list("/v1/webhook_endpoints", &[]));
    let (_, findings) = deployment.check(&settings).await;
    assert_eq!(level(&findings, "Stripe webhook", "no endpoint"), "fail");
    let away = [("STRIPE_SECRET_KEY", KEY), ("STRIPE_BASE_URL", "http://127.0.0.1:1")];
    let (_, findings) = deployment.check(&away).await;
    assert_eq!(level(&findings, "STRIPE_SECRET_KEY", "cannot be reached"), "fail");
}

#[tokio::test]
async fn the_keys_of_tokens_can_be_had_or_not() {
    let deployment = Deployment::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = json!({"kty": "EC", "crv": "P-256", "kid": "1", "alg": "ES256", "use": "sig",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let keys = json!({"keys": [key]}).to_string();
    let app = Router::new()
        .route("/good/.well-known/jwks.json", get(move || async move { keys }))
        .route("/none/.well-known/jwks.json", get(|| async { r#"{"keys":[]}"# }))
        .route("/bad/.well-known/jwks.json", get(|| async { StatusCode::BAD_GATEWAY }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    for (path, expected, part) in [
        ("good", "ok", "1 keys"),
        ("none", "fail", "no key that can be used"),
        ("bad", "fail", "cannot be fetched"),
    ] {
        let url = format!("http://{address}/{path}/.well-known/jwks.json");
        let (_, findings) = deployment.check(&[("JWKS_URL", &url)]).await;
        assert_eq!(level(&findings, "JWKS_URL", part), expected, "{path}");
    }
}

#[tokio::test]
async fn help_and_version_need_no_setting() {
    let none: [(&str, &str); 0] = [];
    for (argument, part) in [("--help", "check"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let mut process = Process::spawn_with("regimen-ingress", &[argument], none);
        assert_eq!(process.wait_exit().await.code(), Some(0), "{argument}");
        assert!(process.output().contains(part), "{}", process.output());
    }
}

#[tokio::test]
async fn a_start_refuses_with_all_mistakes_and_tells_the_rest_in_its_log() {
    let settings = [
        ("DATABASE_URL", "foo"),
        ("REDIS_URL", "foo"),
        ("SENTRY_DSN", "foo"),
        ("JWT_SECRET", "foo"),
    ];
    let mut process = Process::spawn("regimen-ingress", settings);
    assert_eq!(process.wait_exit().await.code(), Some(1));
    let output = process.output();
    for (name, _) in settings {
        assert!(output.contains(&format!("\n  {name}: ")), "{name} is not in {output}");
    }
    let ingress =
        crate::harness::Ingress::start(&[("JWKS_URI", "x"), ("OPENAI_APIKEY", "x")]).await;
    ingress.await_log("JWKS_URI: is set, and nothing reads it; rename it to JWKS_URL");
    ingress.await_log("OPENAI_APIKEY: is set, and nothing reads it");
}
