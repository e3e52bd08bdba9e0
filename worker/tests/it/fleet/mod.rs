//! A small deployment of the real binaries: ingresses, workers and the
//! simulator on one database and one Redis, of which any part can be killed.

pub(crate) mod ingress;
mod simulator;

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use regimen_common::clock::Clock;
use regimen_common::db;
use regimen_common::db::jobs::{self, Acceptance, NewJob, NewJobs};
use regimen_common::db::{Client, Pool};
use regimen_common::dispatch::{List, Message, Queue};
use regimen_common::job::{JobClass, PlanKind};
use regimen_common::nutrition::Nutrition;
use regimen_common::quiz::Quiz;
use regimen_common::redis::Redis;
use regimen_common::test_support::{
    Binary, LIMITS, PrivatePostgres, PrivateRedis, Process, TestDatabase, TestRedis,
};
use secrecy::SecretString;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

pub(crate) use self::ingress::{Ingress, job_ids};
pub(crate) use self::simulator::Simulator;

/// How long anything is waited for before the test has failed. Generous: a
/// loaded machine is not a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

const SERVICE_KEY: &str = "a-service-key-for-tests-only-0123456789";

/// Quick repairs, and no limits but those a test is about.
const SETTINGS: [(&str, &str); 18] = [
    ("ENVIRONMENT", "development"),
    ("LISTEN_ADDR", "127.0.0.1:0"),
    ("METRICS_ADDR", "127.0.0.1:0"),
    ("AUTH_MODE", "service"),
    ("SERVICE_KEYS", SERVICE_KEY),
    ("RATE_GENERATE_PLANS", "1000000/h"),
    ("RATE_DAILY", "1000000/d"),
    ("MONTHLY_QUOTA", "false"),
    ("LOG_FORMAT", "text"),
    ("LEASE_SECONDS", "3"),
    ("RECONCILE_SECONDS", "0.2"),
    ("DATABASE_POOL_SIZE", "8"),
    ("PROVIDER_BACKOFF_SECONDS", "0.01"),
    ("PROVIDER_BACKOFF_CAP_SECONDS", "0.02"),
    ("OPENAI_CALLS_PER_SECOND", "100000"),
    ("OPENAI_CONCURRENCY", "10000"),
    ("RUST_LOG", "info"),
    ("WORKER_SLOTS", "8"),
];

/// What holds the stores; they go with the fleet.
enum Stores {
    Shared {
        redis: TestRedis,
        _database: TestDatabase,
    },
    /// Held by the test, which kills them.
    Private,
}

/// The parts every process of a deployment shares.
pub(crate) struct Fleet {
    pub(crate) simulator: Simulator,
    settings: BTreeMap<String, String>,
    pool: Pool,
    http: reqwest::Client,
    stores: Stores,
}

impl Fleet {
    /// A deployment of its own on the shared test servers. `settings` add to
    /// and replace the usual ones.
    pub(crate) async fn new(settings: &[(&str, &str)]) -> Self {
        Self::of(TestDatabase::new().await, settings).await
    }

    /// The same on a database that the test has prepared.
    pub(crate) async fn of(database: TestDatabase, settings: &[(&str, &str)]) -> Self {
        let redis = TestRedis::new();
        let stores = [
            ("DATABASE_URL", database.url()),
            ("REDIS_URL", redis.url()),
            ("REDIS_PREFIX", redis.prefix()),
        ];
        let stores = stores.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let fleet = Self::with(settings, stores, database.pool().clone()).await;
        Self { stores: Stores::Shared { redis, _database: database }, ..fleet }
    }

    /// A deployment on servers that the test may stop.
    pub(crate) async fn on(
        postgres: &PrivatePostgres,
        redis: &PrivateRedis,
        settings: &[(&str, &str)],
    ) -> Self {
        install_crypto();
        db::migrate::migrate(&postgres.secret_url()).await.unwrap();
        let stores = [("DATABASE_URL", postgres.url()), ("REDIS_URL", redis.url())];
        let stores = stores.map(|(name, value)| (name.to_owned(), value));
        let pool = db::pool_with(&postgres.secret_url(), 4, "regimen-test", LIMITS).unwrap();
        Self::with(settings, stores, pool).await
    }

    async fn with(
        settings: &[(&str, &str)],
        stores: impl IntoIterator<Item = (String, String)>,
        pool: Pool,
    ) -> Self {
        install_crypto();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let simulator = Simulator::start(http.clone()).await;
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let mut all: BTreeMap<String, String> = SETTINGS.iter().map(own).collect();
        all.insert("OPENAI_API_KEY".to_owned(), "simulated".to_owned());
        all.insert("OPENAI_BASE_URL".to_owned(), format!("{}/v1", simulator.url()));
        all.extend(stores);
        all.extend(settings.iter().map(own));
        Self { simulator, settings: all, pool, http, stores: Stores::Private }
    }

