//! The process helpers keep their promises: signals arrive, output is kept,
//! nothing outlives its test, servers come back with their data.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;

use regimen_common::db;
use regimen_common::test_support::{PrivatePostgres, PrivateRedis, Process};

/// How long what was killed may take to be gone, on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn shell(script: &str) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Process::start("shell", command)
}

/// The state letter `ps` shows, such as S (sleeping) or T (stopped).
fn state(pid: u32) -> Option<char> {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().chars().next()
}

#[tokio::test]
async fn output_and_exit_code_are_kept() {
    let mut process = shell("echo to stdout; echo to stderr >&2; exit 3");
    assert_eq!(process.wait_exit().await.code(), Some(3));
    assert_eq!(process.output(), "to stdout\nto stderr\n");
}

#[tokio::test]
async fn each_signal_does_what_its_name_says() {
    let mut process = shell("exec sleep 600");
    process.terminate();
    assert_eq!(process.wait_exit().await.signal(), Some(15));

    let mut process = shell("exec sleep 600");
    process.kill9().await;
    assert_eq!(process.wait_exit().await.signal(), Some(9));

    let mut process = shell("exec sleep 600");
    process.stop();
    assert_eq!(state(process.id()), Some('T'));
    assert!(process.is_running());
    process.terminate();
    process.cont();
    assert_eq!(process.wait_exit().await.signal(), Some(15));
}

#[tokio::test]
async fn a_dropped_process_is_gone_with_all_it_started() {
    // The shell ends; what it started stays in its group, and holds a pipe open.
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let path = pipe.display();
    let mut parent = shell(&format!("mkfifo '{path}' && (sleep 60 >'{path}' & echo $!)"));
    parent.wait_exit().await;
    let child: u32 = parent.output().trim().parse().unwrap();
    let held = std::fs::File::open(&pipe).unwrap();
    assert!(!matches!(state(child), None | Some('Z')));
    drop(parent);
    // It is killed, not awaited: only its parent could do that.
    let gone = tokio::task::spawn_blocking(|| std::io::read_to_string(held));
    assert_eq!(tokio::time::timeout(DEADLINE, gone).await.unwrap().unwrap().unwrap(), "");

    let process = shell("exec sleep 600");
    let pid = process.id();
    drop(process);
    assert_eq!(state(pid), None);
}

#[tokio::test]
#[should_panic(expected = "cargo build --workspace --bins")]
async fn a_binary_that_is_not_built_says_what_to_do() {
    Process::spawn("regimen-nothing", [("NAME", "value")]);
}

#[tokio::test]
async fn a_private_postgres_keeps_its_data_over_kill_and_restart() {
    let mut server = PrivatePostgres::start().await;
    let client = db::connect(&server.secret_url(), "test").await.unwrap();
    client.batch_execute("create table kept (n int); insert into kept values (7)").await.unwrap();
    server.kill9().await;
    let error = db::connect(&server.secret_url(), "test").await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let error = db::DbError::from(client.query("select n from kept", &[]).await.unwrap_err());
    assert!(error.is_unavailable(), "{error}");

    server.restart().await;
    let client = db::connect(&server.secret_url(), "test").await.unwrap();
    let kept: i32 = client.query_one("select n from kept", &[]).await.unwrap().get(0);
    assert_eq!(kept, 7);

    // An orderly restart ends the session with a server message (57P01).
    let pool = db::pool(&server.secret_url(), 1, "test").unwrap();
    let pooled = pool.get().await.unwrap();
    let sleeping = pooled.batch_execute("select pg_sleep(600)");
    let (failed, ()) = tokio::join!(sleeping, server.restart());
    let error = failed.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    drop(pooled);
    pool.get().await.unwrap().query_one("select n from kept", &[]).await.unwrap();
}

#[tokio::test]
async fn a_private_redis_is_flushed_and_restarted() {
    let mut server = PrivateRedis::start().await;
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let set = |value: &str| redis::cmd("SET").arg("key").arg(value).to_owned();
    set("1").exec_async(&mut connection).await.unwrap();
    server.flush_all().await;
    let found: Option<String> =
        redis::cmd("GET").arg("key").query_async(&mut connection).await.unwrap();
    assert_eq!(found, None);

    set("2").exec_async(&mut connection).await.unwrap();
    server.restart().await;
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let found: Option<String> =
        redis::cmd("GET").arg("key").query_async(&mut connection).await.unwrap();
    assert_eq!(found.as_deref(), Some("2"));
}
