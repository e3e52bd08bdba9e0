//! Everybody's jobs by what they have in common, newest first. A statement reads at most
//! [`WINDOW`] jobs along one index, however rare those are that are searched for: it
//! says where it stopped, and the next one begins there.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::read::{COLUMNS, JobRow, named};
use crate::db::{DbError, GenericClient};
use crate::job::{JobClass, JobState, PlanKind};

/// The most jobs that one statement reads.
pub const WINDOW: i64 = 10_000;

/// The jobs to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorFilter {
    /// Only in this state.
    pub state: Option<JobState>,
    /// Only of this kind.
    pub kind: Option<PlanKind>,
    /// Only of this class.
    pub class: Option<JobClass>,
    /// Only those with a plan of this provider.
    pub provider: Option<String>,
    /// Only those with a plan of this model.
    pub model: Option<String>,
    /// Only those with this failure code (`error_code`).
    pub reason: Option<String>,
    /// Only of this user.
    pub user_id: Option<Uuid>,
    /// Only those accepted at this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Only those accepted before this time.
    pub to: Option<DateTime<Utc>>,
    /// Only those accepted before this one.
    pub before: Option<Uuid>,
    /// The highest number.
    pub limit: i64,
}

/// A job in a list of all users' jobs.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The job.
    pub row: JobRow,
    /// Its class.
    pub class: JobClass,
    /// The job as which it was retried.
    pub retried_as: Option<Uuid>,
}

/// What a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// The jobs, newest first.
    pub jobs: Vec<Listed>,
    /// The job at which the search stopped before it had found enough; none at the end.
    pub stopped_at: Option<Uuid>,
}

/// The smallest id of a job accepted at `at`: ids are in the order of time (UUIDv7).
pub fn first_id(at: DateTime<Utc>) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis().max(0)).unwrap_or_default();
    Uuid::from_u128((millis & 0xffff_ffff_ffff) << 80)
}

/// When a job with this id was accepted, to the millisecond.
pub fn time_of(id: Uuid) -> DateTime<Utc> {
    let millis = i64::try_from(id.as_u128() >> 80).unwrap_or_default();
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(millis)
}

/// The jobs `j` to look at, newest first, read along one index: `$1` is the last one
/// already seen, `$2` the first id of interest, `$3` the user, `$4` the number.
fn window(filter: &OperatorFilter) -> &'static str {
    // Texts of our own: a state is a constant, so that partial indexes are used, and
    // `class <> ''` is in the words of one of them, jobs_waiting.
    const OF_USER: &str = "select * from regimen.jobs where user_id = $3
        and (created_at, id) < (select o.created_at, o.id
            from regimen.jobs o where o.id = $1 and o.user_id = $3
            union all
            select 'infinity', 'ffffffff-ffff-ffff-ffff-ffffffffffff' where $1::uuid is null)
        and id >= $2 order by created_at desc, id desc limit $4";
    const ENDED_WITHOUT: &str = "select * from regimen.jobs
        where state in ('failed', 'cancelled', 'expired') and $3::uuid is null
        and id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and id >= $2
        order by id desc limit $4";
    const QUEUED: &str = "select q.* from (values ('pro'), ('free')) c (class) cross join lateral (
            select * from regimen.jobs o
            where o.state = 'queued' and o.class = c.class and o.class <> '' and $3::uuid is null
            and o.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and o.id >= $2
            order by o.class desc, o.id desc limit $4) q
        order by q.id desc limit $4";
    const RUNNING: &str = "select r.* from (
            select * from regimen.jobs where state = 'running' and $3::uuid is null
            order by lease_expires_at limit 100000) r
        where r.id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and r.id >= $2
        order by r.id desc limit $4";
    const ANY: &str = "select * from regimen.jobs where $3::uuid is null
        and id < coalesce($1::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff') and id >= $2
        order by id desc limit $4";
    match (filter.user_id, filter.state) {
        (Some(_), _) => OF_USER,
        (None, Some(JobState::Failed | JobState::Cancelled | JobState::Expired)) => ENDED_WITHOUT,
        (None, Some(JobState::Queued)) => QUEUED,
        (None, Some(JobState::Running)) => RUNNING,
        (None, Some(JobState::Succeeded) | None) => ANY,
    }
}

