//! Sums of half days, for what shows 30 days: reading 43,000 minutes each time would take
//! longer than a page may. A half day whose minutes were all counted never changes, so that
//! a process reads it once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, DurationRound, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::{Counts, DaySpend, KEPT_DAYS};
use crate::db::{DbError, GenericClient};

/// The length of one; the first begins at midnight (UTC).
pub const HALF_DAY: TimeDelta = TimeDelta::hours(12);

/// The sums of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HalfDay {
    /// What happened.
    pub counts: Counts,
    /// The cost of calls by provider, millionths of a US dollar.
    pub costs: BTreeMap<String, i64>,
    /// Whether anything was counted in it.
    is_known: bool,
}

/// By when they begin.
type ByStart = BTreeMap<DateTime<Utc>, HalfDay>;

/// Those that do not change any more, as far as they were read.
#[derive(Debug, Default)]
pub struct HalfDays(Mutex<ByStart>);

impl HalfDays {
    /// The half days from the one of `from`, which is 31 days ago at most, to the one of
    /// `now`; without those in which nothing was counted.
    ///
    /// # Errors
    /// Postgres failed.
    pub async fn since(
        &self,
        client: &impl GenericClient,
        from: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<ByStart, DbError> {
        let settled = client.prepare_cached("select next_minute from regimen.stats_run").await?;
        let settled = client.query_opt(&settled, &[]).await?;
        let settled: Option<DateTime<Utc>> =
            settled.map(|row| row.try_get("next_minute")).transpose()?.flatten();
        let (mut all, mut start) = (ByStart::new(), start_of(from));
        while start <= now {
            let known = self.known().get(&start).cloned();
            let half = match known {
                Some(half) => half,
                None => {
                    let half = read(client, start).await?;
                    if settled.is_some_and(|settled| start + HALF_DAY <= settled) {
                        self.known().insert(start, half.clone());
                    }
                    half
                }
            };
            if half.is_known {
                all.insert(start, half);
            }
            start += HALF_DAY;
        }
        let kept = now - TimeDelta::days(i64::from(KEPT_DAYS));
        self.known().retain(|start, _| *start >= kept);
        Ok(all)
    }

    fn known(&self) -> MutexGuard<'_, ByStart> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the calls of each day since `from` cost, a row for each provider that was
    /// called.
    ///
    /// # Errors
    /// Postgres failed.
    pub async fn spend_days(
        &self,
        client: &impl GenericClient,
        from: NaiveDate,
        now: DateTime<Utc>,
    ) -> Result<Vec<DaySpend>, DbError> {
        let halves = self.since(client, from.and_time(NaiveTime::MIN).and_utc(), now).await?;
        let mut plans: BTreeMap<NaiveDate, i64> = BTreeMap::new();
        let mut costs: BTreeMap<(NaiveDate, String), i64> = BTreeMap::new();
        for (start, half) in halves {
            let day = start.date_naive();
            *plans.entry(day).or_default() += half.counts.succeeded;
            for (provider, micros) in half.costs {
                *costs.entry((day, provider)).or_default() += micros;
            }
        }
        let row = |((day, provider), cost_micros)| {
            let plans = plans.get(&day).copied().unwrap_or_default();
            DaySpend { day, provider, cost_micros, plans }
        };
        Ok(costs.into_iter().map(row).collect())
    }
}

/// The beginning of the half day of `time`.
pub fn start_of(time: DateTime<Utc>) -> DateTime<Utc> {
    // Fails only far outside the times of a clock.
    time.duration_trunc(HALF_DAY).unwrap_or(time)
}

async fn read(client: &impl GenericClient, start: DateTime<Utc>) -> Result<HalfDay, DbError> {
    let end = start + HALF_DAY;
    let counts = client
        .prepare_cached(
            "-- counts of a half day
             select count(*) > 0 as is_known, coalesce(sum(accepted), 0)::bigint as accepted,
                 coalesce(sum(succeeded), 0)::bigint as succeeded,
                 coalesce(sum(failed + expired), 0)::bigint as failed,
                 coalesce(sum(counted), 0)::bigint as counted,
                 coalesce(sum(in_time), 0)::bigint as in_time
             from regimen.stats_minutely where minute >= $1 and minute < $2",
        )
        .await?;
    let costs = client
        .prepare_cached(
            "-- costs of a half day
             select provider, sum(cost_micros)::bigint as cost_micros
             from regimen.stats_providers where minute >= $1 and minute < $2 group by provider",
        )
        .await?;
    let row = client.query_one(&counts, &[&start, &end]).await?;
    let mut half = HalfDay {
        counts: Counts::of(&row)?,
        costs: BTreeMap::new(),
        is_known: row.try_get("is_known")?,
    };
    for row in client.query(&costs, &[&start, &end]).await? {
        half.costs.insert(row.try_get("provider")?, row.try_get("cost_micros")?);
    }
    Ok(half)
}
