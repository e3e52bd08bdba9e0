//! A Redis of one test's own, for tests that kill, restart or flush it.

use std::ffi::OsString;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use super::process::{DEADLINE, Process};

/// How often a starting server is tried.
const TRY_EVERY: Duration = Duration::from_millis(10);

/// How often a port that was free a moment ago may turn out taken.
const PORT_TRIES: u32 = 5;

/// A server with its own data and port. It keeps both over a restart, as far
/// as its append-only file had them. Gone with the value.
#[derive(Debug)]
pub struct PrivateRedis {
    program: OsString,
    folder: TempDir,
    port: u16,
    /// Where the other nodes of its cluster reach it, if it is part of one.
    bus_port: Option<u16>,
    process: Option<Process>,
}

impl PrivateRedis {
    /// Starts an empty server; returns when it answers.
    pub async fn start() -> Self {
        Self::start_as(false).await
    }

    /// Starts two nodes that share the slots of one cluster; returns when both
    /// serve it.
    pub async fn start_cluster() -> [Self; 2] {
        let nodes = [Self::start_as(true).await, Self::start_as(true).await];
        let [first, second] = &nodes;
        first.ask("CLUSTER ADDSLOTSRANGE 0 8191").await.expect("slots for a cluster node");
        second.ask("CLUSTER ADDSLOTSRANGE 8192 16383").await.expect("slots for a cluster node");
        let (port, bus_port) = (second.port, second.bus_port.unwrap_or_default());
        let meet = format!("CLUSTER MEET 127.0.0.1 {port} {bus_port}");
        first.ask(&meet).await.expect("two cluster nodes that meet");
        let deadline = Instant::now() + DEADLINE;
        for node in &nodes {
            while !node.serves_all_slots().await {
                assert!(Instant::now() < deadline, "the cluster does not come together");
                sleep(TRY_EVERY).await;
            }
        }
        nodes
    }

    async fn start_as(in_cluster: bool) -> Self {
        let program = std::env::var_os("REGIMEN_TEST_REDIS_BIN");
        let program = program.unwrap_or_else(|| "redis-server".into());
        let folder = tempfile::tempdir().expect("a temporary folder for Redis");
        let mut server = Self { program, folder, port: 0, bus_port: None, process: None };
        for _ in 0..PORT_TRIES {
            server.port = super::free_port();
            // Of its own: the usual one, 10,000 above, may be no port at all.
            server.bus_port = in_cluster.then(super::free_port);
            if server.serve().await {
                return server;
            }
        }
        panic!("every port tried for a private Redis was taken meanwhile");
    }

    /// Its URL; stays the same over restarts.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// SIGKILL: what the append-only file has not yet taken is lost.
    pub async fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9().await;
        }
    }

    /// An orderly stop.
    pub async fn shut_down(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
            process.wait_exit().await;
        }
    }

    /// Starts it again after [`Self::kill9`] or [`Self::shut_down`]; first
    /// stops it when it still runs. Returns when it answers.
    pub async fn restart(&mut self) {
        self.shut_down().await;
        assert!(self.serve().await, "somebody took the port of a private Redis");
    }

    /// Removes every key.
    pub async fn flush_all(&self) {
        self.ask("FLUSHALL").await.expect("flushing a private Redis");
    }

    /// SIGSTOP: it holds its connections and answers nobody, until [`Self::cont`].
    pub fn stop(&self) {
        self.running().stop();
    }

    /// SIGCONT: it goes on.
    pub fn cont(&self) {
        self.running().cont();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("a private Redis that runs")
    }

    /// Starts the server on its port; false when the port is taken.
    async fn serve(&mut self) -> bool {
        let mut command = Command::new(&self.program);
        command.current_dir(self.folder.path()).args([
            "--port",
            &self.port.to_string(),
            "--bind",
            "127.0.0.1",
            "--appendonly",
            "yes",
            "--save",
            "",
        ]);
        if let Some(bus_port) = self.bus_port {
            command.args(["--cluster-enabled", "yes", "--cluster-port", &bus_port.to_string()]);
        }
        let mut process = Process::start("redis-server", command);
        let deadline = Instant::now() + DEADLINE;
        // Answers with an error while it still loads its data.
        while self.ask("PING").await.is_err() {
            assert!(Instant::now() < deadline, "Redis does not answer\n{}", process.tail());
            if !process.is_running() {
                let taken = process.output().contains("Address already in use");
                assert!(taken, "Redis ended\n{}", process.tail());
                return false;
            }
            sleep(TRY_EVERY).await;
        }
        self.process = Some(process);
        true
    }

    /// Sends a command of words without blanks.
    async fn ask(&self, command: &str) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut words = command.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await
    }

    async fn serves_all_slots(&self) -> bool {
        let info = self.ask("CLUSTER INFO").await.ok();
        let info: Option<String> = info.and_then(|info| redis::from_redis_value(info).ok());
        info.is_some_and(|info| {
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        })
    }
}
