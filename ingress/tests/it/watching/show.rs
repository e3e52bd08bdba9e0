//! What the status of a job tells, and the tag that stands for it.

use futures_util::future::join_all;
use regimen_common::job::JobEventKind;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::sync::Arc;
use uuid::Uuid;

use super::watched::{Answer, WatchedIngress};

#[tokio::test]
async fn a_waiting_job_shows_its_place_and_where_to_go_on() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let answer = watched.show(job, user).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body["status"], "queued");
    assert_eq!(answer.body["position"], 1);
    assert_eq!(answer.body["eta_seconds"], json!(null), "nothing moves, so nobody knows");
    assert_eq!(answer.body["claims"], 0);
    assert_eq!(answer.body["attempts"], json!([]));
    assert!(answer.body["expires_at"].is_string());
    let path = format!("/v1/jobs/{job}");
    let links = json!({"self": path, "events": format!("{path}/events"), "cancel": path});
    assert_eq!(answer.body["links"], links);
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    assert_eq!(answer.header("retry-after"), Some("2"));
}

#[tokio::test]
async fn every_attempt_is_shown_with_its_error_and_what_it_cost() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    let first = watched.ask(held, "openai").await;
    watched.judge(first, "unavailable", Some("gw-7 of org-x is overloaded")).await;
    watched.append(held, JobEventKind::AttemptFailed).await;
    watched.ask(held, "anthropic").await;
    let running = watched.show(job, user).await.body;
    assert_eq!((&running["status"], &running["stage"]), (&json!("running"), &json!("generating")));
    assert_eq!(running["cost_usd"], 0.00125, "what was paid so far counts while it runs");
    let attempts = running["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 2);
    assert_eq!(attempts[0]["provider"], "openai");
    assert_eq!(attempts[0]["outcome"], "unavailable");
    assert_eq!(attempts[0]["error"], "the provider is unavailable", "not in its own words");
    assert_eq!(attempts[0]["http_status"], 529);
    assert_eq!(attempts[1]["provider"], "anthropic");
    assert_eq!(attempts[1]["outcome"], json!(null));
    assert!(running.get("position").is_none());

    assert!(watched.fail(held).await);
    let failed = watched.show(job, user).await;
    assert_eq!(failed.body["status"], "failed");
    assert_eq!(failed.body["error"]["code"], "refused");
    assert_eq!(failed.body["attempts"].as_array().unwrap().len(), 2, "the evidence stays");
    assert!(failed.body["links"].get("cancel").is_none());
    assert_eq!(failed.header("retry-after"), None);
}

#[tokio::test]
async fn a_finished_job_comes_with_its_plan() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let held = watched.claim(job).await;
    let plan = json!({"meals": [{"meal_name": "Porridge"}]});
    watched.succeed(held, user, &plan).await;
    let answer = watched.show(job, user).await;
    assert_eq!(answer.body["status"], "succeeded");
    assert_eq!(answer.body["plan"], plan);
    assert_eq!(answer.body["provider"], "openai");
    assert_eq!(answer.body["links"]["plan"], "/v1/plans/meal/active");
    let active = watched.get("/v1/plans/meal/active", user).await;
    assert_eq!(active.body["plan"], plan);
}

#[tokio::test]
async fn somebody_elses_job_looks_like_none() {
    let watched = WatchedIngress::new(&[]).await;
    let job = watched.job(Uuid::now_v7()).await;
    let stranger = Uuid::now_v7();
    for (method, path) in [
        (Method::GET, format!("/v1/jobs/{job}")),
        (Method::GET, format!("/v1/jobs/{job}/events")),
        (Method::DELETE, format!("/v1/jobs/{job}")),
        (Method::GET, format!("/v1/jobs/{}", Uuid::now_v7())),
        (Method::GET, format!("/v1/jobs/{}/events", Uuid::now_v7())),
    ] {
        for (name, value) in [("prefer", "wait=1"), ("if-none-match", "*")] {
            let request = watched.request(method.clone(), &path, stranger).header(name, value);
            let answer = Answer::to(request).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path} {name}");
            assert_eq!(answer.body["code"], "not-found");
        }
    }
}

