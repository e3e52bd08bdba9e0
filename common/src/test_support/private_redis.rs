//! A Redis of one test's own, for tests that kill, restart or flush it, make it
//! refuse or demote it; alone, in a cluster, or with a sentinel that knows it.

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
    role: Role,
    /// What everybody has to say who talks to it.
    password: Option<&'static str>,
    process: Option<Process>,
}

#[derive(Debug, Clone)]
enum Role {
    Alone,
    /// The other nodes reach it at this port.
    InCluster {
        bus_port: u16,
    },
    /// Knows the server at a port as `main`, and its password.
    Sentinel {
        of: u16,
        its_password: Option<&'static str>,
    },
}

impl PrivateRedis {
    /// Starts an empty server; returns when it answers.
    pub async fn start() -> Self {
        Self::start_as(Role::Alone, None).await
    }

    /// The same behind a password.
    pub async fn start_with_password(password: &'static str) -> Self {
        Self::start_as(Role::Alone, Some(password)).await
    }

    /// Starts a sentinel, with a password of its own, that knows `master` as `main`.
    pub async fn start_sentinel(master: &Self, password: &'static str) -> Self {
        let role = Role::Sentinel { of: master.port, its_password: master.password };
        Self::start_as(role, Some(password)).await
    }

    /// Starts two nodes that share the slots of one cluster; returns when both
    /// serve it.
    pub async fn start_cluster(password: Option<&'static str>) -> [Self; 2] {
        let node = || Self::start_as(Role::InCluster { bus_port: 0 }, password);
        let nodes = [node().await, node().await];
        let [first, second] = &nodes;
        first.command("CLUSTER ADDSLOTSRANGE 0 8191").await;
        second.command("CLUSTER ADDSLOTSRANGE 8192 16383").await;
        let Role::InCluster { bus_port } = second.role else { panic!("no node of a cluster") };
        first.command(&format!("CLUSTER MEET 127.0.0.1 {} {bus_port}", second.port)).await;
        let deadline = Instant::now() + DEADLINE;
        for node in &nodes {
            while !node.serves_all_slots().await {
                assert!(Instant::now() < deadline, "the cluster does not come together");
                sleep(TRY_EVERY).await;
            }
        }
        nodes
    }

    async fn start_as(role: Role, password: Option<&'static str>) -> Self {
        let program = std::env::var_os("REGIMEN_TEST_REDIS_BIN");
        let program = program.unwrap_or_else(|| "redis-server".into());
        let folder = tempfile::tempdir().expect("a temporary folder for Redis");
        let mut server = Self { program, folder, port: 0, role, password, process: None };
        for _ in 0..PORT_TRIES {
            server.port = super::free_port();
            // Of its own: the usual one, 10,000 above, may be no port at all.
            if let Role::InCluster { bus_port } = &mut server.role {
                *bus_port = super::free_port();
            }
            if server.serve().await {
                return server;
            }
        }
        panic!("every port tried for a private Redis was taken meanwhile");
    }

    /// Its URL; stays the same over restarts.
    pub fn url(&self) -> String {
        let password = self.password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}/0", self.port)
    }

    /// Its port of the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a command of words without blanks.
    pub async fn command(&self, command: &str) -> redis::Value {
        let answer = self.ask(command.split(' ')).await;
        answer.unwrap_or_else(|error| panic!("a private Redis refuses {command}: {error}"))
    }

    /// Sets what the server goes by, until it restarts.
    pub async fn configure(&self, name: &str, value: &str) {
        let answer = self.ask(["CONFIG", "SET", name, value]).await;
        answer.unwrap_or_else(|error| panic!("a private Redis refuses {name} {value}: {error}"));
    }

    /// From now on it cannot save its data to disk; returns when it has noticed.
    pub async fn lose_disk(&self) {
        std::fs::remove_dir_all(self.folder.path()).expect("removing the folder of a Redis");
        self.configure("save", "3600 1").await;
        self.command("SET something worth-saving").await;
        let deadline = Instant::now() + DEADLINE;
        let refuses = async || self.ask(["SET", "anything", "more"]).await.is_err();
        while !refuses().await {
            // Refused itself while one is under way.
            let _ = self.ask(["BGSAVE"]).await;
            assert!(Instant::now() < deadline, "Redis saves without a disk");
            sleep(TRY_EVERY).await;
        }
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
        self.command("FLUSHALL").await;
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
        let port = self.port.to_string();
        command.current_dir(self.folder.path());
        match self.role {
            Role::Alone => {}
            Role::InCluster { bus_port } => {
                command.args(["--cluster-enabled", "yes", "--cluster-port", &bus_port.to_string()]);
            }
            Role::Sentinel { of, its_password } => {
                let path = self.folder.path().join("sentinel.conf");
                let mut text = format!("sentinel monitor main 127.0.0.1 {of} 1\n");
                if let Some(password) = its_password {
                    text = format!("{text}sentinel auth-pass main {password}\n");
                }
                std::fs::write(&path, text).expect("the settings of a sentinel");
                command.arg(path).arg("--sentinel");
            }
        }
        command.args(["--port", &port, "--bind", "127.0.0.1"]);
        if !matches!(self.role, Role::Sentinel { .. }) {
            command.args(["--appendonly", "yes", "--save", ""]);
        }
        if let Some(password) = self.password {
            // A replica says it to its master, too.
            command.args(["--requirepass", password]);
            if !matches!(self.role, Role::Sentinel { .. }) {
                command.args(["--masterauth", password]);
            }
        }
        let mut process = Process::start("redis-server", command);
        let deadline = Instant::now() + DEADLINE;
        // Answers with an error while it still loads its data.
        while self.ask(["PING"]).await.is_err() {
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

    async fn ask<'a>(
        &self,
        words: impl IntoIterator<Item = &'a str>,
    ) -> redis::RedisResult<redis::Value> {
        let url = match self.role {
            // It has no databases to choose from.
            Role::Sentinel { .. } => self.url().trim_end_matches("/0").to_owned(),
            _ => self.url(),
        };
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let mut command = redis::Cmd::new();
        words.into_iter().for_each(|word| {
            command.arg(word);
        });
        command.query_async(&mut connection).await
    }

    async fn serves_all_slots(&self) -> bool {
        let info = self.ask(["CLUSTER", "INFO"]).await.ok();
        let info: Option<String> = info.and_then(|info| redis::from_redis_value(info).ok());
        info.is_some_and(|info| {
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:2")
        })
    }
}
