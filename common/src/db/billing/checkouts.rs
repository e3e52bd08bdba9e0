//! SQL of each user's latest checkout session.

use crate::db::GenericClient;
use uuid::Uuid;

use crate::db::DbError;

/// The latest session of `user`, while it may be open: Stripe expires it after a day.
///
/// # Errors
/// Postgres failed.
pub async fn open(client: &impl GenericClient, user: Uuid) -> Result<Option<String>, DbError> {
    let statement = client
        .prepare_cached(
            "-- open checkout
             select session_id from regimen.open_checkouts
             where user_id = $1 and made_at > now() - interval '25 hours'",
        )
        .await?;
    let row = client.query_opt(&statement, &[&user]).await?;
    Ok(row.map(|row| row.get("session_id")))
}

/// Makes `after` the session of `user`; false if `before` was no longer it.
///
/// # Errors
/// Postgres failed.
pub async fn replace(
    client: &impl GenericClient,
    user: Uuid,
    before: Option<&str>,
    after: &str,
) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- replace checkout
             insert into regimen.open_checkouts as o (user_id, session_id) values ($1, $3)
             on conflict (user_id) do update
             set session_id = excluded.session_id, made_at = now()
             where o.session_id = $2 or o.session_id = $3
                 or o.made_at <= now() - interval '25 hours'",
        )
        .await?;
    Ok(client.execute(&statement, &[&user, &before, &after]).await? == 1)
}

/// Whether the subscription of a checkout is known here, and its first payment is no longer
/// pending: some methods take days.
///
/// # Errors
/// Postgres failed.
pub async fn arrived(client: &impl GenericClient, subscription: &str) -> Result<bool, DbError> {
    let statement = client
        .prepare_cached(
            "-- checkout arrived
             select exists (
                 select from regimen.subscriptions where id = $1 and status <> 'incomplete')",
        )
        .await?;
    Ok(client.query_one(&statement, &[&subscription]).await?.get(0))
}
