//! Indexes on tables that are large and in use when they are built: the app's, and
//! our own once a release has filled them.
//!
//! A migration would build them within its transaction, and nobody could write
//! to the table meanwhile. So they are built before the migrations, each by
//! itself and concurrently; a migration that wants the same one finds it done,
//! and builds it where the table is as new as itself. What a crash leaves behind
//! is an invalid index: it is dropped and built again.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;

use super::{Client, DbError, GenericClient};

/// How long one index may take. The server itself ends it then.
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);
/// Between two looks at a build that somebody else has begun.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// An index on a table of the app's, or on a large one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppIndex {
    /// The schema that it and its table are in.
    pub schema: &'static str,
    /// Its name.
    pub name: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its columns and condition.
    on: &'static str,
    /// Another index of all rows that begins with this column does as well.
    unless_led_by: Option<&'static str>,
    /// The migration that creates it whether it is there or not: it is not built before.
    after: Option<i32>,
}

const fn index(name: &'static str, table: &'static str, on: &'static str) -> AppIndex {
    AppIndex { schema: "public", name, table, on, unless_led_by: None, after: None }
}

const fn own(name: &'static str, table: &'static str, on: &'static str) -> AppIndex {
    AppIndex { schema: "regimen", ..index(name, table, on) }
}

/// Indexes on large tables of ours that are built as those of the app's. One more goes here,
/// and into a migration with `if not exists`.
pub const OWN_INDEXES: [AppIndex; 2] = [
    AppIndex {
        after: Some(43),
        ..own("jobs_held", "jobs", "(worker_id, id) where state = 'running'")
    },
    AppIndex {
        after: Some(44),
        ..own("jobs_waiting", "jobs", "(class, id) where state = 'queued' and class <> ''")
    },
];

/// Every index of ours on a table of the app's. One more goes here and, unless
/// its table is always there already, into a migration too.
pub const APP_INDEXES: [AppIndex; 17] = [
    index("idx_ai_meal_plans_user_active", "ai_meal_plans", "(user_id, is_active) where is_active"),
    index(
        "idx_ai_workout_plans_user_active",
        "ai_workout_plans",
        "(user_id, is_active) where is_active",
    ),
    index(
        "idx_challenge_participants_challenge_completed",
        "challenge_participants",
        "(challenge_id, completed)",
    ),
    index(
        "idx_challenge_participants_user_completed",
        "challenge_participants",
        "(user_id, completed)",
    ),
    index("idx_workout_logs_user_date", "workout_logs", "(user_id, workout_date desc)"),
    index("idx_daily_nutrition_logs_user_date", "daily_nutrition_logs", "(user_id, log_date desc)"),
    index("idx_daily_water_intake_user_date", "daily_water_intake", "(user_id, log_date desc)"),
    index("idx_quiz_results_user_created", "quiz_results", "(user_id, created_at desc)"),
    index(
        "idx_notifications_recipient_read_created",
        "notifications",
        "(recipient_id, read, created_at desc)",
    ),
    index("idx_profiles_plan", "profiles", "(plan_id) where plan_id <> 'free'"),
    index(
        "idx_profiles_stripe_customer",
        "profiles",
        "(stripe_customer_id) where stripe_customer_id is not null",
    ),
    index("idx_profiles_email", "profiles", "(lower(email::text) text_pattern_ops)"),
    AppIndex {
        unless_led_by: Some("user_id"),
        ..index("idx_ai_meal_plans_user", "ai_meal_plans", "(user_id)")
    },
    AppIndex {
        unless_led_by: Some("user_id"),
        ..index("idx_ai_workout_plans_user", "ai_workout_plans", "(user_id)")
    },
    // The foreign keys to quizzes and profiles, which a deletion of those looks along.
    AppIndex {
        unless_led_by: Some("quiz_result_id"),
        ..index("idx_ai_meal_plans_quiz", "ai_meal_plans", "(quiz_result_id)")
    },
    AppIndex {
        unless_led_by: Some("quiz_result_id"),
        ..index("idx_ai_workout_plans_quiz", "ai_workout_plans", "(quiz_result_id)")
    },
    AppIndex {
        unless_led_by: Some("sender_id"),
        ..index("idx_notifications_sender", "notifications", "(sender_id)")
    },
];

