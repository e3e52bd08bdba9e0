//! SaaS metrics from the stored subscriptions and prices. They use list prices,
//! because discounts, taxes and quantities over one are not stored. Each number
//! documents its formula and unit.

use std::collections::BTreeMap;

use crate::named::named;

/// The window of churn, in days.
pub const WINDOW_DAYS: i64 = 30;

/// The billing period of a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Every so many days.
    Day,
    /// Every so many weeks.
    Week,
    /// Every so many months.
    Month,
    /// Every so many years.
    Year,
}

named!(Period, "period of a price", {
    Day => "day", Week => "week", Month => "month", Year => "year",
});

/// A price as Stripe has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Price {
    /// `price_…`
    pub id: String,
    /// In lower case, as Stripe writes it.
    pub currency: String,
    /// In the currency's smallest unit; none for tiers and metered use.
    pub unit_amount: Option<i64>,
    /// None for one-time prices.
    pub period: Option<Period>,
    /// How many periods one payment covers.
    pub period_count: i32,
}

impl Price {
    /// Its amount per month, in the currency's smallest unit: a year is twelve months, 52
    /// weeks, 365 days. None if it has no fixed amount or does not recur.
    pub fn monthly(&self) -> Option<f64> {
        let months = match self.period? {
            Period::Day => 12.0 / 365.0,
            Period::Week => 12.0 / 52.0,
            Period::Month => 1.0,
            Period::Year => 12.0,
        };
        Some(self.unit_amount? as f64 / (months * f64::from(self.period_count.max(1))))
    }
}

/// The number of paying subscriptions (active or past due) of a price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revenue {
    /// The price; none if it is unknown here.
    pub price: Option<Price>,
    /// The number of subscriptions.
    pub subscriptions: i64,
}

/// Counts of users and subscriptions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Profiles.
    pub users: i64,
    /// Distinct paying users, or customers without one.
    pub payers: i64,
    /// Distinct paying users.
    pub paying_users: i64,
    /// Subscriptions on trial.
    pub trialing: i64,
    /// Subscriptions whose latest payment failed.
    pub past_due: i64,
    /// Subscriptions paid for when the window began that are paid for now, or ended
    /// within it.
    pub cohort: i64,
    /// Those of the cohort that ended within the window.
    pub churned: i64,
}

/// The metrics of one currency.
#[derive(Debug, Clone, PartialEq)]
pub struct CurrencyMetrics {
    /// In lower case.
    pub currency: String,
    /// Monthly recurring revenue: the sum of [`Price::monthly`] over paying
    /// subscriptions, rounded; in the currency's smallest unit.
    pub mrr: i64,
    /// Paying subscriptions in this currency.
    pub subscriptions: i64,
    /// Average revenue per user: MRR ÷ paying subscriptions; in the currency's smallest
    /// unit per month.
    pub arpu: f64,
    /// Lifetime value: ARPU ÷ churn rate; in the currency's smallest unit. None while the
    /// churn rate is zero.
    pub ltv: Option<f64>,
}

/// All metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    /// By currency, the one with most subscriptions first.
    pub currencies: Vec<CurrencyMetrics>,
    /// Paying subscriptions whose price has no fixed amount or is unknown; they are in no
    /// revenue.
    pub unpriced: i64,
    /// Churned ÷ cohort of the window, 0 to 1. None without a cohort.
    pub churn_rate: Option<f64>,
    /// Paying users ÷ all users, 0 to 1. None without users.
    pub conversion_rate: Option<f64>,
}

