//! The record of what operators did can be read, by page and by what is looked for.

use regimen_common::db::admin_actions::{self, Action};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Answer, Ingress, Send};

async fn shown(ingress: &Ingress, query: &str) -> Answer {
    ingress.as_admin(Method::GET, &format!("/admin/actions{query}")).answer().await
}

/// Numbers and targets of a page.
fn targets(page: &Answer) -> Vec<&str> {
    let rows = page.body["actions"].as_array().unwrap();
    rows.iter().map(|row| row["target"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_was_done_is_shown_with_who_and_what_came_of_it() {
    let ingress = Ingress::start(&[]).await;
    let nothing = shown(&ingress, "").await;
    assert_eq!(nothing.body, json!({"actions": []}));
    let path = "/admin/queues/free/pause";
    assert_eq!(ingress.as_admin(Method::POST, path).answer().await.status, 200);
    let client = ingress.database.client().await;
    let detail = json!({"amount": 500});
    let action = Action { actor: "service", name: "refund", target: "pi_1", detail: &detail };
    admin_actions::begin(&client, &action, None).await.unwrap();
    let page = shown(&ingress, "").await;
    let [cut_short, paused] = page.body["actions"].as_array().unwrap().as_slice() else {
        panic!("{page:?}")
    };
    assert_eq!((&paused["action"], &paused["outcome"]), (&json!("pause"), &json!("done")));
    assert_eq!((&paused["actor"], &paused["target"]), (&json!(ADMIN), &json!("queue:free")));
    assert!(paused["at"].is_string());
    assert_eq!((&cut_short["actor"], &cut_short["detail"]), (&json!("service"), &detail));
    assert_eq!(cut_short.get("outcome"), None::<&Value>, "it may have taken effect");
}

#[tokio::test]
async fn the_record_is_read_by_pages_and_by_what_is_looked_for() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    for (actor, name, target) in [
        ("ana", "refund", "pi_1"),
        ("ben", "retry_job", "job"),
        ("ana", "refund", "pi_2"),
        ("ben", "refund", "pi_1"),
    ] {
        let action = Action { actor, name, target, detail: &json!({}) };
        admin_actions::begin(&client, &action, Some("done")).await.unwrap();
    }
    let first = shown(&ingress, "?limit=3").await;
    assert_eq!(targets(&first), ["pi_1", "pi_2", "job"]);
    let cursor = first.body["next_cursor"].as_i64().unwrap();
    let last = shown(&ingress, &format!("?limit=3&cursor={cursor}")).await;
    assert_eq!((targets(&last), last.body.get("next_cursor")), (vec!["pi_1"], None));
    let all = shown(&ingress, "?limit=4").await;
    assert_eq!((targets(&all).len(), all.body.get("next_cursor")), (4, None));
    assert_eq!(targets(&shown(&ingress, "?actor=ana").await), ["pi_2", "pi_1"]);
    assert_eq!(targets(&shown(&ingress, "?action=retry_job").await), ["job"]);
    assert_eq!(targets(&shown(&ingress, "?target=pi_1&actor=ben").await), ["pi_1"]);
    assert!(targets(&shown(&ingress, "?target=pi").await).is_empty());
    for (query, pointer) in [
        ("?limit=0", "?limit"),
        ("?actor=a%20b", "?actor"),
        ("?action=%00", "?action"),
        ("?target=", "?target"),
    ] {
        assert_eq!(shown(&ingress, query).await.pointers(), [pointer], "{query}");
    }
}