/// Whether some of the jobs of a window may not be as the filter says.
fn is_sieve(filter: &OperatorFilter) -> bool {
    let OperatorFilter { kind, class, provider, model, reason, .. } = filter;
    let by_word = provider.is_some() || model.is_some() || reason.is_some();
    let by_state = match filter.state {
        None => false,
        Some(JobState::Queued | JobState::Running) => filter.user_id.is_some(),
        Some(_) => true,
    };
    let by_time = filter.user_id.is_some() && (filter.from.is_some() || filter.to.is_some());
    kind.is_some() || class.is_some() || by_word || by_state || by_time
}

/// Up to `filter.limit` of the next [`WINDOW`] jobs that are as the filter says.
///
/// # Errors
/// The query failed.
pub async fn search(
    client: &impl GenericClient,
    filter: &OperatorFilter,
) -> Result<Found, DbError> {
    let window = window(filter);
    // Of jobs that are all wanted, no more than are wanted are read.
    let size = if is_sieve(filter) { WINDOW } else { filter.limit.min(WINDOW) };
    let before = match (filter.before, filter.to.map(first_id)) {
        // The place of a user's job is looked up, so a bound of time is no place there.
        (before, _) if filter.user_id.is_some() => before,
        (Some(before), Some(to)) => Some(before.min(to)),
        (before, to) => before.or(to),
    };
    let from = filter.from.map_or(Uuid::nil(), first_id);
    let until = filter.to.map_or(Uuid::max(), first_id);
    let statement = client
        .prepare_cached(&format!(
            "-- search jobs
             select {COLUMNS}, j.class, (select r.retried_as from regimen.job_retries r
                                         where r.job_id = j.id) as retried_as
             from ({window}) j
             where ($5::text is null or j.state = $5) and ($6::text is null or j.kind = $6)
               and ($7::text is null or j.class = $7) and ($8::text is null or j.provider = $8)
               and ($9::text is null or j.model = $9) and ($10::text is null or j.error_code = $10)
               and j.id < $11
             limit $12"
        ))
        .await?;
    let values: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
        &before,
        &from,
        &filter.user_id,
        &size,
        &filter.state.map(JobState::as_str),
        &filter.kind.map(PlanKind::as_str),
        &filter.class.map(JobClass::as_str),
        &filter.provider,
        &filter.model,
        &filter.reason,
        &until,
        &filter.limit,
    ];
    let rows = client.query(&statement, &values).await?;
    let jobs = rows.iter().map(|row| {
        Ok(Listed {
            row: JobRow::from_row(row, None)?,
            class: named(row, "class")?,
            retried_as: row.try_get("retried_as")?,
        })
    });
    let jobs = jobs.collect::<Result<Vec<_>, DbError>>()?;
    if i64::try_from(jobs.len()).is_ok_and(|found| found >= filter.limit) {
        return Ok(Found { jobs, stopped_at: None });
    }
    let statement = client
        .prepare_cached(&format!(
            "-- end of search
             select id from ({window}) j offset $4 - 1"
        ))
        .await?;
    let last = client.query_opt(&statement, &[&before, &from, &filter.user_id, &size]).await?;
    Ok(Found { jobs, stopped_at: last.map(|row| row.try_get("id")).transpose()? })
}

/// All users' jobs, newest first, over as many windows as it takes.
///
/// # Errors
/// The query failed.
pub async fn of_everybody(
    client: &impl GenericClient,
    filter: &OperatorFilter,
) -> Result<Vec<Listed>, DbError> {
    let mut filter = filter.clone();
    let mut all = Vec::new();
    loop {
        let Found { jobs, stopped_at } = search(client, &filter).await?;
        filter.limit -= i64::try_from(jobs.len()).unwrap_or(i64::MAX);
        all.extend(jobs);
        match stopped_at {
            Some(place) if filter.limit > 0 => filter.before = Some(place),
            _ => return Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_times_name_each_other() {
        let at = DateTime::from_timestamp_millis(1_795_390_800_123).unwrap();
        assert_eq!(time_of(first_id(at)), at);
        let id: Uuid = "01a203c3-9ffb-7abc-8000-000000000001".parse().unwrap();
        assert!(first_id(time_of(id)) <= id);
        assert!(first_id(time_of(id) + TimeDelta::milliseconds(1)) > id);
        assert_eq!(first_id(DateTime::UNIX_EPOCH - TimeDelta::days(1)), Uuid::nil());
    }
}
