//! The dispatch lists in Redis: ids only, Postgres holds the truth.
//!
//! One list per class under one hash tag, and a token list on which idle
//! workers block. A push leaves a token when none stands there; whoever pops
//! ids and leaves some behind puts a token back, so that no sleeper is missed
//! and no token piles up. Messages may be lost, doubled or reordered: a claim
//! in Postgres decides, the reconciler repairs.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Script, cmd};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kv::{BlockingLink, Kv, KvError};

/// The version of [`Message`] this build writes.
const MESSAGE_VERSION: u8 = 1;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_push.lua")));
static POP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("queue_pop.lua")));

/// The lists of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Plan jobs of paying users.
    Pro,
    /// Plan jobs of everybody else.
    Free,
    /// Stored Stripe events to apply.
    Stripe,
    /// Notices to send: e-mails and callbacks.
    Notify,
}

impl List {
    /// Every list.
    pub const ALL: [Self; 4] = [Self::Pro, Self::Free, Self::Stripe, Self::Notify];

    /// Its name in keys, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pro => "pro",
            Self::Free => "free",
            Self::Stripe => "stripe",
            Self::Notify => "notify",
        }
    }

    /// The token list whose sleepers serve this list.
    fn tokens(self) -> &'static str {
        match self {
            Self::Pro | Self::Free => "tokens:plans",
            Self::Stripe | Self::Notify => "tokens:events",
        }
    }
}

impl From<crate::job::JobClass> for List {
    fn from(class: crate::job::JobClass) -> Self {
        match class {
            crate::job::JobClass::Pro => Self::Pro,
            crate::job::JobClass::Free => Self::Free,
        }
    }
}

/// What stands in a list: which row to look at, never its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The format's version.
    pub v: u8,
    /// The row's id: a uuid for jobs, an event id for Stripe events.
    pub id: String,
    /// When it was put here, Unix milliseconds.
    pub at: i64,
    /// W3C `traceparent` of the request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl Message {
    /// A message about `id`, put here at `at_ms` (Unix milliseconds).
    pub fn new(id: impl ToString, at_ms: i64, trace: Option<String>) -> Self {
        Self { v: MESSAGE_VERSION, id: id.to_string(), at: at_ms, trace }
    }

    /// The id as a job's.
    pub fn job_id(&self) -> Option<Uuid> {
        self.id.parse().ok()
    }
}

/// The plan lists' shares when both have work: so many of the first for each of
/// the second. A list without turns is left alone, whatever the other one holds.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Turns of the first list.
    pub first: u32,
    /// Turns of the second list.
    pub second: u32,
}

impl Weights {
    /// The same shares, but no turns for lists that are paused.
    pub fn without(self, first_paused: bool, second_paused: bool) -> Self {
        let unless = |paused, turns| if paused { 0 } else { turns };
        Self { first: unless(first_paused, self.first), second: unless(second_paused, self.second) }
    }

    /// How many to take of each list for `want` picks from pick number `turn`
    /// on, when `have` stand there. The rule of `queue_pop.lua`, for jobs that
    /// are not taken through Redis.
    pub fn shares(self, turn: u64, want: usize, have: (usize, usize)) -> (usize, usize) {
        let cycle = u64::from(self.first) + u64::from(self.second);
        let (mut first, mut second) = (0, 0);
        let there = |turns, count| if turns > 0 { count } else { 0 };
        let have = (there(self.first, have.0), there(self.second, have.1));
        for pick in 0..want as u64 {
            let firsts_turn = turn.wrapping_add(pick) % cycle.max(1) < u64::from(self.first);
            let (first_left, second_left) = (first < have.0, second < have.1);
            match (firsts_turn, first_left, second_left) {
                (_, false, false) => break,
                (true, true, _) | (false, true, false) => first += 1,
                (false, _, true) | (true, false, true) => second += 1,
            }
        }
        (first, second)
    }
}

/// Handle on the dispatch lists. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    kv: Kv,
}

impl Queue {
    /// The lists reached through `kv`.
    pub fn new(kv: Kv) -> Self {
        Self { kv }
    }

