//! An ingress with jobs that the test moves through their life itself, as a
//! worker would, and a reader of event streams.

use regimen_common::clock::Clock;
use std::collections::VecDeque;
use std::time::Duration;

use regimen_common::db::accounts;
use regimen_common::db::jobs::{
    self, AttemptOutcome, AttemptUsage, ClaimPolicy, EndOutcome, Ended, Held, NewAttempt, Success,
    SuccessfulEnd,
};
use regimen_common::db::plans::{NewPlan, PlanColumns};
use regimen_common::dispatch::notices::{self, JobNotice};
use regimen_common::job::{FailureCode, JobEventKind};
use regimen_common::test_support::{TestDatabase, TestRedis};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::documentation;
use crate::ingress::Ingress;

/// Nothing takes this long unless it hangs.
const HANG: Duration = Duration::from_secs(60);
const PER_USER: i64 = 2;

/// What `future` brings, or a failed test if it hangs.
pub(super) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(HANG, future).await.expect("this should not take a minute")
}

/// An ingress and what it stands on.
pub(super) struct WatchedIngress {
    pub(super) ingress: Ingress,
    pub(super) database: TestDatabase,
    pub(super) redis: TestRedis,
}

impl WatchedIngress {
    pub(super) async fn new(settings: &[(&str, &str)]) -> Self {
        let (database, redis) = (TestDatabase::new().await, TestRedis::new());
        Self { ingress: Ingress::start(&database, &redis, settings).await, database, redis }
    }

    /// A request as `user`.
    pub(super) fn request(&self, method: Method, path: &str, user: Uuid) -> RequestBuilder {
        let url = format!("{}{path}", self.ingress.url);
        self.ingress.client.request(method, url).header("x-user-id", user.to_string())
    }

    pub(super) async fn get(&self, path: &str, user: Uuid) -> Answer {
        Answer::to(self.request(Method::GET, path, user)).await
    }

    pub(super) async fn show(&self, job: Uuid, user: Uuid) -> Answer {
        self.get(&format!("/v1/jobs/{job}"), user).await
    }

    /// Opens the events of a job; `last` is the number of the last one known.
    pub(super) async fn events(&self, job: Uuid, user: Uuid, last: Option<i32>) -> Stream {
        let request = self.request(Method::GET, &format!("/v1/jobs/{job}/events"), user);
        Stream::open(match last {
            Some(last) => request.header("last-event-id", last.to_string()),
            None => request,
        })
        .await
    }

    /// A job whose turn it is.
    pub(super) async fn job(&self, user: Uuid) -> Uuid {
        self.jobs(user, "free", 1).await[0]
    }

