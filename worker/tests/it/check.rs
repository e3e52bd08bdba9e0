//! `regimen-worker check`: each wrong setting has its line, and so has whatever
//! a setting leads to and is not as it should be.

use std::collections::BTreeMap;

use regimen_common::check::{Level, offline_findings};
use regimen_common::config::Env;
use regimen_common::db;
use regimen_common::test_support::{
    Pgbouncer, PrivatePostgres, PrivateRedis, Process, TestDatabase,
};
use regimen_worker::config::WorkerConfig;
use secrecy::SecretString;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

use crate::fleet::{Fleet, soon};

const SECRET: &str = "s3cret-of-nobody-else";

/// What `check --offline` says with these settings beside sound ones.
fn offline(settings: &[(&str, &str)]) -> Vec<(Level, String, String)> {
    let mut all = BTreeMap::from([
        ("ENVIRONMENT", "production"),
        ("DATABASE_URL", "postgres://u:s3cret-of-nobody-else@localhost/app"),
        ("REDIS_URL", "redis://:s3cret-of-nobody-else@localhost"),
        ("OPENAI_API_KEY", SECRET),
        ("ANTHROPIC_API_KEY", SECRET),
        ("BUDGET_DAILY_USD", "50"),
    ]);
    for (name, value) in settings {
        if value.is_empty() {
            all.remove(name);
        } else {
            all.insert(name, value);
        }
    }
    let findings = offline_findings::<WorkerConfig>(Env::from_pairs(all)).into_iter();
    let told = |advice: Option<String>| advice.map(|advice| format!("; {advice}"));
    let findings = findings.map(|finding| {
        let advice = told(finding.advice).unwrap_or_default();
        (finding.level, finding.subject, finding.found + &advice)
    });
    let findings: Vec<_> = findings.filter(|(level, ..)| *level > Level::Ok).collect();
    assert!(!format!("{findings:?}").contains(SECRET), "{findings:?}");
    findings
}

/// A setting, its value, how bad it is, which line, and a part of it.
type Row<'a> = (&'a str, &'a str, Level, &'a str, &'a str);

