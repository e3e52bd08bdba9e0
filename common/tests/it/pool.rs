//! What the pool does with connections that stall, refuse, or are left in the
//! middle of a statement.

use std::time::Duration;

use futures_util::FutureExt;
use regimen_common::db::{self, Asked, Client, DbError, Pool, StatementLimits, limits};
use regimen_common::test_support::{PrivatePostgres, Proxy, TestDatabase};
use secrecy::SecretString;
use tokio::time::{Instant, timeout};
use tokio_postgres::error::SqlState;

const SHORT: Duration = Duration::from_millis(300);
/// Far more than anything here takes, far less than waiting for a dead peer.
const SOON: Duration = Duration::from_secs(10);

fn pool(database: &TestDatabase, size: usize) -> Pool {
    db::pool(&database.secret_url(), size, "regimen-pool-test").unwrap()
}

async fn process(client: &Client) -> i32 {
    client.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0)
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Waits until no session of the pool is at work any more.
async fn until_idle(database: &TestDatabase) {
    let sql = "select count(*) from pg_stat_activity where datname = current_database()
               and application_name = 'regimen-pool-test' and state <> 'idle'";
    let client = database.client().await;
    let idle = async { while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {} };
    assert!(timeout(SOON, idle).await.is_ok(), "Postgres stops what nobody waits for");
}

#[tokio::test]
async fn a_statement_over_its_limit_is_stopped_and_its_connection_not_used_again() {
    let database = TestDatabase::new().await;
    // The server would let it run for longer than anybody here waits.
    let limits = StatementLimits { longest: 10 * SOON, ..StatementLimits::REQUEST };
    let pool = db::pool_with(&database.secret_url(), 1, "regimen-pool-test", limits).unwrap();
    let before = process(&pool.get().await.unwrap()).await;
    let client = pool.within(SHORT).get().await.unwrap();
    let started = Instant::now();
    let error = client.batch_execute("select pg_sleep(60)").await.unwrap_err();
    assert!(matches!(error, DbError::TimedOut { asked: Asked::Statement, .. }), "{error}");
    assert!(error.is_unavailable() && error.is_uncertain());
    assert!(started.elapsed() < SOON);
    drop(client);
    until_idle(&database).await;
    assert_ne!(process(&pool.get().await.unwrap()).await, before);
}

#[tokio::test]
async fn a_step_of_a_transaction_over_its_limit_changes_nothing() {
    let database = TestDatabase::new().await;
    let pool = pool(&database, 1).within(SHORT);
    let mut client = pool.get().await.unwrap();
    let tx = client.transaction();
    tx.batch_execute("create table half (n int)").await.unwrap();
    let error = tx.batch_execute("select pg_sleep(60)").await.unwrap_err();
    assert!(error.is_unavailable() && !error.is_uncertain(), "{error}");
    drop(tx);
    drop(client);
    until_idle(&database).await;
    let sql = "select coalesce(to_regclass('half')::text, 'none')";
    assert_eq!(text(&pool.get().await.unwrap(), sql).await, "none");
}

#[tokio::test]
async fn what_a_request_waits_adds_up() {
    let database = TestDatabase::new().await;
    let pool = pool(&database, 1);
    drop(pool.get().await.unwrap());
    let started = Instant::now();
    let outcome = limits::within(2 * SHORT, async {
        let client = pool.get().await?;
        for _ in 0..10 {
            client.batch_execute("select pg_sleep(0.2)").await?;
        }
        Ok::<_, DbError>(())
    });
    assert!(outcome.await.unwrap_err().is_unavailable());
    assert!(started.elapsed() < 10 * Duration::from_millis(200), "{:?}", started.elapsed());
}

#[tokio::test]
async fn nobody_waits_behind_a_statement_that_its_user_left() {
    let database = TestDatabase::new().await;
    let pool = pool(&database, 1);
    let first = process(&pool.get().await.unwrap()).await;
    // One that ends in a moment keeps its connection.
    let client = pool.get().await.unwrap();
    assert!(client.batch_execute("select 1").now_or_never().is_none(), "it was asked, no more");
    drop(client);
    assert_eq!(process(&pool.get().await.unwrap()).await, first);

    let client = pool.get().await.unwrap();
    let left = timeout(SHORT, client.batch_execute("select pg_sleep(60)")).await;
    assert!(left.is_err());
    drop(client);
    let started = Instant::now();
    assert_ne!(process(&pool.get().await.unwrap()).await, first);
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    until_idle(&database).await;
}

#[tokio::test]
async fn one_silent_connection_has_all_of_its_time_thrown_away() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::to_url(database.url()).unwrap();
    let url = SecretString::from(proxy.url(database.url()));
    let pool = db::pool(&url, 6, "regimen-pool-test").unwrap();
    drop(six(&pool).await);
    proxy.freeze();
    let client = pool.within(SHORT).get().await.unwrap();
    assert!(client.batch_execute("select 1").await.unwrap_err().is_unavailable());
    drop(client);
    // One more is asked whether it is there, and then nobody is asked any more.
    let started = Instant::now();
    for client in six(&pool).await {
        client.batch_execute("select 1").await.unwrap();
    }
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

