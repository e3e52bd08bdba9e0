//! SQL of subscribers: a user's own customer, the operators' list of
//! subscribers, and the numbers for revenue.

use crate::db::GenericClient;
use chrono::{DateTime, Utc};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::billing::entitlement::Status;
use crate::billing::metrics::{Period, Price, Revenue, Standing};
use crate::db::DbError;
use crate::db::jobs::read::named;

/// What is known of a user before a checkout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payer {
    /// From their profile; may be empty.
    pub email: String,
    /// The customer according to checkouts, its metadata or its subscriptions.
    pub customer: Option<String>,
    /// A customer that only their profile names. Users can write that column on some
    /// databases, so it is not trusted.
    pub named: Option<String>,
    /// A subscription of ours that is paid for, on trial, or being collected; also one
    /// whose collection is paused, which would continue beside a second one.
    pub subscribed: bool,
}

/// The known facts about `user`; none without a profile. `entitling` as in
/// [`EntitlementPolicy`](crate::billing::entitlement::EntitlementPolicy).
///
/// # Errors
/// Postgres failed.
pub async fn payer(
    client: &impl GenericClient,
    user: Uuid,
    entitling: &[String],
) -> Result<Option<Payer>, DbError> {
    let statement = client
        .prepare_cached(
            "-- payer
             select p.email,
                 (select c.id from regimen.customers c
                  where c.user_id = p.id and not c.deleted and c.missing_since is null
                      and (c.linked_user is not null or exists (
                          select from regimen.subscriptions s
                          where s.customer_id = c.id
                              and coalesce(s.metadata_user, s.checkout_user) = p.id))
                  order by (c.id = p.stripe_customer_id) desc nulls last,
                      c.linked_at desc nulls last, c.id limit 1) as customer,
                 (select p.stripe_customer_id where not exists (
                      select from regimen.customers c
                      where c.id = p.stripe_customer_id
                          and (c.deleted or c.missing_since is not null
                              or c.user_id is distinct from p.id))) as named,
                 exists (select from regimen.subscriptions s
                         join regimen.customers c on c.id = s.customer_id
                         where s.user_id = p.id and not c.deleted
                             and s.status in ('active', 'trialing', 'past_due')
                             and (cardinality($2::text[]) = 0
                                 or coalesce(s.items, array[s.price_id], '{}') && $2
                                 or coalesce(s.items[1], s.price_id) is null)) as subscribed
             from public.profiles p where p.id = $1",
        )
        .await?;
    let Some(row) = client.query_opt(&statement, &[&user, &entitling]).await? else {
        return Ok(None);
    };
    Ok(Some(Payer {
        email: row.try_get("email")?,
        customer: row.try_get("customer")?,
        named: row.try_get("named")?,
        subscribed: row.try_get("subscribed")?,
    }))
}

/// The subscriptions to list.
#[derive(Debug, Clone, Default)]
pub struct SubscriberFilter {
    /// Only in this state.
    pub status: Option<Status>,
    /// Only of this price.
    pub price: Option<String>,
    /// Only of this customer.
    pub customer: Option<String>,
    /// Only of users whose e-mail address starts with this, ignoring case.
    pub email: Option<String>,
    /// Only those after this subscription.
    pub after: Option<String>,
    /// The highest number.
    pub limit: i64,
}

/// A subscription and its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// `sub_…`
    pub subscription: String,
    /// `cus_…`
    pub customer: String,
    /// The user, if known.
    pub user_id: Option<Uuid>,
    /// Their e-mail address, if they have a profile.
    pub email: Option<String>,
    /// Their plan in the app.
    pub plan_id: Option<String>,
    /// The status of the subscription.
    pub status: Status,
    /// Its price.
    pub price: Option<String>,
    /// The end of the paid period.
    pub period_end: Option<DateTime<Utc>>,
    /// When it ends unless it is changed.
    pub ends_at: Option<DateTime<Utc>>,
    /// The end of its trial.
    pub trial_end: Option<DateTime<Utc>>,
    /// When it was created.
    pub made_at: Option<DateTime<Utc>>,
}

/// The most subscriptions that one statement reads.
pub const WINDOW: i64 = 10_000;

