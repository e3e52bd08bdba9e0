//! A Postgres database per test, cloned from a template that is migrated once.

use std::time::Duration;

use secrecy::SecretString;
use tokio_postgres::Client;
use url::Url;
use uuid::Uuid;

use crate::db::{self, Pool};

/// The advisory lock of building a template: test processes build one after another.
const TEMPLATE_LOCK: i64 = 0x5265_6769_6d65_6e02;

/// Enough for what one test does at once.
const POOL_SIZE: usize = 16;

/// Tests wait for locks deliberately, on busy machines.
pub const LIMITS: db::StatementLimits = db::StatementLimits {
    usual: Duration::from_secs(120),
    longest: Duration::from_secs(120),
    lock: Duration::from_secs(100),
};

/// A database for one test. Dropping the value drops the database, also when the test
/// panics or connections are open.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    admin_url: String,
    url: String,
    pool: Pool,
}

impl TestDatabase {
    /// A database with all migrations applied, on the server that
    /// `REGIMEN_TEST_DATABASE_URL` names.
    pub async fn new() -> Self {
        let admin_url = admin_url();
        let admin = admin(&admin_url).await;
        let template = template(&admin, &admin_url).await;
        Self::create(admin_url, &admin, &format!("template {template}")).await
    }

    /// A database without any of our tables.
    pub async fn empty() -> Self {
        let admin_url = admin_url();
        let admin = admin(&admin_url).await;
        Self::create(admin_url, &admin, "template template0").await
    }

    async fn create(admin_url: String, admin: &Client, source: &str) -> Self {
        let name = format!("regimen_test_{}", Uuid::new_v4().simple());
        execute(admin, &format!("create database {name} {source}")).await;
        let url = url_of(&admin_url, &name);
        let secret = SecretString::from(url.clone());
        let pool = db::pool_with(&secret, POOL_SIZE, "regimen-test", LIMITS)
            .expect("a pool for the test database");
        Self { name, admin_url, url, pool }
    }

    /// A pool of connections to it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Its URL, for the environment of a child process.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its URL, for our own functions.
    pub fn secret_url(&self) -> SecretString {
        SecretString::from(self.url.clone())
    }

    /// A connection from the pool.
    pub async fn client(&self) -> crate::db::Client {
        self.pool.get().await.expect("a connection to the test database")
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.pool.close();
        let admin_url = self.admin_url.clone();
        let sql = format!("drop database if exists {} with (force)", self.name);
        // Its own thread: the test's runtime may be single-threaded, or the test may be
        // unwinding.
        let dropper = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = db::connect(&SecretString::from(admin_url), "regimen-test").await?;
                client.batch_execute(&sql).await?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
        });
        if let Ok(Err(error)) = dropper.join() {
            tracing::warn!(database = self.name, %error, "a test database stays behind");
        }
    }
}

/// The migrated template's name; builds it when there is none for this set of migrations.
async fn template(admin: &Client, admin_url: &str) -> String {
    let fingerprint = db::migrate::fingerprint();
    let name = format!("regimen_template_{}", fingerprint.get(..16).unwrap_or(&fingerprint));
    if is_ready(admin, &name).await {
        return name;
    }
    execute(admin, &format!("select pg_advisory_lock({TEMPLATE_LOCK})")).await;
    if !is_ready(admin, &name).await {
        // A template without the mark is left from an interrupted build.
        execute(admin, &format!("drop database if exists {name} with (force)")).await;
        execute(admin, &format!("create database {name} template template0")).await;
        db::migrate::migrate(&SecretString::from(url_of(admin_url, &name)))
            .await
            .unwrap_or_else(|error| panic!("migrating the template database: {error}"));
        // Without connections it can always be copied.
        let seal = format!("alter database {name} with is_template true allow_connections false");
        execute(admin, &seal).await;
    }
    execute(admin, &format!("select pg_advisory_unlock({TEMPLATE_LOCK})")).await;
    name
}

async fn is_ready(admin: &Client, name: &str) -> bool {
    let sql = "select 1 from pg_database where datname = $1 and datistemplate and not datallowconn";
    admin.query_opt(sql, &[&name]).await.expect("reading the list of databases").is_some()
}

async fn admin(url: &str) -> Client {
    db::connect(&SecretString::from(url), "regimen-test").await.unwrap_or_else(|error| {
        panic!("the server REGIMEN_TEST_DATABASE_URL names cannot be used: {error}")
    })
}

async fn execute(admin: &Client, sql: &str) {
    admin.batch_execute(sql).await.unwrap_or_else(|error| {
        panic!("`{sql}` failed on the test server: {}", db::DbError::from(error))
    });
}

fn admin_url() -> String {
    super::required_variable("REGIMEN_TEST_DATABASE_URL")
}

fn url_of(admin_url: &str, database: &str) -> String {
    let mut url = Url::parse(admin_url).expect("REGIMEN_TEST_DATABASE_URL as a URL");
    url.set_path(database);
    url.into()
}
