//! SQL of customers and their subscriptions: read and written as a whole,
//! under one lock per customer.

use std::collections::{BTreeMap, BTreeSet};

use crate::db::{GenericClient, Transaction};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use super::events::{self, Replayed};
use super::{claims, seconds, time};
use crate::billing::Mode;
use crate::billing::object::Pause;
use crate::billing::record::{Basis, Record};
use crate::billing::state::{CustomerState, Link, LinkSource};
use crate::db::DbError;
use crate::db::jobs::read::named;

/// A customer as stored.
#[derive(Debug, Clone, Default)]
pub struct Stored {
    /// Its state.
    pub state: CustomerState,
    /// Increases with every change.
    pub revision: i64,
    /// The users of its subscriptions when it was read.
    pub users: BTreeSet<Uuid>,
    /// The user that it was stored with.
    owner: Option<Uuid>,
    /// The user that each subscription was stored with.
    owners: BTreeMap<String, Option<Uuid>>,
}

impl Stored {
    /// Whether `after` differs, be it only by whose it is: the profile that names the
    /// customer is not part of what is stored.
    fn differs(&self, after: &CustomerState) -> bool {
        let owner_of = |record: &Record| self.owners.get(&record.id).copied().flatten();
        self.state != *after
            || self.owner != after.user()
            || after.records.iter().any(|record| owner_of(record) != after.user_of(record))
    }
}

/// Locks the customer until the transaction ends.
///
/// # Errors
/// Postgres failed.
pub async fn lock(tx: &impl GenericClient, customer: &str) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- lock customer
             select pg_advisory_xact_lock(hashtextextended($1, 20))",
        )
        .await?;
    tx.query_one(&statement, &[&customer]).await?;
    Ok(())
}

/// Reads a customer; an unknown one is empty.
///
/// # Errors
/// Postgres failed, or a column has a value that this release does not know.
pub async fn load(tx: &impl GenericClient, customer: &str) -> Result<Stored, DbError> {
    let statement = tx
        .prepare_cached(
            "-- load customer
             select c.linked_user, c.link_source, c.linked_at, c.deleted, c.revision, c.user_id,
                 p.id as profile_user
             from (select $1::text as id) asked
             left join regimen.customers c on c.id = asked.id
             left join lateral (
                 -- Not in the order of the key, which would be read until one is found.
                 select id from (
                     select id from public.profiles where stripe_customer_id = asked.id offset 0
                 ) named order by id limit 1
             ) p on true",
        )
        .await?;
    let row = tx.query_one(&statement, &[&customer]).await?;
    let deleted = row.get::<_, Option<bool>>("deleted").unwrap_or(false);
    let statement = tx
        .prepare_cached(
            "-- load subscriptions
             select s.id, s.customer_id, s.user_id, s.status, s.period_end, s.ends_at, s.trial_end,
                 s.price_id, s.made_at, s.basis, s.basis_at, s.fell_due_at, s.seen_due_at,
                 s.metadata_user, s.checkout_user, s.items, s.collection_paused, s.resumes_at,
                 c.deleted
             from (select * from regimen.subscriptions where customer_id = $1 offset 0) s
             join regimen.customers c on c.id = s.customer_id
             order by s.id",
        )
        .await?;
    let rows = tx.query(&statement, &[&customer]).await?;
    Ok(Stored {
        state: CustomerState {
            deleted,
            link: link(&row)?,
            profile_user: row.get("profile_user"),
            records: rows.iter().map(record).collect::<Result<_, _>>()?,
        },
        revision: row.get::<_, Option<i64>>("revision").unwrap_or(0),
        users: rows.iter().filter_map(|row| row.get("user_id")).collect(),
        owner: row.get("user_id"),
        owners: rows.iter().map(|row| (row.get("id"), row.get("user_id"))).collect(),
    })
}

