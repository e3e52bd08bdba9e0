//! Everybody's jobs: listed, looked at, retried, cancelled.

use regimen_common::db::Client;
use regimen_common::db::jobs::{self, ClaimPolicy};
use regimen_common::job::FailureCode;
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use uuid::Uuid;

use crate::harness::{ADMIN, Answer, Ingress, Send, plans};

async fn get(ingress: &Ingress, path: &str) -> Answer {
    ingress.as_admin(Method::GET, path).answer().await
}

async fn post(ingress: &Ingress, path: &str) -> Answer {
    ingress.as_admin(Method::POST, path).answer().await
}

/// Both jobs of a request of `user`, in the order they were accepted.
async fn submitted(ingress: &Ingress, user: Uuid) -> [Uuid; 2] {
    let answer = ingress.post("/v1/plans", user, &plans()).await;
    let id = |n: usize| answer.body["jobs"][n]["id"].as_str().unwrap().parse().unwrap();
    [id(0), id(1)]
}

async fn fail(client: &mut Client, id: Uuid) {
    let policy = ClaimPolicy {
        worker_id: "worker-1".to_owned(),
        lease: Duration::from_secs(600),
        deadline: Duration::from_secs(180),
        per_user: 2,
    };
    let claimed = jobs::claim(client, &[id], &policy).await.unwrap();
    let held = jobs::Held { id, fence: claimed[0].fence };
    let tx = client.transaction();
    let code = FailureCode::ProvidersExhausted;
    jobs::fail(&tx, held, code, "nobody answered", &Value::Null, 2).await.unwrap().unwrap();
    tx.commit().await.unwrap();
}

