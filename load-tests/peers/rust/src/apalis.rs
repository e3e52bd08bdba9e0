//! A job service on apalis with its own Redis storage, with the settings that suit it:
//! batches of 100, no locks, a short poll and a short heartbeat.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_postgres::NoTls;
use uuid::Uuid;

use crate::{Failure, ready, setting};

const INSERT: &str = "insert into jobs (id, user_id, input) values ($1, $2, $3)";
const SELECT: &str = "select state, created_at, finished_at from jobs where id = $1";
const READ: &str = "select input from jobs where id = $1";
const FINISH: &str = "with plan as (insert into plans (job_id, plan) values ($1, $2))
    update jobs set state = 'succeeded', finished_at = now() where id = $1";

#[derive(Debug, Serialize, Deserialize)]
struct Plan {
    id: Uuid,
}

#[derive(Clone)]
struct App {
    db: Pool,
    queue: RedisStorage<Plan>,
}

/// What the handler needs.
struct Deps {
    db: Pool,
    http: reqwest::Client,
    provider: Option<String>,
}

/// The API.
pub(crate) async fn router() -> Result<Router, Failure> {
    let app = App { db: pool()?, queue: queue().await? };
    Ok(Router::new()
        .route("/plans", post(submit))
        .route("/plans/{id}", get(status))
        .with_state(app))
}

/// The worker, until it ends by itself.
pub(crate) async fn work() -> Result<(), Failure> {
    let slots = std::env::var("SLOTS").ok().and_then(|slots| slots.parse().ok()).unwrap_or(1_000);
    let deps = Deps {
        db: pool()?,
        http: reqwest::Client::builder().no_proxy().build()?,
        provider: std::env::var("PROVIDER_URL").ok().filter(|url| !url.is_empty()),
    };
    let queue = queue().await?.poll_with_interval(Duration::from_millis(50));
    let worker = WorkerBuilder::new("peer")
        .backend(queue)
        .data(Arc::new(deps))
        .concurrency(slots)
        .parallelize(tokio::spawn)
        .build(handle);
    ready("READY=1\n")?;
    worker.run().await?;
    Err("the worker ended".into())
}

fn pool() -> Result<Pool, Failure> {
    let recycling_method = RecyclingMethod::Fast;
    let config = setting("DATABASE_URL")?.parse()?;
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
    Ok(Pool::builder(manager).max_size(16).build()?)
}

async fn queue() -> Result<RedisStorage<Plan>, Failure> {
    let config = Config::default()
        .queue("plans")
        .batch_size(100)
        .lock_tasks(false)
        .heartbeat_interval(Duration::from_secs(1));
    let redis = apalis_redis::connect(setting("REDIS_URL")?).await?;
    Ok(RedisStorage::new(redis).with_config(config))
}

fn broken(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn submit(
    State(mut app): State<App>,
    Json(order): Json<Value>,
) -> Result<(StatusCode, Json<Value>), (StatusCode, String)> {
    let id = Uuid::new_v4();
    let client = app.db.get().await.map_err(broken)?;
    let insert = client.prepare_cached(INSERT).await.map_err(broken)?;
    client.execute(&insert, &[&id, &Uuid::nil(), &order]).await.map_err(broken)?;
    drop(client);
    app.queue.push(Plan { id }).await.map_err(broken)?;
    Ok((StatusCode::ACCEPTED, Json(json!({"id": id, "status": "queued"}))))
}

async fn status(
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<Json<Value>, (StatusCode, String)> {
    let client = app.db.get().await.map_err(broken)?;
    let select = client.prepare_cached(SELECT).await.map_err(broken)?;
    let row = client.query_opt(&select, &[&id]).await.map_err(broken)?;
    let Some(row) = row else {
        return Err((StatusCode::NOT_FOUND, "there is no such job".to_owned()));
    };
    let (state, created, finished): (String, DateTime<Utc>, Option<DateTime<Utc>>) =
        (row.get(0), row.get(1), row.get(2));
    Ok(Json(json!({"id": id, "state": state, "created_at": created, "finished_at": finished})))
}

async fn handle(job: Plan, deps: Data<Arc<Deps>>) -> Result<(), BoxDynError> {
    let client = deps.db.get().await?;
    let read = client.prepare_cached(READ).await?;
    let input: Value = client.query_one(&read, &[&job.id]).await?.get(0);
    // A call may take seconds.
    drop(client);
    let plan = deps.ask(&input).await?;
    let client = deps.db.get().await?;
    let finish = client.prepare_cached(FINISH).await?;
    client.execute(&finish, &[&job.id, &plan]).await?;
    Ok(())
}

impl Deps {
    async fn ask(&self, input: &Value) -> Result<Value, BoxDynError> {
        let Some(provider) = &self.provider else { return Ok(json!({})) };
        let content = format!("Answer with a meal plan as JSON. {input}");
        let request = json!({
            "model": "gpt-4o-mini",
            "response_format": {"type": "json_object"},
            "messages": [{"role": "user", "content": content}],
        });
        let url = format!("{provider}/v1/chat/completions");
        let sent = self.http.post(url).bearer_auth("peer").json(&request).send().await?;
        let reply: Value = sent.error_for_status()?.json().await?;
        let text = reply["choices"][0]["message"]["content"].as_str().unwrap_or("null");
        Ok(serde_json::from_str(text)?)
    }
}