/// All subscriptions of a user, of any customer.
///
/// # Errors
/// Postgres failed, or a column has a value that this release does not know.
pub async fn records_of_user(
    client: &impl GenericClient,
    user: Uuid,
) -> Result<Vec<Record>, DbError> {
    let statement = client
        .prepare_cached(
            "-- subscriptions of user
             select s.id, s.customer_id, s.status, s.period_end, s.ends_at, s.trial_end, s.price_id,
                 s.made_at, s.basis, s.basis_at, s.fell_due_at, s.seen_due_at, s.metadata_user,
                 s.checkout_user, s.items, s.collection_paused, s.resumes_at, c.deleted
             from (select * from regimen.subscriptions where user_id = $1 offset 0) s
             join regimen.customers c on c.id = s.customer_id
             order by s.id",
        )
        .await?;
    client.query(&statement, &[&user]).await?.iter().map(record).collect()
}

/// Writes the differences between `before` and `after`, and returns the users whose
/// profiles may have to be updated.
///
/// # Errors
/// Postgres failed.
pub async fn save(
    tx: &impl GenericClient,
    customer: &str,
    before: &Stored,
    after: &CustomerState,
) -> Result<BTreeSet<Uuid>, DbError> {
    let changed = before.differs(after);
    if changed {
        save_customer(tx, customer, after).await?;
    }
    let mut users = before.users.clone();
    users.extend(after.user());
    for record in &after.records {
        let user = after.user_of(record);
        if changed {
            save_record(tx, record, user).await?;
        }
        users.extend(user);
    }
    Ok(users)
}

/// Makes replies of Stripe that were requested before now count no longer.
///
/// # Errors
/// Postgres failed.
pub async fn void_replies(tx: &impl GenericClient, customer: &str) -> Result<(), DbError> {
    let sql = "-- void replies
               update regimen.customers set revision = revision + 1 where id = $1";
    let statement = tx.prepare_cached(sql).await?;
    tx.execute(&statement, &[&customer]).await?;
    Ok(())
}

/// What became of an operator's wish to assign a customer to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assigned {
    /// It is the user's, and so many of its events are applied again.
    Done {
        /// The unresolved ones, or the newest one where there are none.
        again: u64,
    },
    /// It is this other user's; nothing was changed.
    Of(Uuid),
}

/// Links a customer to a user as a checkout of theirs at `made_at` (Unix seconds) would,
/// and has its unresolved events applied again: what they are worth to the user follows
/// from that. A newer checkout for another user still counts more.
///
/// # Errors
/// Nothing was changed.
pub async fn assign(
    tx: &Transaction<'_>,
    customer: &str,
    user: Uuid,
    made_at: i64,
    mode: Mode,
) -> Result<Assigned, DbError> {
    lock(tx, customer).await?;
    let stored = load(tx, customer).await?;
    if let Some(other) = stored.state.user().filter(|known| *known != user) {
        return Ok(Assigned::Of(other));
    }
    let link = Some(Link { source: LinkSource::Checkout, made_at, user });
    save(tx, customer, &stored, &CustomerState { link, ..stored.state.clone() }).await?;
    let mut again = claims::wake_unresolved(tx, customer).await?;
    if again == 0
        && let Some(newest) = events::of_customer(tx, customer, 1).await?.first()
        && let Replayed::Again(_) = events::replay(tx, &newest.id, mode).await?
    {
        again = 1;
    }
    Ok(Assigned::Done { again })
}

async fn save_customer(
    tx: &impl GenericClient,
    customer: &str,
    state: &CustomerState,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- save customer
             insert into regimen.customers (id, linked_user, link_source, linked_at, user_id,
                 deleted, revision)
             values ($1, $2, $3, $4, $5, $6, 1)
             on conflict (id) do update
             set linked_user = excluded.linked_user, link_source = excluded.link_source,
                 linked_at = excluded.linked_at, user_id = excluded.user_id,
                 deleted = excluded.deleted, revision = customers.revision + 1,
                 missing_since = null, updated_at = now()",
        )
        .await?;
    let link = state.link;
    let linked_at = link.and_then(|link| time(link.made_at));
    let source = link.map(|link| link.source.as_str());
    let user = link.map(|link| link.user);
    tx.execute(&statement, &[&customer, &user, &source, &linked_at, &state.user(), &state.deleted])
        .await?;
    Ok(())
}

