//! Everybody's jobs: list, look, retry, cancel, one by one or by what they have in
//! common.

use std::error::Error;

use regimen_common::db::jobs::{
    self, CancelOutcome, Canceller, JobRow, Listed, OperatorFilter, Retried,
};
use regimen_common::dispatch::Queue;
use regimen_common::dispatch::notices::{self, JobNotice};
use regimen_common::job::{JobEventKind, JobState};
use serde_json::{Value, json};
use uuid::Uuid;

use super::table::{or_dash, short, table, time};
use super::{Office, Partly};

/// What can be done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show everybody's jobs, newest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Only those accepted before this one: the last of the page before.
        #[arg(long, value_name = "JOB")]
        before: Option<Uuid>,
    },
    /// Show all there is to know of a job.
    Show {
        /// The job.
        #[arg(value_name = "JOB")]
        id: Uuid,
    },
    /// Do the work of failed or expired jobs again, as new jobs.
    Retry(Which),
    /// Cancel jobs that wait or run.
    Cancel(Which),
}

/// What jobs have in common.
#[derive(Debug, clap::Args)]
pub(super) struct Filter {
    /// Only in this state: queued, running, succeeded, failed, cancelled, expired.
    #[arg(long)]
    state: Option<JobState>,
    /// Only those that ended for this: the code of their error.
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// Only of this user.
    #[arg(long)]
    user: Option<Uuid>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
}

/// Which jobs: by their ids, or by what they have in common.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true)
    .args(["ids", "state", "code", "user"])))]
pub(super) struct Which {
    /// The jobs.
    #[arg(value_name = "JOB", conflicts_with_all = ["state", "code", "user"])]
    ids: Vec<Uuid>,
    #[command(flatten)]
    filter: Filter,
}

impl Filter {
    fn read(&self, before: Option<Uuid>) -> OperatorFilter {
        OperatorFilter {
            state: self.state,
            reason: self.code.clone(),
            user_id: self.user,
            before,
            limit: i64::from(self.limit),
            ..OperatorFilter::default()
        }
    }
}

pub(super) async fn run(office: &Office, command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::List { filter, before } => list(office, &filter.read(*before)).await,
        Command::Show { id } => show(office, *id).await,
        Command::Retry(which) => retry(office, which).await,
        Command::Cancel(which) => cancel(office, which).await,
    }
}

async fn list(office: &Office, filter: &OperatorFilter) -> Result<(), Box<dyn Error>> {
    let found = jobs::of_everybody(&office.db.get().await?, filter).await?;
    let value: Vec<Value> = found.iter().map(listed).collect();
    office.answer(&json!({ "jobs": value }), || {
        if found.is_empty() {
            return "no job is so".to_owned();
        }
        let rows: Vec<_> = found
            .iter()
            .map(|Listed { row, class, retried_as }| {
                [
                    row.id.to_string(),
                    row.kind.to_string(),
                    class.to_string(),
                    row.state.to_string(),
                    time(row.created_at),
                    or_dash(row.error_code.as_deref()),
                    or_dash(*retried_as),
                    row.user_id.to_string(),
                ]
            })
            .collect();
        table(["JOB", "KIND", "CLASS", "STATE", "ACCEPTED", "CODE", "RETRIED AS", "USER"], &rows)
    });
    Ok(())
}

fn listed(Listed { row, class, retried_as }: &Listed) -> Value {
    let mut value = described(row);
    value["class"] = json!(class.as_str());
    value["retried_as"] = json!(retried_as);
    value
}

fn described(row: &JobRow) -> Value {
    json!({
        "id": row.id, "user_id": row.user_id, "kind": row.kind.as_str(),
        "state": row.state.as_str(), "stage": row.stage, "claims": row.attempts,
        "rounds": row.rounds, "created_at": row.created_at, "run_at": row.run_at,
        "started_at": row.first_claimed_at, "finished_at": row.finished_at,
        "provider": row.provider, "model": row.model, "cost_usd": row.cost_micros as f64 / 1e6,
        "error_code": row.error_code, "error_detail": row.error_detail,
    })
}

async fn show(office: &Office, id: Uuid) -> Result<(), Box<dyn Error>> {
    let client = office.db.get().await?;
    let mut found = jobs::details(&client, &[id]).await?;
    let details = found.remove(&id).ok_or(Partly::NoJob(id))?;
    let traces = jobs::traces(&client, id).await?;
    let events = jobs::histories(&client, &[(id, 0)]).await?.remove(&(id, 0)).unwrap_or_default();
    let attempts: Vec<Value> = details
        .attempts
        .iter()
        .map(|attempt| {
            json!({
                "n": attempt.n, "provider": attempt.provider, "model": attempt.model,
                "outcome": attempt.outcome, "http_status": attempt.http_status,
                "error": attempt.error, "started_at": attempt.started_at,
                "finished_at": attempt.finished_at,
                "cost_usd": attempt.cost_micros as f64 / 1e6,
            })
        })
        .collect();
    let mut value = described(&details.row);
    value["class"] = json!(details.class.as_str());
    value["worker"] = json!(traces.worker_id);
    value["lost_workers"] = json!(traces.lost);
    value["retry_of"] = json!(traces.retry_of);
    value["retried_as"] = json!(traces.retried_as);
    value["attempts"] = json!(attempts);
    value["events"] = json!(events);
    office.answer(&value, || {
        // For people as for programs: nothing of a job is worth leaving out.
        serde_json::to_string_pretty(&value).unwrap_or_default()
    });
    Ok(())
}

