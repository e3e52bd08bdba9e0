//! A private Redis for tests that kill, restart or flush it, make it refuse or
//! demote it; standalone, in a cluster, or with a sentinel.

use regimen_devtools::redis::{RedisPlan, Role};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::process::{DEADLINE, LOOK_EVERY, Process};
use super::{Deadline, blocking};

/// A server with its own data and port. Both survive a restart, the data as far as the
/// append-only file had it. Dropping the value ends it.
#[derive(Debug)]
pub struct PrivateRedis {
    plan: RedisPlan,
    process: Option<Process>,
    _folder: TempDir,
}

impl PrivateRedis {
    /// Starts an empty server; returns when it answers.
    pub async fn start() -> Self {
        Self::start_as(Role::Alone, None).await
    }

    /// The same with a password.
    pub async fn start_with_password(password: &'static str) -> Self {
        Self::start_as(Role::Alone, Some(password)).await
    }

    /// Starts a sentinel with its own password that knows `master` as `main`.
    pub async fn start_sentinel(master: &Self, password: &'static str) -> Self {
        let role = Role::Sentinel { of: master.port(), its_password: master.plan.password.clone() };
        Self::start_as(role, Some(password)).await
    }

    /// Starts two nodes that share the slots of one cluster; returns when both
    /// serve it.
    pub async fn start_cluster(password: Option<&'static str>) -> [Self; 2] {
        let node = || Self::start_as(Role::InCluster(None), password);
        let nodes = [node().await, node().await];
        let [first, second] = &nodes;
        first.command("CLUSTER ADDSLOTSRANGE 0 8191").await;
        second.command("CLUSTER ADDSLOTSRANGE 8192 16383").await;
        let Role::InCluster(Some(bus_port)) = second.plan.role else {
            panic!("no node of a cluster")
        };
        first.command(&format!("CLUSTER MEET 127.0.0.1 {} {bus_port}", second.port())).await;
        let deadline = Instant::now() + DEADLINE;
        for node in &nodes {
            while !node.serves_all_slots().await {
                assert!(Instant::now() < deadline, "the cluster does not come together");
                sleep(LOOK_EVERY).await;
            }
        }
        nodes
    }

    async fn start_as(role: Role, password: Option<&str>) -> Self {
        let program = std::env::var_os("REGIMEN_TEST_REDIS_BIN");
        let folder = tempfile::tempdir().expect("a temporary folder for Redis");
        let plan = RedisPlan {
            program: program.unwrap_or_else(|| "redis-server".into()).into(),
            folder: folder.path().join("data"),
            log: folder.path().join("output.log"),
            role,
            password: password.map(str::to_owned),
            port: None,
        };
        let mut server = Self { plan, process: None, _folder: folder };
        server.serve().await;
        server
    }

    /// Its URL, the same over restarts.
    pub fn url(&self) -> String {
        let password = self.plan.password.as_ref();
        let password = password.map(|password| format!(":{password}@")).unwrap_or_default();
        format!("redis://{password}127.0.0.1:{}/0", self.port())
    }

    /// Its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.plan.port.expect("the port of a server that was started")
    }

    /// Sends a command of words without blanks.
    pub async fn command(&self, command: &str) -> redis::Value {
        let answer = self.ask(command.split(' ')).await;
        answer.unwrap_or_else(|error| panic!("a private Redis refuses {command}: {error}"))
    }

    /// Changes a setting until the next restart.
    pub async fn configure(&self, name: &str, value: &str) {
        let answer = self.ask(["CONFIG", "SET", name, value]).await;
        answer.unwrap_or_else(|error| panic!("a private Redis refuses {name} {value}: {error}"));
    }

    /// Makes saving to disk fail; returns when the server has noticed.
    pub async fn lose_disk(&self) {
        std::fs::remove_dir_all(&self.plan.folder).expect("removing the folder of a Redis");
        self.configure("save", "3600 1").await;
        self.command("SET something worth-saving").await;
        let deadline = Instant::now() + DEADLINE;
        let refuses = async || self.ask(["SET", "anything", "more"]).await.is_err();
        while !refuses().await {
            // Refused while another save runs.
            let _ = self.ask(["BGSAVE"]).await;
            assert!(Instant::now() < deadline, "Redis saves without a disk");
            sleep(LOOK_EVERY).await;
        }
    }

    /// SIGKILL: what the append-only file does not have yet is lost.
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

    /// Starts it again after [`Self::kill9`] or [`Self::shut_down`]; a running server is
    /// stopped first. Returns when it answers.
    pub async fn restart(&mut self) {
        self.shut_down().await;
        self.serve().await;
    }

    /// Removes every key.
    pub async fn flush_all(&self) {
        self.command("FLUSHALL").await;
    }

    /// SIGSTOP: it keeps its connections and does not answer, until [`Self::cont`].
    pub fn stop(&self) {
        self.running().stop();
    }

    /// SIGCONT: it resumes.
    pub fn cont(&self) {
        self.running().cont();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("a private Redis that runs")
    }

    async fn serve(&mut self) {
        let plan = self.plan.clone();
        let started = blocking(move || plan.start(&Deadline::new(&plan.log))).await;
        let server = started.unwrap_or_else(|error| panic!("a private Redis: {error}"));
        self.plan.port = Some(server.port);
        if let Role::InCluster(bus_port) = &mut self.plan.role {
            *bus_port = server.bus_port;
        }
        self.process = Some(Process::of(server.process, self.plan.log.clone()));
    }

    async fn ask<'a>(
        &self,
        words: impl IntoIterator<Item = &'a str>,
    ) -> redis::RedisResult<redis::Value> {
        let url = match self.plan.role {
            // It has no numbered databases.
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
