//! Liveness, readiness and the legacy health answer.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use regimen_common::db::models::{self, ProviderInUse};
use regimen_common::db::{DbError, Pool};
use regimen_common::provider::ProviderName;
use regimen_common::readiness::{Liveness, Readiness};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::AppState;

/// Health checks are frequent and come from few addresses.
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
    let database = state.db.ready().await;
    let providers = match &database {
        Ok(()) => in_use(&state.db).await,
        Err(_) => Ok(Vec::new()),
    };
    let (usable, reasons) = verdict(database.as_ref().err(), &providers);
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

async fn in_use(db: &Pool) -> Result<Vec<ProviderInUse>, DbError> {
    models::providers(&db.get().await?).await
}

/// The usable providers, and what is wrong.
fn verdict<'a>(
    database: Option<&DbError>,
    providers: &'a Result<Vec<ProviderInUse>, DbError>,
) -> (Vec<&'a str>, Vec<String>) {
    let providers = match (database, providers) {
        (Some(error), _) | (None, Err(error)) => {
            let unknown = "how the providers fare is not known without Postgres".to_owned();
            return (Vec::new(), vec![error.trouble().to_owned(), unknown]);
        }
        (None, Ok(providers)) => providers,
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
    let readiness = Readiness::look(&state.db, &state.redis, &state.shutdown.drain).await;
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
        let workers = Ok(vec![
            told("anthropic", true, false),
            told("gemini", false, true),
            told("openai", false, false),
        ]);
        let (usable, reasons) = verdict(None, &workers);
        assert_eq!(usable, ["openai"]);
        assert!(reasons[0].starts_with("anthropic is left alone"), "{reasons:?}");
        assert!(reasons[1].starts_with("gemini is paused"), "{reasons:?}");
        let nobody = Ok(Vec::new());
        assert!(verdict(None, &nobody).0.is_empty());
        let (usable, reasons) = verdict(Some(&DbError::ReadOnly), &nobody);
        assert!(usable.is_empty() && reasons[0].contains("read-only"), "{reasons:?}");
    }
}
