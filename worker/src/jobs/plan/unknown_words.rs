//! Asks a model what words about food mean that no table knows, before the prompt of a
//! plan is written.
//!
//! Contract: what is learnt may only add to what is kept from the person. A call is
//! budgeted and recorded as any other; words are asked for once, by whichever meal plan
//! first has them. Whatever fails, the words stay told as unchecked and the plan is made.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use regimen_common::db::jobs::{self, ClaimedJob, Held};
use regimen_common::food::{Learnt, unread};
use regimen_common::job::PlanKind;
use regimen_common::redis::Redis;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use super::attempts::Attempts;
use super::error::JobError;
use super::order::Order;
use super::stages::Stages;
use crate::deps::Deps;
use crate::llm::fallback::Request;
use crate::llm::log::{AttemptLog, End, Judge, Judgement, Start};
use crate::llm::outcome::FallbackError;
use crate::llm::{self, LazyPrompt, Prompt, ProviderName, RawReply, Reply, ReplySchema};
use crate::prompts::words;

/// A plan waits no longer for it, and for no larger share of its own time.
const PATIENCE: Duration = Duration::from_secs(15);
const SHARE: u32 = 6;
/// The run of providers ends by itself within its time; then it is left.
const GRACE: Duration = Duration::from_secs(1);
/// Tokens of the answer at most.
const OUTPUT_TOKENS: u32 = 1_500;
/// More words are no answer about food.
const MOST_WORDS: usize = 40;
/// Redis answers in well under a millisecond; beyond this we go on without it.
const REDIS_PATIENCE: Duration = Duration::from_millis(500);
/// What is known is kept for thirty days, what nobody knew for one.
const KNOWN_SECONDS: u64 = 30 * 24 * 3600;
const UNKNOWN_SECONDS: u64 = 24 * 3600;

static SCHEMA: LazyLock<Arc<ReplySchema>> =
    LazyLock::new(|| Arc::new(ReplySchema::new(&words::SCHEMA)));

/// Learns what the order's unknown words mean, and keeps it with the job.
///
/// # Errors
/// The claim is stale, or Postgres failed.
pub(super) async fn learn(
    deps: &Arc<Deps>,
    claimed: &ClaimedJob,
    stages: &Arc<Stages>,
    order: &mut Order,
    deadline: Instant,
) -> Result<(), JobError> {
    if !deps.config.ask_unknown_words || order.input.learnt.is_some() {
        return Ok(());
    }
    let unknown: Vec<String> =
        unread(&order.quiz).into_iter().flat_map(|one| one.words).take(MOST_WORDS).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let mut learnt = cached(&deps.redis, &unknown).await;
    count("cached", learnt.len());
    let left: Vec<String> =
        unknown.into_iter().filter(|word| !learnt.iter().any(|one| one.words == *word)).collect();
    // A workout plan hardly names food; the meal plan beside it asks.
    if !left.is_empty() && order.kind == PlanKind::Meal {
        match ask(deps, claimed, stages, &left, deadline).await? {
            Some(answer) => {
                let known = answer.iter().filter(|one| one.is_known()).count();
                count("learnt", known);
                count("unknown", answer.len() - known);
                keep(&deps.redis, &answer).await;
                learnt.extend(answer);
            }
            None => count("failed", left.len()),
        }
    }
    if learnt.is_empty() {
        return Ok(());
    }
    let client = deps.db.get().await?;
    let held = Held { id: claimed.id, fence: claimed.fence };
    if !jobs::keep_learnt(&client, held, &learnt).await? {
        return Err(JobError::Stale);
    }
    order.input.learnt = Some(learnt);
    Ok(())
}

