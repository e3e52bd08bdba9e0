//! A request that was accepted gets its answer again under its key, whatever
//! would refuse it if it were new.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Answer, Ingress, Send, plans, quiz};

const JOBS: &str = "select count(*) from regimen.jobs where user_id = $1";

async fn keyed(ingress: &Ingress, path: &str, user: Uuid, key: &str, body: &Value) -> Answer {
    let request = ingress.request(Method::POST, path, user).header("idempotency-key", key);
    request.json(body).answer().await
}

#[tokio::test]
async fn a_kept_answer_is_given_beyond_the_rate_limit() {
    let ingress = Ingress::start(&[]).await;
    let (user, body) = (Uuid::new_v4(), plans());
    let mut first = Vec::new();
    for n in 0..5 {
        let answer = keyed(&ingress, "/v1/plans", user, &format!("k{n}"), &body).await;
        assert_eq!(answer.status, 202, "{answer:?}");
        first.push(answer.body);
    }
    for (n, kept) in first.iter().enumerate() {
        let again = keyed(&ingress, "/v1/plans", user, &format!("k{n}"), &body).await;
        assert_eq!((again.status.as_u16(), &again.body), (202, kept));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        let limit = again.header("ratelimit").unwrap();
        assert!(limit.starts_with(r#""generate-plans";r=0;"#), "{limit}");
    }
    // What was not answered before meets the limit, before anything else is said of it.
    let new = keyed(&ingress, "/v1/plans", user, "k5", &body).await;
    assert_eq!((new.status.as_u16(), new.problem()), (429, "quota-exceeded"));
    let invalid = keyed(&ingress, "/v1/plans", user, "k6", &json!({})).await;
    assert_eq!((invalid.status.as_u16(), invalid.problem()), (429, "quota-exceeded"));
    let unkeyed = ingress.post("/v1/plans", user, &body).await;
    assert_eq!(unkeyed.status, 429);
    let mut other_body = plans();
    other_body["kinds"] = json!(["meal"]);
    let other = keyed(&ingress, "/v1/plans", user, "k4", &other_body).await;
    assert_eq!((other.status.as_u16(), other.problem()), (422, "idempotency-mismatch"));
    let somebody_else = keyed(&ingress, "/v1/plans", Uuid::new_v4(), "k4", &body).await;
    assert_eq!(somebody_else.header("idempotency-replayed"), None);
    assert_eq!(ingress.count(JOBS, user).await, 10);
}

#[tokio::test]
async fn a_kept_answer_is_given_when_the_month_or_the_queue_is_full() {
    let ingress = Ingress::start(&[("MAX_QUEUED", "4")]).await;
    let (user, body) = (Uuid::new_v4(), json!({"answers": quiz()}));
    let first = keyed(&ingress, "/generate-plans", user, "once", &body).await;
    assert_eq!(first.status, 200, "{first:?}");
    let month = "update public.plans set monthly_ai_generations = 1 where id = 'free'";
    ingress.database.client().await.batch_execute(month).await.unwrap();
    let again = async || {
        let again = keyed(&ingress, "/generate-plans", user, "once", &body).await;
        assert_eq!((again.status.as_u16(), &again.body), (200, &first.body));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    };
    let refused = keyed(&ingress, "/generate-plans", user, "twice", &body).await;
    assert_eq!(refused.body["violated-policies"], json!(["monthly-generations"]), "{refused:?}");
    again().await;
    assert_eq!(ingress.post("/v1/plans", Uuid::new_v4(), &plans()).await.status, 202);
    let refused = keyed(&ingress, "/generate-plans", Uuid::new_v4(), "once", &body).await;
    assert_eq!(refused.problem(), "temporary-reduced-capacity");
    again().await;
    assert_eq!(ingress.count(JOBS, user).await, 2);
}

/// Rules may have become stricter between a request and its repetition.
#[tokio::test]
async fn a_kept_answer_is_given_though_the_request_would_be_invalid_today() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let mut body = plans();
    let accepted = keyed(&ingress, "/v1/plans", user, "once", &body).await;
    assert_eq!(accepted.status, 202);
    body["answers"]["age"] = json!("eleven");
    // As if the same bytes had been acceptable then.
    let hash = {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new_with_prefix("v1");
        hash.update("meal");
        hash.update("workout");
        hash.chain_update([0_u8]).chain_update(body.to_string()).finalize().to_vec()
    };
    let sql = "update regimen.idempotency_keys set body_hash = $2 where user_id = $1";
    ingress.database.client().await.execute(sql, &[&user, &hash]).await.unwrap();
    let again = keyed(&ingress, "/v1/plans", user, "once", &body).await;
    assert_eq!((again.status.as_u16(), again.body), (202, accepted.body));
}
