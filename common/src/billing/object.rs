//! The Stripe objects read from events and replies: few fields, from every
//! place in which Stripe has kept them.
//!
//! Places that changed: `current_period_end` moved from the subscription to its
//! items, and `invoice.subscription` under `invoice.parent`, both with API
//! version 2025-03-31. Both places are read, the new one first.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::lenient;

/// The metadata key with our user's id.
pub const USER_ID: &str = "user_id";

/// The metadata of Stripe's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = match Value::deserialize(deserializer)? {
            Value::Object(pairs) => pairs,
            _ => serde_json::Map::new(),
        };
        let text = |(key, value): (String, Value)| Some((key, value.as_str()?.to_owned()));
        Ok(Self(pairs.into_iter().filter_map(text).collect()))
    }
}

impl Metadata {
    /// The user it names, if it names one.
    pub fn user(&self) -> Option<Uuid> {
        self.0.get(USER_ID)?.trim().parse().ok()
    }
}

/// A subscription: the source of truth about what is paid for.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Subscription {
    /// `sub_…`
    #[serde(default, deserialize_with = "lenient::field")]
    pub id: Option<String>,
    /// The customer.
    #[serde(default, deserialize_with = "lenient::reference")]
    customer: Option<String>,
    #[serde(default, deserialize_with = "lenient::reference")]
    customer_account: Option<String>,
    /// An open set of values; see [`Status`](super::entitlement::Status).
    #[serde(default, deserialize_with = "lenient::field")]
    pub status: Option<String>,
    /// When it was created, in Unix seconds.
    #[serde(default, deserialize_with = "lenient::field")]
    pub created: Option<i64>,
    #[serde(default, deserialize_with = "lenient::list")]
    items: Vec<Item>,
    #[serde(default, deserialize_with = "lenient::field")]
    current_period_end: Option<i64>,
    #[serde(default, deserialize_with = "lenient::field")]
    cancel_at_period_end: Option<bool>,
    #[serde(default)]
    pause_collection: PauseCollection,
    #[serde(default, deserialize_with = "lenient::field")]
    cancel_at: Option<i64>,
    /// When its trial ends, in Unix seconds.
    #[serde(default, deserialize_with = "lenient::field")]
    pub trial_end: Option<i64>,
    /// The metadata set at the sale.
    #[serde(default)]
    pub metadata: Metadata,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Item {
    #[serde(default, deserialize_with = "lenient::field")]
    current_period_end: Option<i64>,
    #[serde(default)]
    price: Sold,
    #[serde(default)]
    plan: Sold,
}

/// A price, or a plan of old API versions: its id and its product's.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sold {
    id: Option<String>,
    product: Option<String>,
}

impl<'de> Deserialize<'de> for Sold {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let product = value.get("product").and_then(lenient::id_of);
        Ok(Self { id: lenient::id_of(&value), product })
    }
}

/// A pause in the collection of payments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// When Stripe ends it automatically, in Unix seconds.
    pub resumes_at: Option<i64>,
}

/// `pause_collection`: null, or an object. The handling of the invoices (`behavior`:
/// void, keep_as_draft, mark_uncollectible, or an unknown value) does not matter: none of
/// them is paid.
#[derive(Debug, Clone, Default, PartialEq)]
struct PauseCollection(Option<Pause>);

impl<'de> Deserialize<'de> for PauseCollection {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let resumes_at = value.get("resumes_at").and_then(Value::as_i64);
        Ok(Self(value.is_object().then_some(Pause { resumes_at })))
    }
}

impl Subscription {
    /// Parses a subscription; missing fields are absent.
    pub fn from_value(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// The customer.
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref().or(self.customer_account.as_deref())
    }

    /// The end of the paid period, in Unix seconds: the latest one of its items.
    pub fn period_end(&self) -> Option<i64> {
        self.items
            .iter()
            .filter_map(|item| item.current_period_end)
            .max()
            .or(self.current_period_end)
    }

    /// The price of its first item.
    pub fn price(&self) -> Option<&str> {
        let first = self.items.first()?;
        first.price.id.as_deref().or(first.plan.id.as_deref())
    }

