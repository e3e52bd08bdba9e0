//! The known state of one customer: their subscriptions and their user.

use uuid::Uuid;

use super::record::Record;
use crate::named::named;

/// The known state of one customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerState {
    /// Whether Stripe deleted it.
    pub deleted: bool,
    /// Its user, according to checkouts and its own metadata.
    pub link: Option<Link>,
    /// The user whose profile names it. Read-only here.
    pub profile_user: Option<Uuid>,
    /// Its subscriptions.
    pub records: Vec<Record>,
}

/// A customer's user. Of two links the greater one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Its source.
    pub source: LinkSource,
    /// Its time, in Unix seconds.
    pub made_at: i64,
    /// The user.
    pub user: Uuid,
}

/// The source of a link, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkSource {
    /// The customer's own metadata.
    Customer,
    /// A checkout made for the user.
    Checkout,
}

named!(LinkSource, "source of a link", { Customer => "customer", Checkout => "checkout" });

impl CustomerState {
    /// The user of the customer: from a checkout or its own metadata; else the one user
    /// that its subscriptions name; else, if they name none, the one whose profile names
    /// the customer.
    pub fn user(&self) -> Option<Uuid> {
        if let Some(link) = self.link {
            return Some(link.user);
        }
        let mut named = self.records.iter().filter_map(Record::named_user);
        match named.next() {
            Some(first) => named.all(|other| other == first).then_some(first),
            None => self.profile_user,
        }
    }

    /// The user of a subscription of the customer: from its own metadata, else from its
    /// checkout, else the customer's.
    pub fn user_of(&self, record: &Record) -> Option<Uuid> {
        record.named_user().or_else(|| self.user())
    }

    /// The state of the subscription `id`.
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    pub(super) fn record_mut(&mut self, id: &str) -> Option<&mut Record> {
        self.records.iter_mut().find(|record| record.id == id)
    }
}