#[test]
fn each_wrong_setting_has_its_line() {
    use Level::{Fail, Warn};
    assert_eq!(offline(&[]), []);
    let rows: &[Row<'_>] = &[
        ("DATABASE_URL", "", Fail, "DATABASE_URL", "is required"),
        ("DATABASE_URL", "localhost", Fail, "DATABASE_URL", "percent-encode"),
        ("DATABASE_URL", "postgres://h/a?sslmode=maybe", Fail, "DATABASE_URL", "sslmode=maybe"),
        ("REDIS_URL", "", Fail, "REDIS_URL", "is required"),
        ("REDIS_URL", "foo", Fail, "REDIS_URL", "must be redis://"),
        ("REDIS_URL", "http://localhost", Fail, "REDIS_URL", "must be redis://"),
        ("ENVIRONMENT", "prod", Fail, "ENVIRONMENT", "staging or production"),
        ("WORKER_SLOTS", "many", Fail, "WORKER_SLOTS", "between 1 and"),
        ("LEASE_SECONDS", "0", Fail, "LEASE_SECONDS", "between 1 and"),
        ("METRICS_ADDR", "9091", Fail, "METRICS_ADDR", "127.0.0.1:9091"),
        ("LOG_FORMAT", "xml", Fail, "LOG_FORMAT", "json"),
        ("SENTRY_DSN", "nonsense", Fail, "SENTRY_DSN", "https://key@host/project"),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "collector",
            Fail,
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "https://",
        ),
        ("PROVIDER_ORDER", "openai,bard", Fail, "PROVIDER_ORDER", "bard"),
        ("OPENAI_BASE_URL", "ftp://h", Fail, "OPENAI_BASE_URL", "http or https"),
        ("LLAMA_API_KEY", SECRET, Fail, "LLAMA_BASE_URL", "is required"),
        ("MODEL_CATALOGUE", "{", Fail, "MODEL_CATALOGUE", "malformed"),
        ("STRIPE_SECRET_KEY", "pk_live_x", Fail, "STRIPE_SECRET_KEY", "publishable"),
        ("STRIPE_SECRET_KEY", "whsec_x", Fail, "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET"),
        ("STRIPE_SECRET_KEY", "sk_test_x", Fail, "STRIPE_SECRET_KEY", "key of test mode"),
        ("STRIPE_PRICES", "a=b/c", Fail, "STRIPE_PRICES", "NAME=price_"),
        ("CALLBACK_SECRETS", "whsec_short", Fail, "CALLBACK_SECRETS", "24 to 64 bytes"),
        ("CALLBACK_ALLOWED_NETWORKS", "home", Fail, "CALLBACK_ALLOWED_NETWORKS", "10.20.0.0/16"),
        ("SMTP_HOST", "mail.example.test", Fail, "SMTP_FROM", "is required"),
        ("BUDGET_DAILY_USD", "much", Fail, "BUDGET_DAILY_USD", "invalid float"),
        ("OPENAI_API_KEY_FILE", "/nowhere", Warn, "OPENAI_API_KEY_FILE", "is not read"),
        ("OPENAI_APIKEY", SECRET, Warn, "OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("STRIPE_PRICE_ID", "price_1", Warn, "STRIPE_PRICE_ID", "STRIPE_PRICES"),
        ("REGIMEN_COLOUR", "red", Warn, "REGIMEN_COLOUR", "nothing reads it"),
        ("PROVIDER_ORDER", "openai", Warn, "ANTHROPIC_API_KEY", "does not name anthropic"),
        ("PROVIDER_ORDER", "openai,anthropic,gemini", Warn, "PROVIDER_ORDER", "GEMINI_API_KEY"),
        ("GEMINI_MODEL", "gemini-3.6-flash", Warn, "GEMINI_MODEL", "GEMINI_API_KEY"),
        ("ANTHROPIC_API_KEY", "", Warn, "AI providers", "alone"),
        ("OPENAI_MODEL", "gpt-4o", Warn, "OPENAI_MODEL", "not in the catalogue"),
        ("ANTHROPIC_MODEL", "claude-3-5-sonnet-20241022", Warn, "ANTHROPIC_MODEL", "retired on"),
        ("BUDGET_DAILY_USD", "", Warn, "BUDGET_DAILY_USD", "nothing limits"),
        ("STRIPE_SECRET_KEY", "rk_live_x", Warn, "STRIPE_PRICES", "gives pro"),
        ("STRIPE_SECRET_KEY", "topsecret", Warn, "STRIPE_SECRET_KEY", "no key of Stripe's"),
        ("SMTP_FROM", "r@example.test", Warn, "SMTP_FROM", "without SMTP_HOST"),
        ("CALLBACK_ALLOWED_NETWORKS", "0.0.0.0/0", Warn, "CALLBACK_ALLOWED_NETWORKS", "everything"),
    ];
    for (name, value, level, subject, part) in rows {
        let found = offline(&[(name, value)]);
        let line = found.iter().find(|(_, about, told)| about == subject && told.contains(part));
        let line = line.unwrap_or_else(|| panic!("{name}={value}: no such line in {found:?}"));
        assert_eq!(line.0, *level, "{name}={value}: {found:?}");
        let worst = found.iter().map(|(level, ..)| *level).max();
        assert_eq!(worst, Some(*level), "{name}={value}: {found:?}");
    }
    let none = offline(&[("OPENAI_API_KEY", ""), ("ANTHROPIC_API_KEY", "")]);
    assert!(
        none.iter().any(|(_, about, told)| about == "AI providers" && told.contains("no plan"))
    );
    let both = offline(&[("user", "u"), ("password", SECRET), ("host", "h"), ("dbname", "d")]);
    assert!(both[0].2.contains("because DATABASE_URL is set"), "{both:?}");
}

/// What the real binary finds, and its exit code.
struct Checked {
    code: Option<i32>,
    report: Value,
}

impl Checked {
    async fn of(settings: &BTreeMap<String, String>) -> Self {
        let mut process = Process::spawn_with("regimen-worker", &["check", "--json"], settings);
        let code = soon("the end of check", process.wait_exit()).await.code();
        let output = process.output();
        let report = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"));
        Self { code, report }
    }

