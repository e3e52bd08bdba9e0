//! The remaining quotas of the caller.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, NaiveDate, Utc};
use regimen_common::account::PlanTier;
use regimen_common::db::generations;
use regimen_common::db::models::{self, RetiringModel};
use regimen_common::rate_limit::Check;
use regimen_common::rate_limit::fields::whole_seconds;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::AppState;

/// The usage route.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(usage))
}

/// A user's limits and the remaining quotas.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct UsageView {
    /// `free` or `pro`: which limits apply.
    pub tier: &'static str,
    /// How often requests may be sent.
    pub rates: Vec<RateUsage>,
    /// The plan's monthly generations.
    pub generations: GenerationUsage,
    /// The cost of this month's generations.
    pub spend: Spend,
    /// Configured models that are retired or retire soon.
    pub retiring_models: Vec<ModelWarning>,
}

/// One rate limit.
#[derive(Debug, Serialize, ToSchema)]
pub struct RateUsage {
    /// Its name, as in `RateLimit-Policy`.
    pub policy: String,
    /// Requests per window.
    pub quota: u32,
    /// The window in seconds.
    pub window_seconds: u64,
    /// Requests possible now.
    pub remaining: u32,
    /// Seconds until one more is possible; absent while the quota is full.
    pub next_in_seconds: Option<u64>,
    /// False if exceeding it is only reported to operators.
    pub enforced: bool,
}

/// The month of generations.
#[derive(Debug, Serialize, ToSchema)]
pub struct GenerationUsage {
    /// The plan's generations per month.
    pub allowed: i64,
    /// Counted generations; those that failed because of the service are not counted.
    pub used: i64,
    /// The remaining generations.
    pub left: i64,
    /// When the count restarts from zero.
    pub resets_at: DateTime<Utc>,
    /// False if this deployment does not enforce the number.
    pub enforced: bool,
}

/// The cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct Spend {
    /// Millionths of a US dollar since the month began, in UTC.
    pub month_usd_micros: i64,
}

/// A configured model that is retired or retires soon.
#[derive(Debug, Serialize, ToSchema)]
pub struct ModelWarning {
    /// Its provider.
    pub provider: String,
    /// Its id.
    pub model: String,
    /// The day on which it retires or retired.
    pub retires_on: NaiveDate,
    /// Whether that day has come.
    pub retired: bool,
    /// The model that is called instead from then on.
    pub successor: Option<String>,
}

/// Your remaining quotas
#[utoipa::path(get, path = "/v1/usage", tag = "account", security(("token" = [])),
    responses((status = OK, body = UsageView)))]
async fn usage(State(state): State<AppState>, caller: Caller) -> Result<Json<UsageView>, ApiError> {
    let user_id = caller.acting_for(None)?;
    let limits = &state.limits;
    let tier = limits.tiers.of(user_id).await;
    let policies = limits.config.rates.all(tier);
    let decision = limits.limiter.look(&user_id.to_string(), &policies).await;
    let client = state.db.get().await?;
    let month = generations::month(&client, user_id).await?;
    Ok(Json(UsageView {
        tier: tier_name(tier),
        rates: decision.checks.iter().map(RateUsage::from).collect(),
        generations: GenerationUsage {
            allowed: month.allowed,
            used: month.used,
            left: month.left(),
            resets_at: month.ends_at,
            enforced: limits.config.monthly_quota,
        },
        spend: Spend { month_usd_micros: generations::month_cost(&client, user_id).await? },
        retiring_models: models::retiring(&client).await?.into_iter().map(Into::into).collect(),
    }))
}

fn tier_name(tier: PlanTier) -> &'static str {
    match tier {
        PlanTier::Free => "free",
        PlanTier::Pro => "pro",
    }
}

impl From<RetiringModel> for ModelWarning {
    fn from(model: RetiringModel) -> Self {
        let RetiringModel { provider, model, retires_on, retired, successor } = model;
        Self { provider, model, retires_on, retired, successor }
    }
}

impl From<&Check> for RateUsage {
    fn from(check: &Check) -> Self {
        let quota = check.policy.quota.get();
        let full = check.remaining >= quota;
        Self {
            policy: check.policy.name.to_string(),
            quota,
            window_seconds: check.policy.window.as_secs(),
            remaining: check.remaining,
            next_in_seconds: (!full).then(|| whole_seconds(check.next_unit)),
            enforced: !check.policy.shadow,
        }
    }
}
