//! What operators see: jobs, one job, dead letters, the audit log; and what viewers do
//! not see.

use regimen_common::db::console::ConsoleRole;
use regimen_common::test_support::TestDatabase;
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::browser::Browser;
use crate::harness::{Ingress, plans};

/// Both jobs of a request of `user`.
pub(super) async fn submitted(ingress: &Ingress, user: Uuid) -> [Uuid; 2] {
    let answer = ingress.post("/v1/plans", user, &plans()).await;
    let id = |n: usize| answer.body["jobs"][n]["id"].as_str().unwrap().parse().unwrap();
    [id(0), id(1)]
}

/// Ends a job as failed, with an attempt whose reply and error are kept.
pub(super) async fn fail(database: &TestDatabase, id: Uuid, error: &str) {
    let client = database.client().await;
    let sql = "update regimen.jobs set state = 'failed', finished_at = now(), provider = 'openai',
                   model = 'gpt-x', error_code = 'unverifiable', error_detail = $2,
                   dispatched_at = null
               where id = $1";
    client.execute(sql, &[&id, &error]).await.unwrap();
    let sql = "insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                   prompt_version, started_at, finished_at, outcome, http_status, raw_reply,
                   error_detail, input_tokens, output_tokens, cost_micros)
               select gen_random_uuid(), id, user_id, 1, 1, 'openai', 'gpt-x', '1', now(), now(),
                   'invalid', 200, 'the raw reply', $2, 900, 400, 1234
               from regimen.jobs where id = $1";
    client.execute(sql, &[&id, &error]).await.unwrap();
}

#[tokio::test]
async fn jobs_are_filtered_paged_shared_and_exported() {
    let ingress =
        Ingress::start(&[("RATE_GENERATE_PLANS", "500/h"), ("MONTHLY_QUOTA", "off")]).await;
    let mut browser = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let (ada, ben) = (Uuid::new_v4(), Uuid::new_v4());
    for _ in 0..13 {
        submitted(&ingress, ada).await;
    }
    for _ in 0..13 {
        submitted(&ingress, ben).await;
    }
    let [failed, _] = submitted(&ingress, ben).await;
    fail(&ingress.database, failed, "no protein").await;
    let jobs = |text: &str| text.matches("class=\"code\" href=\"/console/jobs/").count();
    let first = browser.get("/console/jobs").await;
    assert!(first.text.len() < 100_000, "{}", first.text.len());
    assert_eq!(jobs(&first.text), 50);
    let next = first.text.split("rel=\"next\"").next().unwrap();
    let next = next.rsplit("href=\"").next().unwrap().split('"').next().unwrap();
    let rest = browser.get(&next.replace("&#38;", "&").replace("&amp;", "&")).await;
    assert_eq!((jobs(&rest.text), rest.text.contains("rel=\"next\"")), (4, false), "{next}");
    for (query, count) in [
        ("state=failed", 1),
        ("state=failed&reason=unverifiable&provider=openai&model=gpt-x", 1),
        ("reason=unverifiable", 1),
        ("reason=refused", 0),
        ("state=queued&class=pro", 0),
        (&format!("user={ada}&kind=meal"), 13),
        (&format!("user={ada}&from=2020-01-01&to=2999-01-01"), 26),
        ("to=2020-01-01", 0),
        ("from=2999-01-01T10:30", 0),
    ] {
        let page = browser.get(&format!("/console/jobs?{query}")).await;
        assert_eq!((page.status.as_u16(), jobs(&page.text)), (200, count), "{query}");
    }
    for wrong in ["state=gone", "user=x", "from=yesterday", "before=x", "model=a%00"] {
        assert_eq!(browser.get(&format!("/console/jobs?{wrong}")).await.status, 422, "{wrong}");
    }
    let csv = browser.get(&format!("/console/jobs.csv?user={ben}")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.text.lines().count(), 1 + 28);
    assert!(!csv.text.contains("no protein"), "viewers read files, too");
}

