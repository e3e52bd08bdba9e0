//! Records provider calls in Postgres: a row before each call, the raw reply
//! before it is parsed, the judgement after; that of a plan's reply with the plan.
//!
//! Contract: after a crash before the reply is stored, the call may be paid for
//! again; after it, never.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use regimen_common::db::jobs::{self, AttemptOutcome, AttemptUsage, GoodReply, Held};
use regimen_common::job::{JobEventKind, attempt_summary};
use regimen_common::telemetry::sentry;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::budget::Reservation;
use crate::deps::Deps;
use crate::jobs::plan::error::JobError;
use crate::jobs::plan::stages::{Stage, Stages};
use crate::llm::attempt::CUSTOM;
use crate::llm::fallback::StoredReply;
use crate::llm::log::{AttemptLog, End, Start};
use crate::llm::{ProviderName, RawReply};
use crate::runner::write_retry::until_written;
use crate::writes::{KeptReply, NewCall};

/// Writes one claim's attempts and events.
#[derive(Debug)]
pub struct Attempts {
    deps: Arc<Deps>,
    held: Held,
    user: Uuid,
    prompt_version: &'static str,
    stages: Arc<Stages>,
    /// The reservations of running calls. A cancelled call stays counted with its highest
    /// cost, as in its row.
    reservations: Mutex<HashMap<i32, Reservation>>,
    /// The rows of this run's attempts, by their number within the job.
    rows: Mutex<HashMap<i32, Uuid>>,
    /// The attempt whose paid reply was passed on from the job that this one retries.
    inherited: OnceLock<i32>,
    /// The reply that became the plan, if the calls are for one: its judgement is written with
    /// the end of the job.
    good: Option<Mutex<Option<Good>>>,
}

/// A reply that became a plan, to be judged with the end of the job.
#[derive(Debug)]
pub struct Good {
    /// The judgement.
    pub reply: GoodReply,
    /// Its cost, in millionths of a US dollar.
    pub cost_micros: u64,
    /// What is reserved for the call.
    pub reservation: Option<Reservation>,
}

impl Attempts {
    /// The attempts of one claim.
    pub fn new(
        deps: Arc<Deps>,
        held: Held,
        user: Uuid,
        prompt_version: &'static str,
        stages: Arc<Stages>,
    ) -> Self {
        let (rows, reservations) = (Mutex::default(), Mutex::default());
        let inherited = OnceLock::new();
        let good = None;
        Self { deps, held, user, prompt_version, stages, rows, reservations, inherited, good }
    }

    /// For a plan: a good reply is not judged before the job ends.
    pub fn for_plan(self) -> Self {
        Self { good: Some(Mutex::default()), ..self }
    }

    /// The reply that became the plan.
    pub fn good_reply(&self) -> Option<Good> {
        self.good.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The job they belong to.
    pub fn job_id(&self) -> Uuid {
        self.held.id
    }

    /// A stored reply whose plan was not saved: the previous holder died, or the retried
    /// job failed.
    ///
    /// # Errors
    /// Postgres failed.
    pub async fn usable(&self) -> Result<Option<StoredReply>, JobError> {
        let client = self.deps.db.get().await?;
        let Some(stored) = jobs::usable_reply(&client, self.held.id).await? else {
            return Ok(None);
        };
        // A provider that this release does not know cannot be parsed; a new call is
        // made.
        let Ok(provider) = stored.provider.parse::<ProviderName>() else { return Ok(None) };
        self.remember(stored.n, stored.attempt_id);
        if stored.inherited {
            self.inherited.get_or_init(|| stored.n);
        }
        let status = stored.http_status.and_then(|status| u16::try_from(status).ok());
        Ok(Some(StoredReply {
            n: stored.n,
            provider,
            model: stored.model,
            raw: RawReply {
                status: status.unwrap_or(200),
                body: stored.raw.into(),
                request_id: stored.request_id,
            },
        }))
    }

    /// Appends an event of the claim.
    ///
    /// # Errors
    /// [`JobError::Stale`] when another holder has the job.
    pub async fn event(
        &self,
        kind: JobEventKind,
        stage: &str,
        data: Value,
    ) -> Result<(), JobError> {
        let client = self.deps.db.get().await?;
        let seq = jobs::append_event(&client, self.held, kind, stage, &data).await?;
        drop(client);
        self.deps.announcer.event(self.held.id, seq.ok_or(JobError::Stale)?, kind);
        Ok(())
    }

    /// Writes the row and the event of a call; returns its number, the event's, and the
    /// row's id.
    async fn announce(&self, start: &Start) -> Result<(i32, i32, Uuid), JobError> {
        let id = Uuid::now_v7();
        let (held, prompt_version, start) = (self.held, self.prompt_version, start.clone());
        let call = NewCall { held, id, prompt_version, start };
        let (n, seq) = self.deps.writes.start(call).await?.ok_or(JobError::Stale)?;
        Ok((n, seq, id))
    }

    fn reserved(&self, n: i32) -> Option<Reservation> {
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner).remove(&n)
    }

