//! Who gets in, for how long, and as what.

use axum::Json;
use axum::extract::Query;
use axum::http::HeaderMap;
use axum::routing::post;
use regimen_common::db::console::ConsoleRole;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::browser::Browser;
use crate::harness::{ADMIN, Ingress, admin_token, claims, signed, token};

async fn try_credential(browser: &mut Browser, credential: &str) -> u16 {
    let fields = [("credential", credential), ("next", "/console/jobs?state=failed")];
    browser.post("/console/sign-in", &fields).await.status.as_u16()
}

fn with_role(user: Uuid, role: &str) -> String {
    let mut claims = claims(user);
    claims["app_metadata"] = json!({ "role": role });
    signed(&claims)
}

#[tokio::test]
async fn a_token_is_exchanged_once_for_a_session() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::new(&ingress);
    let asked = browser.get("/console/jobs?state=failed").await;
    assert_eq!(asked.status, 303);
    assert_eq!(
        asked.header("location"),
        "/console/sign-in?next=%2Fconsole%2Fjobs%3Fstate%3Dfailed"
    );
    let page = browser.get(asked.header("location")).await;
    assert_eq!(page.hidden("next"), "/console/jobs?state=failed");
    let fields = [("credential", admin_token()), ("next", "/console/jobs?state=failed".to_owned())];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    let signed_in = browser.post("/console/sign-in", &fields).await;
    assert_eq!(
        (signed_in.status.as_u16(), signed_in.header("location")),
        (303, "/console/jobs?state=failed")
    );
    let cookie = signed_in.header("set-cookie");
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=28800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let page = browser.get("/console/jobs").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains(&format!("{ADMIN} (admin)")), "{page:?}");
    // What is stored is not what the cookie holds, nor the token.
    let secret = browser.cookie.clone().unwrap().split_once('=').unwrap().1.to_owned();
    let rows = ingress.database.client().await;
    let row = rows.query_one("select s::text from regimen.console_sessions s", &[]).await.unwrap();
    let row: String = row.get(0);
    assert!(!row.contains(&secret) && row.contains(&ADMIN.to_string()), "{row}");
    assert!(!ingress.logs().contains(&secret));
}

