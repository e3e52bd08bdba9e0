//! What admins do in the console, with its record, and that viewers do nothing.

use regimen_common::db::console::ConsoleRole;
use regimen_common::db::test_calls::{self, Outcome};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::browser::Browser;
use super::looking::{fail, submitted};
use crate::harness::Ingress;

/// Actions, their targets and reasons, oldest first.
async fn recorded(ingress: &Ingress) -> Vec<(String, String, String)> {
    let sql = "select action, target, detail from regimen.admin_actions order by id";
    let rows = ingress.database.client().await.query(sql, &[]).await.unwrap();
    rows.iter()
        .map(|row| {
            let reason = row.get::<_, Value>(2)["reason"].as_str().unwrap_or_default().to_owned();
            (row.get(0), row.get(1), reason)
        })
        .collect()
}

#[tokio::test]
async fn one_job_is_retried_and_one_cancelled_for_a_reason() {
    let ingress = Ingress::start(&[]).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let [failed, waiting] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&ingress.database, failed, "x").await;
    let retried = admin.act(&format!("do=retry&job={failed}")).await;
    assert!(retried.header("location").ends_with("?done=retried"), "{retried:?}");
    let new = admin.get(retried.header("location")).await;
    assert!(new.text.contains("The job is retried") && new.text.contains(&failed.to_string()));
    let again = admin.act(&format!("do=retry&job={failed}")).await;
    assert!(again.header("location").ends_with("?done=retried-before"), "{again:?}");
    assert_eq!(admin.act(&format!("do=cancel&job={waiting}")).await.status, 303);
    assert_eq!(admin.act(&format!("do=retry&job={waiting}")).await.status, 409);
    let reason = || "a test".to_owned();
    let expected = [
        ("retry_job".to_owned(), failed.to_string(), reason()),
        ("cancel_job".to_owned(), waiting.to_string(), reason()),
    ];
    assert_eq!(recorded(&ingress).await, expected);
    // Without a reason nothing is done.
    let path = format!("/console/act?do=retry&job={}", Uuid::now_v7());
    let token = admin.token().await;
    assert_eq!(admin.post(&path, &[("token", &token)]).await.status, 422);
}

#[tokio::test]
async fn many_jobs_are_acted_on_once_their_number_is_said() {
    let ingress =
        Ingress::start(&[("RATE_GENERATE_PLANS", "500/h"), ("MONTHLY_QUOTA", "off")]).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let user = Uuid::new_v4();
    let mut failed = Vec::new();
    for n in 0..4 {
        let [meal, workout] = submitted(&ingress, user).await;
        fail(&ingress.database, meal, "x").await;
        failed.push(meal);
        if n == 0 {
            fail(&ingress.database, workout, "x").await;
            failed.push(workout);
        }
    }
    let token = admin.token().await;
    let selected = [
        ("token", token.as_str()),
        ("do", "retry"),
        ("id", &failed[0].to_string()),
        ("id", &failed[1].to_string()),
    ];
    let asked = admin.post("/console/jobs/batch", &selected).await;
    assert!(asked.text.contains("<h1>Retry 2 jobs</h1>"), "{asked:?}");
    assert!(recorded(&ingress).await.is_empty(), "only asked");
    let ids = asked.hidden("ids").to_owned();
    let confirmed = [("token", token.as_str()), ("do", "retry"), ("ids", &ids), ("reason", "why")];
    let done = admin.post("/console/jobs/batch/act", &confirmed).await;
    assert!(done.text.contains("2 jobs retried"), "{done:?}");
    // All that match: those retried before are not among them.
    let all = [("token", token.as_str()), ("do", "retry-all"), ("filter", "reason=unverifiable")];
    let asked = admin.post("/console/jobs/batch", &all).await;
    assert!(asked.text.contains("<h1>Retry 3 jobs</h1>"), "{asked:?}");
    let other = format!("user={}", Uuid::new_v4());
    let none = [("token", token.as_str()), ("do", "retry-all"), ("filter", &other)];
    assert!(admin.post("/console/jobs/batch", &none).await.text.contains("No job to retry"));
    let all =
        [("token", token.as_str()), ("do", "cancel-all"), ("filter", &format!("user={user}"))];
    let asked = admin.post("/console/jobs/batch", &all).await;
    // Three workouts, and the two that were retried above.
    assert!(asked.text.contains("<h1>Cancel 5 jobs</h1>"), "{asked:?}");
    let ids = asked.hidden("ids").to_owned();
    let confirmed = [("token", token.as_str()), ("do", "cancel"), ("ids", &ids), ("reason", "why")];
    assert!(
        admin.post("/console/jobs/batch/act", &confirmed).await.text.contains("5 jobs cancelled")
    );
    let twice = admin.post("/console/jobs/batch/act", &confirmed).await;
    assert!(twice.text.contains("0 jobs cancelled") && twice.text.contains("5 were not"));
    let recorded = recorded(&ingress).await;
    assert_eq!(recorded.len(), 7, "{recorded:?}");
    assert!(recorded.iter().all(|(_, _, reason)| reason == "why"));
}