    fn remember(&self, n: i32, row: Uuid) {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner).insert(n, row);
    }

    fn row(&self, n: i32) -> Result<Uuid, JobError> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(&n).copied().ok_or(JobError::Stale)
    }
}

impl AttemptLog for Attempts {
    type Stop = JobError;

    async fn started(&self, start: &Start) -> Result<i32, JobError> {
        let model = if start.known { start.model.as_str() } else { CUSTOM };
        sentry::note([("provider", start.provider.as_str()), ("model", model)]);
        let budgets = &self.deps.budgets;
        let reservation =
            budgets.reserve(self.user, start.most_micros, self.deps.clock.now()).await?;
        let (n, seq, id) = match self.announce(start).await {
            Ok(started) => started,
            Err(error) => {
                budgets.settle(reservation, 0).await;
                return Err(error);
            }
        };
        self.remember(n, id);
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner).insert(n, reservation);
        self.stages.enter(Stage::Generating);
        self.deps.announcer.event(self.held.id, seq, JobEventKind::AttemptStarted);
        Ok(n)
    }

    /// Continues when the run is dropped, because the reply is paid for.
    async fn replied(&self, n: i32, raw: &RawReply) -> Result<(), JobError> {
        self.stages.enter(Stage::Verifying);
        let (deps, held, attempt_id) = (Arc::clone(&self.deps), self.held, self.row(n)?);
        let reply = Arc::new(KeptReply { held, attempt_id, raw: raw.clone() });
        let write = deps.in_flight.write(held);
        let stored = self.deps.tasks.clone().spawn(async move {
            // Held until the reply is stored, or storing it has failed.
            let _write = write;
            let writes = &deps.writes;
            until_written(&deps.cancellation, "reply", || writes.reply(Arc::clone(&reply))).await
        });
        // A panic there would be a defect; the lease hands the job over.
        let seq = stored.await.map_err(|_| JobError::Stale)??;
        if let Some(seq) = seq {
            self.deps.announcer.event(self.held.id, seq, JobEventKind::Verifying);
        }
        Ok(())
    }

    async fn finished(&self, n: i32, end: &End) -> Result<(), JobError> {
        let row = self.row(n)?;
        let status = end.http_status.map_or(Value::Null, Value::from);
        let data = [("n", n.into()), ("status", status), ("cost_micros", end.cost_micros.into())];
        sentry::breadcrumb("attempt", end.outcome, &data);
        let http_status = end.http_status.map(i32::from);
        let usage = (self.inherited.get() != Some(&n)).then(|| usage(end));
        if let Some(good) = self.good.as_ref().filter(|_| end.outcome == "ok") {
            let request_id = end.request_id.clone();
            let reply = GoodReply { attempt_id: row, http_status, request_id, usage };
            let (cost_micros, reservation) = (end.cost_micros, self.reserved(n));
            *good.lock().unwrap_or_else(PoisonError::into_inner) =
                Some(Good { reply, cost_micros, reservation });
            return Ok(());
        }
        let outcome = AttemptOutcome {
            outcome: end.outcome,
            error_detail: Some(end.detail.as_str()).filter(|detail| !detail.is_empty()),
            http_status,
            request_id: end.request_id.as_deref(),
            usage,
        };
        let judged = until_written(&self.deps.cancellation, "judgement", async || {
            let client = self.deps.db.get().await?;
            jobs::judge_attempt(&client, row, &outcome).await
        })
        .await?;
        if !judged {
            // The job has ended, with this attempt counted as it was.
            return Err(JobError::Stale);
        }
        if let Some(reservation) = self.reserved(n) {
            self.deps.budgets.settle(reservation, end.cost_micros).await;
        }
        if end.outcome == "ok" {
            return Ok(());
        }
        self.stages.enter(Stage::Generating);
        let retry_in = end.retry_in.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        // Users read events: the provider's own text stays with the attempt.
        let detail = attempt_summary(end.outcome);
        let data =
            json!({ "n": n, "class": end.outcome, "detail": detail, "retry_in_ms": retry_in });
        self.event(JobEventKind::AttemptFailed, "generating", data).await
    }

    async fn fell_back(&self, from: ProviderName, to: ProviderName) -> Result<(), JobError> {
        let data = json!({ "from": from.as_str(), "to": to.as_str() });
        self.event(JobEventKind::FellBack, "generating", data).await
    }
}

fn usage(end: &End) -> AttemptUsage {
    let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    AttemptUsage {
        input_tokens: count(end.usage.input),
        cached_tokens: count(end.usage.cached),
        output_tokens: count(end.usage.output),
        cost_micros: count(end.cost_micros),
        estimated: end.estimated,
    }
}
