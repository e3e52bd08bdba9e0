//! The whole Stripe account for the app's dashboard: every subscription, every
//! paid invoice, and the names of prices. Read from Stripe page by page, cached
//! for a minute, one reader at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use regimen_common::stripe::{StripeClient, StripeError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stripe_client_core::{RequestBuilder, StripeMethod};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tokio::try_join;

use super::replies::{List, Reference};
use crate::error::ApiError;

/// How long the account is cached.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// The time limit of reading; browsers give up not much later.
const LONGEST: Duration = Duration::from_secs(50);
/// Pages of 100 objects each.
const MAX_PAGES: usize = 500;

/// The account as it was read.
#[derive(Debug, Default)]
pub struct Account {
    /// All subscriptions, of any status.
    pub subscriptions: Vec<Subscribed>,
    /// Paid invoices.
    pub payments: Vec<Payment>,
    /// By price: the product's id and name.
    pub products: HashMap<String, (String, Option<String>)>,
}

/// A subscription with its customer and items.
#[derive(Debug, Clone, Deserialize)]
pub struct Subscribed {
    /// `sub_…`
    pub id: String,
    /// Its status.
    #[serde(default)]
    pub status: String,
    /// When it was created, in Unix seconds.
    #[serde(default)]
    pub created: i64,
    /// When it was cancelled, or its end was requested.
    pub canceled_at: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
    current_period_end: Option<i64>,
    customer: Option<Payer>,
    items: Option<List<Sold>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Payer {
    Id(String),
    Object { id: String, email: Option<String> },
}

/// One item of a subscription.
#[derive(Debug, Clone, Deserialize)]
pub struct Sold {
    /// Its quantity.
    pub quantity: Option<i64>,
    current_period_end: Option<i64>,
    price: Option<SoldPrice>,
    plan: Option<SoldPrice>,
}

/// A price, or a plan of old API versions.
#[derive(Debug, Clone, Deserialize)]
pub struct SoldPrice {
    /// `price_…` or `plan_…`
    pub id: String,
    /// Its name for operators.
    pub nickname: Option<String>,
    /// In lower case.
    pub currency: Option<String>,
    unit_amount: Option<i64>,
    amount: Option<i64>,
    recurring: Option<Cycle>,
    interval: Option<String>,
    interval_count: Option<i64>,
    product: Option<Reference>,
}

#[derive(Debug, Clone, Deserialize)]
struct Cycle {
    interval: String,
    interval_count: Option<i64>,
}

/// A paid invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// In the currency's smallest unit.
    pub amount: i64,
    /// In lower case.
    pub currency: String,
    /// In Unix seconds.
    pub paid_at: i64,
}

#[derive(Debug, Deserialize)]
struct PaidInvoice {
    #[serde(default)]
    amount_paid: i64,
    #[serde(default)]
    currency: String,
    #[serde(default)]
    created: i64,
    status_transitions: Option<Transitions>,
}

