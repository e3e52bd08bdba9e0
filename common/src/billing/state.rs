//! The known state of one customer: their subscriptions and their user.

use uuid::Uuid;

use super::record::Record;
use crate::named::named;

/// What is known of one customer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerState {
    /// Whether Stripe deleted it.
    pub deleted: bool,
    /// The user it belongs to, as checkouts and its own metadata say.
    pub link: Option<Link>,
    /// The user whose profile names it. Read, never written here.
    pub profile_user: Option<Uuid>,
    /// Its subscriptions.
    pub records: Vec<Record>,
}

/// A customer's user. Of two links the greater one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Who says so.
    pub source: LinkSource,
    /// When it was said, in Unix seconds.
    pub made_at: i64,
    /// The user.
    pub user: Uuid,
}

/// Where a link comes from, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkSource {
    /// The customer's own metadata.
    Customer,
    /// A checkout made for the user.
    Checkout,
}

named!(LinkSource, "source of a link", { Customer => "customer", Checkout => "checkout" });

impl CustomerState {
    /// The user the customer belongs to: as a checkout or its own metadata
    /// said; else the one user its subscriptions name; else, when they name
    /// nobody, the one whose profile names the customer.
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

    /// The user a subscription of the customer belongs to: as its own
    /// metadata says, else as its checkout says, else the customer's.
    pub fn user_of(&self, record: &Record) -> Option<Uuid> {
        record.named_user().or_else(|| self.user())
    }

    /// What is known of the subscription `id`.
    pub fn record(&self, id: &str) -> Option<&Record> {
        self.records.iter().find(|record| record.id == id)
    }

    pub(super) fn record_mut(&mut self, id: &str) -> Option<&mut Record> {
        self.records.iter_mut().find(|record| record.id == id)
    }
}
