//! What operators did, when and why; and who is signed in to the console.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::db::admin_actions::{self, Filter, Found, Recorded};
use regimen_common::db::console;
use serde_json::Value;
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::page::{Frame, at, html, short};
use super::session::Session;
use crate::error::ApiError;
use crate::extract::is_plain;
use crate::state::AppState;

const PART: &str = "/console/audit";
const PAGE: i64 = 100;
const SESSIONS: i64 = 50;

/// The route; it reads a page along an index, and only the flood guard limits it.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/audit", get(page))
}

struct Entry {
    id: i64,
    at: String,
    actor: String,
    name: String,
    target: String,
    reason: String,
    detail: String,
    outcome: String,
}

impl Entry {
    fn of(mut row: Recorded) -> Self {
        let reason = row.detail.as_object_mut().and_then(|detail| detail.remove("reason"));
        let reason = reason.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let is_empty = row.detail.as_object().is_some_and(serde_json::Map::is_empty);
        Self {
            id: row.id,
            at: at(row.at),
            actor: row.actor,
            name: row.name,
            target: row.target,
            reason,
            detail: if is_empty { String::new() } else { short(&row.detail.to_string(), 200) },
            outcome: row.outcome.unwrap_or_else(|| "not known".to_owned()),
        }
    }
}

struct SessionLine {
    id: Uuid,
    actor: String,
    role: &'static str,
    since: String,
    seen: String,
    is_own: bool,
}

#[derive(Template)]
#[template(path = "console/audit.html")]
struct AuditPage {
    frame: Frame,
    /// Name, label and value.
    fields: Vec<(&'static str, &'static str, String)>,
    entries: Vec<Entry>,
    next: Option<String>,
    /// The search stopped before the page was full.
    stopped: bool,
    sessions: Vec<SessionLine>,
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let word = |name: &str| match form.get(name) {
        Some(word) if !is_plain(word) => {
            Err(ApiError::field(format!("?{name}"), "must be as the record shows it"))
        }
        word => Ok(word.map(str::to_owned)),
    };
    let filter = Filter {
        actor: word("actor")?,
        name: word("action")?,
        target: word("target")?,
        before: form.parse("before", "must be the number of a record")?,
        limit: PAGE + 1,
    };
    let client = state.db.get().await?;
    let Found { actions: mut rows, stopped_at } = admin_actions::list(&client, &filter).await?;
    let sessions = console::sessions(&client, SESSIONS).await?;
    drop(client);
    let is_full = i64::try_from(rows.len()).is_ok_and(|found| found > PAGE);
    rows.truncate(usize::try_from(PAGE).unwrap_or_default());
    let last = rows.last().filter(|_| is_full).map(|row| row.id).or(stopped_at);
    let query = form.query_without(&["before", "done"]);
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let page = AuditPage {
        frame: Frame::within(PART, "Audit", &session).after(form.get("done")),
        fields: vec![
            ("actor", "Who", text("actor")),
            ("action", "Action", text("action")),
            ("target", "Target", text("target")),
        ],
        entries: rows.into_iter().map(Entry::of).collect(),
        next: last.map(|last| format!("{PART}?{query}&before={last}").replace("?&", "?")),
        stopped: stopped_at.is_some(),
        sessions: sessions
            .into_iter()
            .map(|one| SessionLine {
                id: one.id,
                actor: one.actor,
                role: one.role.as_str(),
                since: at(one.created_at),
                seen: at(one.seen_at),
                is_own: one.id == session.id,
            })
            .collect(),
    };
    Ok(html(page.render()?).into_response())
}
