//! The known state of one subscription, and which of two snapshots of it
//! counts.
//!
//! An event contains its subscription as it was when the event was made, with a
//! resolution of one second. Of two events, the one made later counts; two
//! different ones of the same second can only be ordered by Stripe. A fetched
//! subscription counts over every event made before the fetch. An event made
//! about the time of the fetch needs another fetch, because the two clocks need
//! not agree. The states `canceled` and `incomplete_expired` are final at
//! Stripe, so they count over everything.

use uuid::Uuid;

use super::entitlement::{Access, EntitlementPolicy, Status};
use super::object::{Pause, Subscription};
use crate::named::UnknownName;

/// Events made this close to a fetch, in seconds, may or may not be included in it.
pub const FETCH_MARGIN: i64 = 5;

/// The origin of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// A checkout that named the subscription, before any other event.
    Checkout,
    /// The event of its creation, made at this second.
    Created(i64),
    /// A later event, made at this second.
    Event(i64),
    /// A fetch from Stripe, at this second by Stripe's clock.
    Fetch(i64),
}

impl Basis {
    /// Its kind in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Checkout => "checkout",
            Self::Created(_) => "created",
            Self::Event(_) => "event",
            Self::Fetch(_) => "fetch",
        }
    }

    /// The basis of kind `word`, at a Unix second.
    ///
    /// # Errors
    /// There is no such kind.
    pub fn from_word(word: &str, at: i64) -> Result<Self, UnknownName> {
        match word {
            "checkout" => Ok(Self::Checkout),
            "created" => Ok(Self::Created(at)),
            "event" => Ok(Self::Event(at)),
            "fetch" => Ok(Self::Fetch(at)),
            _ => {
                let known = ["checkout", "created", "event", "fetch"];
                Err(UnknownName::new("basis of a subscription", word, &known))
            }
        }
    }

    /// Its time, in Unix seconds; a checkout's does not count.
    pub fn at(self) -> Option<i64> {
        match self {
            Self::Checkout => None,
            Self::Created(at) | Self::Event(at) | Self::Fetch(at) => Some(at),
        }
    }

    fn standing_of(self, other: Self) -> Standing {
        use std::cmp::Ordering;
        match (self, other) {
            (_, Self::Checkout) => Standing::Older,
            (Self::Checkout, _) | (_, Self::Fetch(_)) | (Self::Created(_), Self::Event(_)) => {
                Standing::Newer
            }
            (Self::Event(_), Self::Created(_)) => Standing::Older,
            (Self::Fetch(at), Self::Created(made) | Self::Event(made)) => {
                if made > at + FETCH_MARGIN {
                    Standing::Newer
                } else if made < at - FETCH_MARGIN {
                    Standing::Older
                } else {
                    Standing::Doubtful
                }
            }
            (Self::Created(known), Self::Created(made))
            | (Self::Event(known), Self::Event(made)) => match made.cmp(&known) {
                Ordering::Greater => Standing::Newer,
                Ordering::Less => Standing::Older,
                Ordering::Equal => Standing::Doubtful,
            },
        }
    }
}

/// The known state of one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `sub_…`
    pub id: String,
    /// `cus_…`
    pub customer: String,
    /// Whether its customer was deleted: then it gives no access.
    pub customer_deleted: bool,
    /// Its status.
    pub status: Status,
    /// The origin of the snapshot.
    pub basis: Basis,
    /// When payment began to fail, according to an event, in Unix seconds.
    pub fell_due_at: Option<i64>,
    /// The same, but when we first noticed it: used without an event.
    pub seen_due_at: Option<i64>,
    /// The end of the paid period, in Unix seconds.
    pub period_end: Option<i64>,
    /// When it ends unless it is changed, in Unix seconds.
    pub ends_at: Option<i64>,
    /// The end of its trial, in Unix seconds.
    pub trial_end: Option<i64>,
    /// The price of its first item.
    pub price: Option<String>,
    /// The prices and products of all its items; `None` without a snapshot of this
    /// release.
    pub items: Option<Vec<String>>,
    /// The pause in the collection of its payments.
    pub pause: Option<Pause>,
    /// When it was created, in Unix seconds.
    pub created: Option<i64>,
    /// The user in its metadata.
    pub metadata_user: Option<Uuid>,
    /// The user of its checkout session.
    pub checkout_user: Option<Uuid>,
}

/// How another snapshot of a subscription compares to the known one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It replaces the known one.
    Newer,
    /// It equals the known one.
    Known,
    /// It is outdated.
    Older,
    /// Only Stripe can decide.
    Doubtful,
}

impl Record {
    /// The snapshot from a checkout session: access when it is paid, until a better
    /// snapshot arrives.
    pub fn from_checkout(id: &str, customer: &str, settled: bool) -> Self {
        Self {
            id: id.to_owned(),
            customer: customer.to_owned(),
            customer_deleted: false,
            status: if settled { Status::Active } else { Status::Incomplete },
            basis: Basis::Checkout,
            fell_due_at: None,
            seen_due_at: None,
            period_end: None,
            ends_at: None,
            trial_end: None,
            price: None,
            items: None,
            pause: None,
            created: None,
            metadata_user: None,
            checkout_user: None,
        }
    }

