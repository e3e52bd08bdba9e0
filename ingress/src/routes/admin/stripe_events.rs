//! Stripe events that need an operator, and replaying them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use regimen_common::db::billing::events::{self, EventFilter, EventState, FoundEvents, Summary};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{cut_before_next, operator, page_size};
use crate::auth::Admin;
use crate::error::{ApiError, Problem};
use crate::extract::{Name, Query, is_plain};
use crate::operators;
use crate::state::AppState;

pub(super) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(replay))
}

/// The events to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// dead (the default), unresolved, mismatched, received, applied or ignored.
    state: Option<String>,
    /// The highest number, up to 200.
    limit: Option<i64>,
    /// Where the previous page ended.
    cursor: Option<String>,
}

/// Stored events.
#[derive(Debug, Serialize, ToSchema)]
pub struct StripeEvents {
    /// Newest first.
    pub events: Vec<StripeEvent>,
    /// The number of events in each state that needs an operator.
    pub attention: Attention,
    /// The cursor of the next page; absent on the last one. A request looks at 10,000
    /// events at most: a page with a cursor may have fewer than `limit`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// Numbers of events that need an operator.
#[derive(Debug, Default, Serialize, ToSchema)]
pub struct Attention {
    /// Failed permanently.
    pub dead: i64,
    /// Waiting for their user to become known.
    pub unresolved: i64,
    /// Of the other mode, or of another account.
    pub mismatched: i64,
}

/// A stored event.
#[derive(Debug, Serialize, ToSchema)]
pub struct StripeEvent {
    /// `evt_…`
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// Its state.
    pub state: &'static str,
    /// Its customer.
    pub customer_id: Option<String>,
    /// Claims since it arrived or was replayed.
    pub attempts: i32,
    /// The reason of its state, as a code.
    pub error_code: Option<String>,
    /// The reason, for people.
    pub error_detail: Option<String>,
    /// When it was stored.
    pub received_at: DateTime<Utc>,
}

impl From<Summary> for StripeEvent {
    fn from(event: Summary) -> Self {
        let (error_code, error_detail) = event.error;
        Self {
            id: event.id,
            type_name: event.type_name,
            state: event.state.as_str(),
            customer_id: event.customer,
            attempts: event.attempts,
            error_code,
            error_detail,
            received_at: event.received_at,
        }
    }
}

/// Stored Stripe events in one state
#[utoipa::path(get, path = "/admin/stripe/events", tag = "admin", security(("token" = [])),
    params(EventsQuery), responses((status = OK, body = StripeEvents)))]
async fn list(
    State(state): State<AppState>,
    _: Admin,
    Query(query): Query<EventsQuery>,
) -> Result<Json<StripeEvents>, ApiError> {
    let in_state = query.state.as_deref().unwrap_or("dead").parse::<EventState>();
    let in_state = in_state.map_err(|error| ApiError::field("?state", error.to_string()))?;
    let limit = page_size(query.limit)?;
    let mut client = state.db.get().await?;
    if let Some(id) = query.cursor.as_deref() {
        // Its state may have changed; its place has not.
        if !is_plain(id) || events::find(&client, id).await?.is_none() {
            return Err(ApiError::field(
                "?cursor",
                "must be the next_cursor of a page; begin without it",
            ));
        }
    }
    let filter = EventFilter {
        state: Some(in_state),
        after: query.cursor,
        limit: limit + 1,
        ..EventFilter::default()
    };
    let FoundEvents { mut events, stopped_at } = events::search(&client, &filter).await?;
    let last = cut_before_next(&mut events, limit).map(|last| last.id.clone());
    let next_cursor = last.or(stopped_at);
    let mut attention = Attention::default();
    for (of_state, count) in events::attention(&mut client).await? {
        match of_state {
            EventState::Dead => attention.dead = count,
            EventState::Unresolved => attention.unresolved = count,
            EventState::Mismatched => attention.mismatched = count,
            EventState::Received | EventState::Applied | EventState::Ignored => {}
        }
    }
    let events = events.into_iter().map(StripeEvent::from).collect();
    Ok(Json(StripeEvents { events, attention, next_cursor }))
}

/// An event that is applied again.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventReplayed {
    /// `evt_…`
    pub id: String,
    /// Its state before.
    pub was: &'static str,
}

/// Apply a stored event again
///
/// From any state: effects that are already applied do not happen twice. A worker applies
/// it within a second or two.
#[utoipa::path(post, path = "/admin/stripe/events/{id}/replay", tag = "admin",
    security(("token" = [])), params(("id" = String, Path, description = "evt_…")),
    responses((status = ACCEPTED, body = EventReplayed),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json",
            description = "It must not be applied here, or is being applied right now")))]
async fn replay(
    State(state): State<AppState>,
    admin: Admin,
    Name(id): Name,
) -> Result<(StatusCode, Json<EventReplayed>), ApiError> {
    let was = operators::replay_event(&state, &operator(&admin), &id).await?;
    Ok((StatusCode::ACCEPTED, Json(EventReplayed { id, was })))
}
