//! The numbers of the app's operators' dashboard, from all of Stripe's
//! subscriptions and paid invoices. Pure; each number documents its formula.
//!
//! Money is in units of the currency (dollars, not cents), rates in percent,
//! months in UTC. Amounts are in the currency of most running subscriptions;
//! other currencies are listed and not added.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Months, NaiveDate, TimeDelta, Utc};
use regimen_common::billing::currency::units;
use regimen_common::billing::metrics::{Period, Price};
use serde::Serialize;
use utoipa::ToSchema;

use crate::stripe_api::account::{Account, Sold, Subscribed};

/// The highest number of recent cancellations to show.
const RECENT: usize = 10;

/// Numbers of users.
#[derive(Debug, Clone, Copy, Default)]
pub struct Users {
    /// All.
    pub all: i64,
    /// Those created in the last 30 days.
    pub new: i64,
}

/// The numbers of the dashboard.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SaasMetrics {
    /// Monthly recurring revenue: the list prices of running subscriptions per month.
    pub mrr: f64,
    /// All payments ever.
    pub total_earnings: f64,
    /// Payments since the month began.
    pub earnings_this_month: f64,
    /// Payments in the last 30 days.
    pub earnings_last30_days: f64,
    /// Running subscriptions: active, on trial or past due.
    pub active_subscribers: usize,
    /// All subscriptions ever.
    pub total_subscribers: usize,
    /// Subscriptions created since the month began.
    pub new_subs_this_month: usize,
    /// Subscriptions ended since the month began.
    pub churned_this_month: usize,
    /// By the month of creation: `2026-11`.
    pub subscribers_by_month: BTreeMap<String, usize>,
    /// The latest cancellations, newest first.
    pub recent_canceled: Vec<Canceled>,
    /// Running subscriptions ÷ users, in percent.
    pub conversion_rate: f64,
    /// Subscriptions created in the last 30 days ÷ users created in them, in percent.
    pub conversion_rate_last30_days: f64,
    /// Average revenue per running subscription and month.
    pub arpu: f64,
    /// Ended this month ÷ running at its beginning, in percent.
    pub churn_rate: f64,
    /// Lifetime value: `arpu` ÷ churn; 0 while churn is zero.
    pub ltv: f64,
    /// `ltv` relative to that of the month before, in percent; 0 if either is 0.
    pub ltv_growth: f64,
    /// The currency of all amounts, in lower case.
    pub currency: String,
    /// Other currencies with payments, which are in no amount here.
    pub other_currencies: Vec<String>,
}

/// A cancelled subscription.
#[derive(Debug, Serialize, ToSchema)]
pub struct Canceled {
    /// The customer's e-mail address at Stripe.
    pub customer_email: Option<String>,
    /// When it was cancelled, in Unix seconds.
    pub canceled_at: i64,
    /// Its plan.
    pub plan: Option<String>,
}

impl SaasMetrics {
    /// The numbers at `now`.
    pub fn of(account: &Account, users: Users, now: DateTime<Utc>) -> Self {
        let month = month_start(now);
        let last_month = month.checked_sub_months(Months::new(1)).unwrap_or(month);
        let (month_at, last_month_at) = (seconds(month), seconds(last_month));
        let month_ago = (now - TimeDelta::days(30)).timestamp();
        let subscriptions = &account.subscriptions;
        let running: Vec<&Subscribed> = subscriptions.iter().filter(|s| runs(s)).collect();
        let currency = main_currency(&running, account);
        let earned = |from: i64| {
            let paid = account.payments.iter().filter(|payment| payment.currency == currency);
            let paid = paid.filter(|payment| payment.paid_at >= from);
            units(paid.map(|payment| payment.amount).sum::<i64>() as f64, &currency)
        };
        let made_since = |from: i64| subscriptions.iter().filter(|s| s.created >= from).count();
        let mrr = monthly(running.iter().copied(), &currency);
        let arpu = ratio(mrr, running.len());
        let churned = ended_between(subscriptions, month_at, i64::MAX);
        let ran_then = ran_at(subscriptions, month_at);
        let churn = ratio(churned as f64, ran_then.len());
        let ltv = if churn > 0.0 { arpu / churn } else { 0.0 };
        let ltv_then = {
            let ran_before = ran_at(subscriptions, last_month_at);
            let churned = ended_between(subscriptions, last_month_at, month_at);
            let churn = ratio(churned as f64, ran_before.len());
            let arpu = ratio(monthly(ran_then.iter().copied(), &currency), ran_then.len());
            if churn > 0.0 { arpu / churn } else { 0.0 }
        };
        let growth =
            if ltv > 0.0 && ltv_then > 0.0 { (ltv - ltv_then) / ltv_then * 100.0 } else { 0.0 };
        Self {
            mrr: rounded(mrr),
            total_earnings: rounded(earned(i64::MIN)),
            earnings_this_month: rounded(earned(month_at)),
            earnings_last30_days: rounded(earned(month_ago)),
            active_subscribers: running.len(),
            total_subscribers: subscriptions.len(),
            new_subs_this_month: made_since(month_at),
            churned_this_month: churned,
            subscribers_by_month: by_month(subscriptions),
            recent_canceled: recent_canceled(account),
            conversion_rate: rounded(100.0 * ratio(running.len() as f64, count(users.all))),
            conversion_rate_last30_days: rounded(
                100.0 * ratio(made_since(month_ago) as f64, count(users.new)),
            ),
            arpu: rounded(arpu),
            churn_rate: rounded(100.0 * churn),
            ltv: rounded(ltv),
            ltv_growth: rounded(growth),
            other_currencies: other_currencies(account, &currency),
            currency,
        }
    }
}