fn ids(page: &Value) -> Vec<Uuid> {
    let listed = page["jobs"].as_array().unwrap().iter();
    listed.map(|one| one["job"]["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// A request looks at so many jobs; what is searched for lies beyond them.
#[tokio::test]
async fn a_rare_reason_is_found_request_by_request() {
    let ingress = Ingress::start(&[]).await;
    let mut client = ingress.database.client().await;
    let [old, _] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&mut client, old).await;
    let newer = "insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state,
                                           run_at, created_at, expires_at, updated_at, finished_at)
                 select ('ff000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                     gen_random_uuid(), gen_random_uuid(), 'meal', 'free', '{}', 'succeeded',
                     now(), now(), now(), now(), now()
                 from generate_series(1, 10000) n";
    client.batch_execute(newer).await.unwrap();
    let path = "/admin/jobs?reason=providers_exhausted";
    let first = get(&ingress, path).await;
    assert!(ids(&first.body).is_empty(), "{first:?}");
    let cursor = first.body["next_cursor"].as_str().unwrap();
    let rest = get(&ingress, &format!("{path}&cursor={cursor}")).await;
    assert_eq!((ids(&rest.body), rest.body.get("next_cursor")), (vec![old], None));
}

#[tokio::test]
async fn dead_jobs_are_found_with_their_reason() {
    let ingress = Ingress::start(&[]).await;
    let mut client = ingress.database.client().await;
    let (ada, bob) = (Uuid::new_v4(), Uuid::new_v4());
    let [first, second] = submitted(&ingress, ada).await;
    let [third, fourth] = submitted(&ingress, bob).await;
    fail(&mut client, first).await;
    fail(&mut client, third).await;
    let dead = get(&ingress, "/admin/jobs?state=failed").await;
    assert_eq!(ids(&dead.body), [third, first], "newest first: {dead:?}");
    let job = &dead.body["jobs"][0];
    assert_eq!((&job["user_id"], &job["class"]), (&json!(bob), &json!("free")));
    let error = json!({"code": "providers_exhausted", "detail": "nobody answered"});
    assert_eq!(job["job"]["error"], error);
    let by_reason = get(&ingress, "/admin/jobs?reason=providers_exhausted&limit=1").await;
    assert_eq!(ids(&by_reason.body), [third]);
    let cursor = by_reason.body["next_cursor"].as_str().unwrap();
    let rest = format!("/admin/jobs?reason=providers_exhausted&limit=1&cursor={cursor}");
    let rest = get(&ingress, &rest).await;
    assert_eq!((ids(&rest.body), rest.body.get("next_cursor")), (vec![first], None));
    assert!(ids(&get(&ingress, "/admin/jobs?reason=refused").await.body).is_empty());
    let all = get(&ingress, "/admin/jobs").await;
    assert_eq!(ids(&all.body), [fourth, third, second, first]);
    let of_ada = get(&ingress, &format!("/admin/jobs?user={ada}&state=queued")).await;
    assert_eq!(ids(&of_ada.body), [second]);
    for (query, status) in [
        ("state=gone", 422),
        ("limit=0", 422),
        ("limit=201", 422),
        ("reason=a%00", 422),
        ("cursor=x", 400),
        ("user=x", 400),
    ] {
        let answer = get(&ingress, &format!("/admin/jobs?{query}")).await;
        assert_eq!(answer.status, status, "{query}");
    }
}

#[tokio::test]
async fn anybodys_job_is_shown_with_all_that_happened() {
    let ingress = Ingress::start(&[]).await;
    let mut client = ingress.database.client().await;
    let [id, _] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&mut client, id).await;
    let shown = get(&ingress, &format!("/admin/jobs/{id}")).await;
    let kinds: Vec<_> = shown.body["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["accepted", "claimed", "failed"], "{shown:?}");
    assert_eq!(shown.body["job"]["status"], "failed");
    assert_eq!(shown.body["job"]["attempts"], json!([]));
    assert_eq!(shown.body["lost_workers"], 0);
    let nothing = get(&ingress, &format!("/admin/jobs/{}", Uuid::now_v7())).await;
    assert_eq!(nothing.status, 404);
}

#[tokio::test]
async fn a_dead_job_is_retried_once_as_a_new_one_and_not_charged() {
    let ingress = Ingress::start(&[]).await;
    let mut client = ingress.database.client().await;
    let user = Uuid::new_v4();
    let [id, waiting] = submitted(&ingress, user).await;
    fail(&mut client, id).await;
    let before = get(&ingress, &format!("/admin/jobs/{id}")).await.body;
    let path = format!("/admin/jobs/{id}/retry");
    let (left, right) = tokio::join!(post(&ingress, &path), post(&ingress, &path));
    let mut statuses = [left.status.as_u16(), right.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 202], "one of two at once makes it");
    assert_eq!(left.body["id"], right.body["id"]);
    let new: Uuid = left.body["id"].as_str().unwrap().parse().unwrap();
    // The old one is as it was, but for the link.
    let mut after = get(&ingress, &format!("/admin/jobs/{id}")).await.body;
    assert_eq!(after["retried_as"], json!(new));
    after.as_object_mut().unwrap().remove("retried_as");
    assert_eq!(after, before);
    let retry = get(&ingress, &format!("/admin/jobs/{new}")).await.body;
    assert_eq!(retry["retry_of"], json!(id));
    assert_eq!(retry["generation_id"], before["generation_id"]);
    assert_eq!(retry["job"]["status"], "queued");
    let sql = "select n.input = o.input and n.kind = o.kind and n.dispatched_at is not null
               from regimen.jobs n, regimen.jobs o where n.id = $1 and o.id = $2";
    assert!(client.query_one(sql, &[&new, &id]).await.unwrap().get::<_, bool>(0));
    let usage = ingress.get("/v1/usage", user).await.body;
    assert_eq!(usage["generations"]["used"], 0, "the failed one was given back");
    let answer = post(&ingress, &format!("/admin/jobs/{waiting}/retry")).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (409, "conflict"));
    let answer = post(&ingress, &format!("/admin/jobs/{}/retry", Uuid::now_v7())).await;
    assert_eq!(answer.status, 404);
    let sql = "select count(*) from regimen.admin_actions
               where action = 'retry_job' and target = $1 and actor = $2 and outcome = 'done'";
    let row = client.query_one(sql, &[&id.to_string(), &ADMIN.to_string()]).await.unwrap();
    assert_eq!(row.get::<_, i64>(0), 1);
}

#[tokio::test]
async fn anybodys_job_is_cancelled_once() {
    let ingress = Ingress::start(&[]).await;
    let mut client = ingress.database.client().await;
    let user = Uuid::new_v4();
    let [id, other] = submitted(&ingress, user).await;
    let path = format!("/admin/jobs/{id}/cancel");
    assert_eq!(post(&ingress, &path).await.status, 202);
    assert_eq!(post(&ingress, &path).await.status, 200);
    let shown = ingress.get(&format!("/v1/jobs/{id}"), user).await;
    assert_eq!(shown.body["status"], "cancelled");
    let events = get(&ingress, &format!("/admin/jobs/{id}")).await.body["events"].clone();
    assert_eq!(events[1]["data"], json!({"by": "operator"}));
    fail(&mut client, other).await;
    assert_eq!(post(&ingress, &format!("/admin/jobs/{other}/cancel")).await.status, 409);
    assert_eq!(post(&ingress, &format!("/admin/jobs/{}/cancel", Uuid::now_v7())).await.status, 404);
}