    /// The snapshot of `subscription`, from an event or a reply.
    ///
    /// # Errors
    /// Its status is unknown.
    pub fn from_subscription(
        id: &str,
        customer: &str,
        subscription: &Subscription,
        basis: Basis,
    ) -> Result<Self, UnknownName> {
        let status: Status = subscription.status.as_deref().unwrap_or_default().parse()?;
        Ok(Self {
            id: id.to_owned(),
            customer: customer.to_owned(),
            customer_deleted: false,
            status,
            basis,
            fell_due_at: None,
            seen_due_at: basis.at().filter(|_| status == Status::PastDue),
            period_end: subscription.period_end(),
            ends_at: subscription.ends_at(),
            trial_end: subscription.trial_end,
            price: subscription.price().map(str::to_owned),
            items: Some(subscription.sold()),
            pause: subscription.pause(),
            created: subscription.created,
            metadata_user: subscription.metadata.user(),
            checkout_user: None,
        })
    }

    /// Its access at `now`, in Unix seconds.
    pub fn access(&self, policy: &EntitlementPolicy, now: i64) -> Access {
        let paused = self.pause.is_some_and(|pause| pause.resumes_at.is_none_or(|at| now < at));
        if self.customer_deleted || paused || !self.is_ours(policy) {
            return Access::None;
        }
        policy.access(self.status, self.fell_due_at.or(self.seen_due_at))
    }

    /// Whether it has a price or product of ours. A snapshot from a checkout has, if that
    /// was made for a user: its items follow later.
    pub fn is_ours(&self, policy: &EntitlementPolicy) -> bool {
        let ours = |id: &String| policy.entitling.contains(id);
        policy.entitling.is_empty()
            || match (&self.items, &self.price) {
                (Some(items), _) => items.iter().any(ours),
                (None, Some(price)) => ours(price),
                (None, None) => self.basis == Basis::Checkout && self.checkout_user.is_some(),
            }
    }

    /// Whether it is paid for, by status, but gives no access because it is not ours.
    pub fn is_foreign(&self, policy: &EntitlementPolicy) -> bool {
        let live = matches!(self.status, Status::Active | Status::Trialing | Status::PastDue);
        live && !self.customer_deleted && !self.is_ours(policy)
    }

    /// The user that its metadata or checkout names.
    pub fn named_user(&self) -> Option<Uuid> {
        self.metadata_user.or(self.checkout_user)
    }

    /// How `other`, another snapshot of the same subscription, compares to this one.
    pub fn standing_of(&self, other: &Self) -> Standing {
        match (self.status.is_final(), other.status.is_final()) {
            (false, true) => return Standing::Newer,
            (true, false) => return Standing::Older,
            _ => {}
        }
        let standing = self.basis.standing_of(other.basis);
        let settled = self.status.is_final() || self.says_the_same(other);
        if standing == Standing::Doubtful && settled { Standing::Known } else { standing }
    }

    /// Whether this state may be later than `reply`, a reply of Stripe that was requested
    /// without a look at the customer's revision: other events may have been applied
    /// between the reply and its use.
    pub fn may_be_later_than(&self, reply: &Self) -> bool {
        match (self.basis.at(), reply.basis.at()) {
            (Some(known), Some(replied)) => known >= replied - FETCH_MARGIN,
            _ => false,
        }
    }

    /// Merges `newer`.
    pub fn absorb(&mut self, newer: Self) {
        // A failure from before a state that was paid for is over, however late it was told.
        let under_way =
            |since: &i64| self.status == Status::PastDue || Some(*since) >= self.basis.at();
        let mut next = Self {
            fell_due_at: self.fell_due_at.filter(under_way),
            seen_due_at: self.seen_due_at.or(newer.seen_due_at),
            customer_deleted: self.customer_deleted,
            checkout_user: self.checkout_user,
            ..newer
        };
        if next.status != Status::PastDue {
            // That failure is over; the next one starts anew.
            next.seen_due_at = None;
            next.fell_due_at = next.fell_due_at.filter(|&since| Some(since) >= next.basis.at());
        }
        *self = next;
    }

    /// Records that an event, in any order, reported that payment began to fail at this
    /// second. The latest such time counts.
    pub fn note_fell_due(&mut self, at: i64) {
        self.fell_due_at = self.fell_due_at.max(Some(at));
    }