impl Metrics {
    /// The metrics of these subscriptions and counts.
    pub fn of(revenue: &[Revenue], standing: &Standing) -> Self {
        let churn_rate = ratio(standing.churned, standing.cohort);
        let mut sums: BTreeMap<&str, (f64, i64)> = BTreeMap::new();
        let mut unpriced = 0;
        for Revenue { price, subscriptions } in revenue {
            match price.as_ref().and_then(|price| Some((&price.currency, price.monthly()?))) {
                None => unpriced += subscriptions,
                Some((currency, monthly)) => {
                    let sum = sums.entry(currency).or_default();
                    sum.0 += monthly * *subscriptions as f64;
                    sum.1 += subscriptions;
                }
            }
        }
        let currency = |(currency, (monthly, subscriptions)): (&str, (f64, i64))| {
            let arpu = monthly / subscriptions.max(1) as f64;
            CurrencyMetrics {
                currency: currency.to_owned(),
                mrr: monthly.round() as i64,
                subscriptions,
                arpu,
                ltv: churn_rate.filter(|rate| *rate > 0.0).map(|rate| arpu / rate),
            }
        };
        let mut currencies: Vec<_> = sums.into_iter().map(currency).collect();
        currencies.sort_by_key(|metrics| std::cmp::Reverse(metrics.subscriptions));
        Self {
            currencies,
            unpriced,
            churn_rate,
            conversion_rate: ratio(standing.paying_users, standing.users),
        }
    }
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(currency: &str, amount: Option<i64>, period: Option<Period>, count: i32) -> Price {
        Price {
            id: "price_1".to_owned(),
            currency: currency.to_owned(),
            unit_amount: amount,
            period,
            period_count: count,
        }
    }

    fn paid(price: Price, subscriptions: i64) -> Revenue {
        Revenue { price: Some(price), subscriptions }
    }

    #[test]
    fn a_price_brings_a_twelfth_of_its_year_each_month() {
        let monthly =
            |amount, period, count| price("eur", Some(amount), Some(period), count).monthly();
        assert_eq!(monthly(999, Period::Month, 1), Some(999.0));
        assert_eq!(monthly(2_400, Period::Month, 3), Some(800.0));
        assert_eq!(monthly(9_600, Period::Year, 1), Some(800.0));
        // 300 a week is 15,600 a year; 120 a day 43,800.
        assert_eq!(monthly(300, Period::Week, 1).map(f64::round), Some(1_300.0));
        assert_eq!(monthly(120, Period::Day, 1).map(f64::round), Some(3_650.0));
        assert_eq!(price("eur", None, Some(Period::Month), 1).monthly(), None);
        assert_eq!(price("eur", Some(999), None, 1).monthly(), None);
    }

    #[test]
    fn the_numbers_are_those_worked_out_by_hand() {
        let revenue = [
            paid(price("usd", Some(500), Some(Period::Month), 1), 2),
            // 30 × 999 = 29,970 and 10 × 9,600 ÷ 12 = 8,000: 37,970 from 40 subscriptions.
            paid(price("eur", Some(999), Some(Period::Month), 1), 30),
            paid(price("eur", Some(9_600), Some(Period::Year), 1), 10),
            paid(price("eur", None, Some(Period::Month), 1), 3),
            Revenue { price: None, subscriptions: 1 },
        ];
        let standing = Standing {
            users: 400,
            payers: 45,
            paying_users: 44,
            cohort: 40,
            churned: 2,
            ..Standing::default()
        };
        let metrics = Metrics::of(&revenue, &standing);
        let euro = &metrics.currencies[0];
        assert_eq!((euro.currency.as_str(), euro.mrr, euro.subscriptions), ("eur", 37_970, 40));
        assert_eq!(euro.arpu, 949.25);
        // 2 of 40 went: 5 %; 949.25 ÷ 0.05 = 18,985.
        assert_eq!(metrics.churn_rate, Some(0.05));
        assert_eq!(euro.ltv, Some(18_985.0));
        assert_eq!((metrics.currencies[1].mrr, metrics.currencies[1].arpu), (1_000, 500.0));
        assert_eq!(metrics.unpriced, 4);
        // 44 of 400 pay: 11 %.
        assert_eq!(metrics.conversion_rate, Some(0.11));
    }

    #[test]
    fn nobody_makes_no_numbers() {
        let metrics = Metrics::of(&[], &Standing::default());
        assert_eq!((metrics.churn_rate, metrics.conversion_rate), (None, None));
        assert!(metrics.currencies.is_empty());
        let revenue = [paid(price("eur", Some(999), Some(Period::Month), 1), 1)];
        let faithful = Standing { users: 1, cohort: 1, ..Standing::default() };
        assert_eq!(Metrics::of(&revenue, &faithful).currencies[0].ltv, None);
    }
}