    /// Gives the processes started from now on all four providers, at the simulator.
    pub(crate) fn ask_all_providers(&mut self) {
        let url = self.simulator.url().to_owned();
        for (name, path) in [("ANTHROPIC", ""), ("GEMINI", ""), ("LLAMA", "/llama/v1")] {
            self.set(&format!("{name}_API_KEY"), "simulated");
            self.set(&format!("{name}_BASE_URL"), &format!("{url}{path}"));
        }
        self.set("LLAMA_MODEL", "llama-3.3-70b");
    }

    /// A setting of the processes started from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// The settings of the processes started from now on.
    pub(crate) fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    pub(crate) async fn ingress(&self) -> Ingress {
        let binary = Binary::start("regimen-ingress", &self.settings).await;
        Ingress::new(binary, self.http.clone(), SERVICE_KEY)
    }

    pub(crate) async fn worker(&self) -> Binary {
        Binary::start("regimen-worker", &self.settings).await
    }

    /// A worker with some settings of its own.
    pub(crate) async fn worker_with(&self, settings: &[(&str, &str)]) -> Binary {
        let own = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut all = self.settings.clone();
        all.extend(own);
        Binary::start("regimen-worker", all).await
    }

    /// Runs a command of the worker's binary to its end; returns its exit code
    /// and what it said.
    pub(crate) async fn command(&self, args: &[&str]) -> (Option<i32>, String) {
        let mut process = Process::spawn_with("regimen-worker", args, &self.settings);
        let status = process.wait_exit().await;
        (status.code(), process.output())
    }

    /// A user as the app made them.
    pub(crate) async fn profile(&self) -> Uuid {
        let user = Uuid::new_v4();
        let sql = "insert into public.profiles (id, email, full_name)
                   values ($1, $2, 'Ana')";
        self.db().await.execute(sql, &[&user, &format!("{user}@example.test")]).await.unwrap();
        user
    }

    /// What the app reads as a user's plan.
    pub(crate) async fn plan_of(&self, user: Uuid) -> String {
        let sql = "select plan_id from public.profiles where id = $1";
        self.db().await.query_one(sql, &[&user]).await.unwrap().get(0)
    }

    /// A look at the truth.
    pub(crate) async fn db(&self) -> Client {
        self.pool.get().await.unwrap()
    }

    /// A look at what Redis repeats of it.
    pub(crate) fn store(&self) -> Redis {
        let prefix = match &self.stores {
            Stores::Shared { redis, .. } => redis.prefix(),
            Stores::Private => "regimen",
        };
        Redis::new(&SecretString::from(self.settings["REDIS_URL"].clone()), prefix).unwrap()
    }