    /// The level and the text of the line about `subject` that has `part`.
    fn line(&self, subject: &str, part: &str) -> String {
        let findings = self.report["findings"].as_array().unwrap();
        let told = |finding: &Value| {
            format!("{} {} {}", finding["level"].as_str().unwrap(), finding["found"], finding["do"])
        };
        let about =
            |finding: &&Value| finding["subject"] == subject && told(finding).contains(part);
        let line = findings.iter().find(about);
        let line = line.unwrap_or_else(|| panic!("no {subject} with {part}: {:#}", self.report));
        line["level"].as_str().unwrap().to_owned()
    }
}

/// The settings of a fleet with some changed.
fn with(fleet: &Fleet, changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut settings: BTreeMap<String, String> = fleet.settings().clone();
    for name in ["LISTEN_ADDR", "AUTH_MODE", "SERVICE_KEYS", "MONTHLY_QUOTA"] {
        settings.remove(name);
    }
    for (name, value) in changes {
        settings.insert((*name).to_owned(), (*value).to_owned());
    }
    settings
}

async fn whole_fleet() -> Fleet {
    let mut fleet = Fleet::new(&[]).await;
    fleet.ask_all_providers();
    fleet
}

#[tokio::test]
async fn a_sound_deployment_has_a_line_for_everything_and_no_failure() {
    let fleet = whole_fleet().await;
    let checked = Checked::of(&with(&fleet, &[])).await;
    assert!(checked.code.is_some_and(|code| code < 2), "{:#}", checked.report);
    for (subject, part) in [
        ("settings", "DATABASE_URL"),
        ("DATABASE_URL", "PostgreSQL"),
        ("Postgres TLS", "machine"),
        ("Postgres' clock", "within"),
        ("migrations", "current"),
        ("row security", "on for every table"),
        ("indexes", "in place"),
        ("Postgres limits", "statement_timeout"),
        ("duplicates", "no user"),
        ("Redis' clock", "within"),
        ("Redis version", "version"),
        ("Redis role", "primary"),
        ("OPENAI_API_KEY", "has gpt-6-luna"),
        ("ANTHROPIC_API_KEY", "has claude-haiku-5-5"),
        ("GEMINI_API_KEY", "has gemini-3.5-flash-lite"),
        ("SMTP_HOST", "off"),
        ("SENTRY_DSN", "off"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "off"),
    ] {
        assert_eq!(checked.line(subject, part), "ok", "{subject}: {:#}", checked.report);
    }
    // How far it is depends on what else the machine does.
    assert_ne!(checked.line("REDIS_URL", "takes writes"), "fail", "{:#}", checked.report);
}

#[tokio::test]
async fn wrong_settings_end_with_2_in_lines_and_keep_everything_else_alone() {
    let settings = [("DATABASE_URL", "foo"), ("REDIS_URL", "foo"), ("PORT", "8080")];
    let mut process = Process::spawn_with("regimen-worker", &["check"], settings);
    assert_eq!(soon("its end", process.wait_exit()).await.code(), Some(2));
    let output = process.output();
    for part in ["fail  DATABASE_URL", "fail  REDIS_URL", "-> correct it", "not looked at"] {
        assert!(output.contains(part), "{part:?} is not in {output}");
    }
    let mut process = Process::spawn_with("regimen-worker", &["--help"], settings);
    assert_eq!(soon("its end", process.wait_exit()).await.code(), Some(0));
    assert!(process.output().contains("check"), "{}", process.output());
}

#[tokio::test]
async fn what_is_wrong_with_a_provider_is_told_by_its_key() {
    let fleet = whole_fleet().await;
    let away = with(&fleet, &[("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")]);
    assert_eq!(Checked::of(&away).await.line("OPENAI_API_KEY", "cannot be reached"), "fail");
    let unknown = with(&fleet, &[("ANTHROPIC_MODEL", "claude-9"), ("LLAMA_MODEL", "llama-9")]);
    let checked = Checked::of(&unknown).await;
    assert_eq!(checked.line("ANTHROPIC_API_KEY", "has no model claude-9"), "fail");
    assert_eq!(checked.line("LLAMA_API_KEY", "does not list llama-9"), "warn");
    let refusing = answering(401, "{}", None).await;
    let late = "Mon, 01 Jan 2035 00:00:00 GMT";
    let models = r#"{"data":[{"id":"gpt-6-luna"}]}"#;
    let fast = answering(200, models, Some(late)).await;
    let changed = [("GEMINI_BASE_URL", refusing.as_str()), ("OPENAI_BASE_URL", &fast)];
    let checked = Checked::of(&with(&fleet, &changed)).await;
    assert_eq!(checked.code, Some(2));
    assert_eq!(checked.line("GEMINI_API_KEY", "refuses the key with 401"), "fail");
    assert_eq!(checked.line("the clock of openai", "behind its clock"), "warn");
}

