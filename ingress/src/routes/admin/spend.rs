//! What AI calls cost.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use regimen_common::db::spend::{self, Grouping, Sum};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::auth::Admin;
use crate::error::ApiError;
use crate::extract::Query;
use crate::state::AppState;

/// Days shown unless asked otherwise, today included.
const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 366;
/// Sums in one answer.
const MAX_SUMS: i64 = 1_000;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(spend))
}

/// Which calls, and how they are told apart.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SpendQuery {
    /// The first day, in UTC (2026-11-28); 29 days before the last one unless given.
    from: Option<NaiveDate>,
    /// The last day, in UTC; today unless given. At most 366 days in all.
    to: Option<NaiveDate>,
    /// Comma-separated: day, provider, model, user. day,provider,model unless given.
    by: Option<String>,
}

/// What was spent.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendView {
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// The last day, in UTC.
    pub to: NaiveDate,
    /// Everything, in US dollars.
    pub total_usd: f64,
    /// Newest day first, then the dearest.
    pub sums: Vec<SumView>,
    /// Whether there are more sums than are shown; ask for fewer days.
    pub truncated: bool,
}

/// One sum. What it is not told apart by is absent.
#[derive(Debug, Serialize, ToSchema)]
pub struct SumView {
    /// In UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<NaiveDate>,
    /// Who was paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// For which model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// For whose plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    /// Paid calls.
    pub calls: i64,
    /// Prompt tokens.
    pub input_tokens: i64,
    /// The part of them that was cached.
    pub cached_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// In US dollars.
    pub cost_usd: f64,
}

impl From<Sum> for SumView {
    fn from(sum: Sum) -> Self {
        Self {
            day: sum.day,
            provider: sum.provider,
            model: sum.model,
            user_id: sum.user,
            calls: sum.calls,
            input_tokens: sum.input_tokens,
            cached_tokens: sum.cached_tokens,
            output_tokens: sum.output_tokens,
            cost_usd: usd(sum.cost_micros),
        }
    }
}

/// What AI calls cost
#[utoipa::path(get, path = "/admin/spend", tag = "admin", security(("token" = [])),
    params(SpendQuery), responses((status = OK, body = SpendView)))]
async fn spend(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<SpendQuery>,
) -> Result<Json<SpendView>, ApiError> {
    let (from, to) = days(&query, state.clock.now().date_naive())?;
    let by = grouping(query.by.as_deref().unwrap_or("day,provider,model"))?;
    let (start, end) = (midnight(from), midnight(to) + TimeDelta::days(1));
    let client = state.db.get().await?;
    let total = spend::sums(&client, start, end, Grouping::default(), 1).await?;
    let mut sums = spend::sums(&client, start, end, by, MAX_SUMS + 1).await?;
    let truncated = super::cut(&mut sums, MAX_SUMS);
    Ok(Json(SpendView {
        from,
        to,
        total_usd: usd(total.first().map_or(0, |sum| sum.cost_micros)),
        sums: sums.into_iter().map(SumView::from).collect(),
        truncated,
    }))
}

fn days(query: &SpendQuery, today: NaiveDate) -> Result<(NaiveDate, NaiveDate), ApiError> {
    let to = query.to.unwrap_or(today);
    let back = || to.checked_sub_signed(TimeDelta::days(DEFAULT_DAYS - 1));
    let from = query.from.or_else(back).unwrap_or(to);
    match (to - from).num_days() {
        0..MAX_DAYS => Ok((from, to)),
        _ => Err(ApiError::field(
            "?from",
            format!("must be at most {} days before to", MAX_DAYS - 1),
        )),
    }
}

fn grouping(names: &str) -> Result<Grouping, ApiError> {
    let mut by = Grouping::default();
    for name in names.split(',') {
        match name.trim() {
            "day" => by.day = true,
            "provider" => by.provider = true,
            "model" => by.model = true,
            "user" => by.user = true,
            _ => return Err(ApiError::field("?by", "must name day, provider, model or user")),
        }
    }
    Ok(by)
}

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn usd(micros: i64) -> f64 {
    micros as f64 / 1e6
}