async fn six(pool: &Pool) -> Vec<Client> {
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(pool.get().await.unwrap());
    }
    all
}

#[tokio::test]
async fn a_read_only_answer_empties_the_pool() {
    let database = TestDatabase::new().await;
    let admin = database.client().await;
    let name = text(&admin, "select current_database()::text").await;
    let set = format!("alter database {name} set default_transaction_read_only = on");
    admin.batch_execute(&set).await.unwrap();
    let pool = pool(&database, 4);
    let clients = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    drop(clients);
    let reset = format!("alter database {name} reset default_transaction_read_only");
    admin.batch_execute(&reset).await.unwrap();

    assert!(matches!(pool.ready().await, Err(DbError::ReadOnly)));
    pool.ready().await.unwrap();
    let write = "create table written (n int)";
    let clients = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    clients[0].batch_execute(write).await.unwrap();
    clients[1].batch_execute("drop table written").await.unwrap();

    // The same when a write finds out.
    drop(clients);
    admin.batch_execute(&set).await.unwrap();
    let pool = self::pool(&database, 4);
    let clients = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    admin.batch_execute(&reset).await.unwrap();
    let error = clients[0].batch_execute(write).await.unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    assert!(error.is_unavailable());
    drop(clients);
    let clients = [pool.get().await.unwrap(), pool.get().await.unwrap()];
    clients[0].batch_execute(write).await.unwrap();
    clients[1].batch_execute("drop table written").await.unwrap();
}

#[tokio::test]
async fn the_server_gives_up_by_itself_and_stricter_settings_stay() {
    let database = TestDatabase::new().await;
    let settings = "select format('%s %s', current_setting('statement_timeout'),
                                  current_setting('lock_timeout'))";
    let client = pool(&database, 1).get().await.unwrap();
    assert_eq!(text(&client, settings).await, "4500ms 4s");
    let work = db::pool_with(&database.secret_url(), 1, "test", StatementLimits::WORK).unwrap();
    assert_eq!(text(&work.get().await.unwrap(), settings).await, "9s 4s");

    let admin = database.client().await;
    let name = text(&admin, "select current_database()::text").await;
    for (statement, lock, wanted) in
        [("340ms", "1min", "340ms 4s"), ("2h", "20ms", "4500ms 20ms"), ("0", "0", "4500ms 4s")]
    {
        let sql = format!(
            "alter database {name} set statement_timeout = '{statement}';
             alter database {name} set lock_timeout = '{lock}'"
        );
        admin.batch_execute(&sql).await.unwrap();
        let client = pool(&database, 1).get().await.unwrap();
        assert_eq!(text(&client, settings).await, wanted);
    }
}

#[tokio::test]
async fn refusals_of_the_moment_pass() {
    let database = TestDatabase::new().await;
    let raise =
        |code: &str| format!("do $$ begin raise exception 'x' using errcode = '{code}'; end $$");
    for code in [
        "57014", "55P03", "53300", "53200", "53100", "XX000", "08006", "08P01", "57P01", "57P03",
        "57P05", "58000", "58030", "25006", "25P03", "26000", "42P05",
    ] {
        let client = database.client().await;
        let error = client.batch_execute(&raise(code)).await.unwrap_err();
        assert_eq!(error.code().map(SqlState::code), Some(code));
        assert!(error.is_unavailable() && !error.is_uncertain(), "{error}");
    }
    for (code, of_a_row) in [
        ("22003", true),
        ("23505", true),
        ("54000", true),
        ("P0001", true),
        ("PT402", true),
        ("XX001", true),
        ("42P01", false),
        ("42501", false),
        ("0A000", false),
        ("40001", false),
    ] {
        // Some of them end their connection, too.
        let client = database.client().await;
        let error = client.batch_execute(&raise(code)).await.unwrap_err();
        assert!(!error.is_unavailable(), "{error}");
        assert_eq!(error.blames_a_row(), of_a_row, "{error}");
    }
}

/// A migration changes what a prepared statement answers.
#[tokio::test]
async fn a_statement_that_went_stale_is_prepared_anew() {
    let database = TestDatabase::new().await;
    let pool = pool(&database, 1);
    let client = pool.get().await.unwrap();
    client
        .batch_execute("create table changing (a int); insert into changing values (1)")
        .await
        .unwrap();
    let read = async |client: &Client| {
        let statement = client.prepare_cached("select * from changing").await?;
        Ok::<_, DbError>(client.query_one(&statement, &[]).await?.len())
    };
    assert_eq!(read(&client).await.unwrap(), 1);
    client.batch_execute("alter table changing add b int").await.unwrap();
    assert!(read(&client).await.unwrap_err().is_unavailable());
    drop(client);
    assert_eq!(read(&pool.get().await.unwrap()).await.unwrap(), 2);
}