#[tokio::test]
async fn what_is_wrong_with_the_database_has_its_line() {
    let fleet = whole_fleet().await;
    let empty = TestDatabase::empty().await;
    let checked = Checked::of(&with(&fleet, &[("DATABASE_URL", empty.url())])).await;
    assert_eq!(checked.line("migrations", "V1__app_tables"), "fail");
    let away = with(&fleet, &[("DATABASE_URL", "postgres://u:pw-of-u@127.0.0.1:1/app")]);
    let checked = Checked::of(&away).await;
    assert_eq!(checked.line("DATABASE_URL", "cannot use the database app"), "fail");
    assert!(!checked.report.to_string().contains("pw-of-u"));

    let database = TestDatabase::new().await;
    let harm = "
        set session_replication_role = replica;
        alter table regimen.jobs disable row level security;
        drop index regimen.jobs_expiry;
        drop index public.idx_workout_logs_user_date;
        insert into public.ai_meal_plans (user_id, is_active)
            select '00000000-0000-0000-0000-000000000001', true from generate_series(1, 2);
        insert into public.profiles (id, email, stripe_customer_id)
            select gen_random_uuid(), 'x', 'cus_shared' from generate_series(1, 2);";
    database.client().await.batch_execute(harm).await.unwrap();
    let checked = Checked::of(&with(&fleet, &[("DATABASE_URL", database.url())])).await;
    assert_eq!(checked.line("row security", "regimen.jobs"), "fail");
    assert_eq!(checked.line("indexes", "idx_workout_logs_user_date"), "warn");
    assert_eq!(checked.line("indexes", "regimen.jobs_expiry"), "warn");
    assert_eq!(checked.line("duplicates", "active meal plans"), "warn");
    assert_eq!(checked.line("duplicates", "customers of Stripe"), "warn");
}

/// Roles belong to a server, so it is one of its own.
#[tokio::test]
async fn what_is_wrong_with_the_role_has_its_line() {
    let (postgres, redis) = tokio::join!(PrivatePostgres::start(), PrivateRedis::start());
    let fleet = Fleet::on(&postgres, &redis, &[]).await;
    let checked = Checked::of(&with(&fleet, &[])).await;
    assert_eq!(checked.line("Postgres role", "superuser"), "warn");
    assert_eq!(checked.line("Postgres connections", "room for"), "ok");
    let url = postgres.url();
    let owner = db::connect(&SecretString::from(url.clone()), "test").await.unwrap();
    let roles = "
        create role guest login;
        create role few login bypassrls connection limit 10;
        grant usage on schema regimen to few, guest;
        grant all on all tables in schema regimen, public to few;
        grant select on regimen.schema_history to guest;
        alter role few set statement_timeout = '2s';
        alter role few set default_transaction_read_only = on;";
    owner.batch_execute(roles).await.unwrap();
    let as_role = |role: &str| url.replace("postgres@", &format!("{role}@"));
    let checked = Checked::of(&with(&fleet, &[("DATABASE_URL", &as_role("guest"))])).await;
    assert_eq!(
        checked.line("Postgres rights", "public.profiles (row security hides its rows)"),
        "fail"
    );
    let checked = Checked::of(&with(&fleet, &[("DATABASE_URL", &as_role("few"))])).await;
    assert_eq!(checked.line("DATABASE_URL", "read-only by default"), "fail");
    assert_eq!(checked.line("Postgres limits", "statement_timeout 2000 ms"), "warn");
    let room = [("DATABASE_URL", as_role("few")), ("DATABASE_POOL_SIZE", "16".to_owned())];
    let room = room.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(
        Checked::of(&with(&fleet, &room)).await.line("Postgres connections", "room"),
        "fail"
    );
    let pooler = Pgbouncer::start(&url, &["pool_mode = transaction"]).await;
    let checked = Checked::of(&with(&fleet, &[("DATABASE_URL", pooler.url())])).await;
    assert_eq!(checked.line("DATABASE_URL", "transaction mode"), "fail");
    assert_eq!(checked.code, Some(2));
}