#[tokio::test]
async fn the_tag_changes_with_everything_that_lasts() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    let address = format!(
        "update regimen.jobs set callback_url = 'https://hooks.example/' where id = '{job}'"
    );
    watched.sql(&address).await;
    let mut tags = vec![watched.show(job, user).await.etag()];
    let held = watched.claim(job).await;
    tags.push(watched.show(job, user).await.etag());
    let attempt = watched.ask(held, "openai").await;
    tags.push(watched.show(job, user).await.etag());
    // No event tells of a judgement.
    watched.judge(attempt, "ok", None).await;
    tags.push(watched.show(job, user).await.etag());
    let plan = watched.succeed(held, user, &json!({"meals": []})).await;
    tags.push(watched.show(job, user).await.etag());
    // Users edit their plans.
    let edit = format!(
        "update public.ai_meal_plans set plan_data = '{{\"meals\": [1]}}' where id = '{plan}'"
    );
    watched.sql(&edit).await;
    tags.push(watched.show(job, user).await.etag());
    // The callback goes on after the end.
    let sent = "update regimen.callbacks set revision = revision + 1, attempts = 1, error = 'busy'";
    watched.sql(sent).await;
    let shown = watched.show(job, user).await;
    let callback = &shown.body["callback"];
    assert_eq!((&callback["state"], &callback["error"]), (&json!("waiting"), &json!("busy")));
    tags.push(shown.etag());
    let mut distinct = tags.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), tags.len(), "{tags:?}");
    assert!(tags[0].starts_with("W/\""), "the place in the line moves under a weak tag");
    assert!(tags[1..].iter().all(|tag| tag.starts_with('"')), "{tags:?}");
    assert_eq!(watched.show(job, user).await.etag(), *tags.last().unwrap());
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    watched.claim(job).await;
    let tag = watched.show(job, user).await.etag();
    let ask = async |known: &str| {
        let request = watched.request(Method::GET, &format!("/v1/jobs/{job}"), user);
        Answer::to(request.header("if-none-match", known)).await
    };
    for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = ask(&known).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(answer.text, "", "{known}");
        assert_eq!(answer.header("etag"), Some(&*tag), "{known}");
    }
    for known in ["\"x\"", "", "x", "\"x\", W/\"y\""] {
        let answer = ask(known).await;
        assert_eq!(answer.status, StatusCode::OK, "{known}");
        assert_eq!(answer.body["status"], "running");
    }
}

#[tokio::test]
async fn the_place_and_the_eta_follow_the_line_of_the_class() {
    let watched = WatchedIngress::new(&[]).await;
    let (ada, ben) = (Uuid::now_v7(), Uuid::now_v7());
    let line = watched.jobs(ada, "free", 3).await;
    watched.jobs(Uuid::now_v7(), "pro", 5).await;
    // Ben's jobs are younger. The first has its turn, the others wait for it.
    let bens = watched.jobs(ben, "free", 3).await;
    let list = |ids: &[Uuid]| ids.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(",");
    watched
        .sql(&format!(
            "update regimen.jobs set dispatched_at = now() where id = '{}';
             update regimen.jobs set dispatched_at = null where id in ({})",
            bens[0],
            list(&bens[1..])
        ))
        .await;
    // 30 free jobs ended within the last minute: one every two seconds.
    watched.jobs(Uuid::now_v7(), "free", 31).await;
    watched
        .sql(&format!(
            "update regimen.jobs set state = 'cancelled', dispatched_at = null,
                 finished_at = now() - case when n = 1 then interval '2 minutes'
                                       else interval '10 seconds' end
             from (select id, row_number() over (order by id) as n from regimen.jobs
                   where class = 'free' and user_id not in ('{ada}', '{ben}')) old
             where old.id = jobs.id"
        ))
        .await;
    let expected = [
        (line[0], ada, 1),
        (line[2], ada, 3),
        (bens[0], ben, 4),
        (bens[1], ben, 5),
        (bens[2], ben, 6),
    ];
    for (job, user, position) in expected {
        let answer = watched.show(job, user).await;
        assert_eq!(answer.body["position"], position, "{}", answer.text);
        assert_eq!(answer.body["eta_seconds"], position * 2, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_job_that_waits_for_a_time_has_no_place_until_then() {
    let watched = WatchedIngress::new(&[]).await;
    let user = Uuid::now_v7();
    let job = watched.job(user).await;
    watched
        .sql("update regimen.jobs set run_at = now() + interval '100 s', dispatched_at = null")
        .await;
    let answer = watched.show(job, user).await;
    assert!(answer.body.get("position").is_none(), "{}", answer.text);
    let eta = answer.body["eta_seconds"].as_i64().unwrap();
    assert!((60..=100).contains(&eta), "{eta}");
    assert!(answer.body["next_attempt_at"].is_string());
    let pace: i64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert_eq!(pace, eta / 4, "who waits long need not ask often");
}

#[tokio::test]
async fn the_line_is_measured_once_for_all_who_ask() {
    let watched = WatchedIngress::new(&[]).await;
    let lines = &watched.ingress.state.watching.lines;
    let views = join_all((0..200).map(|_| lines.view())).await;
    let first = views[0].as_ref().unwrap();
    assert!(views.iter().all(|view| Arc::ptr_eq(view.as_ref().unwrap(), first)));
}
