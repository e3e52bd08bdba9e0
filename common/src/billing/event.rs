//! The envelope of every Stripe event.
//!
//! Only a JSON object that says it is an event, with an id and a type, is
//! required. Other fields may be missing or have an unknown shape; such an
//! event is stored and acknowledged all the same.

use serde::Deserialize;
use serde_json::Value;

use super::lenient;

/// Why a body cannot be stored as an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    /// The body is not JSON.
    #[error("the body is not JSON; send a Stripe event as it was made")]
    NotJson,
    /// The body is JSON but not an event.
    #[error("the body is not a Stripe event; it needs object \"event\", an id and a type")]
    NotAnEvent,
}

/// The fields of a Stripe event that are used.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `evt_…`: the same for every delivery of the event.
    pub id: String,
    /// Its kind.
    pub kind: StripeEventKind,
    /// Its type, as Stripe spells it.
    pub type_name: String,
    /// Its creation, in Unix seconds by Stripe's clock. 0 if the event does not tell.
    pub created: i64,
    /// Whether it is of the live mode. `None` if the event does not tell.
    pub livemode: Option<bool>,
    /// The connected account it concerns (Stripe Connect only).
    pub account: Option<String>,
    /// The object as of the event's creation.
    pub object: Value,
    /// For updates: the changed fields with their earlier values.
    pub previous: Value,
}

#[derive(Deserialize)]
struct Envelope {
    id: String,
    #[serde(rename = "type")]
    type_name: String,
    object: String,
    #[serde(default)]
    created: Value,
    #[serde(default, deserialize_with = "lenient::field")]
    livemode: Option<bool>,
    #[serde(default, deserialize_with = "lenient::field")]
    account: Option<String>,
    #[serde(default)]
    data: Value,
}

impl Event {
    /// Parses a delivery's body. Events of Stripe's second generation (`v2.core.event`),
    /// which have no data, become [`StripeEventKind::Other`].
    ///
    /// # Errors
    /// The body is not JSON, or not an event.
    pub fn parse(body: &[u8]) -> Result<Self, BadPayload> {
        let value: Value = serde_json::from_slice(body).map_err(|_| BadPayload::NotJson)?;
        Self::from_value(value)
    }

    /// Reads an event from parsed JSON.
    ///
    /// # Errors
    /// The value is not an event.
    pub fn from_value(value: Value) -> Result<Self, BadPayload> {
        let envelope: Envelope =
            serde_json::from_value(value).map_err(|_| BadPayload::NotAnEvent)?;
        let thin = envelope.object == "v2.core.event";
        let named = lenient::is_id(&envelope.id) && lenient::is_id(&envelope.type_name);
        if !named || !(thin || envelope.object == "event") {
            return Err(BadPayload::NotAnEvent);
        }
        let mut data = envelope.data;
        let mut part = |name| data.get_mut(name).map(Value::take).unwrap_or_default();
        let kind = if thin {
            StripeEventKind::Other
        } else {
            StripeEventKind::from_name(&envelope.type_name)
        };
        Ok(Self {
            id: envelope.id,
            kind,
            type_name: envelope.type_name,
            created: seconds(&envelope.created),
            livemode: envelope.livemode,
            account: envelope.account.filter(|account| lenient::is_id(account)),
            object: part("object"),
            previous: part("previous_attributes"),
        })
    }

    /// The id of the event's object.
    pub fn object_id(&self) -> Option<String> {
        lenient::id_of(&self.object)
    }

    /// The customer of the event, if it has one: events of one customer are applied one
    /// after another. Accounts that act as customers count (`customer_account`).
    pub fn customer(&self) -> Option<String> {
        if self.object.get("object").and_then(Value::as_str) == Some("customer") {
            return self.object_id();
        }
        let field = |name| self.object.get(name).and_then(lenient::id_of);
        field("customer").or_else(|| field("customer_account"))
    }

    /// Whether this event changed the field `name` of its object.
    pub fn changed(&self, name: &str) -> bool {
        self.previous.get(name).is_some()
    }
}

/// Snapshot events have seconds, thin events a date.
fn seconds(created: &Value) -> i64 {
    let written = || {
        let text = created.as_str()?;
        Some(chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp())
    };
    // Up to the year 9999, the limit of the database type.
    created.as_i64().or_else(written).filter(|at| (0..253_402_300_800).contains(at)).unwrap_or(0)
}

/// The kinds of events that have an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StripeEventKind {
    /// A checkout was completed; its payment may still be pending.
    CheckoutCompleted,
    /// The payment of a completed checkout succeeded.
    CheckoutPaid,
    /// The payment of a completed checkout failed.
    CheckoutPaymentFailed,
    /// A subscription was created.
    SubscriptionCreated,
    /// A subscription was updated, paused, resumed or similar.
    SubscriptionChanged,
    /// A trial ends in three days.
    TrialWillEnd,
    /// A subscription ended.
    SubscriptionDeleted,
    /// An invoice was paid.
    InvoicePaid,
    /// The collection of an invoice failed.
    PaymentFailed,
    /// The payer must confirm a payment.
    PaymentActionRequired,
    /// A charge was refunded.
    ChargeRefunded,
    /// A payer disputed a charge with their bank.
    DisputeCreated,
    /// A dispute was decided.
    DisputeClosed,
    /// A customer was created or updated.
    CustomerChanged,
    /// A customer was deleted, with their subscriptions.
    CustomerDeleted,
    /// Stored and acknowledged, without effect.
    Other,
}