#[tokio::test]
async fn what_is_wrong_with_redis_has_its_line() {
    let fleet = whole_fleet().await;
    let redis = PrivateRedis::start_with_password("right").await;
    redis.configure("maxmemory-policy", "allkeys-lru").await;
    redis.configure("appendonly", "no").await;
    let url = redis.url();
    let checked = Checked::of(&with(&fleet, &[("REDIS_URL", &url)])).await;
    assert_eq!(checked.line("Redis memory", "allkeys-lru"), "warn");
    assert_eq!(checked.line("Redis persistence", "appendonly no"), "warn");
    let wrong = url.replace("right", "wrong");
    let checked = Checked::of(&with(&fleet, &[("REDIS_URL", &wrong)])).await;
    assert_eq!(checked.line("REDIS_URL", "refuses us access"), "fail");
    redis.command("REPLICAOF 127.0.0.1 1").await;
    let checked = Checked::of(&with(&fleet, &[("REDIS_URL", &url)])).await;
    assert_eq!(checked.line("REDIS_URL", "read-only replica"), "fail");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("redis://{}", silent.local_addr().unwrap());
    let checked = Checked::of(&with(&fleet, &[("REDIS_URL", &silent)])).await;
    assert_eq!(checked.line("REDIS_URL", "Redis"), "fail");
}

#[tokio::test]
async fn the_mail_server_lets_us_in_or_not() {
    let fleet = whole_fleet().await;
    let mail = async |answer: &'static str| {
        let port = mail_server(answer).await.to_string();
        let settings = [
            ("SMTP_HOST", "localhost"),
            ("SMTP_PORT", port.as_str()),
            ("SMTP_TLS", "none"),
            ("SMTP_FROM", "r@example.test"),
            ("SMTP_USERNAME", "regimen"),
            ("SMTP_PASSWORD", SECRET),
        ];
        let checked = Checked::of(&with(&fleet, &settings)).await;
        assert!(!checked.report.to_string().contains(SECRET));
        checked.line("SMTP_HOST", &port)
    };
    assert_eq!(mail("235 welcome").await, "ok");
    assert_eq!(mail("535 not you").await, "fail");
    let settings =
        [("SMTP_HOST", "localhost"), ("SMTP_PORT", "1"), ("SMTP_FROM", "r@example.test")];
    let checked = Checked::of(&with(&fleet, &settings)).await;
    assert_eq!(checked.line("SMTP_HOST", "localhost:1"), "fail");
}

#[tokio::test]
async fn the_collector_takes_an_export_or_not() {
    let fleet = whole_fleet().await;
    for (status, level, part) in [(200, "ok", "took an export"), (401, "warn", "refuses us")] {
        let collector = answering(status, "", None).await;
        let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", collector.as_str())];
        let checked = Checked::of(&with(&fleet, &settings)).await;
        assert_eq!(checked.line("OTEL_EXPORTER_OTLP_ENDPOINT", part), level);
    }
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")];
    let checked = Checked::of(&with(&fleet, &settings)).await;
    assert_eq!(checked.line("OTEL_EXPORTER_OTLP_ENDPOINT", "cannot be reached"), "warn");
}

/// A server that gives every request the same answer; its address.
async fn answering(status: u16, body: &'static str, date: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let date = date.map(|date| format!("date: {date}\r\n")).unwrap_or_default();
            let answer = format!(
                "HTTP/1.1 {status} X\r\n{date}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    url
}

/// A mail server that gives `answer` to whoever logs in; its port.
async fn mail_server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (read, mut write) = socket.into_split();
                let mut lines = BufReader::new(read).lines();
                let _ = write.write_all(b"220 here\r\n").await;
                while let Ok(Some(line)) = lines.next_line().await {
                    let word = line.split(' ').next().unwrap_or_default().to_ascii_uppercase();
                    let said = match word.as_str() {
                        "EHLO" => "250-here\r\n250 AUTH PLAIN LOGIN",
                        "AUTH" => answer,
                        _ => "250 fine",
                    };
                    let _ = write.write_all(format!("{said}\r\n").as_bytes()).await;
                }
            });
        }
    });
    port
}