#[tokio::test]
async fn queues_providers_and_models_are_paused_and_resumed() {
    let ingress = Ingress::start(&[]).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let client = ingress.database.client().await;
    let paused = async || -> i64 {
        let sql = "select (select count(*) from regimen.pauses)
                       + (select count(*) from regimen.model_pauses)";
        client.query_one(sql, &[]).await.unwrap().get(0)
    };
    let model = "what=model&name=gpt-x%2Fy%26z";
    for (query, count) in [
        ("do=pause&what=queue&name=free", 1),
        ("do=pause&what=provider&name=openai", 2),
        (&format!("do=pause&{model}"), 3),
        ("do=resume&what=queue&name=free", 2),
        ("do=resume&what=provider&name=openai", 1),
    ] {
        let done = admin.act(query).await;
        assert_eq!((done.status.as_u16(), paused().await), (303, count), "{query}");
    }
    let page = admin.get("/console/queues?done=paused").await;
    assert!(
        page.text.contains("gpt-x/y&#38;z")
            && page.text.contains("no worker is configured with it"),
        "{page:?}"
    );
    assert!(page.text.contains("No worker has been seen"), "{page:?}");
    assert_eq!(admin.act(&format!("do=resume&{model}")).await.status, 303);
    assert_eq!(paused().await, 0);
}

#[tokio::test]
async fn a_test_call_is_asked_for_one_at_a_time_and_its_result_is_shown() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    client
        .batch_execute(
            "insert into regimen.models_in_use (worker_id, provider, model, left_alone, retires_on,
                 input_price, cached_price, output_price, price_source, seen_at)
             values ('w', 'openai', 'm', false, '2031-02-03', 0.125, 0.5, 7, 'a price list', now()),
                 ('old', 'gemini', 'g', false, null, null, null, null, null, now())",
        )
        .await
        .unwrap();
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let page = admin.get("/console/queues").await;
    for seen in
        ["0.125", "0.500", "7.000", "a price list", "2031-02-03", "test-call&amp;provider=openai"]
    {
        assert!(page.text.contains(seen), "{seen}: {page:?}");
    }
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    assert!(!viewer.get("/console/queues").await.text.contains("test-call"));
    let other = admin.act("do=test-call&provider=openai&model=other").await;
    assert!(other.status == 409 && other.text.contains("no live worker"), "{other:?}");
    assert_eq!(admin.act("do=test-call&provider=openai&model=m").await.status, 303);
    let twice = admin.act("do=test-call&provider=openai&model=m").await;
    assert!(twice.status == 409 && twice.text.contains("under way"), "{twice:?}");
    assert!(admin.get("/console/queues").await.text.contains("under way"));
    let taken = test_calls::take(&client, "w", &["openai"]).await.unwrap().unwrap();
    assert_eq!(test_calls::take(&client, "v", &["openai"]).await.unwrap(), None, "by one worker");
    let outcome = Outcome {
        outcome: "ok",
        took_ms: 321,
        input_tokens: 45,
        output_tokens: 6,
        cost_micros: 78,
        estimated: false,
    };
    assert!(!test_calls::end(&client, "v", &taken, &outcome).await.unwrap(), "not its holder");
    assert!(test_calls::end(&client, "w", &taken, &outcome).await.unwrap());
    // Live, without a reload.
    let mut live = viewer.request(Method::GET, "/console/queues/tests").send().await.unwrap();
    let mut heard = String::new();
    while !heard.contains("</table>") {
        heard.push_str(&String::from_utf8_lossy(&live.chunk().await.unwrap().unwrap()));
    }
    for seen in ["321 ms", "45 in, 6 out", "0.000078", "link:test"] {
        assert!(heard.contains(seen), "{seen}: {heard}");
    }
    let recorded = recorded(&ingress).await;
    assert_eq!(recorded, [("test_call".to_owned(), "openai:m".to_owned(), "a test".to_owned())]);
}

#[tokio::test]
async fn a_viewer_changes_nothing() {
    let ingress = Ingress::start(&[]).await;
    let [id, _] = submitted(&ingress, Uuid::new_v4()).await;
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let token = viewer.token().await;
    let mut fields = vec![("token", token.as_str()), ("reason", "x"), ("do", "cancel")];
    for query in [
        format!("do=cancel&job={id}"),
        format!("do=retry&job={id}"),
        "do=pause&what=queue&name=free".to_owned(),
        "do=resume&what=provider&name=openai".to_owned(),
        "do=replay-event&event=evt_1".to_owned(),
        format!("do=replay-callback&job={id}"),
        format!("do=show-reply&job={id}&n=1"),
        format!("do=revoke&session={id}"),
        "do=replay-mail&event=evt_1".to_owned(),
        format!("do=reset-limits&user={id}"),
        format!("do=reset-month&user={id}"),
        format!("do=export&user={id}"),
        format!("do=erase&user={id}"),
        format!("do=give&user={id}&number=1"),
        "do=make-link&role=admin&as=eve".to_owned(),
        "do=test-call&provider=openai&model=m".to_owned(),
        "do=show-payload&event=evt_1".to_owned(),
        format!("do=assign&customer=cus_1&user={id}"),
    ] {
        let path = format!("/console/act?{query}");
        assert_eq!(viewer.get(&path).await.status, 403, "{query}");
        assert_eq!(viewer.post(&path, &fields).await.status, 403, "{query}");
    }
    let id_text = id.to_string();
    fields.extend([("id", id_text.as_str()), ("ids", id_text.as_str())]);
    for path in ["/console/jobs/batch", "/console/jobs/batch/act"] {
        assert_eq!(viewer.post(path, &fields).await.status, 403, "{path}");
    }
    assert!(recorded(&ingress).await.is_empty());
    let page = viewer.get("/console/jobs").await;
    assert!(!page.text.contains("type=\"checkbox\"") && !page.text.contains("retry-all"));
}