impl StripeEventKind {
    /// The events an endpoint at Stripe must send; what else does something is
    /// sent beside one of them.
    pub const NEEDED: [&str; 18] = [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.async_payment_failed",
        "customer.created",
        "customer.updated",
        "customer.deleted",
        "customer.subscription.created",
        "customer.subscription.updated",
        "customer.subscription.deleted",
        "customer.subscription.paused",
        "customer.subscription.resumed",
        "customer.subscription.trial_will_end",
        "invoice.paid",
        "invoice.payment_failed",
        "invoice.payment_action_required",
        "charge.refunded",
        "charge.dispute.created",
        "charge.dispute.closed",
    ];

    /// The kind of the event type that Stripe calls `name`.
    pub fn from_name(name: &str) -> Self {
        match name {
            "checkout.session.completed" => Self::CheckoutCompleted,
            "checkout.session.async_payment_succeeded" => Self::CheckoutPaid,
            "checkout.session.async_payment_failed" => Self::CheckoutPaymentFailed,
            "customer.subscription.created" => Self::SubscriptionCreated,
            "customer.subscription.trial_will_end" => Self::TrialWillEnd,
            "customer.subscription.deleted" => Self::SubscriptionDeleted,
            "customer.subscription.updated"
            | "customer.subscription.paused"
            | "customer.subscription.resumed"
            | "customer.subscription.pending_update_applied"
            | "customer.subscription.pending_update_expired" => Self::SubscriptionChanged,
            // Both names mean a successful payment; the second is older and still sent in
            // addition.
            "invoice.paid" | "invoice.payment_succeeded" => Self::InvoicePaid,
            "invoice.payment_failed" => Self::PaymentFailed,
            "invoice.payment_action_required" => Self::PaymentActionRequired,
            "charge.refunded" => Self::ChargeRefunded,
            "charge.dispute.created" => Self::DisputeCreated,
            "charge.dispute.closed" => Self::DisputeClosed,
            "customer.created" | "customer.updated" => Self::CustomerChanged,
            "customer.deleted" => Self::CustomerDeleted,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_event_an_endpoint_must_send_does_something() {
        for name in StripeEventKind::NEEDED {
            assert_ne!(StripeEventKind::from_name(name), StripeEventKind::Other, "{name}");
        }
    }

    #[test]
    fn the_least_an_event_can_be_is_accepted() {
        let event = Event::parse(br#"{"id":"evt_1","object":"event","type":"invoice.paid"}"#);
        let event = event.unwrap();
        assert_eq!((event.kind, event.created), (StripeEventKind::InvoicePaid, 0));
        assert_eq!((event.livemode, event.customer()), (None, None));
    }

    #[test]
    fn fields_of_a_strange_shape_read_as_absent() {
        let event = Event::from_value(json!({
            "id": "evt_1", "object": "event", "type": "customer.subscription.updated",
            "created": "yesterday", "livemode": "no", "account": 7, "data": [1, 2],
            "request": "req_1",
        }))
        .unwrap();
        assert_eq!((event.created, event.livemode, event.account), (0, None, None));
        assert!(event.object.is_null());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        assert_eq!(Event::parse(b"{oops"), Err(BadPayload::NotJson));
        for body in [
            json!([]),
            json!({}),
            json!({"id": "evt_1", "object": "event"}),
            json!({"id": "", "object": "event", "type": "x"}),
            json!({"id": "evt_1", "object": "charge", "type": "x"}),
            json!({"id": 3, "object": "event", "type": "x"}),
            json!({"id": "evt\u{0}", "object": "event", "type": "x"}),
            json!({"id": "e".repeat(256), "object": "event", "type": "x"}),
        ] {
            assert_eq!(Event::from_value(body.clone()), Err(BadPayload::NotAnEvent), "{body}");
        }
    }

    #[test]
    fn a_thin_event_is_kept_without_effect() {
        let event = Event::from_value(json!({
            "id": "evt_test_1", "object": "v2.core.event", "type": "customer.deleted",
            "created": "2026-11-22T10:00:00.000Z", "livemode": false,
        }))
        .unwrap();
        assert_eq!(event.kind, StripeEventKind::Other);
        assert_eq!(event.created, 1_795_341_600);
    }

    #[test]
    fn the_customer_is_found_as_id_object_account_or_self() {
        let customer = |object: Value| {
            let event =
                json!({"id": "e", "object": "event", "type": "x", "data": {"object": object}});
            Event::from_value(event).unwrap().customer()
        };
        assert_eq!(customer(json!({"customer": "cus_1"})).as_deref(), Some("cus_1"));
        assert_eq!(customer(json!({"customer": {"id": "cus_1"}})).as_deref(), Some("cus_1"));
        let account = json!({"customer": null, "customer_account": "acct_1"});
        assert_eq!(customer(account).as_deref(), Some("acct_1"));
        let deleted = json!({"id": "cus_1", "object": "customer", "deleted": true});
        assert_eq!(customer(deleted).as_deref(), Some("cus_1"));
        assert_eq!(customer(json!({"customer": null})), None);
    }
}
