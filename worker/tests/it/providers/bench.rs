//! A fallback of real adapters in front of the simulator.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use regimen_common::clock::Clock;
use regimen_common::job::PlanKind;
use regimen_common::redis::Redis;
use regimen_simulator::{Settings, Simulator};
use regimen_worker::llm::catalogue::Catalogue;
use regimen_worker::llm::config::{FallbackConfig, ProviderConfig};
use regimen_worker::llm::fallback::{Fallback, Request};
use regimen_worker::llm::http::Transport;
use regimen_worker::llm::log::{AttemptLog, End, Judge, Judgement, Start};
use regimen_worker::llm::outcome::{Delivered, FallbackError};
use regimen_worker::llm::policy::FallbackPolicy;
use regimen_worker::llm::slot::SlotLimits;
use regimen_worker::llm::{Prompt, ProviderName, RawReply, Reply, ReplySchema};
use regimen_worker::plan;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::transport;

/// The simulator with its control API.
pub(crate) struct Sim {
    simulator: Simulator,
    client: reqwest::Client,
    transport: Transport,
}

impl Sim {
    pub(crate) async fn start() -> Self {
        let transport = transport();
        let simulator = Simulator::start(Settings::default()).await.unwrap();
        // A connection of its own for each word to the simulator: an idle one may be gone.
        let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
        Self { simulator, client, transport }
    }

    /// Adds a rule; see the simulator's README.
    pub(crate) async fn rule(&self, rule: Value) {
        self.control(json!({ "rules": [rule] })).await;
    }

    /// Changes its settings.
    pub(crate) async fn control(&self, control: Value) {
        let url = format!("{}/control", self.simulator.url());
        let answer = self.client.post(url).json(&control).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("{}{path}", self.simulator.url());
        let answer = self.client.get(url).send().await.unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        assert!(status.is_success(), "{path}: {body}");
        body
    }

    /// Settings of a fallback that asks `order` here.
    pub(crate) fn settings(&self, order: &[ProviderName]) -> FallbackConfig {
        let limits = SlotLimits { per_second: NonZeroU32::MAX, concurrent: 1_000 };
        let slot = |name: &ProviderName| {
            let (path, model) = match name {
                ProviderName::Openai => ("/v1", "gpt-6-luna"),
                ProviderName::Anthropic => ("", "claude-haiku-5-5"),
                ProviderName::Gemini => ("", "gemini-3.5-flash-lite"),
                ProviderName::Llama => ("/llama/v1", "llama-3.3-70b"),
            };
            let base = format!("{}{path}", self.simulator.url()).parse().unwrap();
            let key = SecretString::from("sk-test");
            ProviderConfig { name: *name, key, base, model: model.to_owned(), limits }
        };
        FallbackConfig { slots: order.iter().map(slot).collect() }
    }

    pub(crate) fn fallback(
        &self,
        order: &[ProviderName],
        policy: FallbackPolicy,
        store: Option<Redis>,
    ) -> Fallback {
        let slots = Fallback::slots_over(&self.settings(order), &self.transport);
        let catalogue = Catalogue::built_in().unwrap();
        Fallback::new(slots, catalogue, policy, store, Clock::system(), StdRng::seed_from_u64(7))
    }
}

/// Real waits, only shorter.
pub(crate) fn quick() -> FallbackPolicy {
    FallbackPolicy {
        backoff_base: Duration::from_millis(2),
        backoff_cap: Duration::from_millis(10),
        floor: Duration::from_millis(50),
        first_byte: Duration::from_secs(2),
        stall: Duration::from_secs(2),
        ..FallbackPolicy::default()
    }
}

