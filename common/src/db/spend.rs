//! SQL of the costs of AI calls, summed up for operators.

use std::borrow::Cow;
use std::str::FromStr;

use crate::db::GenericClient;
use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::DbError;

/// Jobs that wait for a budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub jobs: i64,
    /// When the oldest of them was accepted.
    pub since: Option<DateTime<Utc>>,
}

/// The jobs that wait for a budget, among the 10,000 of each class that wait longest.
///
/// # Errors
/// Postgres failed.
pub async fn waiting(client: &impl GenericClient) -> Result<Waiting, DbError> {
    let statement = client
        .prepare_cached(
            "-- waiting for a budget
             select count(*) as jobs, min(q.created_at) as since
             from (values ('pro'), ('free')) c (class) cross join lateral (
                 select stage, created_at from regimen.jobs
                 -- In the words of the index jobs_waiting.
                 where state = 'queued' and class = c.class and class <> ''
                 order by class, id limit 10000) q
             where q.stage = 'budget'",
        )
        .await?;
    let row = client.query_one(&statement, &[]).await?;
    Ok(Waiting { jobs: row.try_get("jobs")?, since: row.try_get("since")? })
}

/// The grouping of the sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Grouping {
    /// By day, in UTC.
    pub day: bool,
    /// By provider.
    pub provider: bool,
    /// By model.
    pub model: bool,
    /// By user.
    pub user: bool,
}

impl FromStr for Grouping {
    type Err = &'static str;

    /// Names between commas.
    fn from_str(names: &str) -> Result<Self, Self::Err> {
        let mut by = Self::default();
        for name in names.split(',') {
            match name.trim() {
                "day" => by.day = true,
                "provider" => by.provider = true,
                "model" => by.model = true,
                "user" => by.user = true,
                _ => return Err("must name day, provider, model or user"),
            }
        }
        Ok(by)
    }
}

/// One sum. Columns that it is not grouped by are absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// The day, in UTC.
    pub day: Option<NaiveDate>,
    /// The provider.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The user.
    pub user: Option<Uuid>,
    /// Paid calls.
    pub calls: i64,
    /// Prompt tokens.
    pub input_tokens: i64,
    /// The part of them that was cached.
    pub cached_tokens: i64,
    /// Output tokens.
    pub output_tokens: i64,
    /// Millionths of a US dollar.
    pub cost_micros: i64,
}

/// The users of the highest cost are found first, by the cost alone, and then the sums of
/// these: of a day of 55,000 users this takes half as long.
const BY_USER: &str = "-- spend by user
    with highest as materialized (
        select user_id, sum(regimen.believable_micros(cost_micros)::int) as cost_micros
        from regimen.ai_usage where at >= $1 and at < $2
        group by user_id order by cost_micros desc, user_id limit $3
    )
    select null::date as day, null::text as provider, null::text as model, user_id,
           count(*) as calls,
           sum(regimen.believable_tokens(used.input_tokens)::int) as input_tokens,
           sum(regimen.believable_tokens(used.cached_tokens)::int) as cached_tokens,
           sum(regimen.believable_tokens(used.output_tokens)::int) as output_tokens,
           highest.cost_micros
    from highest join regimen.ai_usage used using (user_id) where at >= $1 and at < $2
    group by user_id, highest.cost_micros
    order by highest.cost_micros desc, user_id";

/// Constants where nothing is grouped by, and sums of integers, which are quicker than
/// those of numbers.
fn grouped(by: Grouping) -> String {
    let column = |wanted: bool, column, kind| match wanted {
        true => Cow::Borrowed(column),
        false => Cow::Owned(format!("null::{kind}")),
    };
    let day = column(by.day, "(at at time zone 'UTC')::date", "date");
    let (provider, model) =
        (column(by.provider, "provider", "text"), column(by.model, "model", "text"));
    let user = column(by.user, "user_id", "uuid");
    format!(
        "-- spend
         select {day} as day, {provider} as provider, {model} as model, {user} as user_id,
                count(*) as calls,
                sum(regimen.believable_tokens(input_tokens)::int) as input_tokens,
                sum(regimen.believable_tokens(cached_tokens)::int) as cached_tokens,
                sum(regimen.believable_tokens(output_tokens)::int) as output_tokens,
                sum(regimen.believable_micros(cost_micros)::int) as cost_micros
         from regimen.ai_usage where at >= $1 and at < $2
         group by 1, 2, 3, 4
         order by 1 desc nulls last, 9 desc, 2, 3, 4 limit $3"
    )
}

/// The sums over calls made from `from` up to `to`: newest day first, then the highest
/// cost; at most `limit`.
///
/// # Errors
/// Postgres failed.
pub async fn sums(
    client: &impl GenericClient,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    by: Grouping,
    limit: i64,
) -> Result<Vec<Sum>, DbError> {
    let only_by_user = Grouping { user: true, ..Grouping::default() };
    let sql = if by == only_by_user { Cow::Borrowed(BY_USER) } else { Cow::Owned(grouped(by)) };
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&from, &to, &limit]).await?;
    rows.iter()
        .map(|row| {
            Ok(Sum {
                day: row.try_get("day")?,
                provider: row.try_get("provider")?,
                model: row.try_get("model")?,
                user: row.try_get("user_id")?,
                calls: row.try_get("calls")?,
                input_tokens: row.try_get("input_tokens")?,
                cached_tokens: row.try_get("cached_tokens")?,
                output_tokens: row.try_get("output_tokens")?,
                cost_micros: row.try_get("cost_micros")?,
            })
        })
        .collect()
}
