//! Providers that follow a script, a log in memory, and a judge that goes by
//! the text. Time is paused, so that waits are exact and take no time.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use rand::SeedableRng;
use rand::rngs::StdRng;
use regimen_common::clock::Clock;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::llm::catalogue::Catalogue;
use crate::llm::error::{ErrorReply, Phase};
use crate::llm::fallback::{Fallback, Request};
use crate::llm::log::{AttemptLog, End, Judge, Judgement, Start};
use crate::llm::outcome::{Delivered, FallbackError};
use crate::llm::policy::FallbackPolicy;
use crate::llm::slot::{ProviderSlot, SlotLimits};
use crate::llm::*;

/// What a scripted provider does with one call.
#[derive(Debug, Clone)]
pub(super) enum Act {
    Say(&'static str),
    SayAfter(u64, &'static str),
    Truncate,
    Refuse,
    Fail(ProviderError),
    Hang,
}

/// One call a provider got.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) provider: ProviderName,
    pub(super) at: Duration,
    pub(super) request: GenerateRequest,
}

pub(super) type Calls = Arc<Mutex<Vec<Call>>>;

#[derive(Debug)]
struct Scripted {
    name: ProviderName,
    script: Mutex<VecDeque<Act>>,
    calls: Calls,
    begun: Instant,
}

impl Provider for Scripted {
    fn name(&self) -> ProviderName {
        self.name
    }

    fn prepare<'a>(&'a self, request: &'a GenerateRequest) -> PreparedCall<'a> {
        Box::new(move |timeouts| {
            let at = self.begun.elapsed();
            let (provider, request) = (self.name, request.clone());
            self.calls.lock().unwrap().push(Call { provider, at, request });
            let mut script = self.script.lock().unwrap();
            // The last act goes on for ever.
            let act = if script.len() > 1 { script.pop_front() } else { script.front().cloned() };
            let act = act.expect("a call nobody scripted");
            Box::pin(async move {
                match act {
                    Act::Say(text) => Ok(chat(text, "stop")),
                    Act::SayAfter(seconds, text) => {
                        sleep(Duration::from_secs(seconds)).await;
                        Ok(chat(text, "stop"))
                    }
                    Act::Truncate => Ok(chat("{\"half\":", "length")),
                    Act::Refuse => Ok(chat("no", "content_filter")),
                    Act::Fail(error) => Err(error),
                    Act::Hang => {
                        let after = timeouts.first_byte.min(timeouts.total);
                        sleep(after).await;
                        Err(ProviderError::Timeout { phase: Phase::FirstByte, after })
                    }
                }
            })
        })
    }
}

/// A reply that [`interpret`] reads, in the shape of each provider.
fn chat(text: &str, finish: &str) -> RawReply {
    let body = json!({
        "model": "m",
        // OpenAI and compatible hosts.
        "choices": [{ "message": { "content": text }, "finish_reason": finish }],
        "usage": { "prompt_tokens": 1000, "completion_tokens": 2000, "input_tokens": 1000, "output_tokens": 2000 },
        // Anthropic.
        "content": [{ "type": "text", "text": text }],
        "stop_reason": match finish { "length" => "max_tokens", "content_filter" => "refusal", _ => "end_turn" },
        // Gemini.
        "candidates": [{
            "content": { "parts": [{ "text": text }] },
            "finishReason": match finish { "length" => "MAX_TOKENS", "content_filter" => "SAFETY", _ => "STOP" },
        }],
        "usageMetadata": { "promptTokenCount": 1000, "candidatesTokenCount": 2000 },
    });
    RawReply { status: 200, body: body.to_string().into(), request_id: None }
}

/// Remembers everything; may stop the run at a given attempt.
#[derive(Debug, Default)]
pub(super) struct MemoryLog {
    pub(super) events: Mutex<Vec<String>>,
    pub(super) ends: Mutex<Vec<End>>,
    pub(super) stop_at: Option<i32>,
}

impl MemoryLog {
    pub(super) fn lines(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    fn note(&self, event: String) {
        self.events.lock().unwrap().push(event);
    }
}

impl AttemptLog for MemoryLog {
    type Stop = &'static str;

    async fn started(&self, start: &Start) -> Result<i32, &'static str> {
        let begun = self.lines().iter().filter(|line| line.starts_with("started")).count();
        let n = i32::try_from(begun).unwrap() + 1;
        if self.stop_at == Some(n) {
            return Err("over budget");
        }
        assert!(start.most_micros > 0);
        self.note(format!("started {n} {}", start.provider));
        Ok(n)
    }

    async fn replied(&self, n: i32, raw: &RawReply) -> Result<(), &'static str> {
        assert!(!raw.body.is_empty());
        self.note(format!("replied {n}"));
        Ok(())
    }

