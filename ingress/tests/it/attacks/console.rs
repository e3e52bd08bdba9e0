//! Attacks on the operators' console.

use regimen_common::db::console::ConsoleRole;
use reqwest::Method;
use uuid::Uuid;

use crate::console::browser::Browser;
use crate::harness::{Ingress, Send, admin_token, plans};

async fn jobs_cancelled(ingress: &Ingress) -> i64 {
    let sql = "select count(*) from regimen.jobs where state = 'cancelled'";
    ingress.database.client().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test]
async fn a_cookie_that_was_there_before_signing_in_is_no_session_after_it() {
    let ingress = Ingress::start(&[]).await;
    // One the attacker made up, and one that was a session of theirs.
    let invented = format!("regimen_console={}", "A".repeat(43));
    let theirs = Browser::of(&ingress, ConsoleRole::Viewer).await.cookie.unwrap();
    for planted in [invented, theirs] {
        let mut victim = Browser::new(&ingress);
        victim.cookie = Some(planted.clone());
        let token = admin_token();
        let signed_in = victim.post("/console/sign-in", &[("credential", &token)]).await;
        assert_eq!(signed_in.status, 303);
        assert_ne!(victim.cookie.as_ref(), Some(&planted), "a new secret");
        assert_eq!(victim.get("/console/jobs").await.status, 200);
        let mut attacker = Browser::new(&ingress);
        attacker.cookie = Some(planted);
        assert_eq!(attacker.get("/console/jobs").await.status, 303, "the planted one is nothing");
    }
}

#[tokio::test]
async fn forms_of_other_pages_and_sessions_do_nothing() {
    let ingress = Ingress::start(&[("ALLOWED_ORIGINS", "https://app.example")]).await;
    let user = Uuid::new_v4();
    let accepted = ingress.post("/v1/plans", user, &plans()).await;
    let job = accepted.body["jobs"][0]["id"].as_str().unwrap();
    let path = format!("/console/act?do=cancel&job={job}");
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let mut other = Browser::of(&ingress, ConsoleRole::Admin).await;
    let (token, foreign) = (admin.token().await, other.token().await);
    for (attack, token) in [
        ("no token", ""),
        ("another session's token", foreign.as_str()),
        ("half a token", &token[..20]),
        ("a longer token", &format!("{token}A")),
    ] {
        let fields = [("token", token), ("reason", "x")];
        assert_eq!(admin.post(&path, &fields).await.status, 403, "{attack}");
    }
    // With the right token, even: as if another page had read it.
    let fields = [("token", token.as_str()), ("reason", "x")];
    for (attack, headers) in [
        (
            "a page of another site",
            [("sec-fetch-site", "cross-site"), ("origin", "https://evil.test")],
        ),
        (
            "an origin of our site",
            [("sec-fetch-site", "same-site"), ("origin", "https://app.example")],
        ),
        ("an old browser", [("x-old", "1"), ("origin", "https://evil.test")]),
        ("a sandboxed frame", [("x-old", "1"), ("origin", "null")]),
    ] {
        let mut request = admin.form(&path, &fields);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        assert_eq!(admin.send(request).await.status, 403, "{attack}");
    }
    let json = admin.request(Method::POST, &path).header("sec-fetch-site", "same-origin");
    let json = json.header("content-type", "text/plain").body(format!("token={token}&reason=x"));
    assert_eq!(admin.send(json).await.status, 400, "forms only");
    // A page of the app, whose origin the API allows, reads no page of the console.
    let read = admin.request(Method::GET, "/console/jobs").header("origin", "https://app.example");
    let read = read.header("sec-fetch-site", "same-site").header("sec-fetch-mode", "cors");
    let read = admin.send(read).await;
    assert!(read.status == 403 && !read.text.contains(&token), "{read:?}");
    assert_eq!(jobs_cancelled(&ingress).await, 0);
    // Nor is a form that only reads, about people, answered without its token.
    let fields_of_search = [("token", foreign.as_str()), ("email", "ada")];
    let page = admin.post("/console/users/search", &fields_of_search).await;
    assert!(page.status == 403 && !page.text.contains("ada@"), "{page:?}");
    // The same with nothing wrong.
    assert_eq!(admin.post(&path, &fields).await.status, 303);
    assert_eq!(jobs_cancelled(&ingress).await, 1);
}

