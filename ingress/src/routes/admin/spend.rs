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

/// The default number of days, today included.
const DEFAULT_DAYS: i64 = 30;
const MAX_DAYS: i64 = 366;
/// The highest number of sums in one response.
const MAX_SUMS: i64 = 1_000;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(spend))
}

/// The calls, and the grouping.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SpendQuery {
    /// The first day, in UTC (2026-11-28); by default 29 days before the last one.
    from: Option<NaiveDate>,
    /// The last day, in UTC; by default today. At most 366 days in total.
    to: Option<NaiveDate>,
    /// Comma-separated: day, provider, model, user. By default day,provider,model.
    by: Option<String>,
}

/// The spend.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpendView {
    /// The first day, in UTC.
    pub from: NaiveDate,
    /// The last day, in UTC.
    pub to: NaiveDate,
    /// The total, in US dollars.
    pub total_usd: f64,
    /// Newest day first, then the highest cost.
    pub sums: Vec<SumView>,
    /// Whether there are more sums than shown; request fewer days.
    pub truncated: bool,
}

/// One sum. Columns that it is not grouped by are absent.
#[derive(Debug, Serialize, ToSchema)]
pub struct SumView {
    /// The day, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<NaiveDate>,
    /// The provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<Uuid>,
    /// Paid calls.
    pub calls: i64,
    /// Prompt tokens.
    pub input_tokens: i64,
    /// The part of them that was cached.
    pub cached_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Cost in US dollars.
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

/// The cost of AI calls
#[utoipa::path(get, path = "/admin/spend", tag = "admin", security(("token" = [])),
    params(SpendQuery), responses((status = OK, body = SpendView)))]
async fn spend(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<SpendQuery>,
) -> Result<Json<SpendView>, ApiError> {
    let (from, to) = days(&query, state.clock.now().date_naive())?;
    let by = query.by.as_deref().unwrap_or("day,provider,model").parse::<Grouping>();
    let by = by.map_err(|wrong| ApiError::field("?by", wrong))?;
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

fn midnight(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc()
}

fn usd(micros: i64) -> f64 {
    micros as f64 / 1e6
}
