//! The dispatch lists in Redis: ids only, Postgres is the source of truth.
//! `push` is the only code that pushes, `notices` publishes changes of jobs.
//!
//! One list per class under one hash tag. While there is a backlog, workers pop
//! by weight; an idle worker blocks on the lists, so that Redis hands a pushed
//! id to one of them at once. Messages may be lost, duplicated or reordered:
//! the claim in Postgres decides, the reconciler repairs.

pub mod notices;
mod push;

use std::sync::LazyLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use redis::{Script, cmd};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::job::JobClass;
use crate::redis::{BlockingLink, Redis, RedisError};

pub use crate::weights::Weights;

/// The version of [`Message`] this build writes.
const MESSAGE_VERSION: u8 = 1;
/// Lifetime of an unread wake-up, seconds.
const RING_SECONDS: i64 = 60;

static POP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("pop.lua")));

/// The lists of a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum List {
    /// Plan jobs of paying users.
    Pro,
    /// Plan jobs of all other users.
    Free,
    /// Stored Stripe events to apply.
    Stripe,
    /// Mails to send.
    Notify,
}

impl List {
    /// Every list.
    pub const ALL: [Self; 4] = [Self::Pro, Self::Free, Self::Stripe, Self::Notify];

    /// The lists that can be paused. Mails go out while events wait: they report what
    /// has happened.
    pub const PAUSABLE: [Self; 3] = [Self::Pro, Self::Free, Self::Stripe];

    /// Its name in keys, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pro => "pro",
            Self::Free => "free",
            Self::Stripe => "stripe",
            Self::Notify => "notify",
        }
    }
}

impl From<JobClass> for List {
    fn from(class: JobClass) -> Self {
        match class {
            JobClass::Pro => Self::Pro,
            JobClass::Free => Self::Free,
        }
    }
}

/// An entry of a list: the id of a row, never its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The format's version.
    pub v: u8,
    /// The row's id: a uuid for jobs, an event id for Stripe events.
    pub id: String,
    /// When its row was marked as dispatched, by the database's clock, Unix milliseconds:
    /// lost messages are detected with one clock.
    pub at: i64,
    /// W3C `traceparent` of the request that created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl Message {
    /// A message for `id`, whose row was marked as dispatched `at`, a time of the
    /// database.
    pub fn new(id: impl ToString, at: DateTime<Utc>, trace: Option<String>) -> Self {
        Self { v: MESSAGE_VERSION, id: id.to_string(), at: at.timestamp_millis(), trace }
    }

    /// The id as a job's.
    pub fn job_id(&self) -> Option<Uuid> {
        self.id.parse().ok()
    }
}

/// Popped messages with their lists; of each list oldest first.
pub type Taken = Vec<(List, Message)>;

/// A process's own list. A process that blocks on it beside the dispatch lists can be
/// woken without losing an id that Redis hands out at that moment.
#[derive(Debug, Clone)]
pub struct WakeUpKey(String);

/// Handle on the dispatch lists. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    redis: Redis,
}

impl Queue {
    /// The lists in `redis`.
    pub fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// Whether Redis is available; else jobs are claimed from Postgres.
    pub fn works(&self) -> bool {
        self.redis.works()
    }

    /// Requests an immediate health check of Redis.
    pub fn doubt(&self) {
        self.redis.doubt();
    }

    /// Appends messages, oldest first, to `list`.
    ///
    /// # Errors
    /// Redis is away; the reconciler dispatches the messages.
    pub async fn push(&self, list: List, messages: &[Message]) -> Result<(), RedisError> {
        self.put("LPUSH", list, messages.iter()).await
    }

