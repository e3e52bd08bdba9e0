//! Everything kept about a user as one JSON document, written row by row.

use std::fmt::Write as _;
use std::io;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use futures_util::stream;
use regimen_common::db::export::{self, Rows};
use regimen_common::db::jobs::{self, JobRow, ListFilter};
use regimen_common::db::{DbError, Pool};
use regimen_common::telemetry::UserHash;
use uuid::Uuid;

use crate::error::ApiError;
use crate::state::AppState;
use crate::views::JobView;

const AS_A_FILE: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"regimen-export.json\""),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// The document of `user`. It is sent while it is read; if it ends early, it is not valid
/// JSON.
///
/// # Errors
/// Postgres failed before the document began.
pub async fn document(state: &AppState, user: Uuid) -> Result<Response, ApiError> {
    let now = state.clock.now();
    // Read before the response begins, so that most failures have a status.
    let profile = export::profile(&state.db.get().await?, user).await?;
    let profile = profile.unwrap_or_else(|| "null".to_owned());
    let head = format!(
        "{{\"exported_at\":\"{}\",\"user_id\":\"{user}\",\"profile\":{profile}",
        now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    );
    let export = Export { db: state.db.clone(), user, now, part: 0, after: After::Nothing };
    let rest = stream::try_unfold(Some(export), next_piece);
    let head = stream::once(async move { Ok(head) });
    let text = futures_util::StreamExt::chain(head, rest);
    Ok((AS_A_FILE, Body::from_stream(text)).into_response())
}

/// Rows per piece; a plan has some tens of kilobytes.
const PAGE: i64 = 50;

/// The arrays of the document, in order.
const PARTS: [(&str, Part); 5] = [
    ("quizzes", Part::Rows(Rows::Quizzes)),
    ("meal_plans", Part::Rows(Rows::MealPlans)),
    ("workout_plans", Part::Rows(Rows::WorkoutPlans)),
    ("jobs", Part::Jobs),
    ("usage", Part::Rows(Rows::Usage)),
];

#[derive(Debug, Clone, Copy)]
enum Part {
    Rows(Rows),
    Jobs,
}

/// The position in the document. It holds no connection between two pieces, so that slow
/// readers do not exhaust the pool.
struct Export {
    db: Pool,
    user: Uuid,
    now: DateTime<Utc>,
    part: usize,
    after: After,
}

#[derive(Clone, Copy)]
enum After {
    Nothing,
    Id(Uuid),
    Job(DateTime<Utc>, Uuid),
}

type Piece = (String, Option<Export>);

async fn next_piece(export: Option<Export>) -> Result<Option<Piece>, io::Error> {
    let Some(export) = export else { return Ok(None) };
    let user = export.user;
    export.piece().await.map(Some).map_err(|error| {
        tracing::warn!(user = %UserHash::of(user), %error, "an export is broken off");
        io::Error::other(error)
    })
}

impl Export {
    async fn piece(mut self) -> Result<Piece, DbError> {
        let Some(&(name, part)) = PARTS.get(self.part) else {
            return Ok(("}".to_owned(), None));
        };
        let mut client = self.db.get().await?;
        let (rows, after) = match part {
            Part::Rows(rows) => self.rows(&client, rows).await?,
            Part::Jobs => self.jobs(&mut client).await?,
        };
        drop(client);
        let mut text = String::new();
        if matches!(self.after, After::Nothing) {
            let _ = write!(text, ",\"{name}\":[");
        } else if !rows.is_empty() {
            text.push(',');
        }
        text.push_str(&rows.join(","));
        match after {
            Some(after) => self.after = after,
            None => {
                text.push(']');
                self.part += 1;
                self.after = After::Nothing;
            }
        }
        Ok((text, Some(self)))
    }

    async fn rows(
        &self,
        client: &regimen_common::db::Client,
        rows: Rows,
    ) -> Result<(Vec<String>, Option<After>), DbError> {
        let after = match self.after {
            After::Id(id) => Some(id),
            After::Nothing | After::Job(..) => None,
        };
        let found = export::page(client, rows, self.user, after, PAGE).await?;
        let next = found.last().filter(|_| is_full(found.len())).map(|(id, _)| After::Id(*id));
        Ok((found.into_iter().map(|(_, row)| row).collect(), next))
    }

    async fn jobs(
        &self,
        client: &mut regimen_common::db::Client,
    ) -> Result<(Vec<String>, Option<After>), DbError> {
        let before = match self.after {
            After::Job(at, id) => Some((at, id)),
            After::Nothing | After::Id(_) => None,
        };
        let filter = ListFilter { before, limit: PAGE, ..ListFilter::default() };
        let found = jobs::jobs_of_user(client, self.user, &filter).await?;
        let next = found.last().filter(|_| is_full(found.len()));
        let next = next.map(|row| After::Job(row.created_at, row.id));
        let view = |row: &JobRow| serde_json::to_string(&JobView::in_list(row, self.now));
        // Our own view always serializes.
        Ok((found.iter().filter_map(|row| view(row).ok()).collect(), next))
    }
}

fn is_full(rows: usize) -> bool {
    i64::try_from(rows).is_ok_and(|rows| rows >= PAGE)
}
