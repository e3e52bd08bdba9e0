//! Migrations on the databases they meet: empty, the app's with Supabase
//! around it, the app's on plain Postgres, already migrated, and many
//! processes at once.

use std::time::Duration;

use regimen_common::db::app_indexes::{APP_INDEXES, IndexState, OWN_INDEXES};
use regimen_common::db::migrate::{self, MigrateError, Report, embedded, migrate, migrate_telling};
use regimen_common::db::rehearse;
use regimen_common::test_support::{Pgbouncer, TestDatabase};
use secrecy::SecretString;

use crate::snapshot;

const APP_TABLES: &str = include_str!("fixtures/app_tables.sql");
const SUPABASE: &str = include_str!("fixtures/supabase.sql");

fn names() -> Vec<String> {
    embedded().into_iter().map(|(_, name)| name).collect()
}

async fn database_with(scripts: &[&str]) -> TestDatabase {
    let database = TestDatabase::empty().await;
    for script in scripts {
        database.client().await.batch_execute(script).await.unwrap();
    }
    database
}

/// Names of triggers on a table, in order.
async fn triggers(database: &TestDatabase, table: &str) -> Vec<String> {
    let sql = "select tgname::text from pg_trigger
               where tgrelid = $1::text::regclass and not tgisinternal order by 1";
    let rows = database.client().await.query(sql, &[&table]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn an_empty_database_gets_everything_once() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    assert_eq!(migrate::pending(&client).await.unwrap(), names());

    let report = migrate(&database.secret_url()).await.unwrap();
    assert_eq!(report.applied, names());
    assert_eq!(report.version, embedded().last().unwrap().0);
    assert!(migrate::pending(&client).await.unwrap().is_empty());

    let before = snapshot::take(&client).await;
    let again = migrate(&database.secret_url()).await.unwrap();
    assert!(again.applied.is_empty());
    assert_eq!(again.version, report.version);
    assert_eq!(snapshot::take(&client).await, before);
}

#[tokio::test]
async fn the_app_on_supabase_loses_and_changes_nothing() {
    let database = database_with(&[APP_TABLES, SUPABASE]).await;
    let client = database.client().await;
    let before = snapshot::take(&client).await;
    assert!(before.len() > 150, "the snapshot sees the app");

    migrate(&database.secret_url()).await.unwrap();
    let after = snapshot::take(&client).await;
    // Added, not changed: the plan the app did not sell, row security where
    // the app had forgotten it.
    let unguarded = [
        "table public.plans",
        "table public.notifications",
        "table public.challenge_participants",
        "table public.workout_logs",
        "table public.daily_nutrition_logs",
        "table public.daily_water_intake",
    ];
    snapshot::assert_kept(&before, &after, &[&unguarded[..], &["rows public.plans"]].concat());
    for table in unguarded {
        let (was, is) = (before[table].clone().unwrap(), after[table].clone().unwrap());
        assert_eq!(is, was.replace("rls f,", "rls t,"), "{table}");
    }
    let sql = "select id, name, monthly_ai_generations from public.plans order by id";
    let plans: Vec<(String, String, i32)> = client
        .query(sql, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    assert_eq!(plans[0], ("family".into(), "Family".into(), 40));
    assert_eq!(plans[1], ("free".into(), "Gratis".into(), 2));
    assert_eq!(plans[2].0, "pro");
    assert_eq!(plans.len(), 3);
}

#[tokio::test]
async fn the_apps_triggers_stay_alone_and_gaps_are_filled() {
    let database = database_with(&[APP_TABLES, SUPABASE]).await;
    migrate(&database.secret_url()).await.unwrap();
    assert_eq!(
        triggers(&database, "public.ai_meal_plans").await,
        ["single_active_meal_plan", "stamp"]
    );
    assert_eq!(triggers(&database, "public.quiz_results").await, ["quota_before_quiz"]);
    // Only the stamp was missing there.
    assert_eq!(
        triggers(&database, "public.ai_workout_plans").await,
        ["single_active_workout_plan", "touch_updated_at"]
    );
    // Ours beside it tell of deleted accounts, and keep users from writing their plan.
    assert_eq!(
        triggers(&database, "public.profiles").await,
        ["regimen_note_deleted_accounts", "stamp", "zz_regimen_keep_entitlement"]
    );
}

#[tokio::test]
async fn the_app_on_plain_postgres_gets_the_missing_parts_and_keeps_its_rows() {
    let database = database_with(&[APP_TABLES]).await;
    let client = database.client().await;
    let before = snapshot::take(&client).await;
    migrate(&database.secret_url()).await.unwrap();
    let after = snapshot::take(&client).await;

    let tables: Vec<&str> =
        before.keys().map(String::as_str).filter(|key| key.starts_with("table ")).collect();
    snapshot::assert_kept(&before, &after, &[&tables[..], &["rows public.plans"]].concat());
    assert!(after["table public.profiles"].clone().unwrap().starts_with("rls t"));
    assert!(after["table public.blog_posts"].clone().unwrap().starts_with("rls f"));
    assert_eq!(
        triggers(&database, "public.ai_meal_plans").await,
        ["deactivate_other_plans", "touch_updated_at"]
    );
    assert_eq!(triggers(&database, "public.quiz_results").await, ["count_quiz"]);
}

#[tokio::test]
async fn many_processes_at_once_migrate_once() {
    let database = database_with(&[APP_TABLES]).await;
    let url = database.secret_url();
    let runs = futures_util::future::join_all((0..8).map(|_| migrate(&url))).await;
    let mut applied: Vec<_> = runs.into_iter().map(|run| run.unwrap().applied).collect();
    applied.sort_by_key(Vec::len);
    assert_eq!(applied.pop().unwrap(), names());
    assert!(applied.iter().all(Vec::is_empty), "{applied:?}");
}

/// The lock's key, for whoever plays another process here.
const LOCK: &str = "select pg_advisory_lock(5937265386262457857)";

#[tokio::test]
async fn a_migration_waits_for_another_with_a_limit_and_a_word() {
    let database = TestDatabase::empty().await;
    let other = regimen_common::db::connect(&database.secret_url(), "the-other").await.unwrap();
    other.execute(LOCK, &[]).await.unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let tell = move |news: &str| told.send(news.to_owned()).unwrap();
    let secret = database.secret_url();
    let error = migrate_telling(&secret, Duration::from_millis(600), &tell).await.unwrap_err();
    assert!(matches!(error, MigrateError::Locked { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("the-other") && message.contains("pg_terminate_backend"), "{message}");
    let news = heard.recv().await.unwrap();
    assert!(news.contains("the-other"), "{news}");

    let waiting = migrate_telling(&secret, Duration::from_secs(60), &tell);
    let release = async {
        heard.recv().await.unwrap();
        drop(other);
    };
    let (report, ()) = tokio::join!(waiting, release);
    assert_eq!(report.unwrap().applied, names());
    assert_eq!(locks(&database).await, 0);
}

/// Advisory locks that anybody holds in the database.
async fn locks(database: &TestDatabase) -> i64 {
    let sql = "select count(*) from pg_locks where locktype = 'advisory'
               and database = (select oid from pg_database where datname = current_database())";
    database.client().await.query_one(sql, &[]).await.unwrap().get(0)
}

/// One process migrates directly, another one through a pooler that gives its
/// sessions on as they were left.
async fn two_roads(database: &TestDatabase) -> (Pgbouncer, [SecretString; 2]) {
    let settings = ["pool_mode = session", "server_reset_query ="];
    let pooler = Pgbouncer::start(database.url(), &settings).await;
    let roads = [database.secret_url(), SecretString::from(pooler.url().to_owned())];
    (pooler, roads)
}

/// Without waiting for anybody.
async fn migrate_at_once(url: &SecretString) -> Result<Report, MigrateError> {
    migrate_telling(url, Duration::ZERO, &|_| {}).await
}

#[tokio::test]
async fn a_migration_that_ended_well_or_not_holds_up_no_other() {
    for turned in [false, true] {
        let database = database_with(&["create schema auth"]).await;
        let (_pooler, mut roads) = two_roads(&database).await;
        if turned {
            roads.reverse();
        }
        for road in &roads {
            let failed = migrate_at_once(road).await.unwrap_err();
            assert!(matches!(failed, MigrateError::Run(_)), "{failed}");
            assert_eq!(locks(&database).await, 0);
        }
        let mend = "create function auth.uid() returns uuid language sql as 'select null::uuid'";
        database.client().await.batch_execute(mend).await.unwrap();
        for (road, applied) in roads.iter().zip([&names()[1..], &[]]) {
            assert_eq!(migrate_at_once(road).await.unwrap().applied, applied);
            assert_eq!(locks(&database).await, 0);
        }
    }
}

/// Its session is ended while it waits for a table.
#[tokio::test]
async fn a_migration_that_is_cut_off_holds_up_no_other() {
    let cut_off = async |turned: bool| {
        let database = database_with(&[APP_TABLES]).await;
        let (_pooler, mut roads) = two_roads(&database).await;
        if turned {
            roads.reverse();
        }
        let mut reader = database.client().await;
        let reading = reader.transaction();
        reading.batch_execute("select from public.profiles").await.unwrap();
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let tell = move |news: &str| told.send(news.to_owned()).unwrap();
        let migrating = migrate_telling(&roads[0], Duration::ZERO, &tell);
        let cut = async {
            heard.recv().await.unwrap();
            let sql = "select pg_terminate_backend(pid, 60000) from pg_stat_activity
                       where application_name = 'regimen-migrate' and datname = current_database()";
            let ended = database.client().await.query(sql, &[]).await.unwrap();
            assert!(ended.iter().any(|row| row.get(0)));
            reading.rollback().await.unwrap();
        };
        let (report, ()) = tokio::join!(migrating, cut);
        assert!(!matches!(report.unwrap_err(), MigrateError::Locked { .. }));
        assert_eq!(locks(&database).await, 0);
        let next = migrate_at_once(&roads[1]).await.unwrap();
        assert_eq!(next.applied.last(), names().last());
    };
    tokio::join!(cut_off(false), cut_off(true));
}

/// Somebody reads a table that a migration changes, and does not end.
#[tokio::test]
async fn a_migration_does_not_hold_everybody_up_behind_a_table_in_use() {
    let database = database_with(&[APP_TABLES]).await;
    let mut reader = database.client().await;
    let reading = reader.transaction();
    reading.batch_execute("select from public.profiles").await.unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let tell = move |news: &str| told.send(news.to_owned()).unwrap();
    let secret = database.secret_url();
    let migrating = migrate_telling(&secret, Duration::from_secs(60), &tell);
    let release = async {
        let news = heard.recv().await.unwrap();
        assert!(news.contains("in use"), "{news}");
        reading.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(migrating, release);
    assert_eq!(report.unwrap().applied, names());
}

/// A session has read one table and now wants another; a migration has changed the other
/// and wants the first.
#[tokio::test]
async fn a_migration_that_meets_a_deadlock_begins_again() {
    let database = database_with(&[APP_TABLES]).await;
    // The migration finds it out, well within its lock_timeout, and the reader does not.
    let name = "select quote_ident(current_database())";
    let client = database.client().await;
    let name: String = client.query_one(name, &[]).await.unwrap().get(0);
    let sql = format!("alter database {name} set deadlock_timeout = '2s'");
    client.batch_execute(&sql).await.unwrap();
    let mut reader = database.client().await;
    reader.batch_execute("set deadlock_timeout = '60s'").await.unwrap();
    let reading = reader.transaction();
    reading.batch_execute("select from public.workout_logs").await.unwrap();
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |news: &str| told.lock().unwrap().push(news.to_owned());
    let secret = database.secret_url();
    let migrating = migrate_telling(&secret, Duration::from_secs(60), &tell);
    let cross = async {
        waits_for(&database, "relation").await;
        // Answered once the migration has given way.
        reading.batch_execute("select from public.profiles").await.unwrap();
        reading.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(migrating, cross);
    assert_eq!(report.unwrap().applied, names());
    let told = told.lock().unwrap();
    assert!(told.iter().any(|news| news.contains("deadlock")), "{told:?}");
}

#[tokio::test]
async fn a_failed_migration_says_why_and_leaves_no_half() {
    let database = TestDatabase::empty().await;
    let client = database.client().await;
    client.batch_execute("create schema auth").await.unwrap();
    let error = migrate(&database.secret_url()).await.unwrap_err();
    assert!(matches!(error, MigrateError::Run(_)));
    let message = error.to_string();
    assert!(message.contains("V2__auth_and_row_security"), "{message}");
    assert!(message.contains("no function auth.uid()"), "{message}");
    assert!(message.contains("then migrate again"), "{message}");
    // V1 stays, nothing of V2 does.
    let sql = "select count(*) from pg_policy";
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(migrate::pending(&client).await.unwrap(), names()[1..]);

    let mend = "create function auth.uid() returns uuid language sql as 'select null::uuid'";
    client.batch_execute(mend).await.unwrap();
    assert_eq!(migrate(&database.secret_url()).await.unwrap().applied, names()[1..]);
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_left_alone() {
    let database = TestDatabase::new().await;
    let newer = "insert into regimen.schema_history
                 values (9999, 'from_the_future', '2030-01-01T00:00:00Z', '1')";
    let client = database.client().await;
    client.batch_execute(newer).await.unwrap();
    let report = migrate(&database.secret_url()).await.unwrap();
    assert_eq!((report.applied, report.version), (Vec::new(), 9999));
}

#[tokio::test]
async fn the_indexes_our_tables_should_have_are_read_out_of_the_migrations() {
    let database = TestDatabase::new().await;
    let sql = "select c.relname::text from pg_index i join pg_class c on c.oid = i.indexrelid
               join pg_namespace n on n.oid = c.relnamespace
               where n.nspname = 'regimen'
                   and not exists (select from pg_constraint o where o.conindid = i.indexrelid)";
    let rows = database.client().await.query(sql, &[]).await.unwrap();
    let found: std::collections::BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    assert!(found.len() > 20, "{found:?}");
    assert_eq!(migrate::own_indexes(), found);
    let client = database.client().await;
    for index in APP_INDEXES.iter().chain(&OWN_INDEXES) {
        assert_eq!(index.state(&client).await.unwrap(), IndexState::Done, "{}", index.name);
    }
}

/// A table with rows, and without the index it should have.
async fn without_index() -> TestDatabase {
    let database = TestDatabase::new().await;
    let sql = "set session_replication_role = replica;
               drop index public.idx_workout_logs_user_date;
               insert into public.workout_logs (user_id, workout_type, workout_date)
                   select gen_random_uuid(), '', current_date - n from generate_series(1, 100) n;";
    database.client().await.batch_execute(sql).await.unwrap();
    database
}

const INDEX: &str = "idx_workout_logs_user_date";
const WRITE: &str = "set session_replication_role = replica;
    insert into public.workout_logs (user_id, workout_type, workout_date)
    values (gen_random_uuid(), '', current_date)";

/// Whether the index is there and whole.
async fn is_valid(database: &TestDatabase) -> Option<bool> {
    let sql =
        "select indisvalid from pg_index where indexrelid = to_regclass('public.' || $1::text)";
    let row = database.client().await.query_opt(sql, &[&INDEX]).await.unwrap();
    row.map(|row| row.get(0))
}

/// Waits until the migration waits for somebody's transaction (`virtualxid`) or table
/// (`relation`).
async fn waits_for(database: &TestDatabase, what: &str) {
    let sql = "select count(*) from pg_stat_activity a join pg_locks l using (pid)
               where a.application_name = 'regimen-migrate' and a.datname = current_database()
                   and l.locktype = $1 and not l.granted";
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let client = database.client().await;
    while client.query_one(sql, &[&what]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(tokio::time::Instant::now() < deadline, "it waits for nobody");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_index_on_a_table_in_use_is_built_while_others_write_to_it() {
    let database = without_index().await;
    let mut writer = database.client().await;
    let writing = writer.transaction();
    writing.batch_execute(WRITE).await.unwrap();
    let secret = database.secret_url();
    let migrating = migrate(&secret);
    let meanwhile = async {
        waits_for(&database, "virtualxid").await;
        let others = database.client().await;
        others.batch_execute("set lock_timeout = '5s'").await.unwrap();
        others.batch_execute(WRITE).await.unwrap();
        writing.commit().await.unwrap();
    };
    let (report, ()) = tokio::join!(migrating, meanwhile);
    let report = report.unwrap();
    assert_eq!((report.indexes, report.applied.len()), (vec![INDEX], 0));
    assert_eq!(is_valid(&database).await, Some(true));
    assert_eq!(migrate(&secret).await.unwrap().indexes, Vec::<&str>::new());
}

#[tokio::test]
async fn an_index_on_jobs_that_is_missing_is_built_while_others_write_them() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let definition = "select pg_get_indexdef('regimen.jobs_held'::regclass)";
    let before: String = client.query_one(definition, &[]).await.unwrap().get(0);
    client.batch_execute("drop index regimen.jobs_held").await.unwrap();
    let write = "insert into regimen.jobs (id, user_id, generation_id, kind, class, input,
                                           expires_at, run_at, created_at, updated_at)
                 values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'meal', 'free',
                         '{}', now(), now(), now(), now())";
    let mut writer = database.client().await;
    let writing = writer.transaction();
    writing.batch_execute(write).await.unwrap();
    let secret = database.secret_url();
    let migrating = migrate(&secret);
    let meanwhile = async {
        waits_for(&database, "virtualxid").await;
        client.batch_execute("set lock_timeout = '5s'").await.unwrap();
        client.batch_execute(write).await.unwrap();
        writing.commit().await.unwrap();
    };
    let (report, ()) = tokio::join!(migrating, meanwhile);
    assert_eq!(report.unwrap().indexes, ["jobs_held"]);
    let after: String = client.query_one(definition, &[]).await.unwrap().get(0);
    assert_eq!(after, before);
}

/// A migration that creates it whether it is there or not has yet to run.
#[tokio::test]
async fn an_index_is_not_built_before_the_migration_that_creates_it() {
    let database = TestDatabase::new().await;
    let client = database.client().await;
    let sql = "drop index regimen.jobs_waiting, regimen.jobs_held;
               delete from regimen.schema_history where version >= 44";
    client.batch_execute(sql).await.unwrap();
    let rehearsal = rehearse(&database.secret_url(), &|_| {}).await;
    // V44 also drops an index that is gone already; so far it must not come.
    let error = rehearsal.unwrap_err().to_string();
    assert!(error.contains("jobs_depth"), "{error}");
    assert!(migrate(&database.secret_url()).await.is_err());
    let sql = "select to_regclass('regimen.jobs_held') is not null,
                      to_regclass('regimen.jobs_waiting') is null";
    let row = client.query_one(sql, &[]).await.unwrap();
    assert!(row.get::<_, bool>(0) && row.get::<_, bool>(1));
}

/// The process that builds it dies.
#[tokio::test]
async fn an_index_that_was_left_half_built_is_built_again() {
    let database = without_index().await;
    let mut writer = database.client().await;
    let writing = writer.transaction();
    writing.batch_execute(WRITE).await.unwrap();
    let secret = database.secret_url();
    let migrating = migrate(&secret);
    let cut = async {
        waits_for(&database, "virtualxid").await;
        let sql = "select pg_terminate_backend(pid, 60000) from pg_stat_activity
                   where application_name = 'regimen-migrate' and datname = current_database()";
        database.client().await.query(sql, &[]).await.unwrap();
    };
    let (report, ()) = tokio::join!(migrating, cut);
    assert!(matches!(report, Err(MigrateError::Index { name: INDEX, .. })), "{report:?}");
    writing.commit().await.unwrap();
    assert_eq!(is_valid(&database).await, Some(false));
    let told = std::sync::Mutex::new(Vec::new());
    let tell = |news: &str| told.lock().unwrap().push(news.to_owned());
    let report = migrate_telling(&secret, Duration::ZERO, &tell).await.unwrap();
    assert_eq!(report.indexes, [INDEX]);
    assert!(told.lock().unwrap()[0].contains("half-built"), "{told:?}");
    assert_eq!(is_valid(&database).await, Some(true));
}

#[tokio::test]
async fn a_rehearsal_tells_sql_and_locks_and_changes_nothing() {
    let database = database_with(&[APP_TABLES]).await;
    let client = database.client().await;
    let before = snapshot::take(&client).await;
    let rehearsal = rehearse(&database.secret_url(), &|_| {}).await.unwrap();
    assert_eq!(snapshot::take(&client).await, before);
    let sql = "select to_regnamespace('regimen') is null";
    assert!(client.query_one(sql, &[]).await.unwrap().get::<_, bool>(0), "nothing of ours stays");

    let steps: Vec<&str> = rehearsal.steps.iter().map(|step| step.name.as_str()).collect();
    let (indexes, migrations) = steps.split_at(steps.len() - names().len());
    assert_eq!(migrations, names());
    assert!(indexes.contains(&INDEX), "{indexes:?}");
    let step = |name: &str| rehearsal.steps.iter().find(|step| step.name == name).unwrap();
    let index = step(INDEX);
    assert!(index.sql.starts_with("create index concurrently") && index.took.is_none());
    let locks = |name: &str| -> Vec<String> {
        step(name).locks.iter().map(|lock| format!("{} {}", lock.table, lock.mode)).collect()
    };
    // Row security is switched on; V3 finds its indexes and looks no further.
    let secured = locks("V2__auth_and_row_security");
    assert!(secured.contains(&"public.profiles AccessExclusiveLock".to_owned()), "{secured:?}");
    assert!(step("V2__auth_and_row_security").sql.contains("enable row level security"));

    // It was right: the run does the same.
    let report = migrate(&database.secret_url()).await.unwrap();
    assert_eq!((report.indexes, report.applied), (indexes.to_vec(), names()));
    let rest = rehearse(&database.secret_url(), &|_| {}).await.unwrap();
    assert_eq!(rest.steps, []);
}
