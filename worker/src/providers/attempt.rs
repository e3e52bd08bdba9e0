//! One attempt of a run: announced, called, stored, read, judged.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use futures_util::join;
use tokio::time::Instant;

use super::climb::{Climb, Stopped};
use super::fallback::Step;
use super::log::{AttemptLog, Judge, Judgement, Start};
use super::outcome::LadderError;
use super::retry::{Health, hint, rule};
use super::slice::Slice;
use super::{Correction, GenerateRequest, ProviderError, Reply, interpret};

/// Low on purpose: an estimate of tokens must not be too small.
const BYTES_PER_TOKEN: usize = 3;

/// An attempt that brought a reply nobody accepted, or none.
pub(super) struct Failed {
    pub(super) n: i32,
    pub(super) error: ProviderError,
    pub(super) correction: Option<Correction>,
}

/// An attempt whose reply was accepted.
pub(super) struct Accepted<T> {
    pub(super) n: i32,
    pub(super) plan: T,
    pub(super) reply: Reply,
}

/// The number of an attempt, for whoever may have to end it from outside; 0 until it has one.
#[derive(Default)]
pub(super) struct Number(AtomicI32);

impl Number {
    pub(super) fn get(&self) -> Option<i32> {
        Some(self.0.load(Ordering::Relaxed)).filter(|n| *n != 0)
    }
}

impl<J: Judge, L: AttemptLog> Climb<'_, J, L> {
    /// One call: announced, made, stored, read, judged.
    pub(super) async fn attempt(
        &self,
        step: &Step<'_>,
        request: &GenerateRequest,
        slice: Slice,
        number: &Number,
    ) -> Result<Result<Accepted<J::Plan>, Failed>, Stopped<L>> {
        let provider = step.rung.name();
        let most_micros = self.most(step, request);
        let (model, warning) = (step.model.id.clone(), step.warning.clone());
        let start = Start { provider, model, most_micros, warning };
        // The prompt and the body around it are written while the stores are at work.
        let prepare = async {
            request.prompt.write().await;
            step.rung.provider.prepare(request)
        };
        let (n, call) = join!(self.log.started(&start), prepare);
        let n = n.map_err(LadderError::Stopped)?;
        number.0.store(n, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let timeouts = slice.timeouts(begun, &self.ladder.policy);
        let read = match call(timeouts).await {
            Ok(raw) => {
                self.log.replied(n, &raw).await.map_err(LadderError::Stopped)?;
                interpret(provider, &raw)
            }
            Err(error) => Err(error),
        };
        self.note_health(step, read.as_ref().err(), begun.elapsed()).await;
        let judged = match read {
            Ok(reply) => self.judged(reply).await,
            Err(error) => Err((error, None)),
        };
        Ok(match judged {
            Ok((plan, reply)) => Ok(Accepted { n, plan, reply }),
            Err((error, correction)) => Err(Failed { n, error, correction }),
        })
    }

    pub(super) async fn judged(
        &self,
        reply: Reply,
    ) -> Result<(J::Plan, Reply), (ProviderError, Option<Correction>)> {
        let invalid = |detail: &str| ProviderError::Invalid {
            detail: super::error::cut_short(detail, 400),
            usage: reply.usage,
        };
        match self.judge.judge(&reply).await {
            Judgement::Accept(plan) => Ok((plan, reply)),
            Judgement::Invalid(detail) => Err((invalid(&detail), None)),
            Judgement::Correct(instruction) => {
                let error = invalid(&instruction);
                Err((error, Some(Correction { previous: reply.text, instruction })))
            }
        }
    }

    async fn note_health(&self, step: &Step<'_>, error: Option<&ProviderError>, took: Duration) {
        let provider = step.rung.name().as_str();
        metrics::histogram!("regimen_provider_call_seconds", "provider" => provider)
            .record(took.as_secs_f64());
        let Some(error) = error else {
            step.rung.latency.record(took);
            self.ladder.gate.record(&step.key, Health::Fine, None).await;
            return;
        };
        let (rule, class) = (rule(error), error.class());
        // A model nobody but a user has heard of is no fault of the provider's.
        let wish = !step.known && matches!(error, ProviderError::ModelNotFound(_));
        if rule.alert && !wish {
            metrics::counter!("regimen_provider_alerts_total", "provider" => provider, "class" => class).increment(1);
            tracing::error!(provider, class, model = step.model.id, %error, "a provider needs attention");
        }
        self.ladder.gate.record(&step.key, rule.health, hint(error)).await;
    }

    /// The most this call can cost.
    pub(super) fn most(&self, step: &Step<'_>, request: &GenerateRequest) -> u64 {
        let correction = request.correction.as_ref();
        let extra = correction.map_or(0, |turn| turn.previous.len() + turn.instruction.len());
        let bytes = self.request.prompt_bytes + extra;
        let input = u64::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u64::MAX);
        self.ladder.catalogue.most_micros(&step.model.id, input, request.max_output_tokens)
    }
}
