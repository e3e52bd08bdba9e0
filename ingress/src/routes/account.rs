//! A user's own account: exporting its data, and deleting it.

use std::fmt::Write as _;
use std::io;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream;
use regimen_common::db::erasure::{self, Deletion};
use regimen_common::db::export::{self, Rows};
use regimen_common::db::jobs::{self, JobRow, ListFilter};
use regimen_common::db::{DbError, Pool};
use regimen_common::telemetry::UserHash;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{ApiError, Problem};
use crate::limits::{Action, limited};
use crate::state::AppState;
use crate::views::JobView;

/// The account routes.
pub fn router(state: &AppState) -> OpenApiRouter<AppState> {
    let routes = OpenApiRouter::new().routes(routes!(delete)).routes(routes!(export));
    limited(state, Action::Account, routes)
}

/// A deleted account.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountDeleted {
    /// From this time on no job of the account is sent to a provider.
    pub deleted_at: DateTime<Utc>,
    /// By this time only spending is left, without the user.
    pub gone_by: DateTime<Utc>,
}

/// Delete your account
///
/// The response means that profile, quizzes and plans are deleted. Queued jobs are
/// cancelled before a provider is called, and running ones are stopped. Jobs, replies,
/// stored responses, notices and links to customers are erased within a day. The cost of
/// calls is kept without your id. The login belongs to the app, which deletes it itself.
/// Idempotent.
#[utoipa::path(delete, path = "/v1/account", tag = "account", security(("token" = [])),
    responses((status = ACCEPTED, body = AccountDeleted),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "A subscription would renew; end it first. Or the app keeps rows that \
                need the profile")))]
async fn delete(
    State(state): State<AppState>,
    caller: Caller,
) -> Result<(StatusCode, Json<AccountDeleted>), ApiError> {
    let user = caller.acting_for(None)?;
    let mut client = state.db.get().await?;
    let tx = client.transaction().await?;
    let deleted = erasure::delete_account(&tx, user, false).await;
    let at = match deleted {
        Ok(Deletion::Deleted { at }) => at,
        Ok(Deletion::Subscribed) => {
            return Err(ApiError::Conflict(
                "your subscription would go on being paid for; end it first (POST \
                 /v1/billing/portal leads there), then delete the account"
                    .to_owned(),
            ));
        }
        Err(error) if error.blames_a_row() => {
            tracing::error!(
                user = %UserHash::of(user), %error,
                "an account cannot be deleted: a table of the app's refers to its profile; let \
                 it go with the profile (on delete cascade)"
            );
            return Err(ApiError::Conflict(
                "the app keeps rows that need your profile; nothing was deleted. Ask the app's \
                 support"
                    .to_owned(),
            ));
        }
        Err(error) => return Err(error.into()),
    };
    tx.commit().await?;
    tracing::info!("an account is deleted at its owner's wish");
    let body = AccountDeleted { deleted_at: at, gone_by: at + TimeDelta::days(1) };
    Ok((StatusCode::ACCEPTED, Json(body)))
}

/// All data kept about a user. Used only for the schema, because the response is written
/// row by row.
#[derive(Debug, Serialize, ToSchema)]
pub struct AccountExport {
    /// The time of the export.
    exported_at: DateTime<Utc>,
    /// The user.
    user_id: Uuid,
    /// The profile as the app stores it; null if there is none.
    #[schema(value_type = Option<Object>)]
    profile: Value,
    /// Quizzes with their answers, and the targets computed from them.
    #[schema(value_type = Vec<Object>)]
    quizzes: Value,
    /// Meal plans as the app stores them.
    #[schema(value_type = Vec<Object>)]
    meal_plans: Value,
    /// Workout plans as the app stores them.
    #[schema(value_type = Vec<Object>)]
    workout_plans: Value,
    /// Jobs, newest first, as in lists.
    jobs: Vec<JobView>,
    /// The tokens and cost of each paid call.
    #[schema(value_type = Vec<Object>)]
    usage: Value,
}

const AS_A_FILE: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (
        header::CONTENT_DISPOSITION,
        HeaderValue::from_static("attachment; filename=\"regimen-export.json\""),
    ),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
];

/// Export your data
///
/// One JSON document with all data kept about you: profile, quizzes, plans, jobs and
/// spending. It is sent while it is read; if it ends early, it is not valid JSON, and the
/// request must be repeated.
#[utoipa::path(get, path = "/v1/account/export", tag = "account", security(("token" = [])),
    responses((status = OK, body = AccountExport)))]
async fn export(
    State(state): State<AppState>,
    caller: Caller,
) -> Result<([(HeaderName, HeaderValue); 3], Body), ApiError> {
    let user = caller.acting_for(None)?;
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
    Ok((AS_A_FILE, Body::from_stream(text)))
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
        let client = self.db.get().await?;
        let (rows, after) = match part {
            Part::Rows(rows) => self.rows(&client, rows).await?,
            Part::Jobs => self.jobs(&client).await?,
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
        client: &regimen_common::db::Client,
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
