//! The fields read of Stripe's objects: only the needed ones, each optional
//! where Stripe may omit it. Unknown fields and values are accepted.

use regimen_common::billing::metrics::{Period, Price};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A checkout or portal session.
#[derive(Debug, Deserialize)]
pub struct Session {
    /// `cs_…` or `bps_…`
    #[serde(default)]
    pub id: String,
    /// The status of a checkout: open, complete or expired.
    #[serde(default)]
    pub status: Option<String>,
    /// The subscription of a complete checkout.
    #[serde(default)]
    pub subscription: Option<Reference>,
    /// The page's URL; absent for sessions that are over.
    pub url: Option<String>,
}

/// An id, or the object it belongs to.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Reference {
    /// The id.
    Id(String),
    /// The object.
    Object {
        /// Its id.
        id: String,
    },
}

impl Reference {
    /// The id.
    pub fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Object { id } => id,
        }
    }
}

/// A list.
#[derive(Debug, Deserialize)]
pub struct List<T> {
    /// Its elements.
    pub data: Vec<T>,
}

/// An invoice, with the field names that the app reads.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Invoice {
    /// `in_…`
    pub id: String,
    /// The amount due, in the currency's smallest unit.
    #[serde(default)]
    pub amount_due: i64,
    /// The paid amount, in the currency's smallest unit.
    #[serde(default)]
    pub amount_paid: i64,
    /// When it was created, in Unix seconds.
    pub created: i64,
    /// In lower case.
    pub currency: Option<String>,
    /// Its page at Stripe.
    pub hosted_invoice_url: Option<String>,
    /// The invoice as a file.
    pub invoice_pdf: Option<String>,
    /// draft, open, paid, uncollectible or void.
    pub status: Option<String>,
    /// The start of its period, in Unix seconds.
    pub period_start: Option<i64>,
    /// The end of its period, in Unix seconds.
    pub period_end: Option<i64>,
}

/// A subscription after a change.
#[derive(Debug, Clone, Deserialize)]
pub struct Subscription {
    /// `sub_…`
    pub id: String,
    /// The customer.
    pub customer: Option<Reference>,
    /// Its status.
    pub status: Option<String>,
    /// Whether it ends with the paid period.
    #[serde(default)]
    pub cancel_at_period_end: bool,
    /// When it ends, in Unix seconds, if that is set.
    pub cancel_at: Option<i64>,
    /// When its trial ends, in Unix seconds.
    pub trial_end: Option<i64>,
    /// The end of the paid period, in the place of older API versions.
    current_period_end: Option<i64>,
    /// Its items.
    pub items: Option<List<Item>>,
}

/// One item of a subscription.
#[derive(Debug, Clone, Deserialize)]
pub struct Item {
    /// `si_…`
    pub id: String,
    /// The end of the paid period, in Unix seconds.
    current_period_end: Option<i64>,
    price: Option<Reference>,
}

impl<T: Clone> Clone for List<T> {
    fn clone(&self) -> Self {
        Self { data: self.data.clone() }
    }
}

impl Subscription {
    /// The end of the paid period, in Unix seconds.
    pub fn period_end(&self) -> Option<i64> {
        let items = self.items.iter().flat_map(|items| &items.data);
        items.filter_map(|item| item.current_period_end).max().or(self.current_period_end)
    }

    /// The price of its first item.
    pub fn price(&self) -> Option<&str> {
        self.items.as_ref()?.data.first()?.price.as_ref().map(Reference::id)
    }
}

/// A refund.
#[derive(Debug, Clone, Deserialize)]
pub struct Refund {
    /// `re_…`
    pub id: String,
    /// In the currency's smallest unit.
    pub amount: i64,
    /// In lower case.
    pub currency: Option<String>,
    /// pending, succeeded, failed …
    pub status: Option<String>,
}

/// A customer; a deleted one has only its id.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Customer {
    /// `cus_…`
    pub id: String,
    /// As they gave it to Stripe.
    pub email: Option<String>,
    /// As they gave it to Stripe.
    pub name: Option<String>,
    /// When it was created, in Unix seconds.
    pub created: Option<i64>,
    /// Credit (below zero) or debt, in the currency's smallest unit.
    pub balance: Option<i64>,
    /// In lower case; absent before the first payment.
    pub currency: Option<String>,
    /// Whether the latest charge failed.
    pub delinquent: Option<bool>,
    /// Whether it was deleted.
    #[serde(default)]
    pub deleted: bool,
    /// Its metadata.
    #[serde(default, skip_serializing)]
    pub(crate) metadata: serde_json::Value,
}

/// A price, as [`Price`] keeps it.
#[derive(Debug, Deserialize)]
pub struct PriceObject {
    id: String,
    currency: String,
    unit_amount: Option<i64>,
    recurring: Option<Recurring>,
}

#[derive(Debug, Deserialize)]
struct Recurring {
    interval: String,
    interval_count: Option<i32>,
    usage_type: Option<String>,
}

impl From<PriceObject> for Price {
    fn from(object: PriceObject) -> Self {
        let recurring = object.recurring;
        let metered =
            recurring.as_ref().is_some_and(|r| r.usage_type.as_deref() == Some("metered"));
        Self {
            id: object.id,
            currency: object.currency,
            unit_amount: object.unit_amount.filter(|_| !metered),
            period: recurring.as_ref().and_then(|r| r.interval.parse::<Period>().ok()),
            period_count: recurring.and_then(|r| r.interval_count).unwrap_or(1).max(1),
        }
    }
}
