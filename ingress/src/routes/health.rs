//! Liveness, readiness and the legacy health answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use regimen_common::db::DbError;
use regimen_common::db::models::ProviderInUse;
use regimen_common::provider::ProviderName;
use regimen_common::readiness::{Liveness, Readiness};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

/// Health checks are frequent and come from few addresses. All of them share their
/// questions to Postgres, so that nobody can keep it busy with them.
pub const FLOOD_EXEMPT: &[&str] = &["/health", "/livez", "/readyz"];

/// The health routes.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(health)).routes(routes!(live)).routes(routes!(ready))
}

/// The health answer of the replaced service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `healthy`, or `degraded` while no plan can be made.
    pub status: &'static str,
    /// The service's name.
    pub service: &'static str,
    /// The release.
    pub version: &'static str,
    /// Whether each provider is usable: a live worker has a key for it, no operator has
    /// paused it, and its calls do not fail.
    #[schema(example = json!({"openai": true, "anthropic": false}))]
    pub ai_providers: BTreeMap<&'static str, bool>,
    /// Whether Postgres accepts jobs.
    pub database: bool,
    /// What is wrong and what to do about it.
    pub reasons: Vec<String>,
}

/// The replaced service's health answer
///
/// 200 as long as the process answers; the body says what is missing. Workers have the
/// providers' keys and report the state of each provider.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = OK, body = Health)))]
async fn health(State(state): State<AppState>) -> Json<Health> {
    let database = state.probes.postgres().await;
    let providers = match &database {
        Ok(()) => state.probes.providers().await,
        Err(error) => Err(Arc::clone(error)),
    };
    let (usable, reasons) = verdict(providers.as_ref().map(|all| all.as_slice()));
    Json(Health {
        status: if usable.is_empty() { "degraded" } else { "healthy" },
        service: "regimen",
        version: env!("CARGO_PKG_VERSION"),
        ai_providers: ProviderName::ALL
            .iter()
            .map(|name| (name.as_str(), usable.contains(&name.as_str())))
            .collect(),
        database: database.is_ok(),
        reasons,
    })
}

/// The usable providers, and what is wrong.
fn verdict<'a>(
    providers: Result<&'a [ProviderInUse], &Arc<DbError>>,
) -> (Vec<&'a str>, Vec<String>) {
    let providers = match providers {
        Ok(providers) => providers,
        Err(error) => {
            let unknown = "how the providers fare is not known without Postgres".to_owned();
            return (Vec::new(), vec![error.trouble().to_owned(), unknown]);
        }
    };
    if providers.is_empty() {
        let nobody = "no worker with a provider's key lives, so nobody makes plans; start \
                      regimen-worker, or give it a key";
        return (Vec::new(), vec![nobody.to_owned()]);
    }
    let (mut usable, mut reasons) = (Vec::new(), Vec::new());
    for ProviderInUse { provider, left_alone, paused, .. } in providers {
        if *paused {
            reasons.push(format!(
                "{provider} is paused by an operator; resume it at /admin/providers/{provider}/resume"
            ));
        } else if *left_alone {
            reasons.push(format!(
                "{provider} is left alone by every worker for now, because its calls fail; \
                 /admin/jobs and the workers' log say how"
            ));
        } else {
            usable.push(provider.as_str());
        }
    }
    (usable, reasons)
}

/// Whether the process works as intended
///
/// 503 when a vital task has ended (the health check of Redis, the subscription to job
/// changes, the upkeep of metrics): restart the process. A store that is away does not
/// change it. No response means that the process hangs.
#[utoipa::path(get, path = "/livez", tag = "health", responses(
    (status = OK, body = Liveness),
    (status = SERVICE_UNAVAILABLE, body = Liveness, description = "Only a restart helps")))]
async fn live(State(state): State<AppState>) -> (StatusCode, Json<Liveness>) {
    let liveness = state.vital.liveness();
    let alive = liveness.is_alive();
    (if alive { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(liveness))
}

/// Whether requests can be accepted
///
/// 503 while Postgres accepts no jobs, and once the process drains. While Redis is away
/// it stays 200, because the process works without it.
#[utoipa::path(get, path = "/readyz", tag = "health", responses(
    (status = OK, body = Readiness, description = "Ready, or degraded: Redis is away"),
    (status = SERVICE_UNAVAILABLE, body = Readiness,
        description = "Postgres takes no jobs, or the process drains")))]
async fn ready(State(state): State<AppState>) -> (StatusCode, Json<Readiness>) {
    let readiness = state.probes.readiness().await;
    let takes_work = readiness.takes_work();
    (if takes_work { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(readiness))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(provider: &str, left_alone: bool, paused: bool) -> ProviderInUse {
        ProviderInUse {
            provider: provider.to_owned(),
            left_alone,
            paused,
            ..ProviderInUse::default()
        }
    }

    #[test]
    fn a_provider_can_be_asked_unless_it_is_paused_or_fails() {
        let workers = [
            told("anthropic", true, false),
            told("gemini", false, true),
            told("openai", false, false),
        ];
        let (usable, reasons) = verdict(Ok(&workers));
        assert_eq!(usable, ["openai"]);
        assert!(reasons[0].starts_with("anthropic is left alone"), "{reasons:?}");
        assert!(reasons[1].starts_with("gemini is paused"), "{reasons:?}");
        assert!(verdict(Ok(&[])).0.is_empty());
        let read_only = Arc::new(DbError::ReadOnly);
        let (usable, reasons) = verdict(Err(&read_only));
        assert!(usable.is_empty() && reasons[0].contains("read-only"), "{reasons:?}");
    }
}