/// A training plan for the person `seed`, who is also the marker of the calls.
pub(crate) fn request(seed: &str, within: Duration) -> Request {
    let targets = json!({ "kind": "workout", "days": 3, "seed": seed });
    let prompt = Prompt {
        system: "You write training plans.".to_owned(),
        user: format!("REGIMEN-TARGETS: {targets}\n<quiz>{{}}</quiz>"),
        schema: Arc::new(ReplySchema::new(plan::schema(PlanKind::Workout))),
        schema_name: "workout_plan".to_owned(),
        user_hash: "5f2b9c0e".repeat(8),
    };
    Request {
        prompt: Arc::new(prompt.into()),
        prompt_bytes: 10_000,
        output_tokens: 8_000,
        provider: None,
        model: None,
        deadline: Instant::now() + within,
        stored: None,
    }
}

/// The same with a short reply, for tests that make many calls.
pub(crate) fn small_request(seed: &str, within: Duration) -> Request {
    let request = request(seed, within);
    let schema = json!({
        "type": "object", "additionalProperties": false,
        "required": ["weekly_summary", "personalized_tips", "injury_prevention"],
        "properties": {
            "weekly_summary": {
                "type": "object", "additionalProperties": false, "required": ["total_workout_days"],
                "properties": { "total_workout_days": { "type": "integer" } },
            },
            "personalized_tips": { "type": "array", "items": { "type": "string" } },
            "injury_prevention": { "type": "object", "additionalProperties": false,
                "required": ["mobility_work", "red_flags", "modification_guidelines"],
                "properties": {
                    "mobility_work": { "type": "string" },
                    "red_flags": { "type": "string" },
                    "modification_guidelines": { "type": "string" },
                },
            },
        },
    });
    let schema = Arc::new(ReplySchema::new(&schema));
    let prompt = Prompt { schema, ..Prompt::clone(&request.prompt.read()) };
    Request { prompt: Arc::new(prompt.into()), ..request }
}

/// Accepts what answers a small request.
pub(crate) struct Counts;

impl Judge for Counts {
    type Plan = u64;

    async fn judge(&self, reply: &Reply) -> Judgement<u64> {
        let plan: Value = serde_json::from_str(&reply.text).unwrap_or_default();
        let days = plan["weekly_summary"]["total_workout_days"].as_u64();
        let tips = plan["personalized_tips"].as_array();
        let complete = tips.is_some_and(|tips| tips.iter().all(Value::is_string))
            && plan["injury_prevention"]["modification_guidelines"].is_string();
        match days.filter(|_| complete) {
            Some(days) => Judgement::Accept(days),
            None => Judgement::Invalid(format!("not the schema: {}", reply.text)),
        }
    }
}

/// Accepts what reads as a training plan.
pub(crate) struct Reads;

impl Judge for Reads {
    type Plan = plan::Plan;

    async fn judge(&self, reply: &Reply) -> Judgement<plan::Plan> {
        match plan::parse(PlanKind::Workout, &reply.text) {
            Ok(plan) => Judgement::Accept(plan),
            Err(error) => Judgement::Invalid(error.to_string()),
        }
    }
}

/// Keeps what it is told.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    n: AtomicI32,
    pub(crate) raw: Mutex<Vec<RawReply>>,
    pub(crate) ends: Mutex<Vec<End>>,
    /// Told when an attempt has ended.
    pub(crate) ended: Notify,
}

impl AttemptLog for Kept {
    type Stop = std::convert::Infallible;

    async fn started(&self, _: &Start) -> Result<i32, Self::Stop> {
        Ok(self.n.fetch_add(1, Ordering::SeqCst) + 1)
    }

    async fn replied(&self, _: i32, raw: &RawReply) -> Result<(), Self::Stop> {
        self.raw.lock().unwrap().push(raw.clone());
        Ok(())
    }

    async fn finished(&self, _: i32, end: &End) -> Result<(), Self::Stop> {
        self.ends.lock().unwrap().push(end.clone());
        self.ended.notify_one();
        Ok(())
    }

    async fn fell_back(&self, _: ProviderName, _: ProviderName) -> Result<(), Self::Stop> {
        Ok(())
    }
}

pub(crate) type Ran = Result<Delivered<u64>, FallbackError<std::convert::Infallible>>;