    fn says_the_same(&self, other: &Self) -> bool {
        let facts = |record: &Self| {
            (
                record.status,
                record.period_end,
                record.ends_at,
                record.trial_end,
                record.price.clone(),
                (record.items.clone(), record.pause),
                record.metadata_user,
            )
        };
        facts(self) == facts(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(status: Status, basis: Basis) -> Record {
        let mut record = Record::from_checkout("sub_1", "cus_1", true);
        (record.status, record.basis) = (status, basis);
        record
    }

    #[test]
    fn the_later_event_counts_and_a_differing_tie_is_a_doubt() {
        use Basis::{Created, Event, Fetch};
        let cases = [
            (Event(5), Event(6), Standing::Newer),
            (Event(6), Event(5), Standing::Older),
            (Event(5), Event(5), Standing::Doubtful),
            (Created(5), Event(5), Standing::Newer),
            (Event(5), Created(5), Standing::Older),
            (Basis::Checkout, Created(1), Standing::Newer),
            (Event(5), Basis::Checkout, Standing::Older),
            (Event(500), Fetch(5), Standing::Newer),
            (Fetch(100), Event(106), Standing::Newer),
            (Fetch(100), Event(105), Standing::Doubtful),
            (Fetch(100), Event(95), Standing::Doubtful),
            (Fetch(100), Event(94), Standing::Older),
        ];
        for (known, heard, expected) in cases {
            let known = record(Status::Active, known);
            let heard = record(Status::Unpaid, heard);
            assert_eq!(known.standing_of(&heard), expected, "{known:?} {heard:?}");
        }
    }

    #[test]
    fn accounts_that_agree_leave_no_doubt_but_still_age() {
        let known = record(Status::Active, Basis::Event(5));
        assert_eq!(known.standing_of(&known), Standing::Known);
        let later = record(Status::Active, Basis::Event(9));
        assert_eq!(known.standing_of(&later), Standing::Newer);
    }

    #[test]
    fn a_final_state_counts_over_everything() {
        let over = record(Status::Canceled, Basis::Event(5));
        let active = record(Status::Active, Basis::Event(900));
        assert_eq!(over.standing_of(&active), Standing::Older);
        assert_eq!(active.standing_of(&over), Standing::Newer);
    }

    #[test]
    fn the_start_of_a_failing_payment_is_the_one_an_event_told() {
        let policy = EntitlementPolicy {
            past_due_grace: std::time::Duration::from_secs(10),
            ..EntitlementPolicy::default()
        };
        let mut known = record(Status::Active, Basis::Event(5));
        let mut overdue = record(Status::PastDue, Basis::Event(50));
        overdue.seen_due_at = Some(50);
        known.absorb(overdue);
        assert_eq!(known.access(&policy, 0), Access::Grace { until: 60 });
        known.note_fell_due(40);
        known.note_fell_due(20);
        assert_eq!(known.access(&policy, 0), Access::Grace { until: 50 });
        known.absorb(record(Status::Active, Basis::Event(70)));
        assert_eq!((known.fell_due_at, known.seen_due_at), (None, None));
        // The old failure is told once more, late; the next one has its own time.
        known.note_fell_due(50);
        let mut again = record(Status::PastDue, Basis::Fetch(900));
        again.seen_due_at = Some(900);
        known.absorb(again);
        assert_eq!(known.access(&policy, 0), Access::Grace { until: 910 });
    }

    #[test]
    fn only_what_is_ours_and_collected_gives_access() {
        let policy = EntitlementPolicy {
            entitling: vec!["price_1".into(), "prod_1".into()],
            ..EntitlementPolicy::default()
        };
        let sold = |items: &[&str]| {
            let mut record = record(Status::Active, Basis::Event(5));
            record.items = Some(items.iter().map(|&id| id.to_owned()).collect());
            record
        };
        for (items, access) in [
            (&["price_1"][..], Access::Full),
            (&["price_9", "prod_9"], Access::None),
            (&["price_9", "prod_1"], Access::Full),
            (&["price_9", "price_1"], Access::Full),
            (&[], Access::None),
        ] {
            assert_eq!(sold(items).access(&policy, 0), access, "{items:?}");
            assert_eq!(
                sold(items).access(&EntitlementPolicy::default(), 0),
                Access::Full,
                "{items:?}"
            );
            assert_eq!(sold(items).is_foreign(&policy), access == Access::None, "{items:?}");
        }
        let mut old = record(Status::Active, Basis::Event(5));
        for (price, access) in [("price_1", Access::Full), ("price_9", Access::None)] {
            old.price = Some(price.to_owned());
            assert_eq!(old.access(&policy, 0), access, "a row of an older release, {price}");
        }
        let mut checkout = Record::from_checkout("sub_1", "cus_1", true);
        assert_eq!(checkout.access(&policy, 0), Access::None, "a payment link of somebody else's");
        checkout.checkout_user = Some(Uuid::from_u128(1));
        assert_eq!(checkout.access(&policy, 0), Access::Full, "what it sold is told later");
        let mut paused = sold(&["price_1"]);
        paused.pause = Some(Pause { resumes_at: None });
        assert_eq!(paused.access(&policy, i64::MAX), Access::None);
        paused.pause = Some(Pause { resumes_at: Some(50) });
        assert_eq!(paused.access(&policy, 49), Access::None);
        assert_eq!(paused.access(&policy, 50), Access::Full, "Stripe has resumed it by now");
    }
}