    /// Puts messages, oldest first, behind those that stand in `list`, and
    /// wakes a sleeper.
    ///
    /// # Errors
    /// Redis is away; the reconciler dispatches what was not pushed.
    pub async fn push(&self, list: List, messages: &[Message]) -> Result<(), KvError> {
        if messages.is_empty() { Ok(()) } else { self.put(list, "behind", messages).await }
    }

    /// Puts messages, oldest first, before those that stand in `list`, and
    /// wakes a sleeper: for what has waited before.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_before(&self, list: List, messages: &[Message]) -> Result<(), KvError> {
        if messages.is_empty() { Ok(()) } else { self.put(list, "before", messages).await }
    }

    /// Wakes a sleeper that serves `list`, so that it looks for itself.
    ///
    /// # Errors
    /// Redis is away; sleepers look now and then anyway.
    pub async fn wake(&self, list: List) -> Result<(), KvError> {
        self.put(list, "behind", &[]).await
    }

    async fn put(&self, list: List, place: &str, messages: &[Message]) -> Result<(), KvError> {
        let mut call = PUSH.prepare_invoke();
        call.key(self.list_key(list)).key(self.kv.key(list.tokens())).arg(place);
        for message in messages {
            call.arg(serde_json::to_string(message).unwrap_or_default());
        }
        self.kv.invoke(&call).await
    }

    /// Takes up to `count` messages from the old ends of `first` and `second`,
    /// in the given shares while both have some. Undecodable ones are counted,
    /// logged and dropped. `turn` is the caller's running counter of picks.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn pop(
        &self,
        (first, second): (List, List),
        weights: Weights,
        turn: u64,
        count: usize,
    ) -> Result<Vec<Message>, KvError> {
        let mut call = POP.prepare_invoke();
        call.key(self.list_key(first)).key(self.list_key(second)).key(self.kv.key(first.tokens()));
        call.arg(count).arg(weights.first).arg(weights.second).arg(turn);
        let payloads: Vec<String> = self.kv.invoke(&call).await?;
        Ok(payloads.iter().filter_map(|payload| decode(payload)).collect())
    }

    /// Waits until somebody may have pushed to the lists `list` is served with.
    ///
    /// # Errors
    /// The connection broke; make a new one.
    pub async fn wait(
        &self,
        link: &mut BlockingLink,
        list: List,
        at_most: Duration,
    ) -> Result<(), KvError> {
        let mut command = cmd("BRPOP");
        command.arg(self.kv.key(list.tokens())).arg(at_most.as_secs_f64());
        link.query::<Option<(String, String)>>(&command).await.map(|_| ())
    }

    /// A connection for [`Queue::wait`].
    ///
    /// # Errors
    /// Redis is away.
    pub async fn blocking(&self) -> Result<BlockingLink, KvError> {
        self.kv.blocking().await
    }

    /// How many messages stand in `list`.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn depth(&self, list: List) -> Result<u64, KvError> {
        self.kv.query(cmd("LLEN").arg(self.list_key(list))).await
    }

    /// When the oldest message of `list` was put there (Unix milliseconds).
    /// Whatever was dispatched before it and still waits has lost its message.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn oldest(&self, list: List) -> Result<Option<i64>, KvError> {
        let payload: Option<String> =
            self.kv.query(cmd("LINDEX").arg(self.list_key(list)).arg(-1)).await?;
        Ok(payload.and_then(|payload| decode(&payload)).map(|message| message.at))
    }

    fn list_key(&self, list: List) -> String {
        self.kv.key(&format!("queue:{}", list.as_str()))
    }
}

fn decode(payload: &str) -> Option<Message> {
    match serde_json::from_str::<Message>(payload) {
        Ok(message) if message.v == MESSAGE_VERSION => Some(message),
        Ok(message) => {
            metrics::counter!("regimen_queue_bad_messages_total").increment(1);
            tracing::warn!(
                version = message.v,
                id = message.id,
                "dropped a queue message of an unknown version; the reconciler dispatches its row again"
            );
            None
        }
        Err(error) => {
            metrics::counter!("regimen_queue_bad_messages_total").increment(1);
            tracing::warn!(%error, "dropped an unreadable queue message; the reconciler dispatches its row again");
            None
        }
    }
}
