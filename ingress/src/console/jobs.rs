//! Everybody's jobs: the list with its filters, one job with all that happened to it,
//! and the list as a file.

use std::fmt::Write as _;

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use regimen_common::db::jobs::{
    self, AttemptRow, Details, Found, HistoryLine, Listed, OperatorFilter,
};
use regimen_common::job::{FailureCode, JobClass, JobState, PlanKind};
use regimen_common::nutrition::Nutrition;
use regimen_common::provider::ProviderName;
use serde_json::Value;
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::limit::{Limit, limited};
use super::live;
use super::page::{Frame, at, html, short, took, usd};
use super::plan::{MealView, WorkoutView};
use super::session::Session;
use crate::error::ApiError;
use crate::extract::{Id, is_plain};
use crate::operators::no_job;
use crate::state::AppState;

const PART: &str = "/console/jobs";
const PAGE: i64 = 50;
/// Jobs of one file.
const EXPORTED: usize = 10_000;
/// Windows that one request looks through.
const WINDOWS: usize = 10;

/// The routes; only files are counted, because each reads up to 10,000 jobs.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let export = Router::new().route("/console/jobs.csv", get(csv));
    limited(state, Limit::Export, export)
        .route("/console/jobs", get(list))
        .route("/console/jobs/{id}", get(show))
        .route("/console/jobs/{id}/live", get(watch))
}

/// The filter of a query string.
///
/// # Errors
/// 422 that names the field.
pub(super) fn filter(form: &Form, limit: i64) -> Result<OperatorFilter, ApiError> {
    let word = |name: &str| match form.get(name) {
        Some(word) if !is_plain(word) => {
            Err(ApiError::field(format!("?{name}"), "must be as the list shows it"))
        }
        word => Ok(word.map(str::to_owned)),
    };
    Ok(OperatorFilter {
        state: form.parse("state", "must be the state of a job")?,
        kind: form.parse("kind", "must be meal or workout")?,
        class: form.parse("class", "must be pro or free")?,
        provider: word("provider")?,
        model: word("model")?,
        reason: word("reason")?,
        user_id: form.parse("user", "must be the id of a user")?,
        from: time(form, "from")?,
        to: time(form, "to")?,
        before: form.parse("before", "must be the id of a job")?,
        limit,
    })
}

/// A day or a minute in UTC, as browsers' fields write them.
fn time(form: &Form, name: &str) -> Result<Option<DateTime<Utc>>, ApiError> {
    let Some(text) = form.get(name) else { return Ok(None) };
    let day = || Some(text.parse::<NaiveDate>().ok()?.and_time(NaiveTime::MIN));
    let minute = |format| NaiveDateTime::parse_from_str(text, format).ok();
    let found = minute("%Y-%m-%dT%H:%M").or_else(|| minute("%Y-%m-%dT%H:%M:%S")).or_else(day);
    let found = found.ok_or_else(|| {
        ApiError::field(format!("?{name}"), "must be a day or a minute in UTC: 2026-11-28T10:30")
    });
    found.map(|found| Some(found.and_utc()))
}

/// A choice of a filter.
struct Choice {
    name: &'static str,
    label: &'static str,
    options: Vec<(&'static str, bool)>,
}

impl Choice {
    fn new(
        form: &Form,
        name: &'static str,
        label: &'static str,
        known: impl IntoIterator<Item = &'static str>,
    ) -> Self {
        let chosen = form.get(name);
        let options = known.into_iter().map(|option| (option, chosen == Some(option))).collect();
        Self { name, label, options }
    }

