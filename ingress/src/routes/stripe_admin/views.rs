//! The responses about subscriptions for operators: `success` first, as in the
//! replaced service, times in Unix seconds, amounts in the currency's smallest
//! unit.

use chrono::{DateTime, Utc};
use regimen_common::billing::metrics::{CurrencyMetrics, Metrics, Standing};
use regimen_common::db::billing::payers::{FoundSubscribers, Subscriber};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::stripe_api::replies::{Customer, Invoice, Refund, Subscription};

/// A subscription after the change.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriptionChanged {
    /// Always true.
    pub success: bool,
    /// `sub_…`
    pub subscription_id: String,
    /// Its status.
    pub status: Option<String>,
    /// The price of its first item.
    pub price_id: Option<String>,
    /// Whether it ends with the paid period.
    pub cancel_at_period_end: bool,
    /// When it ends, if that is set.
    pub cancel_at: Option<i64>,
    /// When its trial ends.
    pub trial_end: Option<i64>,
    /// The end of the paid period.
    pub current_period_end: Option<i64>,
}

impl SubscriptionChanged {
    pub(super) fn of(subscription: Subscription) -> Self {
        Self {
            success: true,
            price_id: subscription.price().map(str::to_owned),
            current_period_end: subscription.period_end(),
            subscription_id: subscription.id,
            status: subscription.status,
            cancel_at_period_end: subscription.cancel_at_period_end,
            cancel_at: subscription.cancel_at,
            trial_end: subscription.trial_end,
        }
    }
}

/// An invoice that was mailed again.
#[derive(Debug, Serialize, ToSchema)]
pub struct Resent {
    /// Always true.
    pub success: bool,
    /// The invoice.
    pub invoice: Invoice,
}

/// A refund.
#[derive(Debug, Serialize, ToSchema)]
pub struct RefundDone {
    /// Always true.
    pub success: bool,
    /// `re_…`
    pub refund_id: String,
    /// The amount.
    pub amount: i64,
    /// In lower case.
    pub currency: Option<String>,
    /// pending, succeeded, failed …
    pub status: Option<String>,
}

impl RefundDone {
    pub(super) fn of(refund: Refund) -> Self {
        let Refund { id, amount, currency, status } = refund;
        Self { success: true, refund_id: id, amount, currency, status }
    }
}

/// A customer, their subscriptions and invoices.
#[derive(Debug, Serialize, ToSchema)]
pub struct CustomerDetails {
    /// Always true.
    pub success: bool,
    /// As Stripe has them.
    pub customer: Customer,
    /// As stored here.
    pub subscriptions: Vec<SubscriberView>,
    /// Newest first, at most 100.
    pub invoices: Vec<Invoice>,
}

/// A page of subscriptions.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriberPage {
    /// Always true.
    pub success: bool,
    /// In the order of their ids.
    pub subscribers: Vec<SubscriberView>,
    /// The cursor of the next page; absent on the last one. A request looks at 10,000
    /// subscriptions at most: a page with a cursor may have fewer than `limit`, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

impl SubscriberPage {
    /// A page of `limit` rows, from one row more.
    pub(super) fn of(found: FoundSubscribers, limit: i64) -> Self {
        let FoundSubscribers { subscribers: mut rows, stopped_at } = found;
        let page = usize::try_from(limit).unwrap_or(0);
        let more = rows.len() > page;
        rows.truncate(page);
        let last = rows.last().map(|row| row.subscription.clone());
        Self {
            success: true,
            subscribers: rows.into_iter().map(SubscriberView::from).collect(),
            next_cursor: last.filter(|_| more).or(stopped_at),
        }
    }
}

/// A subscription and its user.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriberView {
    /// `sub_…`
    pub subscription_id: String,
    /// `cus_…`
    pub customer_id: String,
    /// The user, if known.
    pub user_id: Option<Uuid>,
    /// Their e-mail address in the app.
    pub email: Option<String>,
    /// Their plan in the app.
    pub plan_id: Option<String>,
    /// The status of the subscription.
    pub status: &'static str,
    /// Its price.
    pub price_id: Option<String>,
    /// The end of the paid period.
    pub current_period_end: Option<i64>,
    /// When it ends unless it is changed.
    pub cancel_at: Option<i64>,
    /// When its trial ends.
    pub trial_end: Option<i64>,
    /// When it was created.
    pub created: Option<i64>,
}

