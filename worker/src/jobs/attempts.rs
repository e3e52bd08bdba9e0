//! The Postgres side of calls to providers: a row before each call, the raw
//! reply before it is read, the judgement after.
//!
//! Contract: a crash before the reply is stored may pay again; after it, never.

use std::sync::Arc;

use regimen_common::db::jobs::{
    self, AttemptOutcome, Held, NewAttempt, RawReply as StoredReply, Usage,
};
use regimen_common::job::EventKind;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::env::Env;
use crate::error::JobError;
use crate::patience::until_written;
use crate::providers::{ProviderName, RawReply};

/// Writes one claim's attempts and events.
#[derive(Debug, Clone)]
pub struct Attempts {
    env: Arc<Env>,
    held: Held,
}

impl Attempts {
    /// The attempts of one claim.
    pub fn new(env: Arc<Env>, held: Held) -> Self {
        Self { env, held }
    }

    /// Records a call about to be made and returns the attempt's id.
    ///
    /// # Errors
    /// [`JobError::Stale`] when the job is not ours any more: do not call.
    pub async fn start(
        &self,
        provider: ProviderName,
        model: &str,
        prompt_version: &str,
    ) -> Result<Uuid, JobError> {
        let id = Uuid::now_v7();
        let attempt = NewAttempt { id, provider: provider.as_str(), model, prompt_version };
        let client = self.env.db.get().await.map_err(regimen_common::db::DbError::from)?;
        let started = jobs::start_attempt(&client, self.held, &attempt).await?;
        drop(client);
        let (_, seq) = started.ok_or(JobError::Stale)?;
        self.env.announcer.event(self.held.id, seq, EventKind::AttemptStarted).await;
        Ok(id)
    }

    /// Stores a reply. Goes on by itself when the caller is dropped: the reply
    /// is paid for.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn replied(&self, attempt: Uuid, raw: &RawReply) -> Result<(), JobError> {
        let (env, raw) = (Arc::clone(&self.env), raw.clone());
        let stored = tokio::spawn(async move {
            until_written("reply", async || {
                let client = env.db.get().await?;
                let status = Some(i32::from(raw.status));
                jobs::store_reply(&client, attempt, &raw.body, status, raw.request_id.as_deref())
                    .await
            })
            .await
        });
        match stored.await {
            Ok(stored) => Ok(stored?),
            Err(_) => Err(JobError::Stale),
        }
    }

    /// Records how an attempt was judged.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn judged(
        &self,
        attempt: Uuid,
        outcome: &str,
        detail: Option<&str>,
        http_status: Option<i32>,
        usage: Option<Usage>,
    ) -> Result<(), JobError> {
        let outcome =
            AttemptOutcome { outcome, error_detail: detail, http_status, request_id: None, usage };
        until_written("judgement", async || {
            let client = self.env.db.get().await?;
            jobs::judge_attempt(&client, attempt, &outcome).await
        })
        .await?;
        Ok(())
    }

    /// A stored reply that the previous holder did not live to judge.
    ///
    /// # Errors
    /// Postgres failed.
    pub async fn unjudged(&self) -> Result<Option<StoredReply>, JobError> {
        let client = self.env.db.get().await.map_err(regimen_common::db::DbError::from)?;
        Ok(jobs::unjudged_reply(&client, self.held.id).await?)
    }

    /// Appends an event of the claim.
    ///
    /// # Errors
    /// [`JobError::Stale`] when the job is not ours any more.
    pub async fn event(&self, kind: EventKind, stage: &str, data: Value) -> Result<(), JobError> {
        let client = self.env.db.get().await.map_err(regimen_common::db::DbError::from)?;
        let seq = jobs::append_event(&client, self.held, kind, stage, &data).await?;
        drop(client);
        self.env.announcer.event(self.held.id, seq.ok_or(JobError::Stale)?, kind).await;
        Ok(())
    }

    /// Appends the event that a call failed.
    ///
    /// # Errors
    /// As [`Attempts::event`].
    pub async fn failed(
        &self,
        provider: ProviderName,
        class: &str,
        retry_in_ms: Option<u128>,
    ) -> Result<(), JobError> {
        let data = json!({
            "provider": provider.as_str(), "class": class,
            "retry_in_ms": retry_in_ms.map(|ms| u64::try_from(ms).unwrap_or(u64::MAX)),
        });
        self.event(EventKind::AttemptFailed, "generating", data).await
    }
}