    fn all(form: &Form) -> Vec<Self> {
        let providers = ProviderName::ALL.iter().map(|name| name.as_str());
        vec![
            Self::new(form, "state", "State", JobState::NAMES.iter().copied()),
            Self::new(form, "kind", "Kind", PlanKind::NAMES.iter().copied()),
            Self::new(form, "class", "Class", JobClass::NAMES.iter().copied()),
            Self::new(form, "provider", "Provider", providers),
            Self::new(form, "reason", "Reason", FailureCode::NAMES.iter().copied()),
        ]
    }
}

/// One line of the list.
struct Line {
    id: Uuid,
    kind: &'static str,
    class: &'static str,
    state: &'static str,
    stage: String,
    accepted: String,
    took: String,
    provider: String,
    model: String,
    cost: String,
    reason: String,
    user: Uuid,
    retried_as: Option<Uuid>,
}

impl Line {
    fn of(Listed { row, class, retried_as }: &Listed, now: DateTime<Utc>) -> Self {
        Self {
            id: row.id,
            kind: row.kind.as_str(),
            class: class.as_str(),
            state: row.state.as_str(),
            stage: if row.state.is_terminal() { String::new() } else { row.stage.clone() },
            accepted: at(row.created_at),
            took: took(row.finished_at.unwrap_or(now) - row.created_at),
            provider: row.provider.clone().unwrap_or_default(),
            model: row.model.clone().unwrap_or_default(),
            cost: usd(row.cost_micros),
            reason: row.error_code.clone().unwrap_or_default(),
            user: row.user_id,
            retried_as: *retried_as,
        }
    }
}

#[derive(Template)]
#[template(path = "console/jobs.html")]
struct JobsPage {
    frame: Frame,
    choices: Vec<Choice>,
    /// Name, label, type and value.
    fields: Vec<(&'static str, &'static str, &'static str, String)>,
    lines: Vec<Line>,
    /// The filter as a query string, for links and actions.
    query: String,
    next: Option<String>,
    /// Where the search stopped before the page was full.
    stopped: Option<String>,
}

async fn list(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let filter = filter(&form, PAGE + 1)?;
    let client = state.db.get().await?;
    let Found { mut jobs, stopped_at } = jobs::search(&client, &filter).await?;
    drop(client);
    let is_full = i64::try_from(jobs.len()).is_ok_and(|found| found > PAGE);
    jobs.truncate(usize::try_from(PAGE).unwrap_or_default());
    let last = if is_full { jobs.last().map(|job| job.row.id) } else { stopped_at };
    let query = form.query_without(&["before", "done"]);
    let link = |last: Uuid| format!("{PART}?{query}&before={last}").replace("?&", "?");
    let now = state.clock.now();
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let page = JobsPage {
        frame: Frame::within(PART, "Jobs", &session).after(form.get("done")),
        choices: Choice::all(&form),
        fields: vec![
            ("model", "Model", "text", text("model")),
            ("user", "User", "text", text("user")),
            ("from", "Accepted from (UTC)", "datetime-local", text("from")),
            ("to", "Accepted before (UTC)", "datetime-local", text("to")),
        ],
        lines: jobs.iter().map(|job| Line::of(job, now)).collect(),
        next: last.map(link),
        stopped: stopped_at.map(|id| at(jobs::time_of(id))),
        query,
    };
    Ok(html(page.render()?).into_response())
}

/// Up to `most` jobs that match, over several windows; whether there may be more.
///
/// # Errors
/// Postgres failed.
pub(super) async fn matching(
    state: &AppState,
    mut filter: OperatorFilter,
    most: usize,
) -> Result<(Vec<Listed>, bool), ApiError> {
    let client = state.db.get().await?;
    let mut all = Vec::new();
    for _ in 0..WINDOWS {
        filter.limit = i64::try_from(most + 1 - all.len()).unwrap_or(i64::MAX);
        let Found { jobs, stopped_at } = jobs::search(&client, &filter).await?;
        all.extend(jobs);
        if all.len() > most {
            all.truncate(most);
            return Ok((all, true));
        }
        let Some(place) = stopped_at else { return Ok((all, false)) };
        filter.before = Some(place);
    }
    Ok((all, true))
}

async fn csv(State(state): State<AppState>, _: Session, RawQuery(query): RawQuery) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let (jobs, _) = matching(&state, filter(&form, 0)?, EXPORTED).await?;
    let mut text = String::from(
        "id,user_id,kind,class,state,accepted_at,started_at,finished_at,provider,model,cost_usd,\
         reason,retried_as\r\n",
    );
    let time = |time: Option<DateTime<Utc>>| time.map(|time| time.to_rfc3339()).unwrap_or_default();
    for Listed { row, class, retried_as } in &jobs {
        let cells = [
            row.id.to_string(),
            row.user_id.to_string(),
            row.kind.to_string(),
            class.to_string(),
            row.state.to_string(),
            time(Some(row.created_at)),
            time(row.first_claimed_at),
            time(row.finished_at),
            row.provider.clone().unwrap_or_default(),
            row.model.clone().unwrap_or_default(),
            format!("{:.6}", row.cost_micros as f64 / 1e6),
            row.error_code.clone().unwrap_or_default(),
            retried_as.map(|id| id.to_string()).unwrap_or_default(),
        ];
        let cells: Vec<String> = cells.iter().map(|cell| cell_of(cell)).collect();
        let _ = write!(text, "{}\r\n", cells.join(","));
    }
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"jobs.csv\""),
    ];
    Ok((headers, text).into_response())
}

