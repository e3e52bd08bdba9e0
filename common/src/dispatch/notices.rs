//! Job changes as they happen, over one pub/sub channel per deployment.
//!
//! A notice only says that a job changed, and it may be lost. So listeners are
//! told when the subscription was interrupted and read the state themselves.
//! Workers listen for cancellations, ingresses for waiting clients.

use std::time::Duration;

use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, timeout};
use uuid::Uuid;

use crate::job::JobEventKind;
use crate::redis::{Redis, RedisError, Trouble};

const CHANNEL: &str = "job-notices";
const RECONNECT_AFTER: Duration = Duration::from_millis(500);
/// A subscription is silent while nothing happens, so it is pinged in this interval,
const PING_EVERY: Duration = Duration::from_secs(1);
/// and replaced after this time without an answer.
const PING_LIMIT: Duration = Duration::from_secs(1);

/// A job has a new event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobNotice {
    /// The job.
    pub job: Uuid,
    /// The number of its newest event.
    pub seq: i32,
    /// The kind of the event.
    pub kind: JobEventKind,
}

/// What a listener receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A job changed.
    Notice(JobNotice),
    /// The subscription is up (again): earlier notices may have been missed.
    Connected,
    /// The subscription is down: no notices arrive until the next `Connected`.
    Disconnected,
}

/// Publishes job changes to every listener. A failure only causes delays, so it is logged
/// here and not returned.
pub async fn publish(redis: &Redis, notices: &[JobNotice]) {
    // A server that only refuses writes still relays notices.
    if notices.is_empty() || redis.trouble().is_some_and(Trouble::is_silence) {
        return;
    }
    let channel = redis.key(CHANNEL);
    let mut pipeline = redis::pipe();
    for notice in notices {
        if let Ok(payload) = serde_json::to_string(notice) {
            pipeline.publish(&channel, payload).ignore();
        }
    }
    let send = async || pipeline.query_async::<()>(&mut redis.clone()).await;
    let mut sent = send().await;
    if sent.is_err() && redis.works() {
        // Often only the connection was bad; a duplicate does no harm.
        sent = send().await;
    }
    if let Err(error) = sent {
        tracing::debug!(%error, "could not announce job changes; listeners look for themselves");
    }
}

/// Receives every notice until `heard` is closed, and reconnects by itself.
pub async fn listen(redis: Redis, heard: mpsc::Sender<Heard>) {
    while !heard.is_closed() {
        if let Err(error) = relay(&redis, &heard).await {
            tracing::debug!(%error, "the notice channel broke; reconnecting");
        }
        if heard.send(Heard::Disconnected).await.is_err() {
            return;
        }
        tokio::time::sleep(RECONNECT_AFTER).await;
    }
}

/// Relays the notices of one subscription until it ends, is silent, or the shared
/// connection was replaced: this one may lead to the same server.
async fn relay(redis: &Redis, heard: &mpsc::Sender<Heard>) -> Result<(), RedisError> {
    let mut given_up = redis.connections_given_up();
    let (mut line, mut messages) = redis.subscribe(&redis.key(CHANNEL)).await?.split();
    if heard.send(Heard::Connected).await.is_err() {
        return Ok(());
    }
    let mut pings = tokio::time::interval(PING_EVERY);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.next() => {
                let Some(message) = message else { return Ok(()) };
                match serde_json::from_slice::<JobNotice>(message.get_payload_bytes()) {
                    Ok(notice) if heard.send(Heard::Notice(notice)).await.is_err() => return Ok(()),
                    Ok(_) => {}
                    // A newer release may send events that this one does not know.
                    Err(error) => tracing::debug!(%error, "skipped a notice this release cannot read"),
                }
            }
            _ = pings.tick() => {
                let pong = timeout(PING_LIMIT, line.ping::<redis::Value>()).await;
                pong.map_err(|_| RedisError::Away(Trouble::Silent))??;
            }
            _ = given_up.changed() => return Ok(()),
            () = heard.closed() => return Ok(()),
        }
    }
}