#[tokio::test]
async fn nothing_that_anybody_wrote_becomes_part_of_a_page() {
    const SCRIPT: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let mut body = plans();
    for field in ["foodAllergies", "dislikedFoods", "country", "medications", "mainGoal"] {
        body["answers"][field] = SCRIPT.into();
    }
    let accepted = ingress.post("/v1/plans", user, &body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let job: Uuid = accepted.body["jobs"][0]["id"].as_str().unwrap().parse().unwrap();
    let client = ingress.database.client().await;
    // What providers, receivers, Stripe, workers and operators write.
    let script = SCRIPT.replace('\'', "''");
    client
        .batch_execute(&format!(
            "update regimen.jobs set state = 'failed', finished_at = now(), dispatched_at = null,
                 provider = '{script}', model = '{script}', error_code = '{script}',
                 error_detail = '{script}', stage = '{script}', warnings = '[{{\"text\": \"<script>\"}}]'
             where id = '{job}';
             insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
                 prompt_version, started_at, outcome, raw_reply, error_detail)
             values (gen_random_uuid(), '{job}', '{user}', 1, 1, '{script}', '{script}', '1', now(),
                 '{script}', '{script}', '{script}');
             insert into regimen.job_events (job_id, seq, at, kind, data)
             values ('{job}', 9, now(), '{script}', jsonb_build_object('model', '{script}'));
             insert into regimen.workers (worker_id, version, host, pid, slots, held, draining, settings)
             values ('{script}', '{script}', '{script}', 1, 1, 0, false, jsonb_build_array(
                 jsonb_build_object('name', '{script}', 'source', '{script}', 'shown', '{script}')));
             insert into regimen.models_in_use (worker_id, provider, model, left_alone, retires_on,
                 warn_from, successor, input_price, cached_price, output_price, price_source, seen_at)
             values ('{script}', '{script}', '{script}', false, current_date, current_date, '{script}',
                 1, 1, 1, '{script}', now());
             insert into regimen.test_calls (id, provider, model, asked_by, taken_by, ended_at, outcome)
             values (gen_random_uuid(), '{script}', '{script}', '{script}', '{script}', now(), '{script}');
             insert into regimen.model_pauses (model, paused_by) values ('{script}x', '{script}');
             insert into regimen.stripe_events (id, type, payload, source, state, settled_at,
                 error_code, error_detail)
             values ('{script}', '{script}', '{{}}', 'webhook', 'dead', now(), '{script}', '{script}');
             insert into regimen.stripe_events (id, type, payload, source, state, settled_at,
                 customer_id, object_id, error_code, error_detail)
             values ('evt_attack', '{script}', '{{\"<script>alert(2)</script>\": \"x\"}}', 'webhook',
                 'unresolved', now(), '{script}', '{script}', '{script}', '{script}');
             insert into regimen.revenue_days (day, mrr)
             values (current_date, jsonb_build_object('{script}', 1));
             insert into regimen.admin_actions (actor, action, target, detail, outcome)
             values ('{script}', '{script}', '{script}', jsonb_build_object('reason', '{script}'),
                 '{script}');
             insert into regimen.ai_usage (attempt_id, job_id, user_id, at, provider, model,
                 input_tokens, cached_tokens, output_tokens, cost_micros)
             values (gen_random_uuid(), '{job}', '{user}', now(), '{script}', '{script}', 1, 0, 1, 1);
             insert into regimen.stats_providers (minute, provider, calls, cost_micros, outcomes,
                 latency)
             values (date_trunc('minute', now()), '{script}', 1, 1,
                 jsonb_build_object('{script}', 1), '{{}}');
             insert into regimen.billing_notices (event_id, kind, user_id, mail_state, error)
             values ('{script}', 'payment_failed', '{user}', 'failed', '{script}');
             update public.profiles set email = '{script}' where id = '{user}';
             insert into regimen.console_sessions (secret_hash, id, actor, role, by_table)
             values ('x', gen_random_uuid(), '{script}', 'viewer', false)"
        ))
        .await
        .unwrap();
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let reply = format!("do=show-reply&job={job}&n=1");
    let encoded: String = url::form_urlencoded::byte_serialize(SCRIPT.as_bytes()).collect();
    let mut pages = vec![admin.act(&reply).await];
    let token = admin.token().await;
    let search = [("token", token.as_str()), ("email", SCRIPT)];
    pages.push(admin.post("/console/users/search", &search).await);
    pages.push(admin.act("do=show-payload&event=evt_attack").await);
    pages.push(admin.act("do=make-link&role=viewer&as=%3Cscript%3Ealert(1)%3C/script%3E").await);
    for path in [
        format!("/console/jobs/{job}"),
        "/console/jobs".to_owned(),
        "/console/queues".to_owned(),
        "/console/dead".to_owned(),
        "/console/audit".to_owned(),
        "/console/settings".to_owned(),
        format!("/console/jobs?user={user}&done={encoded}"),
        format!("/console/jobs?model={encoded}"),
        format!("/console/users?user={user}"),
        "/console/money".to_owned(),
        "/console/money?by=user".to_owned(),
        "/console/money?any=1".to_owned(),
        "/console/events/evt_attack".to_owned(),
        format!("/console/money?any=1&type={encoded}"),
        "/console".to_owned(),
        format!("/console/sign-in?next={encoded}"),
        format!("/console/link?secret={encoded}"),
        format!("/console/act?do=pause&what=model&name={encoded}"),
        format!("/console/act?do={encoded}"),
    ] {
        pages.push(admin.get(&path).await);
    }
    let mut seen = 0;
    for page in &pages {
        assert!(!page.text.contains("<script>alert") && !page.text.contains("<img"), "{page:?}");
        assert!(!page.text.contains("<script>\""), "{page:?}");
        assert!(page.header("content-security-policy").contains("script-src 'self'"));
        seen += page.text.matches("&#60;script&#62;alert").count();
    }
    assert!(seen >= 20, "the texts are there, escaped: {seen}");
}