    /// The prices and products of all its items, sorted.
    pub fn sold(&self) -> Vec<String> {
        let sold = self.items.iter().flat_map(|item| [&item.price, &item.plan]);
        let mut ids: Vec<_> =
            sold.flat_map(|sold| [&sold.id, &sold.product]).flatten().cloned().collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// The pause in the collection of its payments, if there is one.
    pub fn pause(&self) -> Option<Pause> {
        self.pause_collection.0
    }

    /// When it ends unless it is changed, in Unix seconds. Some ways of cancelling set
    /// only the flag, some only the time.
    pub fn ends_at(&self) -> Option<i64> {
        let at_period_end = self.cancel_at_period_end.unwrap_or(false);
        self.cancel_at.or_else(|| self.period_end().filter(|_| at_period_end))
    }
}

/// A checkout session that is over.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct CheckoutSession {
    /// `subscription`, `payment` or `setup`.
    #[serde(default, deserialize_with = "lenient::field")]
    pub mode: Option<String>,
    /// `paid`, `unpaid` or `no_payment_required`.
    #[serde(default, deserialize_with = "lenient::field")]
    pub payment_status: Option<String>,
    /// Our user's id, set when the session was created.
    #[serde(default, deserialize_with = "lenient::field")]
    pub client_reference_id: Option<String>,
    /// The created subscription.
    #[serde(default, deserialize_with = "lenient::reference")]
    pub subscription: Option<String>,
    /// The metadata set when it was created.
    #[serde(default)]
    pub metadata: Metadata,
}

impl CheckoutSession {
    /// Parses a session; missing fields are absent.
    pub fn from_value(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// The user for whom it was created.
    pub fn user(&self) -> Option<Uuid> {
        let reference = self.client_reference_id.as_deref();
        reference.and_then(|id| id.trim().parse().ok()).or_else(|| self.metadata.user())
    }

    /// Whether access may be given: it is paid, or there is nothing to pay yet (a trial).
    pub fn is_settled(&self) -> bool {
        matches!(self.payment_status.as_deref(), Some("paid" | "no_payment_required"))
    }
}

/// An invoice, with the fields for reminders and checks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Invoice {
    #[serde(default, deserialize_with = "lenient::reference")]
    subscription: Option<String>,
    #[serde(default, deserialize_with = "lenient::field")]
    parent: Option<Parent>,
    #[serde(default)]
    subscription_details: SubscriptionDetails,
    #[serde(default, deserialize_with = "lenient::list")]
    lines: Vec<Line>,
    /// The amount due, in the currency's smallest unit.
    #[serde(default, deserialize_with = "lenient::field")]
    pub amount_due: Option<i64>,
    /// ISO 4217, lower case.
    #[serde(default, deserialize_with = "lenient::field")]
    pub currency: Option<String>,
    /// Where the customer can pay or confirm.
    #[serde(default, deserialize_with = "lenient::field")]
    pub hosted_invoice_url: Option<String>,
    /// When Stripe retries, in Unix seconds; absent after the last try.
    #[serde(default, deserialize_with = "lenient::field")]
    pub next_payment_attempt: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
struct Parent {
    #[serde(default)]
    subscription_details: SubscriptionDetails,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct SubscriptionDetails {
    subscription: Option<String>,
    metadata: Metadata,
}

impl<'de> Deserialize<'de> for SubscriptionDetails {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let metadata = value.get("metadata").map(Metadata::deserialize);
        Ok(Self {
            subscription: value.get("subscription").and_then(lenient::id_of),
            metadata: metadata.and_then(Result::ok).unwrap_or_default(),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "lenient::field")]
    period: Option<Period>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct Period {
    #[serde(default, deserialize_with = "lenient::field")]
    end: Option<i64>,
}

impl Invoice {
    /// Parses an invoice; missing fields are absent.
    pub fn from_value(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }

    /// Its subscription.
    pub fn subscription(&self) -> Option<&str> {
        let parent =
            self.parent.as_ref().and_then(|p| p.subscription_details.subscription.as_deref());
        parent.or(self.subscription.as_deref())
    }

    /// The user of its subscription.
    pub fn user(&self) -> Option<Uuid> {
        let parent = self.parent.as_ref().and_then(|p| p.subscription_details.metadata.user());
        parent.or_else(|| self.subscription_details.metadata.user())
    }