    /// Puts messages, oldest first, at the head of `list`: for jobs that waited before.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn push_before(&self, list: List, messages: &[Message]) -> Result<(), RedisError> {
        self.put("RPUSH", list, messages.iter().rev()).await
    }

    /// Puts popped messages that cannot be claimed back to the heads of their lists.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub async fn put_back(&self, taken: &Taken) -> Result<(), RedisError> {
        for list in List::ALL {
            let of_list = taken.iter().filter(|(from, _)| *from == list);
            self.put("RPUSH", list, of_list.map(|(_, message)| message).rev()).await?;
        }
        Ok(())
    }

    async fn put(
        &self,
        end: &str,
        list: List,
        messages: impl Iterator<Item = &Message>,
    ) -> Result<(), RedisError> {
        let payloads: Vec<String> =
            messages.map(|message| serde_json::to_string(message).unwrap_or_default()).collect();
        if payloads.is_empty() {
            return Ok(());
        }
        self.unless_away()?;
        self.redis.query(cmd(end).arg(self.list_key(list)).arg(payloads)).await
    }

    /// Pops up to `count` messages from the heads of the two `lists`, by weight while
    /// both have some. Invalid ones are counted, logged and dropped. `turn` is the
    /// caller's counter of picks.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn pop(
        &self,
        lists: (List, List),
        weights: Weights,
        turn: u64,
        count: usize,
    ) -> Result<Taken, RedisError> {
        let mut call = POP.prepare_invoke();
        call.key(self.list_key(lists.0)).key(self.list_key(lists.1));
        call.arg(count).arg(weights.first).arg(weights.second).arg(turn);
        let (first, second): (Vec<String>, Vec<String>) = self.redis.invoke(&call).await?;
        let mut taken = decoded(lists.0, &first);
        taken.append(&mut decoded(lists.1, &second));
        Ok(taken)
    }

    /// Pops up to `count` messages from the first of `lists` that has some. While all are
    /// empty it blocks until one has, until `wake_up_key` has an entry, or until
    /// `at_most` has passed; the latter two return nothing.
    ///
    /// # Errors
    /// The connection broke; make a new one.
    pub async fn wait(
        &self,
        link: &mut BlockingLink,
        lists: &[List],
        wake_up_key: &WakeUpKey,
        count: usize,
        at_most: Duration,
    ) -> Result<Taken, RedisError> {
        let mut take = cmd("BLMPOP");
        take.arg(at_most.as_secs_f64()).arg(1 + lists.len()).arg(&wake_up_key.0);
        for &list in lists {
            take.arg(self.list_key(list));
        }
        take.arg("RIGHT").arg("COUNT").arg(count);
        let Some((key, payloads)) = link.query::<Option<(String, Vec<String>)>>(&take).await?
        else {
            return Ok(Vec::new());
        };
        let Some(&list) = lists.iter().find(|&&list| self.list_key(list) == key) else {
            return Ok(Vec::new());
        };
        Ok(decoded(list, &payloads))
    }

    /// A unique key.
    pub fn wake_up_key(&self) -> WakeUpKey {
        WakeUpKey(self.redis.key(&format!("wake_up_key:{}", Uuid::new_v4())))
    }

    /// Wakes the process that blocks on `wake_up_key`, or is about to.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn wake(&self, wake_up_key: &WakeUpKey) -> Result<(), RedisError> {
        let mut ring = redis::pipe();
        ring.lpush(&wake_up_key.0, 1).ignore().expire(&wake_up_key.0, RING_SECONDS).ignore();
        Ok(ring.query_async(&mut self.redis.clone()).await?)
    }

    /// A connection for [`Queue::wait`].
    ///
    /// # Errors
    /// Redis is away.
    pub async fn blocking(&self) -> Result<BlockingLink, RedisError> {
        self.redis.blocking().await
    }

    /// The number of messages in `list`.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn depth(&self, list: List) -> Result<u64, RedisError> {
        self.redis.query(cmd("LLEN").arg(self.list_key(list))).await
    }

    /// When the oldest message of `list` was dispatched, by the database's clock. Waiting
    /// jobs that were dispatched before it have lost their message.
    ///
    /// # Errors
    /// Redis is away: it may answer reads, but accepts no writes.
    pub async fn oldest(&self, list: List) -> Result<Option<DateTime<Utc>>, RedisError> {
        self.unless_away()?;
        let payload: Option<String> =
            self.redis.query(cmd("LINDEX").arg(self.list_key(list)).arg(-1)).await?;
        let message = payload.and_then(|payload| decode(&payload));
        Ok(message.and_then(|message| DateTime::from_timestamp_millis(message.at)))
    }

    fn unless_away(&self) -> Result<(), RedisError> {
        self.redis.trouble().map_or(Ok(()), |trouble| Err(RedisError::Away(trouble)))
    }

    fn list_key(&self, list: List) -> String {
        self.redis.key(&format!("queue:{}", list.as_str()))
    }
}

fn decoded(list: List, payloads: &[String]) -> Taken {
    payloads.iter().filter_map(|payload| Some((list, decode(payload)?))).collect()
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