#[tokio::test]
async fn a_job_is_shown_with_all_that_happened_and_health_data_to_admins_only() {
    let trace = ("CONSOLE_TRACE_URL", "https://traces.example.test/trace/{trace_id}");
    let sentry = ("CONSOLE_SENTRY_URL", "https://sentry.example.test/?query=trace:{trace_id}");
    let ingress = Ingress::start(&[trace, sentry]).await;
    let [id, other] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&ingress.database, id, "the soup has nuts").await;
    let client = ingress.database.client().await;
    let sql = "update regimen.jobs
               set trace_context = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
                   cautions = '[{\"code\": \"age\", \"text\": \"You are under 18\"}]'
               where id = $1";
    client.execute(sql, &[&id]).await.unwrap();
    let path = format!("/console/jobs/{id}");
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let (full, part) = (admin.get(&path).await, viewer.get(&path).await);
    for seen in ["accepted", "invalid", "openai", "gpt-x", "0.0012", "900 in, 400 out", "HTTP 200"]
    {
        assert!(full.text.contains(seen) && part.text.contains(seen), "{seen}");
    }
    let link = "https://traces.example.test/trace/4bf92f3577b34da6a3ce929d0e0e4736";
    assert!(full.text.contains(link));
    let link = "https://sentry.example.test/?query=trace:4bf92f3577b34da6a3ce929d0e0e4736";
    assert!(full.text.contains(link));
    for health in ["the soup has nuts", "You are under 18", "do=retry", "do=show-reply"] {
        assert!(full.text.contains(health) && !part.text.contains(health), "{health}");
    }
    assert_eq!(admin.get(&format!("/console/jobs/{}", Uuid::now_v7())).await.status, 404);

    // Live: the part anew when the job changes, and the end.
    let live = admin.request(Method::GET, &format!("/console/jobs/{other}/live"));
    let mut stream = live.send().await.unwrap();
    let mut heard = String::new();
    let mut until = async |mark: &str| {
        while !heard.contains(mark) {
            heard.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
        }
    };
    until("queued").await;
    assert_eq!(admin.act(&format!("do=cancel&job={other}")).await.status, 303);
    until("event: over").await;
    assert!(heard.contains(">cancelled<"), "{heard}");
}

#[tokio::test]
async fn a_plan_is_shown_as_its_reader_sees_it_to_admins_only() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let [meal, workout] = submitted(&ingress, user).await;
    let client = ingress.database.client().await;
    let plans = [
        (
            meal,
            "ai_meal_plans",
            json!({ "meals": [{
            "meal_name": "Lentil stew", "total_calories": 640, "foods": [],
        }] }),
        ),
        (
            workout,
            "ai_workout_plans",
            json!({ "weekly_plan": [{
            "day": "Monday", "workout_type": "Strength",
            "exercises": [{ "name": "Goblet squat" }],
        }] }),
        ),
    ];
    for (job, table, plan) in plans {
        let plan_id = Uuid::new_v4();
        let more = match table {
            "ai_meal_plans" => ("", ""),
            _ => (", workout_type, duration_per_session", ", 'x', 'y'"),
        };
        client
            .batch_execute(&format!(
                "insert into public.{table} (id, user_id, plan_data, is_active, status{})
                 values ('{plan_id}', '{user}', '{plan}', true, 'completed'{});
                 update regimen.jobs set state = 'succeeded', finished_at = now(), stage = 'done',
                     dispatched_at = null, plan_id = '{plan_id}' where id = '{job}'",
                more.0, more.1
            ))
            .await
            .unwrap();
    }
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    for (job, heading, seen) in [
        (meal, "<h2>Meals</h2>", "Lentil stew"),
        (workout, "<h2>Training week</h2>", "Goblet squat"),
    ] {
        let path = format!("/console/jobs/{job}");
        let page = admin.get(&path).await;
        assert!(page.text.contains(heading) && page.text.contains(seen), "{page:?}");
        let page = viewer.get(&path).await;
        assert!(!page.text.contains(heading) && !page.text.contains(seen), "{page:?}");
    }
}