#[tokio::test]
async fn no_page_is_put_into_a_frame() {
    let ingress = Ingress::start(&[]).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    for path in ["/console/jobs", "/console/sign-in", "/console/act?do=pause&what=queue&name=free"]
    {
        let page = admin.get(path).await;
        assert!(
            page.header("content-security-policy").contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert_eq!(page.header("x-frame-options"), "DENY", "{path}");
        let framed = admin.request(Method::GET, path).header("sec-fetch-site", "cross-site");
        let framed = framed.header("sec-fetch-mode", "nested-navigate");
        assert_eq!(admin.send(framed).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn credentials_are_tried_a_few_times_only() {
    let settings = [("TRUSTED_PROXIES", "127.0.0.1")];
    let ingress = Ingress::start(&settings).await;
    let mut thief = Browser::new(&ingress);
    let mut tries = async |address: &str, credential: &str| {
        let request = thief.form("/console/sign-in", &[("credential", credential)]);
        let request = request.header("sec-fetch-site", "same-origin");
        thief.send(request.header("x-forwarded-for", address)).await
    };
    for n in 0..10 {
        assert_eq!(tries("203.0.113.9", &format!("guess {n}")).await.status, 401);
    }
    let refused = tries("203.0.113.9", "guess").await;
    assert_eq!(refused.status, 429);
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 0);
    // Right or wrong is not told any more, and others are not in the way.
    assert_eq!(tries("203.0.113.9", &admin_token()).await.status, 429);
    for _ in 0..12 {
        assert_eq!(tries("203.0.113.10", &admin_token()).await.status, 303, "success is no try");
    }
}

#[tokio::test]
async fn a_users_token_and_no_token_open_no_page() {
    let ingress = Ingress::start(&[]).await;
    let user = Uuid::new_v4();
    let mut nobody = Browser::new(&ingress);
    for path in [
        "/console",
        "/console/jobs",
        "/console/jobs.csv",
        "/console/queues",
        "/console/dead",
        "/console/audit",
    ] {
        // A bearer token is for the API: the console takes its own cookie only.
        for token in [crate::harness::token(user), admin_token()] {
            let request = nobody.request(Method::GET, path).bearer_auth(token);
            let page = nobody.send(request).await;
            assert_eq!(page.status, 303, "{path}");
            assert!(path == "/console" || page.header("location").contains("sign-in"), "{path}");
        }
    }
    let answer = ingress.anonymous(Method::GET, "/v1/usage");
    let admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    let answer = answer.header("cookie", admin.cookie.unwrap()).answer().await;
    assert_eq!(answer.status, 401, "the console's cookie is nothing to the API");
}
