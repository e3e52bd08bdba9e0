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

/// Events made this close to a fetch, in seconds, may or may not be in it.
pub const FETCH_MARGIN: i64 = 5;

/// Where our account of a subscription comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// A checkout that named the subscription, before anything else did.
    Checkout,
    /// The event that made the subscription, at this second.
    Created(i64),
    /// A later event, made at this second.
    Event(i64),
    /// Stripe's answer to our question, at this second by Stripe's clock.
    Fetch(i64),
}

impl Basis {
    /// Its kind, as SQL spells it.
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

    /// Its second, in Unix seconds; a checkout's does not count.
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

/// What we know of one subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `sub_…`
    pub id: String,
    /// `cus_…`
    pub customer: String,
    /// Whether that customer was deleted: nothing of theirs gives access.
    pub customer_deleted: bool,
    /// Where it stands.
    pub status: Status,
    /// What that is based on.
    pub basis: Basis,
    /// When payment began to fail, as an event told, in Unix seconds.
    pub fell_due_at: Option<i64>,
    /// The same, but only as early as we noticed: counts while no event told.
    pub seen_due_at: Option<i64>,
    /// The end of what is paid, in Unix seconds.
    pub period_end: Option<i64>,
    /// When it will end if nothing changes, in Unix seconds.
    pub ends_at: Option<i64>,
    /// The end of its trial, in Unix seconds.
    pub trial_end: Option<i64>,
    /// The price of its first item.
    pub price: Option<String>,
    /// The prices and products of all its items; `None` while no account of
    /// this release told them.
    pub items: Option<Vec<String>>,
    /// The pause in the collection of its payments.
    pub pause: Option<Pause>,
    /// When it was made, in Unix seconds.
    pub created: Option<i64>,
    /// The user its metadata names.
    pub metadata_user: Option<Uuid>,
    /// The user its checkout session named.
    pub checkout_user: Option<Uuid>,
}

/// How a new account of a subscription compares to what we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Newer,
    /// It tells us nothing new.
    Known,
    /// It was overtaken.
    Older,
    /// Only Stripe can tell.
    Doubtful,
}

impl Record {
    /// What a checkout session tells of its subscription: access when it is
    /// paid, until a better account arrives.
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

    /// What `subscription` tells, read from an event or a reply.
    ///
    /// # Errors
    /// Its status is none we know.
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

    /// What it gives its user at `now`, in Unix seconds.
    pub fn access(&self, policy: &EntitlementPolicy, now: i64) -> Access {
        let paused = self.pause.is_some_and(|pause| pause.resumes_at.is_none_or(|at| now < at));
        if self.customer_deleted || paused || !self.is_ours(policy) {
            return Access::None;
        }
        policy.access(self.status, self.fell_due_at.or(self.seen_due_at))
    }

    /// Whether it is for something that is ours. One that only its checkout told
    /// of is, if that was made for a user: what it sold is told later.
    pub fn is_ours(&self, policy: &EntitlementPolicy) -> bool {
        let ours = |id: &String| policy.entitling.contains(id);
        policy.entitling.is_empty()
            || match (&self.items, &self.price) {
                (Some(items), _) => items.iter().any(ours),
                (None, Some(price)) => ours(price),
                (None, None) => self.basis == Basis::Checkout && self.checkout_user.is_some(),
            }
    }

    /// Whether it is paid for, by status, and gives nothing because it is not ours.
    pub fn is_foreign(&self, policy: &EntitlementPolicy) -> bool {
        let live = matches!(self.status, Status::Active | Status::Trialing | Status::PastDue);
        live && !self.customer_deleted && !self.is_ours(policy)
    }

    /// The user its own papers name.
    pub fn named_user(&self) -> Option<Uuid> {
        self.metadata_user.or(self.checkout_user)
    }

    /// How `other`, another account of the same subscription, compares to this one.
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

    /// Takes over what `newer` says.
    pub fn absorb(&mut self, newer: Self) {
        let mut next = Self {
            fell_due_at: self.fell_due_at,
            seen_due_at: self.seen_due_at.or(newer.seen_due_at),
            customer_deleted: self.customer_deleted,
            checkout_user: self.checkout_user,
            ..newer
        };
        if next.status != Status::PastDue {
            // That time is over; a next one starts afresh.
            next.seen_due_at = None;
            next.fell_due_at = next.fell_due_at.filter(|&since| Some(since) >= next.basis.at());
        }
        *self = next;
    }

    /// Notes that an event, in order or not, told of payment beginning to
    /// fail at this second. The latest such time is the one that counts.
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
