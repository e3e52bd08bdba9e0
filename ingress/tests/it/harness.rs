//! The real ingress as a process, with its own database and Redis prefix.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use regimen_common::clock::Clock;
use regimen_common::test_support::{Binary, Process, TestDatabase, TestRedis};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::documentation;

/// The secret the tests' tokens are signed with.
pub(crate) const JWT_SECRET: &str = "the-tests-own-secret-of-more-than-32-bytes";
/// The operator of the tests.
pub(crate) const ADMIN: Uuid = Uuid::from_u128(1);
/// Nothing takes this long unless it hangs.
const HANG: Duration = Duration::from_secs(60);

/// A running ingress. It ends with the value.
pub(crate) struct Ingress {
    binary: Binary,
    client: reqwest::Client,
    pub(crate) url: String,
    pub(crate) database: TestDatabase,
    /// Its keys go with it.
    redis: TestRedis,
}

impl Ingress {
    /// Starts one; `settings` go over the harness's own.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::start_with(|program| Command::new(program), settings).await
    }

    /// Starts one through the command that `through` makes of its path.
    pub(crate) async fn start_with(
        through: impl FnOnce(&Path) -> Command,
        settings: &[(&str, &str)],
    ) -> Self {
        let (database, redis) = (TestDatabase::new().await, TestRedis::new());
        let own = [
            ("ENVIRONMENT", "development"),
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("METRICS_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", database.url()),
            ("REDIS_URL", redis.url()),
            ("REDIS_PREFIX", redis.prefix()),
            ("JWT_SECRET", JWT_SECRET),
            // A busy machine must not turn a test to the fallback limiter.
            ("RATE_LIMIT_PATIENCE_SECONDS", "30"),
            ("LOG_FORMAT", "json"),
        ];
        let all = own.iter().chain(settings).copied();
        let process = Process::spawn_through("regimen-ingress", through, all);
        let binary = Binary::when_ready(process).await;
        let url = binary.address("INGRESS_URL").to_owned();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(HANG).build().unwrap();
        documentation::load(&client, &url).await;
        Self { binary, client, url, database, redis }
    }

    /// A request as `user`.
    pub(crate) fn request(&self, method: Method, path: &str, user: Uuid) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(token(user))
    }

    /// A request without credentials.
    pub(crate) fn anonymous(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Posts JSON as `user`.
    pub(crate) async fn post(&self, path: &str, user: Uuid, body: &Value) -> Answer {
        self.request(Method::POST, path, user).json(body).answer().await
    }

    /// Gets as `user`.
    pub(crate) async fn get(&self, path: &str, user: Uuid) -> Answer {
        self.request(Method::GET, path, user).answer().await
    }

    /// A request as an operator.
    pub(crate) fn as_admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.anonymous(method, path).bearer_auth(admin_token())
    }

    /// Where it listens, for tests that write bytes.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// The Redis it uses.
    pub(crate) fn redis_url(&self) -> &str {
        self.redis.url()
    }

    /// Everything it has logged so far.
    pub(crate) fn logs(&self) -> String {
        self.binary.process.output()
    }

    /// Waits until it has logged a line with `text`.
    pub(crate) fn await_log(&self, text: &str) {
        let deadline = Instant::now() + HANG;
        while !self.logs().contains(text) {
            assert!(Instant::now() < deadline, "{text:?} is not in {}", self.logs());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The memory it has in use (Linux).
    pub(crate) fn resident_kilobytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.binary.process.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.map_or(0, |line| line.trim().trim_end_matches(" kB").parse().unwrap())
    }

    /// What it counts, as Prometheus reads it.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.binary.address("METRICS_URL"));
        self.client.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// A number the database answers `sql` with.
    pub(crate) async fn count(&self, sql: &str, user: Uuid) -> i64 {
        self.database.client().await.query_one(sql, &[&user]).await.unwrap().get(0)
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The problem's code; fails when the answer is not a complete problem document.
    pub(crate) fn problem(&self) -> &str {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        for member in ["type", "title", "detail", "instance", "code"] {
            assert!(self.body[member].as_str().is_some_and(|text| !text.is_empty()), "{self:?}");
        }
        assert_eq!(self.body["status"], self.status.as_u16());
        assert_eq!(self.body["instance"].as_str(), self.header("x-request-id"));
        self.body["code"].as_str().unwrap()
    }

    /// The pointers of a validation problem.
    pub(crate) fn pointers(&self) -> Vec<&str> {
        assert_eq!(self.problem(), "validation-failed", "{self:?}");
        let errors = self.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
    }
}

/// Sends and reads in one step.
pub(crate) trait Send {
    async fn answer(self) -> Answer;
}

impl Send for RequestBuilder {
    async fn answer(self) -> Answer {
        Answer::read(documentation::send(self).await).await
    }
}

/// An access token of `user`.
pub(crate) fn token(user: Uuid) -> String {
    signed(&claims(user))
}

/// An access token of an operator.
pub(crate) fn admin_token() -> String {
    let mut claims = claims(ADMIN);
    claims["app_metadata"] = json!({"role": "admin"});
    signed(&claims)
}

/// The claims of a good token.
pub(crate) fn claims(user: Uuid) -> Value {
    let now = Clock::system().now().timestamp();
    json!({
        "sub": user, "role": "authenticated", "aud": "authenticated",
        "email": "ada@example.com", "iat": now, "exp": now + 3600,
    })
}

/// `claims` signed with the tests' secret.
pub(crate) fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(JWT_SECRET.as_bytes()).unwrap();
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A quiz as the app sends it.
pub(crate) fn quiz() -> Value {
    json!({
        "age": "30", "gender": "male", "height": {"cm": "180"}, "currentWeight": {"kg": "80.0"},
        "targetWeight": {"kg": "75.0"}, "mainGoal": "Weight loss", "timeFrame": "3 months",
        "lifestyle": "Moderately active", "groceryBudget": "Medium",
        "dietaryStyle": "No restrictions", "mealsPerDay": "3 (standard)", "motivationLevel": 7,
        "stressLevel": 4, "sleepQuality": "Good", "exerciseFrequency": "3-4 times/week",
        "preferredExercise": ["Gym"], "trainingEnvironment": ["Gym"],
        "cookingSkill": "Intermediate", "cookingTime": "30 minutes",
    })
}

/// A request for both plans.
pub(crate) fn plans() -> Value {
    json!({"kinds": ["meal", "workout"], "answers": quiz()})
}