async fn save_record(
    tx: &impl GenericClient,
    record: &Record,
    user: Option<Uuid>,
) -> Result<(), DbError> {
    let statement = tx
        .prepare_cached(
            "-- save subscription
             insert into regimen.subscriptions (id, customer_id, user_id, status, period_end,
                 ends_at, trial_end, price_id, made_at, basis, basis_at, fell_due_at, seen_due_at,
                 metadata_user, checkout_user, items, collection_paused, resumes_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
             on conflict (id) do update
             set user_id = excluded.user_id, status = excluded.status,
                 period_end = excluded.period_end, ends_at = excluded.ends_at,
                 trial_end = excluded.trial_end, price_id = excluded.price_id,
                 made_at = excluded.made_at, basis = excluded.basis, basis_at = excluded.basis_at,
                 fell_due_at = excluded.fell_due_at, seen_due_at = excluded.seen_due_at,
                 metadata_user = excluded.metadata_user, checkout_user = excluded.checkout_user,
                 items = excluded.items, collection_paused = excluded.collection_paused,
                 resumes_at = excluded.resumes_at, updated_at = now()
             where subscriptions.customer_id = excluded.customer_id",
        )
        .await?;
    let (basis, basis_at) = (record.basis.word(), record.basis.at().and_then(time));
    let saved = tx
        .execute(
            &statement,
            &[
                &record.id,
                &record.customer,
                &user,
                &record.status.as_str(),
                &record.period_end.and_then(time),
                &record.ends_at.and_then(time),
                &record.trial_end.and_then(time),
                &record.price,
                &record.created.and_then(time),
                &basis,
                &basis_at,
                &record.fell_due_at.and_then(time),
                &record.seen_due_at.and_then(time),
                &record.metadata_user,
                &record.checkout_user,
                &record.items,
                &record.pause.is_some(),
                &record.pause.and_then(|pause| pause.resumes_at).and_then(time),
            ],
        )
        .await?;
    match saved {
        1 => Ok(()),
        found => Err(DbError::Rows { statement: "save subscription", expected: 1, found }),
    }
}

fn link(row: &Row) -> Result<Option<Link>, DbError> {
    let Some(user) = row.get::<_, Option<Uuid>>("linked_user") else {
        return Ok(None);
    };
    let source: LinkSource = named(row, "link_source")?;
    let made_at = row.get::<_, DateTime<Utc>>("linked_at").timestamp();
    Ok(Some(Link { source, made_at, user }))
}

pub(super) fn record(row: &Row) -> Result<Record, DbError> {
    let at = row.get::<_, Option<DateTime<Utc>>>("basis_at").map_or(0, |at| at.timestamp());
    let basis = Basis::from_word(row.get("basis"), at)
        .map_err(|source| DbError::Value { column: "basis", source })?;
    Ok(Record {
        id: row.get("id"),
        customer: row.get("customer_id"),
        customer_deleted: row.get("deleted"),
        status: named(row, "status")?,
        basis,
        fell_due_at: seconds(row.get("fell_due_at")),
        seen_due_at: seconds(row.get("seen_due_at")),
        period_end: seconds(row.get("period_end")),
        ends_at: seconds(row.get("ends_at")),
        trial_end: seconds(row.get("trial_end")),
        price: row.get("price_id"),
        items: items(row),
        pause: row
            .get::<_, bool>("collection_paused")
            .then(|| Pause { resumes_at: seconds(row.get("resumes_at")) }),
        created: seconds(row.get("made_at")),
        metadata_user: row.get("metadata_user"),
        checkout_user: row.get("checkout_user"),
    })
}

/// The items. During a rollout a worker of the previous release may write only a new
/// price: then the items are unknown.
fn items(row: &Row) -> Option<Vec<String>> {
    let items: Vec<String> = row.get::<_, Option<_>>("items")?;
    let price: Option<String> = row.get("price_id");
    price.is_none_or(|price| items.contains(&price)).then_some(items)
}