/// Lets time pass in which nothing else happens.
async fn pass(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn an_old_connection_is_not_used_again() {
    let database = TestDatabase::new().await;
    let pool = pool(&database, 1);
    let first = process(&pool.get().await.unwrap()).await;
    pass(23 * MINUTE).await;
    let client = pool.get().await.unwrap();
    assert_eq!(process(&client).await, first, "it is not old yet");
    // In use, so that nobody but its user can see to it.
    pass(8 * MINUTE).await;
    assert_eq!(process(&client).await, first, "it is left to its user");
    drop(client);
    assert_ne!(process(&pool.get().await.unwrap()).await, first);
}

#[tokio::test]
async fn an_old_connection_is_closed_though_nobody_uses_it() {
    let database = TestDatabase::new().await;
    let pool = pool(&database, 2);
    drop((pool.get().await.unwrap(), pool.get().await.unwrap()));
    let admin = database.client().await;
    let sql = "select count(*) from pg_stat_activity where datname = current_database()
               and application_name = 'regimen-pool-test'";
    let sessions = async || admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    assert_eq!(sessions().await, 2);
    pass(30 * MINUTE).await;
    let closed = async { while sessions().await > 0 {} };
    assert!(timeout(SOON, closed).await.is_ok(), "both are closed");
}

/// When the kernel asks the peer at `port` whether it is there, unless it says
/// something before: hundredths of a second from now. See proc(5).
#[cfg(target_os = "linux")]
fn keepalive_of(port: u16) -> Option<u64> {
    let table = std::fs::read_to_string("/proc/self/net/tcp").unwrap();
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (peer, state, timer) = (fields.get(2)?, fields.get(3)?, fields.get(5)?);
        let established = peer.ends_with(&format!(":{port:04X}")) && *state == "01";
        let due = timer.strip_prefix("02:").filter(|_| established)?;
        u64::from_str_radix(due, 16).ok()
    })
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_peer_that_says_nothing_is_asked_within_seconds_whether_it_is_there() {
    let database = TestDatabase::new().await;
    let proxy = Proxy::to_url(database.url()).unwrap();
    let url = SecretString::from(proxy.url(database.url()));
    let pool = db::pool(&url, 1, "regimen-pool-test").unwrap();
    let _client = pool.get().await.unwrap();
    let asked = async {
        loop {
            // Another timer stands there for a moment after something was sent.
            match keepalive_of(proxy.port()) {
                Some(due) => break due,
                None => tokio::task::yield_now().await,
            }
        }
    };
    let due = timeout(SOON, asked).await.unwrap();
    assert!(due <= 10 * 100, "in {due} hundredths of a second");
}

/// The URL of the database with these hosts before its own.
fn behind(database: &TestDatabase, hosts: &str) -> SecretString {
    let url = database.url();
    let at = url.rfind('@').map_or(url.find("://").unwrap() + 3, |at| at + 1);
    SecretString::from(format!("{}{hosts},{}", &url[..at], &url[at..]))
}

#[tokio::test]
async fn a_host_that_is_silent_or_gone_leaves_time_for_the_next() {
    let database = TestDatabase::new().await;
    // The system accepts connections to it, and nobody reads them.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().unwrap().to_string();
    for hosts in [silent.as_str(), "127.0.0.1:1"] {
        let pool = db::pool(&behind(&database, hosts), 2, "regimen-pool-test").unwrap();
        let first = pool.get().await.unwrap();
        // The next connection goes straight to the host that answered.
        let second = timeout(Duration::from_secs(1), pool.get()).await;
        assert_ne!(process(&first).await, process(&second.unwrap().unwrap()).await);
    }
}

#[tokio::test]
async fn of_two_hosts_the_one_that_accepts_writes_is_used() {
    let (old, new) = tokio::join!(PrivatePostgres::start(), PrivatePostgres::start());
    let second = new.url().replace("postgres://postgres@", ",");
    let url = SecretString::from(old.url().trim_end_matches("/postgres").to_owned() + &second);
    let pool = db::pool(&url, 1, "regimen-pool-test").unwrap();
    let place = async || {
        let client = pool.get().await.unwrap();
        let row = client.query_one("select current_setting('port')::int", &[]).await.unwrap();
        row.get::<_, i32>(0)
    };
    let port = |server: &PrivatePostgres| {
        server.url().rsplit([':', '/']).nth(1).unwrap().parse::<i32>().unwrap()
    };
    assert_eq!(place().await, port(&old));
    // It is demoted: a write is refused, and the next connection goes to the other.
    let set = "alter database postgres set default_transaction_read_only = on";
    pool.get().await.unwrap().batch_execute(set).await.unwrap();
    let client = pool.get().await.unwrap();
    client.batch_execute("set default_transaction_read_only = on").await.unwrap();
    client.batch_execute("create table refused ()").await.unwrap_err();
    drop(client);
    assert_eq!(place().await, port(&new));
}