/// The first moment of the month, in UTC.
fn month_start(now: DateTime<Utc>) -> NaiveDate {
    let today = now.date_naive();
    today.with_day(1).unwrap_or(today)
}

fn seconds(day: NaiveDate) -> i64 {
    day.and_time(chrono::NaiveTime::MIN).and_utc().timestamp()
}

/// Whether a subscription is running.
pub fn runs(subscription: &Subscribed) -> bool {
    matches!(subscription.status.as_str(), "active" | "trialing" | "past_due")
}

/// When it ended; a cancellation for a later day is not an end yet.
fn ended(subscription: &Subscribed) -> Option<i64> {
    (subscription.status == "canceled")
        .then(|| subscription.ended_at.or(subscription.canceled_at))
        .flatten()
}

fn ended_between(all: &[Subscribed], from: i64, before: i64) -> usize {
    all.iter().filter(|s| ended(s).is_some_and(|at| (from..before).contains(&at))).count()
}

fn ran_at(all: &[Subscribed], at: i64) -> Vec<&Subscribed> {
    all.iter()
        .filter(|s| s.created < at && (runs(s) || ended(s).is_some_and(|end| end >= at)))
        .collect()
}

fn main_currency(running: &[&Subscribed], account: &Account) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for sold in running.iter().flat_map(|s| s.sold()) {
        if let Some(currency) = sold.price().and_then(|price| price.currency.as_deref()) {
            *counts.entry(currency).or_default() += 1;
        }
    }
    if counts.is_empty() {
        for payment in &account.payments {
            *counts.entry(&payment.currency).or_default() += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or_else(|| "usd".to_owned(), |(currency, _)| currency.to_owned())
}

fn other_currencies(account: &Account, main: &str) -> Vec<String> {
    let running = account.subscriptions.iter().filter(|s| runs(s)).flat_map(Subscribed::sold);
    let sold = running.filter_map(|sold| sold.price()?.currency.as_deref());
    let paid = account.payments.iter().map(|payment| payment.currency.as_str());
    let mut others: Vec<String> =
        sold.chain(paid).filter(|one| *one != main && !one.is_empty()).map(str::to_owned).collect();
    others.sort();
    others.dedup();
    others
}

/// The price of these per month, in units of the currency.
fn monthly<'a>(all: impl Iterator<Item = &'a Subscribed>, currency: &str) -> f64 {
    let cents = all.flat_map(Subscribed::sold).filter_map(|sold| monthly_cents(sold, currency));
    units(cents.sum(), currency)
}

fn monthly_cents(sold: &Sold, currency: &str) -> Option<f64> {
    let price = sold.price().filter(|price| price.currency.as_deref() == Some(currency))?;
    let (interval, count) = price.cycle()?;
    let price = Price {
        id: price.id.clone(),
        currency: currency.to_owned(),
        unit_amount: price.amount(),
        period: Some(interval.parse::<Period>().ok()?),
        period_count: i32::try_from(count).ok()?,
    };
    Some(price.monthly()? * sold.quantity.unwrap_or(1) as f64)
}

fn by_month(all: &[Subscribed]) -> BTreeMap<String, usize> {
    let mut months = BTreeMap::new();
    for made in all.iter().filter_map(|s| DateTime::from_timestamp(s.created, 0)) {
        *months.entry(made.format("%Y-%m").to_string()).or_default() += 1;
    }
    months
}

fn recent_canceled(account: &Account) -> Vec<Canceled> {
    let mut gone: Vec<(i64, &Subscribed)> =
        account.subscriptions.iter().filter_map(|s| Some((ended(s)?, s))).collect();
    gone.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let plan = |subscription: &Subscribed| {
        let price = subscription.sold().first()?.price()?;
        let named = account.products.get(&price.id).and_then(|(_, name)| name.clone());
        price.nickname.clone().or(named).or_else(|| Some(price.id.clone()))
    };
    gone.into_iter()
        .take(RECENT)
        .map(|(canceled_at, subscription)| Canceled {
            customer_email: subscription.email().map(str::to_owned),
            canceled_at,
            plan: plan(subscription),
        })
        .collect()
}

fn ratio(part: f64, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part / whole as f64 }
}

