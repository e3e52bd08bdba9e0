//! One attempt of a run: announce, call, store, parse, judge.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::join;
use regimen_common::telemetry::spans;
use tokio::time::Instant;
use tracing::Instrument;

use super::fallback::Step;
use super::log::{AttemptLog, Judge, Judgement, Start};
use super::outcome::FallbackError;
use super::reading::BYTES_PER_TOKEN;
use super::retry::{Health, hint, rule};
use super::run::{FallbackRun, Stopped};
use super::slice::Slice;
use super::usage::{Asked, Doubt};
use super::{Correction, GenerateRequest, ProviderError, ProviderName, Reply, interpret};

/// Replaces a model name that only the user knows, because it is the user's text.
pub(crate) const CUSTOM: &str = "custom";

/// A provider's name in OpenTelemetry's conventions.
fn in_conventions(provider: ProviderName) -> &'static str {
    match provider {
        ProviderName::Gemini => "gcp.gemini",
        other => other.as_str(),
    }
}

/// An attempt without an accepted reply.
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

impl<J: Judge, L: AttemptLog> FallbackRun<'_, J, L> {
    /// One call: announced, made, stored, parsed, judged.
    pub(super) async fn attempt(
        &self,
        step: &Step<'_>,
        request: &GenerateRequest,
        slice: Slice,
    ) -> Result<Result<Accepted<J::Plan>, Failed>, Stopped<L>> {
        let provider = step.slot.name();
        let most_micros = self.most(step, request);
        let (model, warning) = (step.model.id.clone(), step.warning.clone());
        let known = step.known;
        let start = Start { provider, model, known, most_micros, warning };
        let span = spans::attempt(
            in_conventions(provider),
            if known { &step.model.id } else { CUSTOM },
            request.max_output_tokens,
        );
        // The prompt and the body around it are built while the stores are working.
        let prepare = async {
            request.prompt.write().await;
            let call = step.slot.provider.prepare(request);
            request.prompt.forget();
            call
        };
        let announced = Box::pin(async { join!(self.log.started(&start), prepare) });
        let (n, call) = announced.await;
        let n = n.map_err(FallbackError::Stopped)?;
        self.calls.fetch_add(1, Ordering::Relaxed);
        let begun = Instant::now();
        let timeouts = slice.timeouts(begun, &self.fallback.policy);
        let mut read = match call(timeouts).instrument(span.clone()).await {
            Ok(raw) => {
                Box::pin(self.log.replied(n, &raw)).await.map_err(FallbackError::Stopped)?;
                interpret(provider, &raw)
            }
            Err(error) => Err(error),
        };
        self.put_in_bounds(provider, self.asked(request), &mut read);
        match &read {
            Ok(Reply { model, finish, usage, .. }) => {
                let model = if known { model } else { CUSTOM };
                spans::replied(&span, model, finish, usage.input, usage.output);
            }
            Err(error) => spans::failed(&span, error.class()),
        }
        drop(span);
        self.remember_refusals(step, request, &read);
        Box::pin(self.note_health(step, request, read.as_ref().err(), begun.elapsed())).await;
        let judged = match read {
            Ok(reply) => Box::pin(self.judged(reply)).await,
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
        match self.judge.judge(&reply).instrument(spans::verify()).await {
            Judgement::Accept(plan) => Ok((plan, reply)),
            Judgement::Invalid(detail) => Err((invalid(&detail), None)),
            Judgement::Correct(instruction) => {
                let error = invalid(&instruction);
                Err((error, Some(Correction { previous: reply.text, instruction })))
            }
        }
    }

    /// Bounds the counts of a reply by what was sent and requested.
    pub(super) fn put_in_bounds(
        &self,
        provider: ProviderName,
        asked: Asked,
        read: &mut Result<Reply, ProviderError>,
    ) {
        let usage = match read {
            Ok(reply) => Some(&mut reply.usage),
            Err(error) => error.usage_mut(),
        };
        let Some(usage) = usage else { return };
        let (bounded, doubt) = usage.within(asked);
        let stated = std::mem::replace(usage, bounded);
        let Some(doubt) = doubt else { return };
        let (provider, reason) = (provider.as_str(), doubt.as_str());
        metrics::counter!("regimen_provider_usage_doubted_total", "provider" => provider, "reason" => reason)
            .increment(1);
        if doubt == Doubt::Beyond {
            metrics::counter!("regimen_provider_alerts_total", "provider" => provider, "class" => "usage")
                .increment(1);
            tracing::error!(
                provider,
                input = stated.input,
                output = stated.output,
                cap = asked.cap,
                "a provider counts more tokens than were sent or asked for; an estimate counts instead"
            );
        }
    }

    /// Remembers which part of the request a host refuses, for later calls.
    fn remember_refusals(
        &self,
        step: &Step<'_>,
        request: &GenerateRequest,
        read: &Result<Reply, ProviderError>,
    ) {
        use ProviderError::{Empty, Invalid, Refused, Truncated};
        // Not a declined request: whoever moderates need not have read the rest.
        let answered = matches!(
            read,
            Ok(_) | Err(Empty { .. } | Invalid { .. } | Refused { .. } | Truncated { .. })
        );
        if request.without.is_empty() || !answered {
            return;
        }
        if step.slot.refused.remember(&request.model, request.without) {
            let provider = step.slot.name().as_str();
            metrics::counter!("regimen_provider_features_refused_total", "provider" => provider)
                .increment(1);
            tracing::warn!(
                provider, model = self.known(&request.model), without = ?request.without,
                "a host refuses parts of our requests; it is asked without them from now on"
            );
        }
    }

    async fn note_health(
        &self,
        step: &Step<'_>,
        request: &GenerateRequest,
        error: Option<&ProviderError>,
        took: Duration,
    ) {
        let provider = step.slot.name().as_str();
        metrics::histogram!("regimen_provider_call_seconds", "provider" => provider)
            .record(took.as_secs_f64());
        let Some(error) = error else {
            self.fallback.breakers.record(&step.key, Health::Fine, None).await;
            return;
        };
        let (rule, class) = (rule(error), error.class());
        // An unknown model that only a user named is not a fault of the provider.
        let wish = !step.known && matches!(error, ProviderError::ModelNotFound(_));
        // A refused part is left out, and reported once.
        let amends = error.refused(request.without).is_some();
        if rule.alert && !wish && !amends {
            metrics::counter!("regimen_provider_alerts_total", "provider" => provider, "class" => class).increment(1);
            let reply = error.reply();
            // Without the provider's text, which is in the attempt's row: it may quote
            // the quiz.
            tracing::error!(
                provider,
                class,
                status = reply.map(|reply| reply.status),
                model = self.known(&step.model.id),
                "a provider needs attention"
            );
        }
        self.fallback.breakers.record(&step.key, rule.health, hint(error)).await;
    }

    /// What `request` sends and requests.
    fn asked(&self, request: &GenerateRequest) -> Asked {
        let correction = request.correction.as_ref();
        let extra = correction.map_or(0, |turn| turn.previous.len() + turn.instruction.len());
        let prompt_bytes = self.request.prompt_bytes + extra;
        Asked { prompt_bytes, cap: request.max_output_tokens }
    }

    /// The highest cost of this call.
    pub(super) fn most(&self, step: &Step<'_>, request: &GenerateRequest) -> u64 {
        let bytes = self.asked(request).prompt_bytes;
        let input = u64::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u64::MAX);
        self.fallback.catalogue.most_micros(&step.model.id, input, request.max_output_tokens)
    }
}