/// A cell of a file; spreadsheets must not take a text for a formula.
fn cell_of(text: &str) -> String {
    let guarded = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    let text = format!("{guarded}{text}");
    if text.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", text.replace('"', "\"\""));
    }
    text
}

/// One event of a job, drawn on the line of its life.
struct Moment {
    seq: i32,
    at: String,
    kind: String,
    facts: String,
    /// From the event before.
    after: String,
    /// The bar of that time, in thousandths of the whole.
    x: i64,
    width: i64,
    is_bad: bool,
}

/// Details of events that describe no person.
const FACTS: [&str; 11] = [
    "provider", "model", "n", "class", "by", "code", "retry_of", "worker", "round", "run_at",
    "in_ms",
];

fn moments(events: &[HistoryLine]) -> Vec<Moment> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Vec::new() };
    let whole = (last.at - first.at).num_milliseconds().max(1);
    let mut before = first.at;
    let mut moments = Vec::with_capacity(events.len());
    for event in events {
        let data: Value = serde_json::from_str(event.data.get()).unwrap_or_default();
        let fact = |name: &&str| {
            let value = data.get(*name).filter(|value| !value.is_null())?;
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            Some(format!("{name} {}", short(&value, 60)))
        };
        let facts: Vec<String> = FACTS.iter().filter_map(fact).collect();
        let since = |time: DateTime<Utc>| (time - first.at).num_milliseconds() * 1_000 / whole;
        let (x, end) = (since(before), since(event.at));
        moments.push(Moment {
            seq: event.seq,
            at: at(event.at),
            kind: event.kind.clone(),
            facts: facts.join(" · "),
            after: took(event.at - before),
            x,
            width: (end - x).max(2),
            is_bad: matches!(
                event.kind.as_str(),
                "attempt_failed" | "failed" | "expired" | "lease_lost" | "cancelled"
            ),
        });
        before = event.at;
    }
    moments
}

/// One call to a provider.
struct Attempt {
    n: i32,
    provider: String,
    model: String,
    outcome: String,
    status: String,
    started: String,
    took: String,
    tokens: String,
    cost: String,
    estimated: bool,
    /// The provider's own text, for admins.
    error: String,
}

impl Attempt {
    fn of(row: &AttemptRow, now: DateTime<Utc>) -> Self {
        Self {
            n: row.n,
            provider: row.provider.clone(),
            model: row.model.clone(),
            outcome: row.outcome.clone().unwrap_or_else(|| "under way".to_owned()),
            status: row.http_status.map(|status| status.to_string()).unwrap_or_default(),
            started: at(row.started_at),
            took: took(row.finished_at.unwrap_or(now) - row.started_at),
            tokens: format!("{} in, {} out", row.input_tokens, row.output_tokens),
            cost: usd(row.cost_micros),
            estimated: row.estimated,
            error: row.error.clone().unwrap_or_default(),
        }
    }
}

