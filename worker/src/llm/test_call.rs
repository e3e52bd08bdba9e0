//! One small call that shows whether a provider answers. It belongs to no job: breakers,
//! cool-downs and pauses neither stop it nor learn from it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::error::Billed;
use super::fallback::Fallback;
use super::reading::BYTES_PER_TOKEN;
use super::usage::{Asked, TokenUsage};
use super::{
    GenerateRequest, LazyPrompt, Prompt, ProviderName, ReplySchema, Timeouts, hashed_user,
    interpret,
};

/// Tokens of the visible answer.
const OUTPUT_TOKENS: u32 = 64;
/// How long it waits for this worker's own limits.
const ENTER: Duration = Duration::from_secs(5);
/// Ends well before the operator's wait does.
const TIMEOUTS: Timeouts = Timeouts {
    first_byte: Duration::from_secs(30),
    stall: Duration::from_secs(10),
    total: Duration::from_secs(40),
};
const SYSTEM: &str = "You are asked whether you can be reached. Answer with {\"ok\": true}.";
const USER: &str = "Can you be reached?";

static SCHEMA: LazyLock<Arc<ReplySchema>> = LazyLock::new(|| {
    Arc::new(ReplySchema::new(&json!({
        "type": "object",
        "properties": { "ok": { "type": "boolean" } },
        "required": ["ok"],
        "additionalProperties": false,
    })))
});

/// What a test call came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// `ok`, or the class of the failure.
    pub outcome: &'static str,
    /// How long it took.
    pub took: Duration,
    /// What it used.
    pub usage: TokenUsage,
    /// Its cost, millionths of a US dollar; the highest possible one where it is not known.
    pub cost_micros: u64,
}

impl Fallback {
    /// Calls `model` of `provider` once; none without a key for it here.
    pub async fn try_out(&self, provider: ProviderName, model: &str) -> Option<Tried> {
        let slot = self.slots.iter().find(|slot| slot.name() == provider)?;
        let model = self.catalogue.resolve(model, self.clock.now().date_naive());
        let cap = OUTPUT_TOKENS.saturating_add(model.headroom).min(model.max_output);
        let prompt = Prompt {
            system: SYSTEM.to_owned(),
            user: USER.to_owned(),
            schema: Arc::clone(&SCHEMA),
            schema_name: "reachable".to_owned(),
            user_hash: hashed_user(Uuid::nil()),
        };
        let request = GenerateRequest {
            prompt: Arc::new(LazyPrompt::from(prompt)),
            without: slot.refused.of(&model.id),
            model: model.id,
            max_output_tokens: cap,
            reasoning: model.reasoning,
            correction: None,
        };
        let asked = Asked { prompt_bytes: SYSTEM.len() + USER.len() + SCHEMA.size(), cap };
        let begun = Instant::now();
        let mut tried = Tried {
            outcome: "busy_here",
            took: Duration::ZERO,
            usage: TokenUsage::default(),
            cost_micros: 0,
        };
        let Some(_permit) = slot.enter(begun + ENTER).await else { return Some(tried) };
        let sent = Instant::now();
        let read = slot.provider.prepare(&request)(TIMEOUTS).await;
        let read = read.and_then(|raw| interpret(provider, &raw));
        tried.took = sent.elapsed();
        let billed = match &read {
            Ok(reply) => Billed::Tokens(reply.usage),
            Err(error) => error.billed(),
        };
        tried.outcome = read.map_or_else(|error| error.class(), |_| "ok");
        match billed {
            Billed::Nothing => {}
            Billed::Tokens(usage) => {
                tried.usage = usage.within(asked).0;
                tried.cost_micros = self.catalogue.cost_micros(&request.model, &tried.usage);
            }
            Billed::Unknown => {
                let input = u64::try_from(asked.prompt_bytes / BYTES_PER_TOKEN).unwrap_or(u64::MAX);
                tried.usage.estimated = true;
                tried.cost_micros = self.catalogue.most_micros(&request.model, input, cap);
            }
        }
        Some(tried)
    }
}