    /// One number out of the database.
    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.db().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// The ids that a query finds.
    pub(crate) async fn ids(&self, sql: &str) -> Vec<Uuid> {
        let rows = self.db().await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Waits until a query, asked again and again, counts `wanted`.
    pub(crate) async fn until_count(&self, sql: &str, wanted: i64) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let found = self.count(sql).await;
            if found == wanted {
                return;
            }
            assert!(Instant::now() < deadline, "{found} instead of {wanted}: {sql}");
        }
    }

    /// Accepts meal jobs of one user past the ingress, so that nothing is pushed.
    pub(crate) async fn accept(&self, user: Uuid, class: JobClass, count: usize) -> Vec<Uuid> {
        let profile = "insert into public.profiles (id, email, plan_id) values ($1, 'x', $2)
                       on conflict (id) do nothing";
        self.db().await.execute(profile, &[&user, &class.as_str()]).await.unwrap();
        let job = |_| NewJob { id: Uuid::now_v7(), kind: PlanKind::Meal };
        let nutrition = Nutrition::of(&Quiz::read(&answers()).unwrap());
        let new = NewJobs {
            warnings: None,
            cautions: None,
            user_id: user,
            email: None,
            generation_id: Uuid::now_v7(),
            jobs: (0..count).map(job).collect(),
            quiz_result_id: None,
            calculations: None,
            input: to_raw_value(&json!({ "answers": answers(), "nutrition": nutrition })).unwrap(),
            callback_url: None,
            trace_context: None,
            expires_in_seconds: 900.0,
            per_user: 2,
            monthly_quota: false,
            idempotency: None,
        };
        let accepted = jobs::accept(&mut self.db().await, &new).await.unwrap();
        assert!(matches!(accepted, Acceptance::Accepted { .. }), "{accepted:?}");
        new.jobs.iter().map(|job| job.id).collect()
    }

    /// Pushes jobs as an ingress would have.
    pub(crate) async fn push(&self, class: JobClass, jobs: &[Uuid]) {
        let now = Clock::system().now();
        let messages: Vec<_> = jobs.iter().map(|job| Message::new(job, now, None)).collect();
        Queue::new(self.store()).push(class.into(), &messages).await.unwrap();
    }

    /// The jobs that wait and whose turn it is, oldest first.
    pub(crate) async fn dispatched(&self) -> Vec<Uuid> {
        let sql = "select id from regimen.jobs where state = 'queued' and dispatched_at is not null
                   order by created_at, id";
        self.ids(sql).await
    }

    /// How many ids of free users' jobs stand in Redis.
    pub(crate) async fn queued_in_redis(&self) -> u64 {
        Queue::new(self.store()).depth(List::Free).await.unwrap()
    }

    /// Whether the id of a free user's job stands in Redis.
    pub(crate) async fn stands_in_redis(&self, job: Uuid) -> bool {
        let (store, id) = (self.store(), job.to_string());
        let mut all = redis::cmd("LRANGE");
        all.arg(store.key("queue:free")).arg(0).arg(-1);
        store.query::<Vec<String>>(&all).await.unwrap().iter().any(|message| message.contains(&id))
    }

    /// A job whose call the simulator holds back as the rule `reply`.
    pub(crate) async fn one_held_job(&self, ingress: &Ingress) -> (Uuid, Uuid) {
        self.simulator.hold("reply", &[]).await;
        let (user, job) = ingress.submit_one().await;
        self.simulator.wait("open=1").await;
        (user, job)
    }

    /// The same for a body of the test's own.
    pub(crate) async fn one_held_job_of(&self, ingress: &Ingress, body: Value) -> (Uuid, Uuid) {
        self.simulator.hold("reply", &[]).await;
        let user = Uuid::new_v4();
        let job = ingress.submit_body(user, &body).await[0];
        self.simulator.wait("open=1").await;
        (user, job)
    }

    /// Waits until a worker says that it drains.
    pub(crate) async fn until_draining(&self, worker: &Binary) {
        let url = format!("{}/readyz", worker.address("METRICS_URL"));
        let draining =
            async { while self.http.get(&url).send().await.unwrap().status().is_success() {} };
        soon("the drain", draining).await;
    }

    /// The kinds of a job's events, in order.
    pub(crate) async fn history(&self, job: Uuid) -> Vec<String> {
        let sql = "select kind from regimen.job_events where job_id = $1 order by seq";
        let rows = self.db().await.query(sql, &[&job]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The number of plans of both kinds that are stored.
    pub(crate) async fn plans(&self) -> i64 {
        self.count(
            "select (select count(plan_data) from public.ai_meal_plans)
                  + (select count(plan_data) from public.ai_workout_plans)",
        )
        .await
    }

    /// What a worker tells Prometheus.
    pub(crate) async fn metrics(&self, worker: &Binary) -> String {
        let url = format!("{}/metrics", worker.address("METRICS_URL"));
        self.http.get(&url).send().await.unwrap().text().await.unwrap()
    }

    /// Waits until a worker's metrics say that `name` has reached `least`.
    pub(crate) async fn until_metric(&self, worker: &Binary, name: &str, least: f64) {
        self.until_value(worker, name, |value| value >= least).await;
    }

    /// Waits until a worker's metrics say that `name` is what `wanted` accepts.
    pub(crate) async fn until_value(
        &self,
        worker: &Binary,
        name: &str,
        wanted: impl Fn(f64) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.metrics(worker).await;
            let value = |line: &str| line.rsplit_once(' ').and_then(|(_, n)| n.parse::<f64>().ok());
            let mut lines = text.lines().filter(|line| line.starts_with(name));
            if lines.any(|line| value(line).is_some_and(&wanted)) {
                return;
            }
            assert!(Instant::now() < deadline, "{name} never becomes what was waited for:\n{text}");
        }
    }
}

/// The answers of the sample quiz.
pub(crate) fn answers() -> Value {
    let text = include_str!("../../../../common/tests/fixtures/sample_quiz.json");
    serde_json::from_str(text).unwrap()
}

/// Waits for `what`, within the patience of tests.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// TLS needs its crypto installed once per process, as main does.
fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(regimen_common::process::install_crypto);
}
