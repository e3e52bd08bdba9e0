//! The optional hedge: when a provider is slower than its own 95th
//! percentile, the next one is asked beside it. The first good plan wins, the
//! other call is dropped.

use futures_util::future::{Either, select};
use tokio::time::{Instant, sleep};

use super::attempt::{Accepted, Failed, Number};
use super::climb::{Climb, Stopped, count};
use super::fallback::Step;
use super::gate::Admission;
use super::log::{AttemptLog, End, Judge};
use super::outcome::{Delivered, LadderError};
use super::slice::Slice;
use super::{GenerateRequest, Usage};

/// What came of asking a provider, maybe with another beside it.
pub(super) enum Raced<T> {
    Delivered(Delivered<T>),
    /// The provider failed; if another was asked beside it, so did that one.
    Failed(Failed),
}

type Attempted<T, L> = Result<Result<Accepted<T>, Failed>, Stopped<L>>;

impl<J: Judge, L: AttemptLog> Climb<'_, J, L> {
    /// One attempt at `step`, with `backup` beside it where there is one and
    /// `step` is slow.
    pub(super) async fn race(
        &self,
        step: &Step<'_>,
        backup: Option<&Step<'_>>,
        request: &GenerateRequest,
        slice: Slice,
    ) -> Result<Raced<J::Plan>, Stopped<L>> {
        self.ladder.hedges.called();
        let number = Number::default();
        // Boxed, so that the loser can be dropped, and its connection closed, at once.
        let mut first = Box::pin(self.attempt(step, request, slice, &number));
        if let (Some(backup), Some(patience)) = (backup, step.rung.latency.p95()) {
            tokio::select! {
                biased;
                done = &mut first => return self.alone(step, done).await,
                () = sleep(patience) => {}
            }
            if let Some(_permit) = self.hedge(backup, slice).await {
                return self.beside(step, first, &number, backup, slice).await;
            }
        }
        let done = first.await;
        self.alone(step, done).await
    }

    /// Both attempts to their end, or to the first good plan.
    async fn beside(
        &self,
        step: &Step<'_>,
        first: std::pin::Pin<Box<impl Future<Output = Attempted<J::Plan, L>>>>,
        first_number: &Number,
        backup: &Step<'_>,
        slice: Slice,
    ) -> Result<Raced<J::Plan>, Stopped<L>> {
        let request = self.prepare(backup);
        let number = Number::default();
        let second = Box::pin(self.attempt(backup, &request, slice, &number));
        match select(first, second).await {
            Either::Left((done, second)) => match done? {
                Ok(accepted) => {
                    drop(second);
                    self.dropped(backup, &number).await?;
                    self.won(step, accepted).await
                }
                Err(failed) => match second.await? {
                    Ok(accepted) => {
                        self.lost(step, failed).await?;
                        self.won(backup, accepted).await
                    }
                    Err(also) => {
                        self.lost(backup, also).await?;
                        Ok(Raced::Failed(failed))
                    }
                },
            },
            Either::Right((done, first)) => match done? {
                Ok(accepted) => {
                    drop(first);
                    self.dropped(step, first_number).await?;
                    self.won(backup, accepted).await
                }
                Err(failed) => {
                    self.lost(backup, failed).await?;
                    let done = first.await;
                    self.alone(step, done).await
                }
            },
        }
    }

    async fn alone(
        &self,
        step: &Step<'_>,
        done: Attempted<J::Plan, L>,
    ) -> Result<Raced<J::Plan>, Stopped<L>> {
        match done? {
            Ok(accepted) => self.won(step, accepted).await,
            Err(failed) => Ok(Raced::Failed(failed)),
        }
    }

    async fn won(
        &self,
        step: &Step<'_>,
        accepted: Accepted<J::Plan>,
    ) -> Result<Raced<J::Plan>, Stopped<L>> {
        let Accepted { n, plan, reply } = accepted;
        let provider = step.rung.name();
        Ok(Raced::Delivered(self.deliver(n, provider, &step.model.id, plan, &reply).await?))
    }

    async fn lost(&self, step: &Step<'_>, failed: Failed) -> Result<(), Stopped<L>> {
        let most = self.most(step, &self.prepare(step));
        let provider = step.rung.name();
        self.close(failed.n, provider, &step.model.id, failed.error, None, most).await
    }

    /// Ends the attempt whose call was dropped. What it cost nobody will say.
    async fn dropped(&self, step: &Step<'_>, number: &Number) -> Result<(), Stopped<L>> {
        let Some(n) = number.get() else { return Ok(()) };
        let end = End {
            outcome: "cancelled",
            detail: "another provider was faster".to_owned(),
            http_status: None,
            request_id: None,
            retry_in: None,
            usage: Usage::default(),
            cost_micros: self.most(step, &self.prepare(step)),
            estimated: true,
        };
        count(step.rung.name(), &end);
        self.log.finished(n, &end).await.map_err(LadderError::Stopped)
    }

    /// Whether `backup` may be asked beside a slow provider, with its permit.
    async fn hedge<'s>(
        &self,
        backup: &'s Step<'_>,
        slice: Slice,
    ) -> Option<tokio::sync::SemaphorePermit<'s>> {
        let known_bad = self.ladder.gate.blocked(&backup.key).is_some();
        if known_bad || slice.left(Instant::now()) < self.ladder.policy.floor {
            return None;
        }
        let permit = backup.rung.enter(Instant::now()).await?;
        let admitted = self.ladder.gate.admit(&backup.key).await;
        let may = matches!(admitted, Admission::Call | Admission::Probe);
        let taken = may && self.ladder.hedges.take();
        if taken {
            let provider = backup.rung.name().as_str();
            metrics::counter!("regimen_provider_hedges_total", "provider" => provider).increment(1);
        }
        taken.then_some(permit)
    }
}