fn count(users: i64) -> usize {
    usize::try_from(users).unwrap_or(0)
}

/// To two decimals, as the app shows them.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stripe_api::account::Payment;

    fn subscription(id: usize, status: &str, created: &str, ended: Option<&str>) -> Subscribed {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap().timestamp();
        serde_json::from_value(json!({
            "id": format!("sub_{id}"), "status": status, "created": at(created),
            "ended_at": ended.map(at), "canceled_at": ended.map(at),
            "customer": {"id": format!("cus_{id}"), "email": format!("{id}@example.test")},
            "items": {"data": [{"quantity": 1, "price": {"id": "price_1", "currency": "usd",
                "unit_amount": 1_000, "recurring": {"interval": "month"}, "product": "prod_1"}}]},
        }))
        .unwrap()
    }

    fn payment(amount: i64, currency: &str, at: &str) -> Payment {
        let paid_at = at.parse::<DateTime<Utc>>().unwrap().timestamp();
        Payment { amount, currency: currency.to_owned(), paid_at }
    }

    #[test]
    fn the_numbers_are_those_worked_out_by_hand_and_months_end_in_utc() {
        let mut yearly = subscription(4, "active", "2026-10-31T23:59:59Z", None);
        yearly = {
            let mut value = json!({"id": yearly.id, "status": "active", "created": yearly.created});
            value["items"] = json!({"data": [{"quantity": 2, "price": {"id": "price_2",
                "currency": "usd", "unit_amount": 12_000, "recurring": {"interval": "year"}}}]});
            serde_json::from_value(value).unwrap()
        };
        let account = Account {
            subscriptions: vec![
                subscription(1, "active", "2026-11-01T00:00:00Z", None),
                subscription(2, "canceled", "2026-08-01T00:00:00Z", Some("2026-11-01T00:00:00Z")),
                subscription(3, "canceled", "2026-08-01T00:00:00Z", Some("2026-10-31T23:59:59Z")),
                yearly,
                subscription(5, "incomplete_expired", "2026-11-05T00:00:00Z", None),
            ],
            payments: vec![
                payment(1_000, "usd", "2026-10-31T23:59:59Z"),
                payment(2_050, "usd", "2026-11-01T00:00:00Z"),
                payment(9_999, "eur", "2026-11-02T00:00:00Z"),
            ],
            products: [("price_1".to_owned(), ("prod_1".to_owned(), Some("Pro".to_owned())))]
                .into(),
        };
        let now = "2026-11-29T12:00:00Z".parse().unwrap();
        let metrics = SaasMetrics::of(&account, Users { all: 40, new: 8 }, now);
        // 10 a month and 2 × 120 a year.
        assert_eq!((metrics.mrr, metrics.active_subscribers), (30.0, 2));
        assert_eq!((metrics.total_earnings, metrics.earnings_this_month), (30.5, 20.5));
        // 30 days before the 29th at noon is the 30th of October.
        assert_eq!(metrics.earnings_last30_days, 30.5);
        assert_eq!((metrics.new_subs_this_month, metrics.churned_this_month), (2, 1));
        assert_eq!(metrics.total_subscribers, 5);
        let months = json!({"2026-08": 2, "2026-10": 1, "2026-11": 2});
        assert_eq!(json!(metrics.subscribers_by_month), months);
        assert_eq!(metrics.recent_canceled.len(), 2);
        assert_eq!(metrics.recent_canceled[0].customer_email.as_deref(), Some("2@example.test"));
        assert_eq!(metrics.recent_canceled[0].plan.as_deref(), Some("Pro"));
        // 2 of 40 users; 3 subscriptions of the last 30 days (one of the 31st of October), 8 users.
        assert_eq!((metrics.conversion_rate, metrics.conversion_rate_last30_days), (5.0, 37.5));
        // Two ran when the month began (2 and 4); one of them left.
        assert_eq!((metrics.arpu, metrics.churn_rate, metrics.ltv), (15.0, 50.0, 30.0));
        // The month before: 2 and 3 ran when it began, 3 left: 50 %. Those who ran at its
        // end paid 10 and 20 a month: 15 ÷ 0.5 = 30.
        assert_eq!(metrics.ltv_growth, 0.0);
        assert_eq!(
            (metrics.currency.as_str(), metrics.other_currencies),
            ("usd", vec!["eur".to_owned()])
        );
    }

    #[test]
    fn an_empty_account_makes_zeros() {
        let metrics = SaasMetrics::of(&Account::default(), Users::default(), DateTime::UNIX_EPOCH);
        let value = json!(metrics);
        for name in [
            "mrr",
            "arpu",
            "churnRate",
            "ltv",
            "ltvGrowth",
            "conversionRate",
            "conversionRateLast30Days",
            "totalEarnings",
            "earningsThisMonth",
            "earningsLast30Days",
        ] {
            assert_eq!(value[name], 0.0, "{name}");
        }
        assert_eq!(units(500.0, "jpy"), 500.0);
    }
}