/// How an index stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexState {
    /// It is there, or one that does as well, or there is no table to have it.
    Done,
    /// Somebody builds it at this moment.
    UnderWay,
    /// A build was broken off.
    Invalid,
    /// There is none.
    Missing,
}

impl AppIndex {
    /// Whether it may be built in a database whose newest migration is `version`.
    pub(super) fn is_due(&self, version: i32) -> bool {
        self.after.is_none_or(|after| after <= version)
    }

    /// The statement that builds it without keeping anybody from the table.
    pub fn statement(&self) -> String {
        let Self { schema, name, table, on, .. } = self;
        format!("create index concurrently {name} on {schema}.{table} {on}")
    }

    /// The statement that removes what a broken build left.
    pub(super) fn drop_statement(&self) -> String {
        format!("drop index concurrently if exists {}.{}", self.schema, self.name)
    }

    /// What makes a migration pass it by within a transaction that is rolled
    /// back, without building it where that can be avoided.
    pub(super) fn stand_in(&self) -> String {
        let Self { schema, name, table, on, unless_led_by, .. } = self;
        match unless_led_by {
            None => format!("create view {schema}.{name} as select 1 as stands_in"),
            Some(_) => format!("create index {name} on {schema}.{table} {on}"),
        }
    }

    /// How it stands.
    ///
    /// # Errors
    /// Postgres is away.
    pub async fn state(&self, client: &impl GenericClient) -> Result<IndexState, DbError> {
        let sql = "-- app_index_state
            select i.indisvalid,
                exists (select from pg_stat_progress_create_index p where p.index_relid = i.indexrelid),
                coalesce((select relkind = 'r' from pg_class where oid = to_regclass($2)), false),
                exists (
                    select from pg_index o
                    join pg_attribute a on a.attrelid = o.indrelid and a.attnum = o.indkey[0]
                    where o.indrelid = to_regclass($2) and o.indpred is null and o.indisvalid
                        and a.attname = $3)
            from (select to_regclass($1) as oid) named
            left join pg_index i on i.indexrelid = named.oid";
        let name = format!("{}.{}", self.schema, self.name);
        let table = format!("{}.{}", self.schema, self.table);
        let row = client.query_one(sql, &[&name, &table, &self.unless_led_by]).await?;
        let (valid, under_way): (Option<bool>, bool) = (row.get(0), row.get(1));
        let (has_table, has_other): (bool, bool) = (row.get(2), row.get(3));
        Ok(match valid {
            _ if !has_table => IndexState::Done,
            Some(true) => IndexState::Done,
            Some(false) if under_way => IndexState::UnderWay,
            Some(false) => IndexState::Invalid,
            None if has_other => IndexState::Done,
            None => IndexState::Missing,
        })
    }

    /// Builds it where it is missing or invalid; whether it did.
    ///
    /// # Errors
    /// Postgres is away or refuses.
    pub(super) async fn build(
        &self,
        client: &mut Client,
        tell: &(dyn Fn(&str) + Sync),
    ) -> Result<bool, DbError> {
        let give_up = Instant::now() + LONGEST;
        let mut told = false;
        let state = loop {
            match self.state(client).await? {
                IndexState::UnderWay if Instant::now() < give_up => {
                    if !told {
                        tell(&format!("somebody builds {}; waiting for it", self.name));
                        told = true;
                    }
                    sleep(LOOK_EVERY).await;
                }
                state => break state,
            }
        };
        match state {
            IndexState::Done | IndexState::UnderWay => return Ok(false),
            IndexState::Invalid => {
                let name = self.name;
                tell(&format!("{name} was left half-built; dropping it to build it again"));
                client.driver().batch_execute(&self.drop_statement()).await?;
            }
            IndexState::Missing => {}
        }
        tell(&format!(
            "building {} on {}.{}, which stays in use; it ends once transactions that are \
             open now have ended",
            self.name, self.schema, self.table
        ));
        match client.driver().batch_execute(&self.statement()).await {
            Ok(()) => Ok(true),
            // The migration brings the column and the index with it.
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
