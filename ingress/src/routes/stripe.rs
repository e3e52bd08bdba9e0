//! The Stripe webhook: verify, store, acknowledge. A worker applies the stored
//! events.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use chrono::{DateTime, Utc};
use regimen_common::billing::event::Event;
use regimen_common::db::DbError;
use regimen_common::db::billing::events::{self, NewEvent, Source, Stored};
use regimen_common::dispatch::{List, Message};
use regimen_common::telemetry::spans;
use regimen_common::telemetry::trace_context::TraceContext;
use serde::Serialize;
use tokio::time::Instant;
use tracing::Instrument;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::error::ApiError;
use crate::extract::RawBody;
use crate::state::AppState;
use crate::stripe_api::WEBHOOK_PATH;

/// Stripe delivers from few addresses, and repeats refused deliveries for days.
pub const FLOOD_EXEMPT: &[&str] = &[WEBHOOK_PATH];

/// The webhook's routes.
pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(alive, webhook))
}

/// The response for Stripe and monitors.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookStatus {
    /// `success` when the event is stored, `ok` when there was none.
    pub status: &'static str,
}

/// For monitors of the webhook's URL
#[utoipa::path(get, path = "/api/stripe/webhook", tag = "stripe",
    responses((status = OK, body = WebhookStatus)))]
async fn alive() -> Json<WebhookStatus> {
    Json(WebhookStatus { status: "ok" })
}

/// Receive a delivery from Stripe
///
/// Stores the event once, however often it is delivered; a worker applies it.
#[utoipa::path(post, path = "/api/stripe/webhook", tag = "stripe",
    params(("Stripe-Signature" = Option<String>, Header,
        description = "Stripe's signature over the raw body")),
    request_body(content = String, content_type = "application/json",
        description = "A Stripe event, exactly as signed"),
    responses((status = OK, body = WebhookStatus)))]
async fn webhook(
    State(state): State<AppState>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<WebhookStatus>, ApiError> {
    let outcome = receive(&state, &headers, &body).await;
    let label = match &outcome {
        Ok(outcome) => outcome.label(),
        Err(refusal) => refusal.label(),
    };
    metrics::counter!("regimen_stripe_webhooks_total", "outcome" => label).increment(1);
    match outcome {
        Ok(Receipt::Stored { id, at }) => wake(&state, &id, at),
        Ok(Receipt::Duplicate | Receipt::Mismatched) => {}
        Err(refusal) => return Err(refusal.into()),
    }
    Ok(Json(WebhookStatus { status: "success" }))
}

/// The result of a delivery.
enum Receipt {
    Stored { id: String, at: DateTime<Utc> },
    Duplicate,
    Mismatched,
}

impl Receipt {
    fn label(&self) -> &'static str {
        match self {
            Self::Stored { .. } => "stored",
            Self::Duplicate => "duplicate",
            Self::Mismatched => "mismatched",
        }
    }
}

async fn receive(state: &AppState, headers: &HeaderMap, body: &[u8]) -> Result<Receipt, Refusal> {
    let stripe = &state.config.stripe;
    if !stripe.verifier.is_configured() {
        return Err(Refusal::NoSecret);
    }
    let header = headers.get("stripe-signature").map(axum::http::HeaderValue::as_bytes);
    stripe.verifier.verify(header, body, state.clock.now().timestamp())?;
    let event = Event::parse(body)?;
    let payload = std::str::from_utf8(body).map_err(|_| Refusal::NotText)?;
    let mismatch = stripe.mode.mismatch(&event);
    let client = state.db.get().await?;
    let sending = async {
        let trace = TraceContext::current().map(|trace| trace.to_text());
        let (source, trace_context) = (Source::Webhook, trace.as_deref());
        let new = NewEvent { event: &event, payload, source, mismatch, trace_context };
        let storing = events::store(&client, &new);
        storing.instrument(spans::query("INSERT", "regimen.stripe_events")).await
    };
    let stored = sending.instrument(spans::send("stripe_events", 1)).await?;
    if matches!(stored, Stored::New { .. }) && event.created > 0 {
        let late = state.clock.now().timestamp().saturating_sub(event.created);
        metrics::histogram!("regimen_stripe_webhook_delay_seconds").record(late.max(0) as f64);
    }
    Ok(match (stored, mismatch) {
        (Stored::Duplicate, _) => Receipt::Duplicate,
        (Stored::New { at }, None) => Receipt::Stored { id: event.id, at },
        (Stored::New { .. }, Some(reason)) => {
            alert(&event, reason);
            Receipt::Mismatched
        }
    })
}