    /// Jobs whose turn it is, each a second younger than the one before.
    pub(super) async fn jobs(&self, user: Uuid, class: &str, count: i32) -> Vec<Uuid> {
        let sql = "with job as (
                insert into regimen.jobs (id, user_id, generation_id, kind, class, input, run_at,
                    dispatched_at, created_at, expires_at, updated_at, last_seq)
                select gen_random_uuid(), $1, gen_random_uuid(),
                    case when n % 2 = 1 then 'meal' else 'workout' end, $2, '{}', at, at, at,
                    now() + interval '1 hour', at, 1
                from generate_series(1, $3) n,
                    lateral (select now() - interval '1 hour' + n * interval '1 second' as at) t
                returning id, created_at
            ), event as (
                insert into regimen.job_events (job_id, seq, at, kind)
                select id, 1, created_at, 'accepted' from job
            )
            select id from job order by created_at";
        let client = self.database.client().await;
        accounts::ensure_profile(&client, user, None).await.unwrap();
        let rows = client.query(sql, &[&user, &class, &count]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Runs SQL for its effect.
    pub(super) async fn sql(&self, sql: &str) {
        self.database.client().await.batch_execute(sql).await.unwrap();
    }

    /// Tells the ingress of an event, as whoever wrote it does.
    pub(super) async fn tell(&self, job: Uuid, seq: i32, kind: JobEventKind) {
        notices::publish(&self.ingress.state.redis, &[JobNotice { job, seq, kind }]).await;
    }

    /// A worker claims the job and tells nobody.
    pub(super) async fn claim_silently(&self, job: Uuid) -> (Held, i32) {
        let policy = ClaimPolicy {
            worker_id: "worker-1".to_owned(),
            lease: Duration::from_secs(600),
            deadline: Duration::from_secs(180),
            per_user: PER_USER,
        };
        let client = self.database.client().await;
        let claimed = jobs::claim(&client, &[job], &policy).await.unwrap().pop().unwrap();
        (Held { id: job, fence: claimed.fence }, claimed.last_seq)
    }

    /// A worker claims the job.
    pub(super) async fn claim(&self, job: Uuid) -> Held {
        let (held, seq) = self.claim_silently(job).await;
        self.tell(job, seq, JobEventKind::Claimed).await;
        held
    }

    /// The holder asks a provider.
    pub(super) async fn ask(&self, held: Held, provider: &str) -> Uuid {
        let id = Uuid::now_v7();
        let prompt_version = "test";
        let (model, most_micros, warning) = ("model-1", 0, None);
        let attempt = NewAttempt { id, provider, model, prompt_version, most_micros, warning };
        let client = self.database.client().await;
        let (_, seq) = jobs::start_attempt(&client, held, &attempt).await.unwrap().unwrap();
        self.tell(held.id, seq, JobEventKind::AttemptStarted).await;
        id
    }

    /// The attempt's reply is judged; no event tells of that.
    pub(super) async fn judge(&self, attempt: Uuid, outcome: &str, detail: Option<&str>) {
        let judged = AttemptOutcome {
            outcome,
            error_detail: detail,
            http_status: Some(if outcome == "ok" { 200 } else { 529 }),
            request_id: None,
            usage: Some(AttemptUsage {
                input_tokens: 1_000,
                cached_tokens: 0,
                output_tokens: 500,
                cost_micros: 1_250,
                ..AttemptUsage::default()
            }),
        };
        jobs::judge_attempt(&self.database.client().await, attempt, &judged).await.unwrap();
    }

    /// The holder tells of something.
    pub(super) async fn append(&self, held: Held, kind: JobEventKind) -> i32 {
        let client = self.database.client().await;
        let data = json!({"n": 1});
        let seq = jobs::append_event(&client, held, kind, "generating", &data).await.unwrap();
        let seq = seq.unwrap();
        self.tell(held.id, seq, kind).await;
        seq
    }

    /// The holder gives up for good; false when the job is not its own any more.
    pub(super) async fn fail(&self, held: Held) -> bool {
        let mut client = self.database.client().await;
        let tx = client.transaction();
        let (code, detail) = (FailureCode::Refused, "no provider would write this plan");
        let ended = jobs::fail(&tx, held, code, detail, &json!([]), PER_USER).await.unwrap();
        tx.commit().await.unwrap();
        self.tell_end(held, ended, JobEventKind::Failed).await
    }

    /// The holder saves a plan; returns the plan's id.
    pub(super) async fn succeed(&self, held: Held, user: Uuid, plan: &Value) -> Uuid {
        let mut client = self.database.client().await;
        let plan_id = Uuid::now_v7();
        let (provider, model) = ("openai".to_owned(), "model-1".to_owned());
        let success = Success { plan_id, provider, model, reply: None };
        let columns =
            PlanColumns::Meal { daily_calories: 2_000, preferences: "[]", restrictions: "Vegan" };
        let plan = to_raw_value(plan).unwrap();
        let row = NewPlan {
            id: plan_id,
            user_id: user,
            quiz_result_id: None,
            requested_at: Clock::system().now(),
            plan_data: &plan,
            columns,
        };
        let end = SuccessfulEnd { held, success: &success, plan: row };
        let outcome = jobs::succeed_alone(&mut client, &end, PER_USER).await.unwrap();
        let EndOutcome::Ended(ended) = outcome else { panic!("{outcome:?}") };
        assert!(self.tell_end(held, Some(ended), JobEventKind::Saved).await);
        plan_id
    }

    async fn tell_end(&self, held: Held, ended: Option<Ended>, kind: JobEventKind) -> bool {
        let Some(ended) = ended else { return false };
        self.tell(held.id, ended.seq, kind).await;
        true
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) text: String,
    pub(super) body: Value,
}

impl Answer {
    pub(super) async fn to(request: RequestBuilder) -> Self {
        let response = soon(documentation::send(request)).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = soon(response.text()).await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, body }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The tag of a full answer.
    pub(super) fn etag(&self) -> String {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self.header("etag").unwrap().to_owned()
    }
}

/// One frame of an event stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Frame {
    pub(super) id: Option<i32>,
    pub(super) event: String,
    pub(super) data: Value,
    pub(super) retry: Option<u64>,
    pub(super) comment: bool,
}

/// An open event stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) response: Response,
    buffer: String,
    frames: VecDeque<Frame>,
}

impl Stream {
    pub(super) async fn open(request: RequestBuilder) -> Self {
        let response = soon(documentation::send(request)).await;
        Self { response, buffer: String::new(), frames: VecDeque::new() }
    }

    /// The next frame of any sort; `None` at an orderly end or a broken connection.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Some(frame);
            }
            let Ok(Some(chunk)) = soon(self.response.chunk()).await else { return None };
            self.buffer.push_str(std::str::from_utf8(&chunk).unwrap());
            while let Some((frame, rest)) = self.buffer.split_once("\n\n") {
                self.frames.push_back(parse(frame));
                self.buffer = rest.to_owned();
            }
        }
    }

    /// The next event, past greetings and heartbeats.
    pub(super) async fn event(&mut self) -> Option<Frame> {
        // All of it: heartbeats alone would go on for ever.
        soon(async {
            loop {
                let frame = self.frame().await?;
                if !frame.event.is_empty() {
                    return Some(frame);
                }
            }
        })
        .await
    }

    /// The number and name of the next event; fails at the end.
    pub(super) async fn next(&mut self) -> (i32, String) {
        let frame = self.event().await.expect("the stream ended before its time");
        (frame.id.unwrap(), frame.event)
    }

    /// The numbers and names of all events up to the end.
    pub(super) async fn rest(&mut self) -> Vec<(i32, String)> {
        let mut rest = Vec::new();
        while let Some(frame) = self.event().await {
            rest.push((frame.id.unwrap(), frame.event));
        }
        rest
    }
}

fn parse(text: &str) -> Frame {
    let mut frame = Frame::default();
    for line in text.lines() {
        match line.split_once(':').map(|(name, value)| (name, value.trim_start())) {
            Some(("", _)) => frame.comment = true,
            Some(("id", value)) => frame.id = Some(value.parse().unwrap()),
            Some(("event", value)) => value.clone_into(&mut frame.event),
            Some(("retry", value)) => frame.retry = Some(value.parse().unwrap()),
            Some(("data", value)) => frame.data = serde_json::from_str(value).unwrap(),
            other => panic!("not a field of an event stream: {other:?}"),
        }
    }
    frame
}
