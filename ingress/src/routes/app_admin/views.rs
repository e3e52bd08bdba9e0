//! Stripe's objects in the format of the app's pages.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Filter;
use crate::billing::dashboard::runs;
use crate::stripe_api::account::{Account, Sold, Subscribed};

/// The subscribers' page.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriberList {
    /// All that match the filters, newest first.
    pub subscribers: Vec<SubscriberRow>,
}

/// A subscription and its customer.
#[derive(Debug, Serialize, ToSchema)]
pub struct SubscriberRow {
    /// `cus_…`
    pub customer_id: String,
    /// `sub_…`
    pub subscription_id: String,
    /// The customer's address at Stripe.
    pub email: Option<String>,
    /// As Stripe names it.
    pub status: String,
    /// When it was created, in Unix seconds.
    pub created: i64,
    /// The end of the paid period, in Unix seconds.
    pub current_period_end: Option<i64>,
    /// When it was cancelled, in Unix seconds.
    pub canceled_at: Option<i64>,
    /// Whether it is running: active, on trial or past due.
    pub is_active: bool,
    /// Its items.
    pub plans: Vec<PlanRow>,
}

/// One item of a subscription.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlanRow {
    /// `price_…`
    pub price_id: Option<String>,
    /// The product's name for customers.
    pub product_name: Option<String>,
    /// `prod_…`
    pub product_id: Option<String>,
    /// The price's name for operators.
    pub nickname: Option<String>,
    /// In the currency's smallest unit.
    pub amount: Option<i64>,
    /// In lower case.
    pub currency: Option<String>,
    /// day, week, month or year.
    pub interval: Option<String>,
    /// How many.
    pub quantity: i64,
}

impl SubscriberList {
    pub(super) fn of(account: &Account, filter: &Filter) -> Self {
        let row = |subscription: &Subscribed| SubscriberRow {
            customer_id: subscription.customer().to_owned(),
            subscription_id: subscription.id.clone(),
            email: subscription.email().map(str::to_owned),
            status: subscription.status.clone(),
            created: subscription.created,
            current_period_end: subscription.period_end(),
            canceled_at: subscription.canceled_at,
            is_active: runs(subscription),
            plans: subscription.sold().iter().map(|sold| plan(account, sold)).collect(),
        };
        let mut subscribers: Vec<_> = account
            .subscriptions
            .iter()
            .filter(|subscription| passes(account, subscription, filter))
            .map(row)
            .collect();
        subscribers.sort_by_key(|row| std::cmp::Reverse(row.created));
        Self { subscribers }
    }
}

fn passes(account: &Account, subscription: &Subscribed, filter: &Filter) -> bool {
    let state = filter.status.as_deref().filter(|state| !state.is_empty() && *state != "all");
    let wanted = filter.plan_id.as_deref().filter(|plan| !plan.is_empty());
    let sells = |wanted: &str| {
        subscription.sold().iter().map(|sold| plan(account, sold)).any(|plan| {
            plan.price_id.as_deref() == Some(wanted) || plan.product_id.as_deref() == Some(wanted)
        })
    };
    state.is_none_or(|state| subscription.status == state)
        && wanted.is_none_or(sells)
        && filter.created_after.is_none_or(|at| subscription.created >= at)
        && filter.created_before.is_none_or(|at| subscription.created <= at)
}

fn plan(account: &Account, sold: &Sold) -> PlanRow {
    let price = sold.price();
    let product = price.and_then(|price| account.products.get(&price.id));
    PlanRow {
        price_id: price.map(|price| price.id.clone()),
        product_name: product.and_then(|(_, name)| name.clone()),
        product_id: product
            .map(|(id, _)| id.clone())
            .or_else(|| price.and_then(|price| price.product()).map(str::to_owned)),
        nickname: price.and_then(|price| price.nickname.clone()),
        amount: price.and_then(|price| price.amount()),
        currency: price.and_then(|price| price.currency.clone()),
        interval: price.and_then(|price| price.cycle()).map(|(interval, _)| interval.to_owned()),
        quantity: sold.quantity.unwrap_or(1),
    }
}

/// Adds `current_period_end` to the subscription itself, where the app expects it: Stripe
/// moved it to the items.
pub(super) fn period_end_on_top(mut object: Value) -> Value {
    if let Some(subscriptions) = object["subscriptions"]["data"].as_array_mut() {
        for subscription in subscriptions {
            *subscription = period_end_on_top(subscription.take());
        }
    }
    if object["object"] == "subscription" && object["current_period_end"].is_null() {
        let items = object["items"]["data"].as_array();
        let ends =
            items.into_iter().flatten().filter_map(|item| item["current_period_end"].as_i64());
        if let Some(end) = ends.max() {
            object["current_period_end"] = json!(end);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_period_stands_where_the_app_looks() {
        let subscription = json!({"object": "subscription",
            "items": {"data": [{"current_period_end": 7}, {"current_period_end": 9}]}});
        assert_eq!(period_end_on_top(subscription.clone())["current_period_end"], 9);
        let customer = json!({"object": "customer", "subscriptions": {"data": [subscription]}});
        let shown = period_end_on_top(customer);
        assert_eq!(shown["subscriptions"]["data"][0]["current_period_end"], 9);
        let old = json!({"object": "subscription", "current_period_end": 5});
        assert_eq!(period_end_on_top(old)["current_period_end"], 5);
    }
}
