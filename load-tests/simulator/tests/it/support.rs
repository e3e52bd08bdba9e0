//! A simulator of one's own, and requests to it.

use regimen_simulator::{Settings, Simulator};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// A simulator that only this test talks to.
pub(crate) struct Lab {
    pub(crate) simulator: Simulator,
    pub(crate) client: Client,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        // The second test of the process finds it installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let simulator = Simulator::start(Settings::default()).await.unwrap();
        Self { simulator, client: Client::new() }
    }

    /// A simulator with these settings.
    pub(crate) async fn with(control: Value) -> Self {
        let lab = Self::new().await;
        lab.control(control).await;
        lab
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.simulator.url())
    }

    pub(crate) async fn control(&self, control: Value) -> Value {
        let reply = self.client.post(self.url("/control")).json(&control).send().await.unwrap();
        let status = reply.status();
        let body: Value = reply.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// A control request that is answered with JSON.
    pub(crate) async fn ask(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let reply = self.client.request(method, self.url(path)).send().await.unwrap();
        (reply.status(), reply.json().await.unwrap())
    }

    pub(crate) async fn stats(&self, query: &str) -> Value {
        self.ask(Method::GET, &format!("/control/stats{query}")).await.1
    }

    /// Waits for counts; false when they are not reached.
    pub(crate) async fn wait(&self, query: &str) -> bool {
        self.ask(Method::GET, &format!("/control/wait?{query}&timeout=30")).await.0
            == StatusCode::OK
    }

    /// A Chat Completions request that is not sent yet.
    pub(crate) fn chat(&self, body: &Value) -> RequestBuilder {
        self.client.post(self.url("/v1/chat/completions")).bearer_auth("sk-test").json(body)
    }

    pub(crate) async fn chat_json(&self, body: &Value) -> (StatusCode, Value) {
        status_and_json(self.chat(body).send().await.unwrap()).await
    }
}

pub(crate) async fn status_and_json(reply: Response) -> (StatusCode, Value) {
    let status = reply.status();
    let text = reply.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
}

/// A prompt with the machine-readable line for a meal plan of `seed`.
pub(crate) fn meal_prompt(seed: &str) -> String {
    let targets = json!({
        "kind": "meal", "calories": 2000, "protein_g": 140, "carbs_g": 220, "fats_g": 60,
        "meals": 3, "diet": "Vegan", "allergies": ["peanut"], "seed": seed,
    });
    format!("Write a plan.\nREGIMEN-TARGETS: {targets}\nThank you.")
}

/// A closed object schema with these properties, all required.
pub(crate) fn closed(properties: Value) -> Value {
    let names: Vec<&String> = properties.as_object().unwrap().keys().collect();
    json!({"type": "object", "additionalProperties": false, "required": names, "properties": properties})
}

/// A small schema of a meal plan that every provider takes.
pub(crate) fn meal_schema() -> Value {
    let number = json!({"type": "number"});
    let food = closed(
        json!({"name": {"type": "string"}, "grams": number, "calories": number, "protein": number, "carbs": number, "fats": number, "fiber": number}),
    );
    let meal = closed(json!({
        "meal_type": {"type": "string", "enum": ["breakfast", "lunch", "dinner", "snack"]},
        "meal_name": {"type": "string"},
        "foods": {"type": "array", "items": food},
        "total_calories": number,
    }));
    let totals =
        closed(json!({"calories": number, "protein": number, "carbs": number, "fats": number}));
    closed(json!({"meals": {"type": "array", "items": meal}, "daily_totals": totals}))
}

/// A good Chat Completions body.
pub(crate) fn chat_body(seed: &str) -> Value {
    json!({
        "model": "gpt-6-luna",
        "messages": [
            {"role": "developer", "content": "You write plans."},
            {"role": "user", "content": meal_prompt(seed)},
        ],
        "max_completion_tokens": 16000,
        "reasoning_effort": "low",
        "store": false,
        "safety_identifier": "0123456789abcdef",
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "meal_plan", "strict": true, "schema": meal_schema()},
        },
    })
}

/// The text of a Chat Completions reply as JSON.
pub(crate) fn chat_plan(reply: &Value) -> Value {
    serde_json::from_str(reply["choices"][0]["message"]["content"].as_str().unwrap()).unwrap()
}
