//! The control API: settings of the simulator, and what it has received.

pub(crate) mod action;
pub(crate) mod book;
pub(crate) mod markers;
pub(crate) mod rule;
pub(crate) mod settings;
mod wait;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Query, State as App};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::calls::ledger::Filter;
use crate::clock::{epoch_micros, millis};
use crate::provider::Provider;
use crate::state::State;

use self::settings::Control;

/// The routes of the control API.
pub(crate) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/control", post(change).delete(reset).get(stats))
        .route("/control/stats", get(stats))
        .route("/control/calls", get(list))
        .route("/control/wait", get(wait::wait))
        .route("/control/release", post(release))
}

/// A request that the control API refuses.
fn refused(message: impl std::fmt::Display) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({"error": message.to_string()}))).into_response()
}

/// The calls that the query selects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Which {
    provider: Option<Provider>,
    model: Option<String>,
    marker: Option<String>,
    limit: Option<usize>,
}

impl Which {
    /// The filter; a new marker is counted from now on.
    fn filter(&self, state: &State) -> Result<Filter, markers::MarkerError> {
        let marker =
            self.marker.as_deref().map(|marker| known_marker(state, marker)).transpose()?;
        Ok(Filter { provider: self.provider, model: self.model.clone(), marker })
    }

    fn names_any(&self) -> bool {
        self.provider.is_some() || self.model.is_some() || self.marker.is_some()
    }
}

/// Makes sure that calls are counted by `marker`. The lock on the settings prevents calls
/// from arriving between reading the log and adding the marker.
fn known_marker(state: &State, marker: &str) -> Result<Arc<str>, markers::MarkerError> {
    let name: Arc<str> = marker.into();
    if state.ledger.counts_by(marker) {
        return Ok(name);
    }
    let mut book = state.book_mut();
    book.markers.add(marker)?;
    state.ledger.count_by(&name);
    Ok(name)
}

/// Applies `control` to the running simulator; returns the names of its rules.
///
/// # Errors
/// The settings are impossible, with the reason.
pub(crate) fn apply(state: &State, control: &Control) -> Result<Vec<String>, String> {
    control.validate().map_err(|error| error.to_string())?;
    let texts =
        control.rules.iter().filter_map(|rule| rule.marker.as_ref()).chain(&control.markers);
    for text in texts {
        known_marker(state, text).map_err(|error| error.to_string())?;
    }
    control.models.iter().for_each(|model| state.models.add(model.clone()));
    state.book_mut().apply(control).map_err(|error| error.to_string())
}

async fn change(App(state): App<Arc<State>>, body: Bytes) -> Response {
    let control: Control = match serde_json::from_slice(&body) {
        Ok(control) => control,
        Err(error) => return refused(format!("the control body does not read: {error}")),
    };
    match apply(&state, &control) {
        Ok(rules) => Json(json!({ "rules": rules })).into_response(),
        Err(error) => refused(error),
    }
}

/// The rules to remove or release, in the query or the body.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Chosen {
    rule: Option<String>,
    marker: Option<String>,
}

impl Chosen {
    fn means(&self, rule: &rule::Rule) -> bool {
        self.rule.as_ref().is_none_or(|name| *name == rule.name)
            && self.marker.as_ref().is_none_or(|marker| Some(marker) == rule.spec.marker.as_ref())
    }
}

/// Without a query resets everything; with one removes only these rules.
async fn reset(App(state): App<Arc<State>>, Query(chosen): Query<Chosen>) -> Json<Value> {
    let mut book = state.book_mut();
    let gone = book.remove(|rule| chosen.means(rule));
    if chosen.rule.is_none() && chosen.marker.is_none() {
        *book = book::Book::default();
        state.ledger.clear();
        state.models.clear();
        state.prompts.clear();
    }
    Json(json!({ "removed": gone }))
}

/// Releases held calls. Their rules hold no further calls.
async fn release(App(state): App<Arc<State>>, Query(chosen): Query<Chosen>) -> Json<Value> {
    let book = state.book();
    let rules: Vec<_> = book.rules().iter().filter(|rule| chosen.means(rule)).collect();
    rules.iter().for_each(|rule| rule.released.cancel());
    Json(json!({ "released": rules.len() }))
}

async fn stats(App(state): App<Arc<State>>, Query(which): Query<Which>) -> Response {
    if which.names_any() {
        return match which.filter(&state) {
            Ok(filter) => Json(state.ledger.tally(&filter)).into_response(),
            Err(error) => refused(error),
        };
    }
    let book = state.book();
    let rules: Vec<Value> = book
        .rules()
        .iter()
        .map(|rule| {
            let (matched, used) = rule.counts();
            json!({"name": rule.name, "matched": matched, "used": used, "action": rule.action.label()})
        })
        .collect();
    let view = state.ledger.view(book.markers.names());
    let mut shown = match serde_json::to_value(&view) {
        Ok(shown) => shown,
        Err(error) => return refused(error),
    };
    shown["rules"] = json!(rules);
    shown["open_connections"] = json!(state.connections.load(Ordering::SeqCst));
    shown["now_ms"] = json!(millis(epoch_micros()));
    Json(shown).into_response()
}

/// The latest calls with their bodies.
async fn list(App(state): App<Arc<State>>, Query(which): Query<Which>) -> Response {
    match which.filter(&state) {
        Ok(filter) => Json(state.ledger.calls(&filter, which.limit.unwrap_or(100))).into_response(),
        Err(error) => refused(error),
    }
}
