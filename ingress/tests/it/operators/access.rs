//! Every operators' route is for operators: as many as are described, none left out.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Ingress, Send};

/// Operators may use these for anybody, users for themselves.
const FOR_USERS_TOO: [&str; 3] = [
    "/api/admin/stripe/cancel-subscription",
    "/api/admin/stripe/update-payment-method",
    "/api/admin/stripe/customer/{customer_id}",
];

/// Method and path of every operators' operation, with something in place of
/// each placeholder.
fn operations(document: &Value) -> Vec<(Method, String)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let admin = path.contains("/admin/") && !FOR_USERS_TOO.contains(&path.as_str());
            assert_eq!(operation["tags"] == json!(["admin"]), admin, "{method} {path}");
            if admin {
                let path = path
                    .replace("{id}", "00000000-0000-7000-8000-000000000001")
                    .replace("{class}", "free")
                    .replace("{name}", "openai");
                assert!(!path.contains('{'), "{path}");
                found.push((method.to_ascii_uppercase().parse().unwrap(), path));
            }
        }
    }
    found
}

#[tokio::test]
async fn nobody_else_gets_in_anywhere() {
    let ingress = Ingress::start(&[]).await;
    let document = ingress.anonymous(Method::GET, "/openapi.json").answer().await.body;
    let operations = operations(&document);
    assert!(operations.len() >= 29, "{operations:?}");
    for (method, path) in operations {
        // Whatever is in the request: who asks is looked at first.
        let body = json!({"user_id": Uuid::new_v4()});
        let request = ingress.request(method.clone(), &path, Uuid::new_v4()).json(&body);
        let answer = request.answer().await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (403, "forbidden"), "{path}");
        let answer = ingress.anonymous(method.clone(), &path).answer().await;
        assert_eq!(answer.status, 401, "{path}");
        let answer = ingress.as_admin(method, &path).answer().await;
        assert!(![401, 403].contains(&answer.status.as_u16()), "{path} {answer:?}");
    }
    let client = ingress.database.client().await;
    let sql = "select count(*) from regimen.admin_actions where actor <> $1";
    let strangers: i64 =
        client.query_one(sql, &[&crate::harness::ADMIN.to_string()]).await.unwrap().get(0);
    assert_eq!(strangers, 0);
}

#[tokio::test]
async fn a_trusted_backend_is_an_operator() {
    let key = "a-service-key-of-the-tests-0123456789";
    let settings = [("AUTH_MODE", "service"), ("SERVICE_KEYS", key), ("JWT_SECRET", "")];
    let ingress = Ingress::start(&settings).await;
    let path = "/admin/queues/free/pause";
    let answer = ingress.anonymous(Method::POST, path).bearer_auth(key).answer().await;
    assert_eq!(answer.body, json!({"name": "free", "paused": true, "changed": true}));
    let listed = ingress.anonymous(Method::GET, "/admin/pauses").bearer_auth(key).answer().await;
    assert_eq!(listed.body["queues"][0]["paused_by"], "service");
    let wrong = ingress.anonymous(Method::POST, path).bearer_auth("another-key").answer().await;
    assert_eq!(wrong.status, 401);
}
