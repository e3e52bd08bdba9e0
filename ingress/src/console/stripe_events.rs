//! One event of Stripe's, with its payload for admins: names, addresses and links in it
//! are hidden.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::db::billing::customers;
use regimen_common::db::billing::events::{self, EventState};
use serde_json::{Value, json};
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::page::{Frame, at, html, short};
use super::session::Session;
use crate::error::ApiError;
use crate::extract::Word;
use crate::operators::Operator;
use crate::state::AppState;

const PART: &str = "/console/money";
const HIDDEN: &str = "(hidden)";
/// Characters of a payload that are shown.
const MOST_CHARS: usize = 80_000;

/// The route; it reads one event and its customer, and only the flood guard limits it.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/events/{id}", get(page))
}

#[derive(Template)]
#[template(path = "console/event.html")]
struct EventPage {
    frame: Frame,
    id: String,
    state: &'static str,
    facts: Vec<(&'static str, String)>,
    user: Option<Uuid>,
    /// Its customer, if that may be assigned.
    assignable: Option<String>,
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    Word(id): Word,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let client = state.db.get().await?;
    let event = events::find(&client, &id).await?.ok_or_else(|| missing(&id))?;
    let facts = events::facts(&client, &id).await?.ok_or_else(|| missing(&id))?;
    let customer = event.customer.clone();
    let user = match &customer {
        Some(customer) => customers::load(&client, customer).await?.state.user(),
        None => None,
    };
    drop(client);
    let (code, detail) = event.error;
    let is_open = event.state == EventState::Unresolved && user.is_none();
    let live = facts.live.map(|live| if live { "live" } else { "test" }.to_owned());
    let rows = [
        ("Type", Some(event.type_name)),
        ("Received", Some(at(event.received_at))),
        ("Made", facts.made_at.map(at)),
        ("Settled", facts.settled_at.map(at)),
        ("Came by", Some(facts.source.as_str().to_owned())),
        ("Mode", live),
        ("Object", facts.object),
        ("Customer", customer.clone()),
        ("Claims", Some(event.attempts.to_string())),
        ("Reason", code),
        ("Details", detail.filter(|_| session.is_admin())),
    ];
    let page = EventPage {
        frame: Frame::within(PART, format!("Event {id}"), &session).after(form.get("done")),
        state: event.state.as_str(),
        facts: rows.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        user,
        assignable: customer.filter(|_| is_open && session.is_admin()),
        id,
    };
    Ok(html(page.render()?).into_response())
}

fn missing(id: &str) -> ApiError {
    ApiError::NotFound(format!("there is no event {id}; it may no longer be kept"))
}

#[derive(Template)]
#[template(path = "console/payload.html")]
struct PayloadPage {
    frame: Frame,
    id: String,
    text: String,
}

/// The payload without personal data; that somebody looked is recorded first.
pub(super) async fn show_payload(
    state: &AppState,
    by: &Operator,
    session: &Session,
    id: &str,
) -> Answer {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let payload = events::payload(&tx, id).await?.ok_or_else(|| missing(id))?;
    by.record(&tx, "show_stripe_payload", id, json!({})).await?;
    tx.commit().await?;
    drop(client);
    let mut text = "It is no JSON.".to_owned();
    if let Ok(mut value) = serde_json::from_str::<Value>(&payload) {
        hide(&mut value);
        let pretty = serde_json::to_string_pretty(&value).map_err(ApiError::internal)?;
        text = short(&pretty, MOST_CHARS);
    }
    let frame = Frame::within(PART, format!("Payload of {id}"), session);
    Ok(html(PayloadPage { frame, id: id.to_owned(), text }.render()?).into_response())
}

/// Words in the names of fields that hold personal data, secrets, or links that open for
/// whoever has them.
const PERSONAL: [&str; 32] = [
    "address",
    "agent",
    "billing",
    "birth",
    "city",
    "country",
    "custom",
    "descr",
    "description",
    "descriptor",
    "details",
    "dob",
    "email",
    "fingerprint",
    "iin",
    "ip",
    "key",
    "last4",
    "line1",
    "line2",
    "name",
    "nickname",
    "number",
    "owner",
    "pdf",
    "phone",
    "postal",
    "secret",
    "shipping",
    "signature",
    "tax",
    "url",
];

/// Hides what such fields hold, and every text that is no plain identifier.
fn hide(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                let is_personal = name.split(['_', ' ', '-', '.']).any(|word| {
                    PERSONAL.iter().any(|personal| word.eq_ignore_ascii_case(personal))
                });
                match field {
                    Value::Null | Value::Bool(_) => {}
                    _ if is_personal => *field = HIDDEN.into(),
                    _ => hide(field),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(hide),
        Value::String(text) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte);
            if text.len() > 255 || !text.bytes().all(is_plain) {
                *value = HIDDEN.into();
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_shows_what_happened_and_not_to_whom() {
        let mut payload = json!({
            "id": "evt_1", "type": "invoice.paid", "created": 1_764_000_000, "livemode": false,
            "data": { "object": {
                "customer": "cus_1", "amount": 999, "currency": "eur", "status": "paid",
                "subscription": "sub_1", "customer_email": "ada@example.test",
                "customer_address": { "line1": "Street 1" }, "description": "for Ada",
                "billing_details": { "name": "Ada", "email": null },
                "hosted_invoice_url": "https://invoice.stripe.com/i/secret",
                "shipping": null, "receipt_number": "2041-1", "client_secret": "pi_1_secret_2",
                "metadata": { "user_id": "0190", "note": "call +49 30 1", "Full Name": "ada" },
                "lines": [{ "price": "price_1", "text": "ada@example.test" }],
            }},
        });
        hide(&mut payload);
        let object = &payload["data"]["object"];
        for (name, kept) in [
            ("customer", json!("cus_1")),
            ("amount", json!(999)),
            ("subscription", json!("sub_1")),
            ("status", json!("paid")),
            ("shipping", Value::Null),
        ] {
            assert_eq!(object[name], kept, "{name}");
        }
        assert_eq!(payload["type"], "invoice.paid");
        assert_eq!(object["metadata"]["user_id"], "0190");
        assert_eq!(object["lines"][0]["price"], "price_1");
        let text = payload.to_string();
        for hidden in ["\"ada", "ada@", "Ada", "Street", "https", "secret_2", "2041", "+49"] {
            assert!(!text.contains(hidden), "{hidden}: {text}");
        }
    }
}
