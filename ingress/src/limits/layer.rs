//! The rate limit in front of the limited routes, and its headers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRef, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use regimen_common::rate_limit::fields::{limit_field, policy_field, whole_seconds};
use regimen_common::rate_limit::{Decision, RatePolicy};
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use super::RateLimits;
use crate::auth::{Authenticator, Caller};
use crate::error::{ApiError, QuotaExceeded};
use crate::extract::{read_body, without_mark};
use crate::idempotency::{IDEMPOTENCY_KEY, NewlyAccepted, Repeated};

const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT_HEADER: HeaderName = HeaderName::from_static("ratelimit");

/// The limited actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// A request for plans.
    GeneratePlans,
    /// A legacy request for one meal plan.
    MealPlan,
    /// A legacy request for one workout plan.
    WorkoutPlan,
    /// A request that calls Stripe.
    Billing,
    /// Exporting and deleting one's account.
    Account,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 5] =
        [Self::GeneratePlans, Self::MealPlan, Self::WorkoutPlan, Self::Billing, Self::Account];

    /// Its policy's name in headers, keys and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::GeneratePlans => "generate-plans",
            Self::MealPlan => "meal-plan",
            Self::WorkoutPlan => "workout-plan",
            Self::Billing => "billing",
            Self::Account => "account",
        }
    }

    /// Whether its responses are stored under an idempotency key.
    pub fn keeps_answers(self) -> bool {
        match self {
            Self::GeneratePlans | Self::MealPlan | Self::WorkoutPlan => true,
            Self::Billing | Self::Account => false,
        }
    }
}

/// The limit that a request exceeds, if any: it may then only get its stored response.
#[derive(Debug, Clone)]
pub struct OverLimit(pub Option<QuotaExceeded>);

impl<S: Send + Sync> FromRequestParts<S> for OverLimit {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.remove::<Self>().unwrap_or(Self(None)))
    }
}

/// Marks routes whose handler also runs beyond the limit: it stores the targets of the
/// quiz before it refuses.
#[derive(Debug, Clone, Copy)]
pub struct StoresTargets;

/// `routes`, with each request counted as one `action` of its user.
pub fn limited<S>(state: &S, action: Action, routes: OpenApiRouter<S>) -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Arc<RateLimits>: FromRef<S>,
    Arc<Authenticator>: FromRef<S>,
{
    routes.route_layer(from_fn_with_state((state.clone(), action), enforce))
}

/// Refuses a request when its user's quota is used up; otherwise adds the remaining quota
/// to its response.
///
/// # Errors
/// 401 and 403 by [`Caller`], 429 by the limits.
async fn enforce<S>(
    State((state, action)): State<(S, Action)>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError>
where
    S: Send + Sync,
    Arc<RateLimits>: FromRef<S>,
    Arc<Authenticator>: FromRef<S>,
{
    let (mut parts, body) = request.into_parts();
    let caller = Caller::from_request_parts(&mut parts, &state).await?;
    let (user, body) = limited_user(&caller, body).await?;
    let mut request = Request::from_parts(parts, body);
    let Some(user) = user else {
        // A backend that names no user: the handler reports it.
        return Ok(next.run(request).await);
    };
    let limits = Arc::<RateLimits>::from_ref(&state);
    let policies = limits.config.rates.policies(action, limits.tiers.of(user).await);
    let subject = user.to_string();
    let taken = limits.limiter.take(&subject, &policies).await;
    report(&taken);
    if !taken.passes() {
        let exceeded = refusal(&policies, &taken);
        let asked = request.headers().contains_key(IDEMPOTENCY_KEY)
            || request.extensions().get::<StoresTargets>().is_some();
        if !action.keeps_answers() || !asked {
            return Err(ApiError::QuotaExceeded(Box::new(exceeded)));
        }
        request.extensions_mut().insert(OverLimit(Some(exceeded.clone())));
        let mut response = next.run(request).await;
        if !is_repeated(&response) {
            return Err(ApiError::QuotaExceeded(Box::new(exceeded)));
        }
        response.headers_mut().extend(exceeded.headers);
        return Ok(response);
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

/// The user whose quota counts: the token's, or the one that a trusted backend names,
/// possibly in the body.
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
    let named: Option<Named> = serde_json::from_slice(without_mark(&bytes)).ok();
    let user = named.and_then(|named| Uuid::try_parse(named.user_id.as_str()?).ok());
    Ok((user, Body::from(bytes)))
}

/// Only newly accepted requests count: no refusals, no repeated responses.
fn is_counted(response: &Response) -> bool {
    let accepted = response.extensions().get::<NewlyAccepted>().is_some();
    (accepted || response.status().is_success()) && !is_repeated(response)
}

fn is_repeated(response: &Response) -> bool {
    response.extensions().get::<Repeated>().is_some()
}

fn refusal(policies: &[RatePolicy], decision: &Decision) -> QuotaExceeded {
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
    QuotaExceeded { detail, retry_after, policies: names, headers }
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