/// What a search found.
#[derive(Debug, Default)]
pub struct FoundSubscribers {
    /// The subscriptions, in the order of their ids.
    pub subscribers: Vec<Subscriber>,
    /// The subscription at which the search stopped before it had found enough; none at the
    /// end.
    pub stopped_at: Option<String>,
}

/// Up to `filter.limit` of the next [`WINDOW`] subscriptions that are as the filter says,
/// in the order of their ids.
///
/// # Errors
/// Postgres failed, or holds a status this release does not know.
pub async fn subscribers(
    client: &impl GenericClient,
    filter: &SubscriberFilter,
) -> Result<FoundSubscribers, DbError> {
    // A customer has few; those of everybody are read along the key.
    let window = match filter.customer {
        Some(_) => {
            "select * from (select * from regimen.subscriptions where customer_id = $1 offset 0) c
             where id > coalesce($2, '') order by id limit $3"
        }
        None => {
            "select * from regimen.subscriptions
             where $1::text is null and id > coalesce($2, '') order by id limit $3"
        }
    };
    let is_sieve = filter.status.is_some() || filter.price.is_some() || filter.email.is_some();
    // Of subscriptions that are all wanted, no more than are wanted are read.
    let size = if is_sieve { WINDOW } else { filter.limit.min(WINDOW) };
    let statement = client
        .prepare_cached(&format!(
            "-- subscribers
             select s.id, s.customer_id, s.user_id, p.email, p.plan_id, s.status, s.price_id,
                 s.period_end, s.ends_at, s.trial_end, s.made_at
             from ({window}) s left join public.profiles p on p.id = s.user_id
             where ($4::text is null or s.status = $4)
               and ($5::text is null or s.price_id = $5)
               and ($6::text is null or starts_with(lower(p.email), lower($6)))
             order by s.id limit $7"
        ))
        .await?;
    let status = filter.status.map(Status::as_str);
    let SubscriberFilter { price, customer, email, after, limit, .. } = filter;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
        [customer, after, &size, &status, price, email, limit];
    let rows = client.query(&statement, &parameters).await?;
    let subscribers = rows.iter().map(subscriber).collect::<Result<Vec<_>, _>>()?;
    if i64::try_from(subscribers.len()).is_ok_and(|found| found >= *limit) {
        return Ok(FoundSubscribers { subscribers, stopped_at: None });
    }
    let statement = client
        .prepare_cached(&format!(
            "-- end of subscribers
             select id from ({window}) s offset $3 - 1"
        ))
        .await?;
    let last = client.query_opt(&statement, &[customer, after, &size]).await?;
    let stopped_at = last.map(|row| row.try_get("id")).transpose()?;
    Ok(FoundSubscribers { subscribers, stopped_at })
}

fn subscriber(row: &Row) -> Result<Subscriber, DbError> {
    Ok(Subscriber {
        subscription: row.try_get("id")?,
        customer: row.try_get("customer_id")?,
        user_id: row.try_get("user_id")?,
        email: row.try_get("email")?,
        plan_id: row.try_get("plan_id")?,
        status: named(row, "status")?,
        price: row.try_get("price_id")?,
        period_end: row.try_get("period_end")?,
        ends_at: row.try_get("ends_at")?,
        trial_end: row.try_get("trial_end")?,
        made_at: row.try_get("made_at")?,
    })
}

/// Whether a subscription is known as the user's own.
///
/// # Errors
/// Postgres failed.
pub async fn owns(
    client: &impl GenericClient,
    user: Uuid,
    subscription: &str,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- owns subscription
             select exists (select from regimen.subscriptions where id = $1 and user_id = $2)",
        )
        .await?;
    Ok(client.query_one(&statement, &[&subscription, &user]).await?.get(0))
}

/// Records that Stripe does not know `customer`. A later event of Stripe that names it
/// clears this.
///
/// # Errors
/// Postgres failed.
pub async fn missing(client: &impl GenericClient, customer: &str) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- customer is missing
             insert into regimen.customers (id, missing_since) values ($1, now())
             on conflict (id) do update
             set missing_since = coalesce(customers.missing_since, now()), updated_at = now()",
        )
        .await?;
    client.execute(&statement, &[&customer]).await?;
    Ok(())
}

/// Paying: active or past due and collected, of a customer that still exists.
const PAYING: &str =
    "s.status in ('active', 'past_due') and not s.collection_paused and not c.deleted";

