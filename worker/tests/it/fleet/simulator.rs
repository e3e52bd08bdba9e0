//! The simulator as a process, and its control API.

use regimen_common::test_support::Binary;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) struct Simulator {
    binary: Binary,
    http: reqwest::Client,
}

impl Simulator {
    pub(super) async fn start(http: reqwest::Client) -> Self {
        let env: [(&str, &str); 0] = [];
        Self { binary: Binary::start("regimen-simulator", env).await, http }
    }

    pub(crate) fn url(&self) -> &str {
        self.binary.address("SIMULATOR_URL")
    }

    /// A URL with a certificate that no authority has signed.
    pub(crate) fn untrusted_url(&self) -> &str {
        self.binary.address("SIMULATOR_UNTRUSTED_URL")
    }

    /// Adds rules, a latency or a fault mix.
    pub(crate) async fn control(&self, control: Value) {
        let url = format!("{}/control", self.url());
        let answer = self.http.post(url).json(&control).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
    }

    /// Holds the calls of these jobs (or all) until [`Simulator::release`].
    pub(crate) async fn hold(&self, name: &str, jobs: &[Uuid]) {
        let rule = |marker: Option<Uuid>| {
            let mut rule = json!({"name": name, "action": {"do": "hold"}});
            if let Some(marker) = marker {
                rule["marker"] = json!(marker);
            }
            rule
        };
        let rules: Vec<Value> = match jobs {
            [] => vec![rule(None)],
            jobs => jobs.iter().map(|&job| rule(Some(job))).collect(),
        };
        self.control(json!({ "rules": rules })).await;
    }

    /// Lets go what a rule of [`Simulator::hold`] holds, and will hold.
    pub(crate) async fn release(&self, name: &str) {
        let url = format!("{}/control/release?rule={name}", self.url());
        assert!(self.http.post(url).send().await.unwrap().status().is_success());
    }

    /// Takes a rule out. What it made hang stays so.
    pub(crate) async fn forget(&self, rule: &str) {
        let url = format!("{}/control?rule={rule}", self.url());
        assert!(self.http.delete(url).send().await.unwrap().status().is_success());
    }

    /// Waits until the counts are as the query wants them, for instance
    /// `calls=2` or `aborted=1&marker=…`; returns them.
    pub(crate) async fn wait(&self, query: &str) -> Value {
        let url = format!("{}/control/wait?{query}", self.url());
        let answer = self.http.get(url).send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "waited in vain for {query}: {body}");
        body["counts"].clone()
    }

    /// How many calls a job has caused.
    pub(crate) async fn calls_of(&self, job: Uuid) -> u64 {
        let url = format!("{}/control/stats?marker={job}", self.url());
        let counts: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        counts["calls"].as_u64().unwrap()
    }

    /// The jobs of all calls so far, in the order of their arrival.
    pub(crate) async fn order(&self) -> Vec<Uuid> {
        self.calls()
            .await
            .iter()
            .map(|call| call["seed"].as_str().unwrap().parse().unwrap())
            .collect()
    }

    /// When all calls so far arrived, in milliseconds of the simulator's clock.
    pub(crate) async fn arrivals(&self) -> Vec<f64> {
        self.calls().await.iter().map(|call| call["arrived_ms"].as_f64().unwrap()).collect()
    }

    /// The calls a job has caused, as they were sent.
    pub(crate) async fn asked_for(&self, job: Uuid) -> String {
        let url = format!("{}/control/calls?limit=10&marker={job}", self.url());
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    async fn calls(&self) -> Vec<Value> {
        let url = format!("{}/control/calls?limit=4096", self.url());
        let calls: Value = self.http.get(url).send().await.unwrap().json().await.unwrap();
        let mut calls = calls["calls"].as_array().or(calls.as_array()).unwrap().clone();
        // Told newest first.
        calls.reverse();
        calls
    }
}