    /// The end of the period that it pays for, in Unix seconds. The invoice's own
    /// `period_end` is a different time: when it was created.
    pub fn paid_until(&self) -> Option<i64> {
        self.lines.iter().filter_map(|line| line.period.as_ref()?.end).max()
    }
}

/// A dispute of a charge.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct Dispute {
    /// The disputed charge; a dispute does not name the customer.
    #[serde(default, deserialize_with = "lenient::reference")]
    pub charge: Option<String>,
    /// The contested amount, in the currency's smallest unit.
    #[serde(default, deserialize_with = "lenient::field")]
    pub amount: Option<i64>,
    /// ISO 4217, lower case.
    #[serde(default, deserialize_with = "lenient::field")]
    pub currency: Option<String>,
}

impl Dispute {
    /// Parses a dispute; missing fields are absent.
    pub fn from_value(value: &Value) -> Self {
        Self::deserialize(value).unwrap_or_default()
    }
}

/// The customer of a charge.
pub fn customer_of_charge(charge: &Value) -> Option<String> {
    charge.get("customer").and_then(lenient::id_of)
}

/// The user in a customer's metadata.
pub fn customer_user(customer: &Value) -> Option<Uuid> {
    Metadata::deserialize(customer.get("metadata")?).ok()?.user()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const USER: &str = "0b8f3c1e-4a57-4d0a-9a63-5f0d1c2b7e11";

    #[test]
    fn the_period_end_is_read_from_the_items_and_from_the_old_place() {
        let new = json!({"current_period_end": 5, "items": {"data": [
            {"current_period_end": 10, "price": {"id": "price_a"}}, {"current_period_end": 20}]}});
        let new = Subscription::from_value(&new);
        assert_eq!((new.period_end(), new.price()), (Some(20), Some("price_a")));
        let old = json!({"current_period_end": 5, "items": {"data": [{"plan": {"id": "plan_a"}}]}});
        let old = Subscription::from_value(&old);
        assert_eq!((old.period_end(), old.price()), (Some(5), Some("plan_a")));
        assert_eq!(Subscription::from_value(&json!({"items": null})).period_end(), None);
    }

    #[test]
    fn all_that_is_sold_is_read_from_every_place() {
        let sold = |value: Value| Subscription::from_value(&value).sold();
        let items = json!({"items": {"data": [
            {"price": {"id": "price_b", "product": "prod_1"}, "plan": {"id": "price_b"}},
            {"price": {"id": "price_a", "product": {"id": "prod_2", "deleted": true}}},
            {"plan": {"id": "gold", "product": "prod_3"}}, {"price": "price_c"}, {"price": 7}]}});
        let all = ["gold", "price_a", "price_b", "price_c", "prod_1", "prod_2", "prod_3"];
        assert_eq!(sold(items), all);
        assert_eq!(sold(json!({"items": null})), [""; 0]);
    }

    #[test]
    fn a_pause_is_read_whatever_becomes_of_the_invoices() {
        let pause =
            |value: Value| Subscription::from_value(&json!({"pause_collection": value})).pause();
        for behavior in ["void", "keep_as_draft", "mark_uncollectible", "a later word"] {
            let until = Some(Pause { resumes_at: Some(7) });
            assert_eq!(pause(json!({"behavior": behavior, "resumes_at": 7})), until);
            let for_ever = Some(Pause { resumes_at: None });
            assert_eq!(pause(json!({"behavior": behavior, "resumes_at": null})), for_ever);
        }
        assert_eq!(pause(json!(null)), None);
        assert_eq!(Subscription::from_value(&json!({})).pause(), None);
    }

    #[test]
    fn a_pending_end_is_read_from_flag_and_time() {
        let ends_at = |value: Value| Subscription::from_value(&value).ends_at();
        assert_eq!(
            ends_at(json!({"cancel_at_period_end": true, "current_period_end": 9})),
            Some(9)
        );
        assert_eq!(ends_at(json!({"cancel_at": 7, "current_period_end": 9})), Some(7));
        assert_eq!(ends_at(json!({"cancel_at": null, "current_period_end": 9})), None);
    }

    #[test]
    fn an_invoices_subscription_is_read_from_both_places() {
        let new = json!({"parent": {"type": "subscription_details", "subscription_details":
            {"subscription": {"id": "sub_1"}, "metadata": {"user_id": USER}}}});
        let new = Invoice::from_value(&new);
        assert_eq!(new.subscription(), Some("sub_1"));
        assert_eq!(new.user(), USER.parse().ok());
        let old = json!({"subscription": "sub_2", "subscription_details": {"metadata": {"user_id": USER}},
            "lines": {"data": [{"period": {"end": 30}}, {"period": {"end": 40}}, {"period": 1}]}});
        let old = Invoice::from_value(&old);
        assert_eq!((old.subscription(), old.paid_until()), (Some("sub_2"), Some(40)));
        assert_eq!(old.user(), USER.parse().ok());
        let none = Invoice::from_value(&json!({"parent": null, "subscription": null, "lines": 3}));
        assert_eq!((none.subscription(), none.user(), none.paid_until()), (None, None, None));
    }

    #[test]
    fn a_session_names_its_user_by_reference_then_metadata() {
        let user = |value: Value| CheckoutSession::from_value(&value).user();
        assert_eq!(user(json!({"client_reference_id": USER})), USER.parse().ok());
        assert_eq!(
            user(json!({"client_reference_id": "a cart", "metadata": {"user_id": USER}})),
            USER.parse().ok()
        );
        assert_eq!(user(json!({"client_reference_id": null, "metadata": {}})), None);
    }

    #[test]
    fn nothing_but_paid_settles_a_checkout() {
        for (status, settled) in
            [("paid", true), ("no_payment_required", true), ("unpaid", false), ("later", false)]
        {
            let session = CheckoutSession::from_value(&json!({"payment_status": status}));
            assert_eq!(session.is_settled(), settled, "{status}");
        }
    }
}