#[derive(Debug, Deserialize)]
struct Transitions {
    paid_at: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct NamedPrice {
    id: String,
    product: Option<Product>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Product {
    Id(String),
    Object { id: String, name: Option<String> },
}

impl Subscribed {
    /// `cus_…`
    pub fn customer(&self) -> &str {
        match &self.customer {
            Some(Payer::Id(id) | Payer::Object { id, .. }) => id,
            None => "",
        }
    }

    /// The customer's address at Stripe.
    pub fn email(&self) -> Option<&str> {
        match &self.customer {
            Some(Payer::Object { email, .. }) => email.as_deref(),
            _ => None,
        }
    }

    /// Its items.
    pub fn sold(&self) -> &[Sold] {
        self.items.as_ref().map_or(&[], |items| &items.data)
    }

    /// The end of the paid period, in Unix seconds.
    pub fn period_end(&self) -> Option<i64> {
        self.sold()
            .iter()
            .filter_map(|sold| sold.current_period_end)
            .max()
            .or(self.current_period_end)
    }
}

impl Sold {
    /// Its price.
    pub fn price(&self) -> Option<&SoldPrice> {
        self.price.as_ref().or(self.plan.as_ref())
    }
}

impl SoldPrice {
    /// In the currency's smallest unit; none for tiers.
    pub fn amount(&self) -> Option<i64> {
        self.unit_amount.or(self.amount)
    }

    /// Its billing cycle: day, week, month or year, and how many of them.
    pub fn cycle(&self) -> Option<(&str, i64)> {
        let (interval, count) = match (&self.recurring, &self.interval) {
            (Some(cycle), _) => (cycle.interval.as_str(), cycle.interval_count),
            (None, Some(interval)) => (interval.as_str(), self.interval_count),
            (None, None) => return None,
        };
        Some((interval, count.unwrap_or(1).max(1)))
    }

    /// `prod_…`
    pub fn product(&self) -> Option<&str> {
        self.product.as_ref().map(Reference::id)
    }
}

/// Reads the account on request, unless it is cached.
#[derive(Debug)]
pub struct AccountReader {
    stripe: StripeClient,
    kept: Mutex<Option<(Instant, Arc<Account>)>>,
}

impl AccountReader {
    /// Reads through `stripe`.
    pub fn new(stripe: StripeClient) -> Self {
        Self { stripe, kept: Mutex::new(None) }
    }

    /// The account, at most a minute old. Concurrent callers wait for the same reading.
    ///
    /// # Errors
    /// Stripe failed, is too slow, or has too many objects.
    pub async fn account(&self) -> Result<Arc<Account>, ApiError> {
        let mut kept = self.kept.lock().await;
        if let Some((at, account)) = &*kept
            && at.elapsed() < KEPT_FOR
        {
            return Ok(Arc::clone(account));
        }
        let read = timeout(LONGEST, self.read()).await;
        let account = Arc::new(read.map_err(|_| StripeError::Busy { status: 504 })??);
        *kept = Some((Instant::now(), Arc::clone(&account)));
        Ok(account)
    }

    /// Empties the cache after a change.
    pub async fn forget(&self) {
        *self.kept.lock().await = None;
    }

    async fn read(&self) -> Result<Account, ApiError> {
        let (subscriptions, invoices, prices) = try_join!(
            self.all::<Subscribed>("/subscriptions", "status=all&expand[]=data.customer"),
            self.all::<PaidInvoice>("/invoices", "status=paid"),
            self.all::<NamedPrice>("/prices", "expand[]=data.product"),
        )?;
        let payment = |invoice: PaidInvoice| Payment {
            amount: invoice.amount_paid,
            currency: invoice.currency,
            paid_at: invoice
                .status_transitions
                .and_then(|transitions| transitions.paid_at)
                .unwrap_or(invoice.created),
        };
        let name = |price: NamedPrice| {
            Some((
                price.id,
                match price.product? {
                    Product::Id(id) => (id, None),
                    Product::Object { id, name } => (id, name),
                },
            ))
        };
        Ok(Account {
            subscriptions,
            payments: invoices.into_iter().map(payment).collect(),
            products: prices.into_iter().filter_map(name).collect(),
        })
    }

    /// All pages of a list.
    async fn all<T: DeserializeOwned>(&self, path: &str, query: &str) -> Result<Vec<T>, ApiError> {
        let mut found = Vec::new();
        let mut after: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let mut request = RequestBuilder::new(StripeMethod::Get, path);
            let after_part = after.map(|id| format!("&starting_after={id}")).unwrap_or_default();
            request.query = Some(format!("limit=100&{query}{after_part}"));
            let page: Page = self.stripe.read(request).await?;
            after = page.data.last().and_then(|last| last["id"].as_str()).map(str::to_owned);
            for object in page.data {
                found.push(serde_json::from_value(object).map_err(|_| StripeError::Unreadable)?);
            }
            if !page.has_more || after.is_none() {
                return Ok(found);
            }
        }
        Err(ApiError::StripeRejected(format!(
            "Stripe has more than {} objects under {path}, too many for this page; look at them in \
             Stripe's dashboard",
            MAX_PAGES * 100
        )))
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    data: Vec<Value>,
    #[serde(default)]
    has_more: bool,
}
