//! Pauses as operators set them; what workers make of them is tested there.

use reqwest::Method;
use serde_json::json;

use crate::harness::{ADMIN, Answer, Ingress, Send, plans};

async fn post(ingress: &Ingress, path: &str) -> Answer {
    ingress.as_admin(Method::POST, path).answer().await
}

#[tokio::test]
async fn a_pause_stands_until_it_is_ended() {
    let ingress = Ingress::start(&[]).await;
    for (path, name) in [("/admin/queues/pro", "pro"), ("/admin/providers/gemini", "gemini")] {
        for (action, paused, changed) in [
            ("resume", false, false),
            ("pause", true, true),
            ("pause", true, false),
            ("resume", false, true),
            ("pause", true, true),
        ] {
            let answer = post(&ingress, &format!("{path}/{action}")).await;
            let expected = json!({"name": name, "paused": paused, "changed": changed});
            assert_eq!(answer.body, expected, "{action}");
        }
    }
    let listed = ingress.as_admin(Method::GET, "/admin/pauses").answer().await.body;
    for (kind, name) in [("queues", "pro"), ("providers", "gemini")] {
        let [pause] = listed[kind].as_array().unwrap().as_slice() else { panic!("{listed}") };
        assert_eq!((&pause["name"], &pause["paused_by"]), (&json!(name), &json!(ADMIN)));
    }
    for path in [
        "/admin/queues/notify/pause",
        "/admin/queues/x/pause",
        "/admin/queues/%00/pause",
        "/admin/providers/meta/pause",
        "/admin/providers/%FF/resume",
    ] {
        let answer = post(&ingress, path).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (404, "not-found"), "{path}");
    }
}

#[tokio::test]
async fn a_paused_queue_accepts() {
    let ingress = Ingress::start(&[]).await;
    post(&ingress, "/admin/queues/free/pause").await;
    let user = uuid::Uuid::new_v4();
    assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
}
