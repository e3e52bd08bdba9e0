//! The list of a user's jobs, page by page.

use reqwest::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::watched::WatchedIngress;

fn ids(page: &Value) -> Vec<Uuid> {
    let jobs = page["jobs"].as_array().unwrap();
    jobs.iter().map(|job| job["id"].as_str().unwrap().parse().unwrap()).collect()
}

/// Every page from the first to the last; `between` runs before each next one.
async fn walk(
    watched: &WatchedIngress,
    user: Uuid,
    query: &str,
    between: impl AsyncFn(),
) -> Vec<Uuid> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = watched.get(&format!("/v1/jobs?{query}{cursor}"), user).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        all.extend(ids(&page.body));
        let Some(next) = page.body.get("next_cursor") else { return all };
        cursor = format!("&cursor={}", next.as_str().unwrap());
        between().await;
    }
}

#[tokio::test]
async fn pages_hold_still_while_jobs_come_and_end() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let mut expected = watched.jobs(user, "free", 7).await;
    expected.reverse();
    // Jobs of one request have one time; their ids tell them apart.
    watched.sql("update regimen.jobs set created_at = now() - interval '1 hour'").await;
    expected.sort();
    expected.reverse();
    watched.jobs(Uuid::now_v7(), "free", 3).await;
    let first_page = watched.get("/v1/jobs?limit=3", user).await;
    assert_eq!(ids(&first_page.body), expected[..3], "newest first");
    assert_eq!(first_page.body["jobs"][0].get("plan"), None);
    assert_eq!(first_page.body["jobs"][0].get("attempts"), None);
    let got = walk(&watched, user, "limit=3", async || {
        watched.sql("update regimen.jobs set created_at = now() where state = 'running'").await;
        let new = watched.job(user).await;
        watched
            .sql(&format!("update regimen.jobs set created_at = now() where id = '{new}'"))
            .await;
    })
    .await;
    assert_eq!(got, expected, "each job once, whatever came meanwhile");
}

#[tokio::test]
async fn a_page_that_is_exactly_full_is_the_last_one() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    watched.jobs(user, "free", 4).await;
    let page = watched.get("/v1/jobs?limit=4", user).await;
    assert_eq!(ids(&page.body).len(), 4);
    assert_eq!(page.body.get("next_cursor"), None);
    let nobody = watched.get("/v1/jobs", Uuid::now_v7()).await;
    assert_eq!(nobody.body, serde_json::json!({"jobs": []}));
}

#[tokio::test]
async fn the_list_can_be_narrowed() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let jobs = watched.jobs(user, "free", 6).await;
    let held = watched.claim(jobs[0]).await;
    watched.fail(held).await;
    watched.claim(jobs[1]).await;
    // By turns meal and workout, from the oldest.
    for (query, expected) in [
        ("status=failed", vec![jobs[0]]),
        ("status=running", vec![jobs[1]]),
        ("kind=meal", vec![jobs[4], jobs[2], jobs[0]]),
        ("status=queued&kind=workout", vec![jobs[5], jobs[3]]),
        ("status=succeeded", vec![]),
    ] {
        let query = format!("{query}&limit=1");
        assert_eq!(walk(&watched, user, &query, async || {}).await, expected, "{query}");
    }
}

#[tokio::test]
async fn every_mistake_in_a_query_is_named() {
    let watched = WatchedIngress::new(&[]).await;
    let path = "/v1/jobs?status=done&kind=dance&limit=101&cursor=x";
    let answer = watched.get(path, Uuid::now_v7()).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors = answer.body["errors"].as_array().unwrap();
    let named: Vec<_> = errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect();
    assert_eq!(named, ["?status", "?kind", "?cursor", "?limit"]);
}