#[tokio::test]
async fn a_raw_reply_is_shown_for_a_reason_that_is_kept() {
    let ingress = Ingress::start(&[]).await;
    let [id, _] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&ingress.database, id, "x").await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let query = format!("do=show-reply&job={id}&n=1");
    assert!(!admin.get(&format!("/console/act?{query}")).await.text.contains("the raw reply"));
    let shown = admin.act(&query).await;
    assert!(shown.status == 200 && shown.text.contains("the raw reply"), "{shown:?}");
    assert_eq!(admin.act(&format!("do=show-reply&job={id}&n=2")).await.status, 404);
    let page = admin.get(&format!("/console/audit?action=show_reply&target={id}")).await;
    assert!(page.text.contains("a test") && page.text.contains("link:test"), "{page:?}");
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    assert_eq!(viewer.get(&format!("/console/act?{query}")).await.status, 403);
}

#[tokio::test]
async fn dead_letters_of_all_kinds_are_on_one_page() {
    let ingress = Ingress::start(&[]).await;
    let [id, _] = submitted(&ingress, Uuid::new_v4()).await;
    fail(&ingress.database, id, "of the provider's own words").await;
    let client = ingress.database.client().await;
    client
        .batch_execute(
            "insert into regimen.stripe_events (id, type, payload, source, state, settled_at,
                 error_code)
             values ('evt_dead', 'invoice.paid', '{}', 'webhook', 'dead', now(), 'no_user');
             insert into regimen.billing_notices (event_id, kind, user_id, mail_state)
             values ('evt_mail', 'payment_failed', gen_random_uuid(), 'failed')",
        )
        .await
        .unwrap();
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let all = admin.get("/console/dead").await;
    assert!(all.text.contains("evt_dead") && all.text.contains(&id.to_string()), "{all:?}");
    let events = admin.get("/console/dead?kind=stripe_event").await;
    assert!(events.text.contains("evt_dead") && !events.text.contains(&id.to_string()));
    assert_eq!(admin.act("do=replay-event&event=evt_dead").await.status, 303);
    let state = client.query_one("select state from regimen.stripe_events", &[]).await.unwrap();
    assert_eq!(state.get::<_, String>(0), "received");
    assert_eq!(admin.act("do=replay-mail&event=evt_mail").await.status, 303);
    assert_eq!(admin.act("do=replay-mail&event=evt_mail").await.status, 409);
    let mut viewer = Browser::of(&ingress, ConsoleRole::Viewer).await;
    let page = viewer.get("/console/dead").await;
    assert!(page.text.contains("unverifiable") && !page.text.contains("own words"), "{page:?}");
}

#[tokio::test]
async fn pages_carry_their_policy_and_files_are_kept_for_ever() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::of(&ingress, ConsoleRole::Admin).await;
    for path in [
        "/console",
        "/console/jobs",
        "/console/users",
        "/console/money",
        "/console/queues",
        "/console/dead",
        "/console/audit",
        "/console/settings",
        "/console/sign-in",
        "/try",
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        let policy = page.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
        assert_eq!(page.header("cache-control"), "no-store");
        assert!(!page.text.contains("<script>") && !page.text.contains(" style=\""), "{path}");
        assert!(!page.text.contains(" onclick") && !page.text.contains("<style"), "{path}");
        for file in page.text.split("\"/console/assets/").skip(1) {
            let file = format!("/console/assets/{}", file.split('"').next().unwrap());
            let file = browser.get(&file).await;
            assert_eq!(file.status, 200);
            assert!(file.header("cache-control").contains("immutable"), "{file:?}");
        }
    }
    assert_eq!(browser.get("/console/assets/console.css").await.status, 404);
    let token = browser.token().await;
    let dark = [("token", token.as_str()), ("theme", "dark"), ("next", "/console/jobs")];
    let page = browser.post("/console/theme", &dark).await;
    let theme = page.header("set-cookie").split(';').next().unwrap().to_owned();
    let cookies = format!("{}; {theme}", browser.cookie.clone().unwrap());
    browser.cookie = Some(cookies);
    assert!(browser.get("/console/jobs").await.text.contains("data-theme=\"dark\""));
}