/// Paid prices that are not stored yet.
///
/// # Errors
/// Postgres failed.
pub async fn unknown_prices(client: &impl GenericClient) -> Result<Vec<String>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- unknown prices
             select distinct s.price_id from regimen.subscriptions s
             join regimen.customers c on c.id = s.customer_id
             where {PAYING} and s.price_id is not null
                 and not exists (select from regimen.prices p where p.id = s.price_id)
             order by 1 limit 100"
        ))
        .await?;
    Ok(client.query(&statement, &[]).await?.iter().map(|row| row.get("price_id")).collect())
}

/// Stores a price; its amount never changes, so an existing row stays.
///
/// # Errors
/// Postgres failed.
pub async fn store_price(client: &impl GenericClient, price: &Price) -> Result<(), DbError> {
    let statement = client
        .prepare_cached(
            "-- store price
             insert into regimen.prices (id, currency, unit_amount, period, period_count)
             values ($1, $2, $3, $4, $5) on conflict (id) do nothing",
        )
        .await?;
    let period = price.period.map(Period::as_str);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
        [&price.id, &price.currency, &price.unit_amount, &period, &price.period_count];
    client.execute(&statement, &parameters).await?;
    Ok(())
}

/// The paid subscriptions: their number per price.
///
/// # Errors
/// Postgres failed, or holds a period this release does not know.
pub async fn revenue(client: &impl GenericClient) -> Result<Vec<Revenue>, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- revenue
             select p.id, p.currency, p.unit_amount, p.period, coalesce(p.period_count, 1) as count,
                 count(*) as subscriptions
             from regimen.subscriptions s
             join regimen.customers c on c.id = s.customer_id
             left join regimen.prices p on p.id = s.price_id
             where {PAYING} group by 1, 2, 3, 4, 5 order by 1"
        ))
        .await?;
    let rows = client.query(&statement, &[]).await?;
    rows.iter()
        .map(|row| {
            let price = match row.try_get::<_, Option<String>>("id")? {
                None => None,
                Some(id) => Some(Price {
                    id,
                    currency: row.try_get("currency")?,
                    unit_amount: row.try_get("unit_amount")?,
                    period: row
                        .try_get::<_, Option<&str>>("period")?
                        .map(str::parse)
                        .transpose()
                        .map_err(|source| DbError::Value { column: "period", source })?,
                    period_count: row.try_get("count")?,
                }),
            };
            Ok(Revenue { price, subscriptions: row.try_get("subscriptions")? })
        })
        .collect()
}

/// The users' current state, and what became of those who paid at `start`.
///
/// A subscription counts as ended when Stripe's event arrived. One that ended in its
/// trial was never paid for. It is unknown whether a currently paused or unpaid one was
/// paid for at that time, so it is in neither number.
///
/// # Errors
/// Postgres failed.
pub async fn standing(
    client: &impl GenericClient,
    start: DateTime<Utc>,
) -> Result<Standing, DbError> {
    let statement = client
        .prepare_cached(&format!(
            "-- standing
             with known as (
                 select coalesce(s.user_id::text, s.customer_id) as payer, s.user_id, s.status,
                     {PAYING} as paying, not c.deleted as there,
                     s.made_at < $1 and (s.trial_end is null or s.trial_end <= $1) as paid_then,
                     s.status = 'canceled' and s.basis_at >= $1 as ended_since
                 from regimen.subscriptions s join regimen.customers c on c.id = s.customer_id
             )
             select (select count(*) from public.profiles) as users,
                 count(distinct payer) filter (where paying) as payers,
                 count(distinct user_id) filter (where paying) as paying_users,
                 count(*) filter (where status = 'trialing' and there) as trialing,
                 count(*) filter (where status = 'past_due' and there) as past_due,
                 count(*) filter (where paid_then and (paying or ended_since)) as cohort,
                 count(*) filter (where paid_then and ended_since) as churned
             from known"
        ))
        .await?;
    let row = client.query_one(&statement, &[&start]).await?;
    Ok(Standing {
        users: row.try_get("users")?,
        payers: row.try_get("payers")?,
        paying_users: row.try_get("paying_users")?,
        trialing: row.try_get("trialing")?,
        past_due: row.try_get("past_due")?,
        cohort: row.try_get("cohort")?,
        churned: row.try_get("churned")?,
    })
}
