//! Derives a user's plan from subscriptions.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};

use super::record::Record;
use crate::named::named;

/// `profiles.plan_id` of a paying user.
pub const PRO_PLAN: &str = "pro";
/// `profiles.plan_id` of all other users.
pub const FREE_PLAN: &str = "free";

/// The known states of a subscription. Stripe may add more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// Paid.
    Active,
    /// In its free trial.
    Trialing,
    /// The latest payment failed and is being retried.
    PastDue,
    /// The first payment has not arrived; expires after 23 hours.
    Incomplete,
    /// The first payment never arrived. Final.
    IncompleteExpired,
    /// Stripe has stopped collecting.
    Unpaid,
    /// Halted, for instance after a trial without a payment method.
    Paused,
    /// Ended. Final.
    Canceled,
}

named!(Status, "subscription status", {
    Active => "active", Trialing => "trialing", PastDue => "past_due",
    Incomplete => "incomplete", IncompleteExpired => "incomplete_expired",
    Unpaid => "unpaid", Paused => "paused", Canceled => "canceled",
});

impl Status {
    /// Whether Stripe never changes it again.
    pub fn is_final(self) -> bool {
        match self {
            Self::IncompleteExpired | Self::Canceled => true,
            Self::Active
            | Self::Trialing
            | Self::PastDue
            | Self::Incomplete
            | Self::Unpaid
            | Self::Paused => false,
        }
    }
}

/// The access that a subscription gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Full access.
    Full,
    /// Full access while a failed payment is retried: until then, in Unix seconds.
    Grace {
        /// The first second without access.
        until: i64,
    },
    /// None.
    None,
}

/// Which subscriptions entitle, and the grace period after a failed payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntitlementPolicy {
    /// Access in status `past_due` lasts this long, from its start.
    pub past_due_grace: Duration,
    /// The prices and products that give pro; if there are none, all do (see
    /// [`Offers`](super::Offers)).
    pub entitling: Vec<String>,
}

impl Default for EntitlementPolicy {
    /// Two weeks: Stripe's default schedule of retries.
    fn default() -> Self {
        Self { past_due_grace: Duration::from_secs(14 * 86_400), entitling: Vec::new() }
    }
}

impl EntitlementPolicy {
    /// The access of a subscription in `status`. `past_due_since` is in Unix seconds and
    /// only used in that status.
    pub fn access(&self, status: Status, past_due_since: Option<i64>) -> Access {
        match status {
            Status::Active | Status::Trialing => Access::Full,
            Status::PastDue => {
                let grace = i64::try_from(self.past_due_grace.as_secs()).unwrap_or(i64::MAX);
                Access::Grace { until: past_due_since.unwrap_or(0).saturating_add(grace) }
            }
            Status::Incomplete
            | Status::IncompleteExpired
            | Status::Unpaid
            | Status::Paused
            | Status::Canceled => Access::None,
        }
    }
}

/// A user's entitlement, from all their subscriptions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entitlement {
    /// Whether they have pro.
    pub pro: bool,
    /// When it renews or ends: the end of the longest paid period.
    pub renews_on: Option<NaiveDate>,
    /// The Stripe customer that pays, or paid last.
    pub customer: Option<String>,
    /// The subscriptions that give it. More than one means that the user pays twice.
    pub paid_by: Vec<String>,
}

impl Entitlement {
    /// The entitlement of `records`, the subscriptions of one user, at `now`.
    pub fn of<'a>(
        records: impl IntoIterator<Item = &'a Record>,
        policy: &EntitlementPolicy,
        now: DateTime<Utc>,
    ) -> Self {
        let mut best: Option<(Rank<'a>, &'a Record)> = None;
        let mut paid_by = Vec::new();
        for record in records {
            let rank = Rank::of(record, policy, now);
            if rank.pro {
                paid_by.push(record.id.clone());
            }
            if best.as_ref().is_none_or(|(found, _)| rank > *found) {
                best = Some((rank, record));
            }
        }
        let Some((rank, record)) = best else {
            return Self::default();
        };
        let period_end = record.period_end.filter(|_| rank.pro);
        Self {
            pro: rank.pro,
            renews_on: period_end
                .and_then(|end| DateTime::from_timestamp(end, 0))
                .map(|end| end.date_naive()),
            customer: (!record.customer_deleted).then(|| record.customer.clone()),
            paid_by,
        }
    }

    /// The value of `profiles.plan_id`.
    pub fn plan_id(&self) -> &'static str {
        if self.pro { PRO_PLAN } else { FREE_PLAN }
    }
}

/// Orders subscriptions by their relevance for the user; the id breaks ties, so that the
/// order of reading does not matter.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank<'a> {
    pro: bool,
    customer_exists: bool,
    period_end: Option<i64>,
    created: Option<i64>,
    id: &'a str,
}

impl<'a> Rank<'a> {
    fn of(record: &'a Record, policy: &EntitlementPolicy, now: DateTime<Utc>) -> Self {
        let pro = match record.access(policy, now.timestamp()) {
            Access::Full => true,
            Access::Grace { until } => now.timestamp() < until,
            Access::None => false,
        };
        Self {
            pro,
            customer_exists: !record.customer_deleted,
            period_end: record.period_end,
            created: record.created,
            id: &record.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_status_has_its_access() {
        let policy = EntitlementPolicy {
            past_due_grace: Duration::from_secs(100),
            ..EntitlementPolicy::default()
        };
        let access = |word: &str| policy.access(word.parse().unwrap(), Some(50));
        assert_eq!(access("active"), Access::Full);
        assert_eq!(access("trialing"), Access::Full);
        assert_eq!(access("past_due"), Access::Grace { until: 150 });
        for word in ["incomplete", "incomplete_expired", "unpaid", "paused", "canceled"] {
            assert_eq!(access(word), Access::None, "{word}");
        }
        assert!("dormant".parse::<Status>().is_err());
    }
}
