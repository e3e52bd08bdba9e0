//! A worker or command that cannot start names the variable, its value, and
//! what to do: the real binary.

use regimen_common::test_support::{Process, TestDatabase};
use tokio::net::TcpListener;

/// Settings, and what must be said of them.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

/// What it says when it ends, which it must.
async fn said(args: &[&str], settings: &[(&str, &str)]) -> String {
    let basics = [
        ("ENVIRONMENT", "development"),
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("DATABASE_URL", "postgres://ada:s3cret@127.0.0.1:1/app"),
        ("REDIS_URL", "redis://:s3cret@127.0.0.1:1"),
    ];
    let unset = |(name, _): &&(&str, &str)| !settings.iter().any(|(set, _)| set == name);
    let pairs: Vec<_> = basics.iter().filter(unset).chain(settings).copied().collect();
    let mut process = Process::spawn_with("regimen-worker", args, pairs);
    let status = process.wait_exit().await;
    assert_eq!(status.code(), Some(1), "{}", process.output());
    let output = process.output();
    assert!(!output.contains("s3cret"), "{output}");
    output
}

fn contains(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

#[tokio::test]
async fn a_start_that_fails_names_the_variable_its_value_and_what_to_do() {
    let held = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let taken = held.local_addr().unwrap().to_string();
    let mail = [("SMTP_HOST", "localhost"), ("SMTP_FROM", "Regimen <r@example.test>")];
    let cases: &[Case<'_>] = &[
        (&[("METRICS_ADDR", &taken)], &["METRICS_ADDR: cannot listen on", &taken, "another port"]),
        (&[("METRICS_ADDR", "localhost")], &["METRICS_ADDR: is \"localhost\"", "127.0.0.1:9091"]),
        (
            &[mail[0], mail[1], ("SMTP_ROOT_CERT", "/nowhere/ca.pem")],
            &["SMTP_ROOT_CERT: ", "/nowhere/ca.pem", "readable"],
        ),
        (
            &[("OPENAI_API_KEY_FILE", "/nowhere/key")],
            &["OPENAI_API_KEY_FILE: ", "/nowhere/key", "readable"],
        ),
        (&[("MODEL_CATALOGUE", "{")], &["MODEL_CATALOGUE: ", "malformed", "built-in"]),
        (&[("WORKER_SLOTS", "0")], &["WORKER_SLOTS: is \"0\"", "between 1 and"]),
        (&[("REDIS_URL", "localhost")], &["REDIS_URL: must be redis://"]),
        (&[("DATABASE_URL", "localhost")], &["DATABASE_URL: ", "percent-encode"]),
    ];
    for (settings, expected) in cases {
        contains(&said(&[], settings).await, expected);
    }
}

#[tokio::test]
async fn commands_name_the_database_they_cannot_use() {
    let away = ["DATABASE_URL: cannot use the database app at 127.0.0.1:1", "start the server"];
    for command in [&["migrate"][..], &["backfill"], &["events", "list"]] {
        contains(&said(command, &[("STRIPE_SECRET_KEY", "rk_test")]).await, &away);
    }
    let database = TestDatabase::new().await;
    let mut url = url::Url::parse(database.url()).unwrap();
    url.set_path("no_such_database");
    let said_of_name = said(&["migrate"], &[("DATABASE_URL", url.as_str())]).await;
    contains(&said_of_name, &["DATABASE_URL: ", "no_such_database", "create the database"]);
    url.set_username("no_such_role").unwrap();
    let said_of_role = said(&["events", "list"], &[("DATABASE_URL", url.as_str())]).await;
    contains(&said_of_role, &["DATABASE_URL: ", "correct the user and the password"]);
}
