//! Repeating a request safely: one key, one answer, one set of jobs.

use std::collections::HashSet;

use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use crate::fleet::Fleet;
use crate::fleet::ingress::body;

const REPLAYED: &str = "idempotency-replayed";

#[tokio::test]
async fn a_hundred_equal_requests_at_once_are_one() {
    let fleet = Fleet::new(&[]).await;
    let (ingress, other) = tokio::join!(fleet.ingress(), fleet.ingress());
    let (user, request) = (Uuid::new_v4(), body(&["meal", "workout"]));
    let send = |n: usize| {
        let door = if n.is_multiple_of(2) { ingress.door() } else { other.door() };
        let request = &request;
        async move {
            let answer = door.post_plans(user, request, Some("the-key")).await.unwrap();
            let replayed = answer.headers().get(REPLAYED).map(|value| value == "true");
            (answer.status(), replayed, answer.json::<Value>().await.unwrap())
        }
    };
    let answers = join_all((0..100).map(send)).await;

    let (accepted, refused): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(status, _, _)| *status == StatusCode::ACCEPTED);
    assert!(refused.iter().all(|(status, _, _)| *status == StatusCode::CONFLICT), "{refused:?}");
    let fresh = accepted.iter().filter(|(_, replayed, _)| replayed.is_none()).count();
    assert_eq!(fresh, 1, "{accepted:?}");
    let bodies: HashSet<String> = accepted.iter().map(|(_, _, body)| body.to_string()).collect();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 2);

    // Afterwards the answer is there for whoever asks again.
    let (status, replayed, body) = send(0).await;
    assert_eq!((status, replayed), (StatusCode::ACCEPTED, Some(true)));
    assert!(bodies.contains(&body.to_string()));
}

/// Jobs without their key would be made again by the client's repetition.
#[tokio::test]
async fn an_answer_that_cannot_be_kept_leaves_no_jobs() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let (door, user, request) = (ingress.door(), Uuid::new_v4(), body(&["meal"]));
    let full =
        "alter table regimen.idempotency_keys add constraint is_full check (false) not valid";
    fleet.db().await.batch_execute(full).await.unwrap();
    let refused = door.post_plans(user, &request, Some("the-key")).await.unwrap();
    assert!(refused.status().is_server_error(), "{}", refused.status());
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 0);
    let mended = "alter table regimen.idempotency_keys drop constraint is_full";
    fleet.db().await.batch_execute(mended).await.unwrap();
    let accepted = door.post_plans(user, &request, Some("the-key")).await.unwrap();
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 1);
}

#[tokio::test]
async fn a_key_is_bound_to_its_body_and_its_user() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let door = ingress.door();
    let (ana, ben) = (Uuid::new_v4(), Uuid::new_v4());
    let post = async |user, kinds: &[&str]| {
        let answer = door.post_plans(user, &body(kinds), Some("the-key")).await.unwrap();
        (answer.status(), answer.json::<Value>().await.unwrap())
    };
    let (status, first) = post(ana, &["meal"]).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let (status, other_body) = post(ana, &["workout"]).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other_body["code"], "idempotency-mismatch", "{other_body}");
    let (status, of_ben) = post(ben, &["meal"]).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_ne!(first, of_ben);
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 2);
}

#[tokio::test]
async fn a_key_is_kept_for_a_day() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let (door, user, request) = (ingress.door(), Uuid::new_v4(), body(&["meal"]));
    let post = async || {
        let answer = door.post_plans(user, &request, Some("the-key")).await.unwrap();
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        answer.headers().contains_key(REPLAYED)
    };
    assert!(!post().await);
    let kept = "select count(*) from regimen.idempotency_keys
                where expires_at = created_at + interval '24 hours'";
    assert_eq!(fleet.count(kept).await, 1);
    let age = async |hours: &str| {
        let sql = format!(
            "update regimen.idempotency_keys set created_at = now() - interval '{hours}',
                    expires_at = now() - interval '{hours}' + interval '24 hours'"
        );
        fleet.db().await.batch_execute(&sql).await.unwrap();
    };
    age("23 hours 59 minutes").await;
    assert!(post().await);
    age("24 hours").await;
    assert!(!post().await);
    assert!(post().await);
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 2);
}

#[tokio::test]
async fn an_answer_that_is_over_is_not_kept() {
    let fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    let (door, user, request) = (ingress.door(), Uuid::new_v4(), body(&["meal"]));
    for key in ["old", "young"] {
        door.post_plans(user, &request, Some(key)).await.unwrap();
    }
    let age = "update regimen.idempotency_keys set expires_at = now() where key = 'old'";
    fleet.db().await.batch_execute(age).await.unwrap();
    let _worker = fleet.worker().await;
    fleet.until_count("select count(*) from regimen.idempotency_keys where key = 'old'", 0).await;
    assert_eq!(fleet.count("select count(*) from regimen.idempotency_keys").await, 1);
}
