//! The users who send the requests of a benchmark, in turn.

use serde_json::{Value, json};
use uuid::Uuid;

use super::BenchError;
use super::ground::Ground;
use super::load::{Load, Pace, Request};
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::psql::{Psql, Row};
use crate::secrets::Secrets;
use crate::session::Session;
use crate::token::Claims;

/// Longer than any benchmark takes.
const TOKEN_LIFE: u64 = 12 * 3_600;
/// How many submit their first request at once.
const AT_ONCE: usize = 8;

/// Their access tokens, and what they submit.
pub(super) struct Users {
    tokens: Vec<String>,
    quiz: Value,
}

/// An accepted job and its user's token.
pub(super) struct Job {
    /// Its id.
    pub(super) id: String,
    /// Its user's token.
    pub(super) token: String,
    /// Its user's client.
    pub(super) owner: Client,
}

impl Users {
    /// New ones.
    ///
    /// # Errors
    /// The sample quiz cannot be read.
    pub(super) fn new(ground: &Ground<'_>, count: usize) -> Result<Self, BenchError> {
        let quiz = demo::sample_quiz(ground.session)?;
        let tokens = (0..count).map(|_| sign(&ground.secrets, Uuid::new_v4())).collect();
        Ok(Self { tokens, quiz })
    }

    /// A request for a meal plan by each of them.
    pub(super) fn submissions(&self, path: &str) -> Vec<Request> {
        let body = self.body().to_string();
        let submission = |token: &String| Request::by(token, &format!("POST {path}"), Some(&body));
        self.tokens.iter().map(submission).collect()
    }

    /// The body of a request for a meal plan.
    pub(super) fn body(&self) -> Value {
        json!({"kinds": ["meal"], "answers": self.quiz})
    }

    /// How many they are.
    pub(super) fn count(&self) -> usize {
        self.tokens.len()
    }

    /// The sample quiz.
    pub(super) fn quiz(&self) -> &Value {
        &self.quiz
    }

    /// Submits one request of each, so that their profiles exist, like most users'.
    ///
    /// # Errors
    /// A request was refused.
    pub(super) fn introduce(&self, session: &Session, ingress: &str) -> Result<(), BenchError> {
        let count = self.tokens.len();
        session.say(format_args!("accepting one job for each of {count} users"));
        let requests = self.submissions("/v1/plans");
        let pace = Pace::Count(count);
        let load = Load { url: ingress, connections: AT_ONCE, pace, requests: &requests, first: 0 };
        load.run()?.all(202)
    }
}

impl Job {
    /// Submits a job of a new user at `ingress`, because limits count by user.
    ///
    /// # Errors
    /// It was refused.
    pub(super) fn accept(
        ingress: &str,
        secrets: &Secrets,
        quiz: &Value,
    ) -> Result<Self, BenchError> {
        let token = sign(secrets, Uuid::new_v4());
        let owner = Client::new(ingress, &token);
        let accepted = owner.post("/v1/plans", &json!({"kinds": ["meal"], "answers": quiz}))?;
        let id = accepted["jobs"][0]["id"].as_str();
        let id = id.ok_or_else(|| BenchError::Measurement(format!("no job in {accepted}")))?;
        Ok(Self { id: id.to_owned(), token, owner })
    }

    /// The jobs of a stack, at most this many, each of another user.
    ///
    /// # Errors
    /// They cannot be read.
    pub(super) fn of_all(
        ingress: &str,
        secrets: &Secrets,
        psql: &Psql,
        most: usize,
    ) -> Result<Vec<Self>, BenchError> {
        let sql = format!(
            "select distinct on (user_id) id, user_id from regimen.jobs order by user_id limit {most}"
        );
        let job = |row: &Row| -> Result<Self, BenchError> {
            let token = sign(secrets, row.get(1)?);
            Ok(Self { id: row.get(0)?, owner: Client::new(ingress, &token), token })
        };
        psql.rows(&sql)?.iter().map(job).collect()
    }

    /// Its path.
    pub(super) fn path(&self) -> String {
        format!("/v1/jobs/{}", self.id)
    }

    /// Reads it.
    pub(super) fn read(&self) -> Request {
        Request::by(&self.token, &format!("GET {}", self.path()), None)
    }

    /// Reads it, if it has changed since now.
    ///
    /// # Errors
    /// It cannot be read, or has no version.
    pub(super) fn read_if_changed(&self) -> Result<Request, BenchError> {
        let version = self.owner.version(&self.path())?;
        let version =
            version.ok_or_else(|| BenchError::Measurement("a job without an ETag".to_owned()))?;
        let headers =
            format!("authorization: Bearer {}\r\nif-none-match: {version}\r\n", self.token);
        Ok(Request::new(&format!("GET {}", self.path()), &headers, None))
    }
}

/// A token of `user` that outlives the benchmark.
pub(super) fn sign(secrets: &Secrets, user: Uuid) -> String {
    let issued_at = clock::seconds_since_1970();
    Claims { user, role: None, issued_at, life: TOKEN_LIFE }.sign(&secrets.jwt)
}