    async fn finished(&self, n: i32, end: &End) -> Result<(), &'static str> {
        self.ends.lock().unwrap().push(end.clone());
        let retry = end.retry_in.map(|wait| format!(" retry in {wait:?}")).unwrap_or_default();
        self.note(format!("finished {n} {}{retry}", end.outcome));
        Ok(())
    }

    async fn fell_back(&self, from: ProviderName, to: ProviderName) -> Result<(), &'static str> {
        self.note(format!("fell back {from} {to}"));
        Ok(())
    }
}

/// Accepts `{"ok":…}`, asks to correct `{"nearly":…}`, and rejects the rest.
pub(super) struct ByText;

impl Judge for ByText {
    type Plan = String;

    async fn judge(&self, reply: &Reply) -> Judgement<String> {
        if reply.text.starts_with("{\"ok\"") {
            Judgement::Accept(reply.text.clone())
        } else if reply.text.starts_with("{\"nearly\"") {
            Judgement::Correct("leave the peanuts out".to_owned())
        } else {
            Judgement::Invalid("not what was asked for".to_owned())
        }
    }
}

/// A fallback of scripted providers.
pub(super) struct Bench {
    pub(super) fallback: Fallback,
    pub(super) calls: Calls,
    pub(super) log: MemoryLog,
    begun: Instant,
}

pub(super) type Ran = Result<Delivered<String>, FallbackError<&'static str>>;

impl Bench {
    pub(super) fn new(scripts: Vec<(ProviderName, Vec<Act>)>) -> Self {
        Self::with(FallbackPolicy::default(), scripts)
    }

    pub(super) fn with(policy: FallbackPolicy, scripts: Vec<(ProviderName, Vec<Act>)>) -> Self {
        Self::limited(policy, 100, scripts)
    }

    /// Each provider gets so many calls at once.
    pub(super) fn limited(
        policy: FallbackPolicy,
        concurrent: u32,
        scripts: Vec<(ProviderName, Vec<Act>)>,
    ) -> Self {
        let (calls, begun) = (Calls::default(), Instant::now());
        let slots = scripts.into_iter().map(|(name, script)| {
            let calls = Arc::clone(&calls);
            let provider = Scripted { name, script: Mutex::new(script.into()), calls, begun };
            let limits = SlotLimits { per_second: NonZeroU32::MAX, concurrent };
            ProviderSlot::new(Box::new(provider), default_model(name).to_owned(), limits, &[])
        });
        let clock =
            Clock::fixed(DateTime::parse_from_rfc3339("2026-11-22T10:00:00Z").unwrap().into());
        let (catalogue, rng) = (Catalogue::built_in().unwrap(), StdRng::seed_from_u64(1));
        let fallback = Fallback::new(slots.collect(), catalogue, policy, None, clock, rng);
        Self { fallback, calls, log: MemoryLog::default(), begun }
    }

    pub(super) fn request(&self) -> Request {
        let prompt = Prompt {
            system: "Write a plan.".to_owned(),
            user: "{}".to_owned(),
            schema: Arc::new(ReplySchema::new(&json!({ "type": "object" }))),
            schema_name: "plan".to_owned(),
            user_hash: "h".to_owned(),
        };
        Request {
            prompt: Arc::new(prompt.into()),
            prompt_bytes: 1_000,
            output_tokens: 6_000,
            provider: None,
            model: None,
            deadline: Instant::now() + Duration::from_secs(180),
            stored: None,
        }
    }

    pub(super) async fn run(&self) -> Ran {
        self.ask(&self.request()).await
    }

    pub(super) async fn ask(&self, request: &Request) -> Ran {
        self.fallback.run(request, &ByText, &self.log).await
    }

    /// The providers called, in order.
    pub(super) fn asked(&self) -> Vec<ProviderName> {
        self.calls.lock().unwrap().iter().map(|call| call.provider).collect()
    }

    pub(super) fn call(&self, index: usize) -> Call {
        self.calls.lock().unwrap()[index].clone()
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

fn default_model(name: ProviderName) -> &'static str {
    match name {
        ProviderName::Openai => "gpt-6-luna",
        ProviderName::Anthropic => "claude-haiku-5-5",
        ProviderName::Gemini => "gemini-3.5-flash-lite",
        ProviderName::Llama => "house-llama",
    }
}

/// What a provider answers with `status`, and how long it asks to wait.
pub(super) fn error_reply(status: u16, wait: Option<u64>) -> ErrorReply {
    ErrorReply {
        status,
        code: String::new(),
        message: String::new(),
        request_id: Some("req_1".to_owned()),
        wait: wait.map(Duration::from_secs),
        ..ErrorReply::default()
    }
}

pub(super) fn down() -> Act {
    Act::Fail(ProviderError::Unavailable(error_reply(503, None)))
}

pub(super) fn limited(wait: u64) -> Act {
    Act::Fail(ProviderError::RateLimited(error_reply(429, Some(wait))))
}