impl From<Subscriber> for SubscriberView {
    fn from(row: Subscriber) -> Self {
        let seconds = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp());
        Self {
            subscription_id: row.subscription,
            customer_id: row.customer,
            user_id: row.user_id,
            email: row.email,
            plan_id: row.plan_id,
            status: row.status.as_str(),
            price_id: row.price,
            current_period_end: seconds(row.period_end),
            cancel_at: seconds(row.ends_at),
            trial_end: seconds(row.trial_end),
            created: seconds(row.made_at),
        }
    }
}

/// SaaS metrics. Amounts are list prices: discounts and taxes are not known here. The
/// numbers of the first currency are at the top level too.
#[derive(Debug, Serialize, ToSchema)]
pub struct MetricsView {
    /// Always true.
    pub success: bool,
    /// The currency of most subscriptions.
    pub currency: Option<String>,
    /// Monthly recurring revenue of active and past-due subscriptions, in cents: a yearly
    /// price counts a twelfth.
    pub mrr: i64,
    /// Average revenue per user: `mrr` ÷ paying subscriptions, in cents a month.
    pub arpu: f64,
    /// Lifetime value: `arpu` ÷ `churn_rate`, in cents. Null while the churn rate is
    /// zero.
    pub ltv: Option<f64>,
    /// The share of the subscriptions paid for 30 days ago that have ended since, 0 to 1.
    pub churn_rate: Option<f64>,
    /// The share of all users who pay, 0 to 1.
    pub conversion_rate: Option<f64>,
    /// Subscriptions that pay and have a known, fixed price.
    pub active_subscriptions: i64,
    /// Subscriptions that pay, but have tiers, are metered or unknown to Stripe.
    pub unpriced_subscriptions: i64,
    /// Subscriptions on trial.
    pub trialing_subscriptions: i64,
    /// Subscriptions whose latest payment failed; they count as paying.
    pub past_due_subscriptions: i64,
    /// Distinct payers.
    pub paying_customers: i64,
    /// Users of the app.
    pub total_users: i64,
    /// The window of churn, in days.
    pub window_days: i64,
    /// Each currency's own numbers.
    pub currencies: Vec<CurrencyView>,
}

/// The numbers of one currency.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CurrencyView {
    /// In lower case.
    pub currency: String,
    /// As above.
    pub mrr: i64,
    /// As above.
    pub arpu: f64,
    /// As above.
    pub ltv: Option<f64>,
    /// As above.
    pub active_subscriptions: i64,
}

impl From<&CurrencyMetrics> for CurrencyView {
    fn from(metrics: &CurrencyMetrics) -> Self {
        Self {
            currency: metrics.currency.clone(),
            mrr: metrics.mrr,
            arpu: metrics.arpu,
            ltv: metrics.ltv,
            active_subscriptions: metrics.subscriptions,
        }
    }
}

impl MetricsView {
    pub(super) fn of(metrics: &Metrics, standing: &Standing, window_days: i64) -> Self {
        let currencies: Vec<CurrencyView> =
            metrics.currencies.iter().map(CurrencyView::from).collect();
        let first = currencies.first().cloned();
        Self {
            success: true,
            currency: first.as_ref().map(|first| first.currency.clone()),
            mrr: first.as_ref().map_or(0, |first| first.mrr),
            arpu: first.as_ref().map_or(0.0, |first| first.arpu),
            ltv: first.and_then(|first| first.ltv),
            churn_rate: metrics.churn_rate,
            conversion_rate: metrics.conversion_rate,
            active_subscriptions: metrics.currencies.iter().map(|one| one.subscriptions).sum(),
            unpriced_subscriptions: metrics.unpriced,
            trialing_subscriptions: standing.trialing,
            past_due_subscriptions: standing.past_due,
            paying_customers: standing.payers,
            total_users: standing.users,
            window_days,
            currencies,
        }
    }
}