/// Pushes the id on a separate task: the response to Stripe does not wait for Redis.
fn wake(state: &AppState, id: &str, at: DateTime<Utc>) {
    let (queue, message) = (state.queue.clone(), Message::new(id, at, None));
    tokio::spawn(async move { queue.push_ids(List::Stripe, &[message]).await });
}

fn alert(event: &Event, reason: &'static str) {
    metrics::counter!("regimen_stripe_alerts_total", "alert" => reason).increment(1);
    tracing::error!(
        event_id = event.id,
        event_type = event.type_name,
        livemode = event.livemode,
        account = event.account,
        "a Stripe event does not belong to this deployment and is not applied; point that webhook elsewhere"
    );
}

/// Deliveries in one [`FORGERY_WINDOW`] with an invalid signature: a single one is an
/// accident, this many are a wrong secret or an attack.
const MANY_FORGERIES: u32 = 20;
const FORGERY_WINDOW: Duration = Duration::from_secs(60);
static FORGERIES: Forgeries = Forgeries(Mutex::new(None));

/// Counts invalid signatures; reported once per window.
struct Forgeries(Mutex<Option<(Instant, u32)>>);

impl Forgeries {
    fn count(&self) {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let current = window.filter(|(since, _)| since.elapsed() < FORGERY_WINDOW);
        let (since, count) = current.unwrap_or_else(|| (Instant::now(), 0));
        *window = Some((since, count + 1));
        drop(window);
        if count + 1 == MANY_FORGERIES {
            tracing::error!(
                incident = "webhook_forgeries",
                deliveries = count + 1,
                "many Stripe deliveries of this minute have bad signatures; compare \
                 STRIPE_WEBHOOK_SECRET with the endpoint's secret at Stripe"
            );
        }
    }
}

/// Why a delivery is not acknowledged.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("STRIPE_WEBHOOK_SECRET is not set here, so no delivery can be verified")]
    NoSecret,
    #[error(transparent)]
    Signature(#[from] regimen_common::billing::signature::SignatureError),
    #[error(transparent)]
    Payload(#[from] regimen_common::billing::event::BadPayload),
    #[error("the body is not UTF-8; JSON must be")]
    NotText,
    #[error(transparent)]
    Store(#[from] DbError),
}

impl Refusal {
    fn label(&self) -> &'static str {
        match self {
            Self::NoSecret => "no_secret",
            Self::Signature(error) => error.reason(),
            Self::Payload(_) | Self::NotText => "bad_payload",
            Self::Store(_) => "store_failed",
        }
    }
}

impl From<Refusal> for ApiError {
    /// Any status except 2xx makes Stripe deliver again.
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::NoSecret => Self::NotConfigured(detail),
            Refusal::Signature(error) => {
                tracing::warn!(reason = error.reason(), "refused a Stripe delivery");
                FORGERIES.count();
                Self::BadRequest(detail)
            }
            Refusal::Payload(_) | Refusal::NotText => {
                tracing::warn!(detail, "refused a signed Stripe delivery");
                Self::BadRequest(detail)
            }
            Refusal::Store(error) => {
                Self::Unavailable { what: "the event store", source: Box::new(error) }
            }
        }
    }
}
