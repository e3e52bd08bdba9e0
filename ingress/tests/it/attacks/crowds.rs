//! Attacks by number: connections that only stay.

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use crate::harness::{Ingress, plans};

/// What the attack table names.
pub(super) const CROWD: usize = 10_000;
/// Beside the crowd: the test's own files, and those of tests that run meanwhile.
const OTHER_FILES: u64 = 1_000;
/// What one idle connection may cost the ingress, kilobytes.
const MOST_KILOBYTES: u64 = 32;

/// Two whole crowds are more files than a process is allowed.
static TURN: Mutex<()> = Mutex::const_new(());

/// Connections that stay until it is dropped.
pub(super) struct Crowd {
    streams: Vec<TcpStream>,
    _turn: Option<MutexGuard<'static, ()>>,
}

impl Deref for Crowd {
    type Target = [TcpStream];

    fn deref(&self) -> &[TcpStream] {
        &self.streams
    }
}

impl DerefMut for Crowd {
    fn deref_mut(&mut self) -> &mut [TcpStream] {
        &mut self.streams
    }
}

/// Connections that send one byte of a request and nothing more.
pub(super) async fn idle(address: &str, count: usize) -> Crowd {
    crowd(address, count, |_| "G".to_owned()).await
}

/// Connections that each send their opening, by number, and stay.
pub(super) async fn crowd(address: &str, count: usize, opening: impl Fn(usize) -> String) -> Crowd {
    let _turn = if count < CROWD { None } else { Some(TURN.lock().await) };
    let mut crowd = Vec::with_capacity(count);
    while crowd.len() < count {
        // In batches: a full accept queue would leave connections only we believe in.
        let batch = (crowd.len()..count.min(crowd.len() + 50)).map(|number| {
            let opening = opening(number);
            async move {
                let mut stream = TcpStream::connect(address).await.unwrap();
                stream.write_all(opening.as_bytes()).await.unwrap();
                stream
            }
        });
        crowd.extend(futures_util::future::join_all(batch).await);
    }
    Crowd { streams: crowd, _turn }
}

/// Lets this process and its children open as many files as the system allows.
pub(super) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let needed = CROWD as u64 + OTHER_FILES;
    let enough = limit.maximum.is_none_or(|most| most >= needed);
    assert!(enough, "this test needs {needed} open files: raise the hard limit (ulimit -Hn)");
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, all).unwrap();
}

#[tokio::test]
async fn ten_thousand_idle_connections_leave_honest_requests_alone() {
    raise_limit();
    let ingress = Ingress::start(&[("HEADER_TIMEOUT_SECONDS", "300")]).await;
    let user = Uuid::new_v4();
    assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
    let before = ingress.resident_kilobytes();
    let crowd = idle(ingress.address(), CROWD).await;
    for _ in 0..20 {
        assert_eq!(ingress.get("/v1/usage", user).await.status, 200);
    }
    assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
    let each = ingress.resident_kilobytes().saturating_sub(before) / CROWD as u64;
    assert!(each <= MOST_KILOBYTES, "{each} KB a connection");
    drop(crowd);
}

/// Systems start processes with a low soft limit; what is left of it must not
/// be used up by strangers.
#[tokio::test]
async fn a_process_that_may_open_few_files_keeps_some_for_its_work() {
    let limits = "ulimit -Sn 90 && ulimit -Hn 180 && exec \"$0\"";
    let shell = |program: &Path| {
        let mut command = Command::new("sh");
        command.args(["-c", limits]).arg(program);
        command
    };
    let settings = [("HEADER_TIMEOUT_SECONDS", "1"), ("DATABASE_POOL_SIZE", "2")];
    let ingress = Ingress::start_with(shell, &settings).await;
    // More than the soft limit, and then more than the hard one.
    let crowd = idle(ingress.address(), 300).await;
    let user = Uuid::new_v4();
    for _ in 0..5 {
        assert_eq!(ingress.post("/v1/plans", user, &plans()).await.status, 202);
    }
    assert!(ingress.logs().contains("too few files for MAX_CONNECTIONS"));
    drop(crowd);
}
