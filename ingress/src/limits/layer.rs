//! The rate limit in front of the limited routes, and its headers.

use axum::body::Body;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use regimen_common::rate_limit::fields::{limit_field, policy_field, whole_seconds};
use regimen_common::rate_limit::{Decision, Policy};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::Caller;
use crate::error::{ApiError, QuotaExceeded};
use crate::extract::read_body;
use crate::state::AppState;

const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT_HEADER: HeaderName = HeaderName::from_static("ratelimit");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Asking for plans.
    GeneratePlans,
    /// Asking for one meal plan, the legacy way.
    MealPlan,
    /// Asking for one workout plan, the legacy way.
    WorkoutPlan,
    /// What makes us call Stripe.
    Billing,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] =
        [Self::GeneratePlans, Self::MealPlan, Self::WorkoutPlan, Self::Billing];

    /// Its policy's name in headers, keys and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::GeneratePlans => "generate-plans",
            Self::MealPlan => "meal-plan",
            Self::WorkoutPlan => "workout-plan",
            Self::Billing => "billing",
        }
    }

    /// The action of a matched route, if it is limited.
    pub fn of(method: &Method, route: &str) -> Option<Self> {
        match route {
            "/api/stripe/invoices" if method == Method::GET => Some(Self::Billing),
            _ if method != Method::POST => None,
            "/v1/plans" | "/generate-plans" | "/generate-complete-plan" => {
                Some(Self::GeneratePlans)
            }
            "/generate-meal-plan" => Some(Self::MealPlan),
            "/generate-workout-plan" => Some(Self::WorkoutPlan),
            "/v1/billing/checkout"
            | "/v1/billing/portal"
            | "/api/stripe/create-checkout-session" => Some(Self::Billing),
            _ => None,
        }
    }
}

/// Refuses a limited request when its user's quota is used up; else lets it
/// through and tells on its answer what is left.
///
/// # Errors
/// 401 and 403 by [`Caller`], 429 by the limits.
pub async fn enforce(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(action) = route.and_then(|route| Action::of(request.method(), route)) else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &state).await?;
    let (user, body) = limited_user(&caller, body).await?;
    let request = Request::from_parts(parts, body);
    let Some(user) = user else {
        // A backend that names nobody: the handler says so.
        return Ok(next.run(request).await);
    };
    let limits = &state.limits;
    let policies = limits.config.rates.policies(action, limits.tiers.of(user).await);
    let subject = user.to_string();
    let taken = limits.limiter.take(&subject, &policies).await;
    report(&taken);
    if !taken.passes() {
        return Err(refusal(&policies, &taken));
    }
    let decided = Instant::now();
    let mut response = next.run(request).await;
    let (decision, decided) = if is_counted(&response) {
        (taken, decided)
    } else {
        (limits.limiter.give_back(&subject, &policies).await, Instant::now())
    };
    let age = decided.elapsed();
    put(response.headers_mut(), policy_field(&policies), limit_field(&decision, age));
    Ok(response)
}

/// Whose quota counts: the token's user, or the one a trusted backend names,
/// for which the body must be looked into.
async fn limited_user(caller: &Caller, body: Body) -> Result<(Option<Uuid>, Body), ApiError> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        user_id: Value,
    }
    if let Some(user) = caller.user_id {
        return Ok((Some(user), body));
    }
    let bytes = read_body(body).await?;
    let named: Option<Named> = serde_json::from_slice(&bytes).ok();
    let user = named.and_then(|named| Uuid::try_parse(named.user_id.as_str()?).ok());
    Ok((user, Body::from(bytes)))
}

/// Only what was accepted now counts: no refusal, no repeated answer.
fn is_counted(response: &Response) -> bool {
    response.status().is_success() && !response.headers().contains_key(REPLAYED)
}

fn refusal(policies: &[Policy], decision: &Decision) -> ApiError {
    let retry_after = decision.retry_after();
    let names: Vec<String> =
        decision.violated().map(|check| check.policy.name.to_string()).collect();
    let mut headers = HeaderMap::new();
    put(&mut headers, policy_field(policies), limit_field(decision, std::time::Duration::ZERO));
    let detail = format!(
        "the limit {} is used up; the next request is possible in {} s",
        names.join(" and "),
        whole_seconds(retry_after)
    );
    let exceeded = QuotaExceeded { detail, retry_after, policies: names, headers };
    ApiError::QuotaExceeded(Box::new(exceeded))
}

fn put(headers: &mut HeaderMap, policy: String, limit: String) {
    for (name, value) in [(POLICY_HEADER, policy), (LIMIT_HEADER, limit)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
}

fn report(decision: &Decision) {
    for check in &decision.checks {
        let outcome = match (check.passes, check.policy.shadow) {
            (true, _) => "passed",
            (false, true) => "shadow",
            (false, false) => "refused",
        };
        metrics::counter!(
            "regimen_rate_limited_total",
            "policy" => check.policy.name.to_string(), "outcome" => outcome
        )
        .increment(1);
    }
}