/// Makes the one session there is older.
async fn age(ingress: &Ingress, column: &str, ago: &str) {
    let sql = format!("update regimen.console_sessions set {column} = now() - interval '{ago}'");
    assert_eq!(ingress.database.client().await.execute(&sql, &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_session_is_renewed_by_use_and_ends_after_idling() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::of(&ingress, ConsoleRole::Admin).await;
    age(&ingress, "seen_at", "59 minutes").await;
    assert_eq!(browser.get("/console/jobs").await.status, 200);
    let fresh = "select seen_at > now() - interval '1 minute' from regimen.console_sessions";
    let client = ingress.database.client().await;
    assert!(client.query_one(fresh, &[]).await.unwrap().get::<_, bool>(0), "renewed");
    age(&ingress, "seen_at", "61 minutes").await;
    assert_eq!(browser.get("/console/jobs").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_after_its_hours_however_much_it_is_used() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::of(&ingress, ConsoleRole::Admin).await;
    age(&ingress, "created_at", "7 hours 59 minutes").await;
    assert_eq!(browser.get("/console/jobs").await.status, 200);
    age(&ingress, "created_at", "8 hours 1 minute").await;
    assert_eq!(browser.get("/console/jobs").await.status, 303);
}

#[tokio::test]
async fn a_session_ends_when_an_admin_ends_it_and_by_signing_out() {
    let ingress = Ingress::start(&[]).await;
    let mut other = Browser::of(&ingress, ConsoleRole::Admin).await;
    let mut browser = Browser::of(&ingress, ConsoleRole::Admin).await;
    let page = browser.get("/console/audit").await;
    let id = page.text.split("do=revoke&amp;session=").nth(1).unwrap()[..36].to_owned();
    assert_eq!(other.get("/console/jobs").await.status, 200);
    assert_eq!(browser.act(&format!("do=revoke&session={id}")).await.status, 303);
    assert_eq!(other.get("/console/jobs").await.status, 303, "revoked at once");
    let token = browser.token().await;
    assert_eq!(browser.post("/console/sign-out", &[("token", &token)]).await.status, 303);
    assert_eq!(browser.cookie, None);
}

#[tokio::test]
async fn only_operators_get_in_and_each_as_what_they_are() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::new(&ingress);
    let user = Uuid::new_v4();
    for (credential, status) in [
        (token(user), 403),
        (with_role(user, "editor"), 403),
        ("noise".to_owned(), 401),
        ("a\r\nb".to_owned(), 401),
        (String::new(), 401),
    ] {
        assert_eq!(try_credential(&mut browser, &credential).await, status, "{credential:?}");
        assert_eq!(browser.cookie, None);
    }
    assert_eq!(try_credential(&mut browser, &with_role(user, "viewer")).await, 303);
    assert!(browser.get("/console/jobs").await.text.contains("(viewer)"));
}

#[tokio::test]
async fn a_service_key_and_nothing_open_the_console_in_their_modes() {
    let key = "a-service-key-of-the-tests-0123456789";
    let settings = [("AUTH_MODE", "service"), ("SERVICE_KEYS", key), ("JWT_SECRET", "")];
    let ingress = Ingress::start(&settings).await;
    let mut browser = Browser::new(&ingress);
    assert_eq!(try_credential(&mut browser, "another-key").await, 401);
    assert_eq!(try_credential(&mut browser, key).await, 303);
    assert!(browser.get("/console/jobs").await.text.contains("service (admin)"));
    let ingress = Ingress::start(&[("AUTH_MODE", "off"), ("JWT_SECRET", "")]).await;
    assert_eq!(try_credential(&mut Browser::new(&ingress), "").await, 303);
}

#[tokio::test]
async fn an_operator_of_the_apps_table_loses_the_console_with_the_row() {
    let ingress = Ingress::start(&[("ADMIN_TABLE", "public.operators")]).await;
    let user = Uuid::new_v4();
    let client = ingress.database.client().await;
    client.batch_execute("create table public.operators (id uuid)").await.unwrap();
    let mut browser = Browser::new(&ingress);
    assert_eq!(try_credential(&mut browser, &token(user)).await, 403);
    client.execute("insert into public.operators values ($1)", &[&user]).await.unwrap();
    assert_eq!(try_credential(&mut browser, &token(user)).await, 303);
    assert_eq!(browser.get("/console/jobs").await.status, 200);
    client.execute("delete from public.operators", &[]).await.unwrap();
    assert_eq!(browser.get("/console/jobs").await.status, 303);
}

#[tokio::test]
async fn a_link_signs_in_once_and_only_for_a_while() {
    let ingress = Ingress::start(&[]).await;
    let client = ingress.database.client().await;
    let link = regimen_ingress::console::sign_in_link(&client, "link:ops", ConsoleRole::Viewer);
    let link = link.await.unwrap().path;
    let mut browser = Browser::new(&ingress);
    // Programs that look at links ahead use up none.
    let page = browser.get(&link).await;
    browser.get(&link).await;
    let secret = page.hidden("secret").to_owned();
    assert_eq!(browser.post("/console/link", &[("secret", &secret)]).await.status, 303);
    assert!(browser.get("/console/jobs").await.text.contains("link:ops (viewer)"));
    let mut thief = Browser::new(&ingress);
    assert_eq!(thief.post("/console/link", &[("secret", &secret)]).await.status, 401);
    let link =
        regimen_ingress::console::sign_in_link(&client, "x", ConsoleRole::Admin).await.unwrap();
    let late = "update regimen.console_links set expires_at = now()";
    client.execute(late, &[]).await.unwrap();
    let secret = link.path.split_once('=').unwrap().1;
    assert_eq!(thief.post("/console/link", &[("secret", secret)]).await.status, 401);
}

#[tokio::test]
async fn an_admin_lets_somebody_in_by_a_link_made_in_the_console() {
    let ingress = Ingress::start(&[]).await;
    let mut admin = Browser::of(&ingress, ConsoleRole::Admin).await;
    assert!(admin.get("/console/audit").await.text.contains("make-link"));
    let made = admin.act("do=make-link&role=viewer&as=ana").await;
    assert_eq!(made.status, 200, "{made:?}");
    let path = made.text.split("id=\"made-link\" href=\"").nth(1).unwrap();
    let path = path.split('"').next().unwrap().to_owned();
    let mut ana = Browser::new(&ingress);
    let secret = ana.get(&path).await.hidden("secret").to_owned();
    assert_eq!(ana.post("/console/link", &[("secret", &secret)]).await.status, 303);
    assert!(ana.get("/console/jobs").await.text.contains("link:ana (viewer)"));
    assert!(!ana.get("/console/audit").await.text.contains("make-link"));
    let mut late = Browser::new(&ingress);
    assert_eq!(late.post("/console/link", &[("secret", &secret)]).await.status, 401);
    let client = ingress.database.client().await;
    let sql = "select actor, target, detail ->> 'role', detail ->> 'reason', detail::text
               from regimen.admin_actions where action = 'make_console_link'";
    let row = client.query_one(sql, &[]).await.unwrap();
    let text = |n: usize| row.get::<_, String>(n);
    assert_eq!([text(0), text(1), text(2), text(3)], ["link:test", "link:ana", "viewer", "a test"]);
    assert!(!text(4).contains(&secret) && !ingress.logs().contains(&secret));
}

#[tokio::test]
async fn with_a_supabase_project_a_password_signs_in() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let project = axum::Router::new().route(
        "/auth/v1/token",
        post(
            async |query: Query<HashMap<String, String>>,
                   headers: HeaderMap,
                   Json(body): Json<Value>| {
                assert_eq!(
                    (query.0["grant_type"].as_str(), &headers["apikey"]),
                    ("password", &"anon".parse().unwrap())
                );
                match body["password"].as_str() {
                    Some("right") => Ok(Json(json!({ "access_token": admin_token() }))),
                    Some("user") => Ok(Json(json!({ "access_token": token(Uuid::new_v4()) }))),
                    Some("broken") => Err(axum::http::StatusCode::BAD_GATEWAY),
                    _ => Err(axum::http::StatusCode::BAD_REQUEST),
                }
            },
        ),
    );
    tokio::spawn(async move { axum::serve(listener, project).await });
    let settings = [("SUPABASE_URL", url.as_str()), ("SUPABASE_ANON_KEY", "anon")];
    let ingress = Ingress::start(&settings).await;
    let mut browser = Browser::new(&ingress);
    assert!(browser.get("/console/sign-in").await.text.contains("type=\"email\""));
    for (password, status) in [("wrong", 401), ("user", 403), ("broken", 503), ("right", 303)] {
        let fields = [("email", "ops@example.test"), ("password", password)];
        let page = browser.post("/console/sign-in", &fields).await;
        assert_eq!(page.status.as_u16(), status, "{password}: {page:?}");
        assert!(!page.text.contains(password) || password == "user", "{page:?}");
    }
    let logs = ingress.logs();
    assert!(!logs.contains("ops@example.test") && !logs.contains("\"right\""));
}

#[tokio::test]
async fn switched_off_there_is_no_route() {
    let ingress = Ingress::start(&[("CONSOLE", "off")]).await;
    let mut browser = Browser::new(&ingress);
    for path in ["/console", "/console/sign-in", "/console/jobs", "/console/assets/x", "/try"] {
        assert_eq!(browser.get(path).await.status, 404, "{path}");
    }
    let request = browser.request(Method::POST, "/console/sign-in");
    assert_eq!(browser.send(request).await.status, 404);
    assert_eq!(ingress.anonymous(Method::GET, "/docs/").send().await.unwrap().status(), 200);
}