/// The jobs to do something with.
async fn chosen(
    office: &Office,
    which: &Which,
    states: &[JobState],
) -> Result<Vec<Uuid>, Box<dyn Error>> {
    if !which.ids.is_empty() {
        return Ok(which.ids.clone());
    }
    let client = office.db.get().await?;
    let mut ids = Vec::new();
    for &state in states {
        if which.filter.state.is_none_or(|wanted| wanted == state) {
            let filter = OperatorFilter { state: Some(state), ..which.filter.read(None) };
            let found = jobs::of_everybody(&client, &filter).await?;
            ids.extend(found.iter().filter(|job| job.retried_as.is_none()).map(|job| job.row.id));
        }
    }
    ids.truncate(usize::from(which.filter.limit));
    Ok(ids)
}

async fn retry(office: &Office, which: &Which) -> Result<(), Box<dyn Error>> {
    let ids = chosen(office, which, &[JobState::Failed, JobState::Expired]).await?;
    let (mut outcomes, mut next) = (Vec::new(), Vec::new());
    for id in ids {
        let (as_id, mut client) = (Uuid::now_v7(), office.db.get().await?);
        let tx = client.transaction();
        let (expiry, per_user) = (office.expiry.as_secs_f64(), office.per_user);
        let outcome = match jobs::retry(&tx, id, as_id, &office.operator.actor(), expiry, per_user)
            .await?
        {
            Retried::New { user_id, next: pushed } => {
                let detail = json!({ "retried_as": as_id, "user_id": user_id });
                office.record(&tx, "retry_job", &id.to_string(), detail).await?;
                tx.commit().await?;
                next.extend(pushed);
                Outcome::done(id, format!("is done again as {as_id}"))
            }
            Retried::Before(before) => {
                Outcome::done(id, format!("was retried before, as {before}"))
            }
            Retried::Refused(state) => {
                Outcome::refused(id, format!("is {state}; only what failed or expired is retried"))
            }
            Retried::Missing => Outcome::refused(id, "is no job".to_owned()),
        };
        outcomes.push(outcome);
    }
    Queue::new(office.redis.clone()).push_jobs(&next).await;
    told(office, &outcomes)
}

async fn cancel(office: &Office, which: &Which) -> Result<(), Box<dyn Error>> {
    let ids = chosen(office, which, &[JobState::Queued, JobState::Running]).await?;
    let (mut outcomes, mut next, mut news) = (Vec::new(), Vec::new(), Vec::new());
    for id in ids {
        let mut client = office.db.get().await?;
        let tx = client.transaction();
        let outcome = match jobs::cancel(&tx, id, Canceller::Operator, office.per_user).await? {
            CancelOutcome::Cancelled { seq, next: pushed } => {
                office.record(&tx, "cancel_job", &id.to_string(), json!({})).await?;
                tx.commit().await?;
                next.extend(pushed);
                news.push(JobNotice { job: id, seq, kind: JobEventKind::Cancelled });
                Outcome::done(id, "is cancelled".to_owned())
            }
            CancelOutcome::Ended(JobState::Cancelled) => {
                Outcome::done(id, "was cancelled before".to_owned())
            }
            CancelOutcome::Ended(state) => {
                Outcome::refused(id, format!("has ended as {state} and stays so"))
            }
            CancelOutcome::Missing => Outcome::refused(id, "is no job".to_owned()),
        };
        outcomes.push(outcome);
    }
    let queue = Queue::new(office.redis.clone());
    tokio::join!(queue.push_jobs(&next), notices::publish(&office.redis, &news));
    told(office, &outcomes)
}

/// What became of one of the things asked for.
pub(super) struct Outcome {
    id: String,
    done: bool,
    text: String,
}

impl Outcome {
    pub(super) fn done(id: impl ToString, text: String) -> Self {
        Self { id: id.to_string(), done: true, text }
    }

    pub(super) fn refused(id: impl ToString, text: String) -> Self {
        Self { id: id.to_string(), done: false, text }
    }
}

/// Tells of each, and fails where one was refused.
pub(super) fn told(office: &Office, outcomes: &[Outcome]) -> Result<(), Box<dyn Error>> {
    let value: Vec<Value> = outcomes
        .iter()
        .map(|outcome| json!({ "id": outcome.id, "done": outcome.done, "text": outcome.text }))
        .collect();
    office.answer(&json!({ "outcomes": value }), || {
        if outcomes.is_empty() {
            return "there is nothing of that kind".to_owned();
        }
        let lines =
            outcomes.iter().map(|outcome| format!("{} {}", outcome.id, short(&outcome.text)));
        lines.collect::<Vec<_>>().join("\n")
    });
    match outcomes.iter().filter(|outcome| !outcome.done).count() {
        0 => Ok(()),
        refused => Err(Partly::Refused(refused).into()),
    }
}
