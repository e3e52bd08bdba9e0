//! Deletes stored responses of idempotency keys when they have expired
//! (`db::retention` deletes everything else).

use std::fmt;
use std::time::Duration;

use crate::db::{Client, Transaction};
use uuid::Uuid;

use crate::db::DbError;
use crate::db::batch::{self, Batch, Outcome};
use crate::telemetry::UserHash;

/// Expired responses, oldest first.
#[derive(Debug, Clone, Copy)]
pub struct OverAnswers<'a> {
    /// Expired for at least this long.
    pub since: Duration,
    /// The highest number.
    pub limit: i64,
    /// Responses to leave out.
    pub quarantine: &'a [AnswerKey],
}

/// The user and the `Idempotency-Key` of a response.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    user_id: Uuid,
    key: String,
}

/// A client chose the key: it must not be logged.
impl fmt::Display for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an answer of {}", UserHash::of(self.user_id))
    }
}

/// Deletes expired responses. Returns their keys.
///
/// # Errors
/// Nothing was deleted.
pub async fn forget_answers(
    client: &mut Client,
    over: &OverAnswers<'_>,
) -> Result<Outcome<AnswerKey, Uuid>, DbError> {
    batch::run(client, over).await
}

impl Batch for OverAnswers<'_> {
    type Key = AnswerKey;
    type Done = Uuid;

    async fn pick(&self, tx: &Transaction<'_>) -> Result<Vec<AnswerKey>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- find kept answers that are over
                 select user_id, key from regimen.idempotency_keys
                 where expires_at <= now() - make_interval(secs => $4)
                   and not exists (select from unnest($2::uuid[], $3::text[]) as quarantine (user_id, key)
                                   where quarantine.user_id = idempotency_keys.user_id
                                     and quarantine.key = idempotency_keys.key)
                 order by expires_at limit $1 for update skip locked",
            )
            .await?;
        let (users, keys) = columns(self.quarantine);
        let rows =
            tx.query(&statement, &[&self.limit, &users, &keys, &self.since.as_secs_f64()]).await?;
        let read = rows.iter().map(|row| {
            Ok(AnswerKey { user_id: row.try_get("user_id")?, key: row.try_get("key")? })
        });
        read.collect()
    }

    async fn change(
        &self,
        tx: &Transaction<'_>,
        answers: &[AnswerKey],
    ) -> Result<Vec<Uuid>, DbError> {
        let statement = tx
            .prepare_cached(
                "-- forget kept answers
                 with named as materialized (
                     -- By user alone: no statistics lead elsewhere.
                     select ctid, user_id, key, expires_at from regimen.idempotency_keys
                     where user_id = any((select $1::uuid[])::uuid[])
                 )
                 delete from regimen.idempotency_keys where ctid = any(array(
                     select named.ctid
                     from named
                     join unnest($1::uuid[], $2::text[]) as over (user_id, key)
                         using (user_id, key)
                     where named.expires_at <= now()))
                 returning user_id",
            )
            .await?;
        let (users, keys) = columns(answers);
        let rows = tx.query(&statement, &[&users, &keys]).await?;
        rows.iter().map(|row| Ok(row.try_get("user_id")?)).collect()
    }
}

fn columns(answers: &[AnswerKey]) -> (Vec<Uuid>, Vec<&str>) {
    answers.iter().map(|answer| (answer.user_id, answer.key.as_str())).unzip()
}
