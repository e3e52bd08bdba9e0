//! How often one client address may do what the console's routes do. Each router names
//! its limits beside its routes; pages that only read have none but the flood guard and
//! the time limit of their statements.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use regimen_common::rate_limit::RatePolicy;
use regimen_common::rate_limit::fields::whole_seconds;

use super::fault::Fault;
use crate::client_address::ClientAddress;
use crate::error::{ApiError, QuotaExceeded};
use crate::state::AppState;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Tries to sign in.
    SignIn,
    /// Actions.
    Act,
    /// Large files.
    Export,
    /// Plans made at `/try`.
    Try,
}

impl Limit {
    fn policy(self) -> RatePolicy {
        let (name, quota, window) = match self {
            Self::SignIn => ("console-sign-in", 10, 600),
            Self::Act => ("console-actions", 120, 60),
            Self::Export => ("console-exports", 10, 60),
            Self::Try => ("console-tries", 30, 3_600),
        };
        let quota = NonZeroU32::new(quota).unwrap_or(NonZeroU32::MIN);
        RatePolicy { name: name.into(), quota, window: Duration::from_secs(window), shadow: false }
    }
}

/// `routes`, each request counted as one of its client address.
pub(super) fn limited(
    state: &AppState,
    limit: Limit,
    routes: Router<AppState>,
) -> Router<AppState> {
    routes.route_layer(from_fn_with_state((state.clone(), limit), enforce))
}

async fn enforce(
    State((state, limit)): State<(AppState, Limit)>,
    request: Request,
    next: Next,
) -> Result<Response, Fault> {
    if request.method().is_safe() && limit != Limit::Export {
        return Ok(next.run(request).await);
    }
    let client = request.extensions().get::<ClientAddress>();
    let subject = client.map_or_else(|| "unknown".to_owned(), |client| client.group().to_string());
    take(&state, limit, &subject).await?;
    Ok(next.run(request).await)
}

/// Takes one unit of `subject`.
///
/// # Errors
/// 429 when none is left.
pub(super) async fn take(state: &AppState, limit: Limit, subject: &str) -> Result<(), ApiError> {
    let policies = [limit.policy()];
    let decision = state.limits.limiter.take(subject, &policies).await;
    if decision.passes() {
        return Ok(());
    }
    let retry_after = decision.retry_after();
    Err(ApiError::QuotaExceeded(Box::new(QuotaExceeded {
        detail: format!(
            "too many tries; the next one is possible in {} s",
            whole_seconds(retry_after)
        ),
        retry_after,
        policies: policies.iter().map(|policy| policy.name.to_string()).collect(),
        headers: axum::http::HeaderMap::new(),
    })))
}

/// Gives the unit back: the try was an honest one.
pub(super) async fn give_back(state: &AppState, limit: Limit, subject: &str) {
    state.limits.limiter.give_back(subject, &[limit.policy()]).await;
}