/// What changes while a job runs.
#[derive(Template)]
#[template(path = "console/job_live.html")]
struct JobLive {
    is_admin: bool,
    id: Uuid,
    state: &'static str,
    stage: String,
    /// Name and value.
    facts: Vec<(&'static str, String)>,
    user: Uuid,
    retried_as: Option<Uuid>,
    retry_of: Option<Uuid>,
    /// Name and address of what other services know about it.
    links: Vec<(&'static str, String)>,
    can_retry: bool,
    can_cancel: bool,
    /// The reason in words, for admins.
    error: String,
    moments: Vec<Moment>,
    attempts: Vec<Attempt>,
    /// The plan as its reader sees it, for admins.
    meal: Option<MealView>,
    workout: Option<WorkoutView>,
    /// The plan as JSON, for admins.
    plan: Option<String>,
    /// Cautions and warnings, for admins.
    remarks: Vec<String>,
}

#[derive(Template)]
#[template(path = "console/job.html")]
struct JobPage {
    frame: Frame,
    id: Uuid,
    live: JobLive,
}

async fn read(state: &AppState, session: &Session, id: Uuid) -> Result<JobLive, ApiError> {
    let client = state.db.get().await?;
    let details = jobs::details(&client, &[id]).await?.remove(&id).ok_or_else(|| no_job(id))?;
    let traces = jobs::traces(&client, id).await?;
    let targets = jobs::targets(&client, &[id]).await?.remove(&id);
    let targets: Option<Nutrition> = targets.and_then(|found| serde_json::from_value(found).ok());
    let events = jobs::histories(&client, &[(id, 0)]).await?.remove(&(id, 0)).unwrap_or_default();
    drop(client);
    let (now, row, is_admin) = (state.clock.now(), &details.row, session.is_admin());
    let mut facts = vec![
        ("Kind", row.kind.to_string()),
        ("Class", details.class.to_string()),
        ("Accepted", at(row.created_at)),
        ("Claims", row.attempts.to_string()),
        ("Retry rounds", row.rounds.to_string()),
        ("Cost", format!("{} USD", usd(cost(&details)))),
        ("Generation", row.generation_id.to_string()),
    ];
    let mut more = |name: &'static str, value: Option<String>| {
        facts.extend(value.map(|value| (name, value)));
    };
    more("First claimed", row.first_claimed_at.map(at));
    more("Ended", row.finished_at.map(at));
    more("Not before", (row.state == JobState::Queued && row.run_at > now).then(|| at(row.run_at)));
    more("Worker", traces.worker_id);
    more("Lost workers", (traces.lost > 0).then(|| traces.lost.to_string()));
    more("Provider", row.provider.clone());
    more("Model", row.model.clone());
    more("Reason", row.error_code.clone());
    more(
        "Callback",
        details
            .callback
            .as_ref()
            .map(|callback| format!("{} after {} tries", callback.state, callback.attempts)),
    );
    let trace = traces.trace_context.as_deref().and_then(trace_id);
    let console = &state.config.console;
    let links = [("Trace", &console.trace_url), ("Sentry", &console.sentry_url)];
    let link = |(name, url): (&'static str, &Option<String>)| {
        Some((name, url.as_ref()?.replace("{trace_id}", trace?)))
    };
    let links = links.into_iter().filter_map(link).collect();
    let json = details.plan.as_ref().filter(|_| is_admin);
    let json: Option<Value> = json.and_then(|plan| serde_json::from_str(plan.get()).ok());
    let (meal, workout) = views(row.kind, json.as_ref(), targets.as_ref());
    Ok(JobLive {
        is_admin,
        id,
        state: row.state.as_str(),
        stage: row.stage.clone(),
        user: row.user_id,
        retried_as: traces.retried_as,
        retry_of: traces.retry_of,
        links,
        can_retry: is_admin
            && matches!(row.state, JobState::Failed | JobState::Expired)
            && traces.retried_as.is_none(),
        can_cancel: is_admin && !row.state.is_terminal(),
        error: row.error_detail.clone().filter(|_| is_admin).unwrap_or_default(),
        moments: moments(&events),
        attempts: details.attempts.iter().map(|attempt| Attempt::of(attempt, now)).collect(),
        meal,
        workout,
        plan: json.as_ref().map(pretty),
        remarks: if is_admin { remarks(&details) } else { Vec::new() },
        facts,
    })
}

fn cost(details: &Details) -> i64 {
    let spent: i64 = details.attempts.iter().map(|attempt| attempt.cost_micros).sum();
    spent.max(details.row.cost_micros)
}

/// The second part of a `traceparent`.
fn trace_id(context: &str) -> Option<&str> {
    let id = context.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// The plan as its reader sees it.
fn views(
    kind: PlanKind,
    json: Option<&Value>,
    targets: Option<&Nutrition>,
) -> (Option<MealView>, Option<WorkoutView>) {
    match (kind, json) {
        (PlanKind::Meal, Some(json)) => (Some(MealView::of(json, targets)), None),
        (PlanKind::Workout, Some(json)) => (None, Some(WorkoutView::of(json))),
        (_, None) => (None, None),
    }
}

fn pretty(json: &Value) -> String {
    short(&serde_json::to_string_pretty(json).unwrap_or_default(), 40_000)
}

/// The texts of what is in the lists of cautions and warnings.
fn remarks(details: &Details) -> Vec<String> {
    let lists = [&details.row.cautions, &details.row.warnings].into_iter().flatten();
    let one = |value: &Value| value.get("text").and_then(Value::as_str).map(str::to_owned);
    lists.filter_map(Value::as_array).flatten().filter_map(one).collect()
}

async fn show(
    State(state): State<AppState>,
    session: Session,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let live = Box::pin(read(&state, &session, id)).await?;
    let frame = Frame::within(PART, format!("Job {id}"), &session).after(form.get("done"));
    Ok(html(JobPage { frame, id, live }.render()?).into_response())
}

/// The part of the page that changes, each time it does.
async fn watch(State(state): State<AppState>, session: Session, Id(id): Id) -> Answer<Response> {
    let watcher = state.watching.changes.job(id);
    Box::pin(read(&state, &session, id)).await?;
    let source = (state.clone(), session.clone());
    live::stream(&state, session.id, live::Rhythm::Jobs(vec![watcher]), move || {
        let (state, session) = source.clone();
        async move {
            let live = Box::pin(read(&state, &session, id)).await?;
            let is_over = JobState::NAMES
                .iter()
                .zip(JobState::ALL)
                .any(|(name, known)| *name == live.state && known.is_terminal());
            Ok(live::Frame { html: live.render()?, is_last: is_over })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_never_a_formula() {
        for (text, cell) in [
            ("plain", "plain"),
            ("=cmd()", "'=cmd()"),
            ("-1+2", "'-1+2"),
            ("@x", "'@x"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
        ] {
            assert_eq!(cell_of(text), cell);
        }
    }

    #[test]
    fn times_are_days_or_minutes() {
        let read = |text: &str| {
            time(&Form::read(format!("from={text}").as_bytes()), "from").map(|time| time.map(at))
        };
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("2026-11-28").unwrap().unwrap(), "2026-11-28 00:00:00");
        assert_eq!(read("2026-11-28T10:30").unwrap().unwrap(), "2026-11-28 10:30:00");
        assert!(read("yesterday").is_err());
    }

    #[test]
    fn only_the_id_of_a_trace_becomes_part_of_a_link() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")), Some(id));
        assert_eq!(trace_id("00-javascript:alert(1)-x-01"), None);
    }
}