/// What a model says of the words; none where no answer came.
async fn ask(
    deps: &Arc<Deps>,
    claimed: &ClaimedJob,
    stages: &Arc<Stages>,
    unknown: &[String],
    deadline: Instant,
) -> Result<Option<Vec<Learnt>>, JobError> {
    let held = Held { id: claimed.id, fence: claimed.fence };
    let (deps_of_log, stages, user) = (Arc::clone(deps), Arc::clone(stages), claimed.user_id);
    let attempts = Attempts::new(deps_of_log, held, user, words::VERSION, stages);
    let (system, text) = words::words(unknown);
    let prompt_bytes = system.len() + text.len() + SCHEMA.size();
    let user_hash = llm::hashed_user(user);
    let prompt = LazyPrompt::from(Prompt {
        system,
        user: text,
        schema: Arc::clone(&SCHEMA),
        schema_name: "unknown_words".to_owned(),
        user_hash,
    });
    let now = Instant::now();
    let patience = PATIENCE.min(deadline.saturating_duration_since(now) / SHARE);
    let request = Request {
        prompt: Arc::new(prompt),
        prompt_bytes,
        output_tokens: OUTPUT_TOKENS,
        provider: None,
        model: None,
        deadline: now + patience,
        stored: None,
    };
    let log = Log(&attempts);
    let asked = timeout(patience + GRACE, deps.fallback.run(&request, &Reads(unknown), &log)).await;
    match asked {
        Ok(Ok(delivered)) => Ok(Some(delivered.plan)),
        // The plan's own call says it where it has to be said.
        Ok(Err(FallbackError::Stopped(JobError::OverBudget { .. }))) => Ok(None),
        Ok(Err(FallbackError::Stopped(stop))) => Err(stop),
        Ok(Err(_)) | Err(_) => {
            // Without the error, which may quote the words.
            tracing::info!(job_id = %claimed.id, "no answer about unknown words of a quiz");
            Ok(None)
        }
    }
}

/// Any answer is one: what is not usable in it says nothing.
struct Reads<'a>(&'a [String]);

impl Judge for Reads<'_> {
    type Plan = Vec<Learnt>;

    async fn judge(&self, reply: &Reply) -> Judgement<Vec<Learnt>> {
        Judgement::Accept(words::read(&reply.text, self.0))
    }
}

/// Records the calls as those for a plan, but keeps no reply: it is read at once, and no
/// later round may take it for a plan's.
struct Log<'a>(&'a Attempts);

impl AttemptLog for Log<'_> {
    type Stop = JobError;

    async fn started(&self, start: &Start) -> Result<i32, JobError> {
        self.0.started(start).await
    }

    async fn replied(&self, _: i32, _: &RawReply) -> Result<(), JobError> {
        Ok(())
    }

    async fn finished(&self, n: i32, end: &End) -> Result<(), JobError> {
        self.0.finished(n, end).await
    }

    async fn fell_back(&self, from: ProviderName, to: ProviderName) -> Result<(), JobError> {
        self.0.fell_back(from, to).await
    }
}

/// A word's key: the word itself is part of somebody's answer about their health.
fn key(redis: &Redis, word: &str) -> String {
    let hash = Sha256::new().chain_update(words::VERSION).chain_update([0]).chain_update(word);
    redis.key(&format!("words:{}", hex::encode(hash.finalize())))
}

/// What is known already; nothing while Redis is away.
async fn cached(redis: &Redis, unknown: &[String]) -> Vec<Learnt> {
    let mut get = redis::cmd("MGET");
    for word in unknown {
        get.arg(key(redis, word));
    }
    let found = timeout(REDIS_PATIENCE, redis.query::<Vec<Option<String>>>(&get)).await;
    let Ok(Ok(found)) = found else { return Vec::new() };
    let read = |(word, text): (&String, Option<String>)| {
        let kept: Learnt = serde_json::from_str(&text?).ok()?;
        // As strict as with a model: whoever writes to Redis adds keys and nothing else.
        let keys = kept.keys.iter().map(String::as_str);
        Some(Learnt::new(word, keys, kept.foods.iter().map(String::as_str)))
    };
    unknown.iter().zip(found).filter_map(read).collect()
}

/// Keeps what was learnt for others.
async fn keep(redis: &Redis, learnt: &[Learnt]) {
    let texts: HashMap<&str, (String, u64)> = learnt
        .iter()
        .filter_map(|one| {
            let nameless = Learnt { words: String::new(), ..one.clone() };
            let seconds = if one.is_known() { KNOWN_SECONDS } else { UNKNOWN_SECONDS };
            Some((one.words.as_str(), (serde_json::to_string(&nameless).ok()?, seconds)))
        })
        .collect();
    let write = async {
        for (word, (text, seconds)) in texts {
            let mut set = redis::cmd("SET");
            set.arg(key(redis, word)).arg(text).arg("EX").arg(seconds);
            if redis.query::<()>(&set).await.is_err() {
                break;
            }
        }
    };
    // What is not kept is asked for again.
    let _ = timeout(REDIS_PATIENCE, write).await;
}

fn count(outcome: &'static str, words: usize) {
    metrics::counter!("regimen_unknown_words_total", "outcome" => outcome)
        .increment(u64::try_from(words).unwrap_or(u64::MAX));
}
