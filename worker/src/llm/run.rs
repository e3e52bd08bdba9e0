//! The state of one fallback run: the attempts at a provider, and what the next
//! provider needs to know of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::attempt::{Accepted, Failed};
use super::breaker::Admission;
use super::error::{Billed, Fault};
use super::fallback::{Fallback, Request, Step, StoredReply};
use super::log::{AttemptFailure, AttemptLog, End, Judge};
use super::outcome::{Delivered, FallbackError};
use super::retry::{Next, Settled, Standing, decide};
use super::slice::Slice;
use super::usage::Asked as AskedFor;
use super::{GenerateRequest, ProviderError, ProviderName, Reply, interpret};

/// The result of calling one provider.
pub(crate) enum Asked<T> {
    Delivered(Delivered<T>),
    FellOver,
    Settled(Settled),
}

/// The state of a run.
pub(crate) struct FallbackRun<'a, J, L> {
    pub(super) fallback: &'a Fallback,
    pub(super) request: &'a Request,
    pub(super) judge: &'a J,
    pub(super) log: &'a L,
    previous: Option<ProviderName>,
    /// The faults that providers found in the request itself.
    faults: Vec<Fault>,
    failures: Mutex<Vec<AttemptFailure>>,
    pub(super) calls: AtomicU32,
    /// This worker's own limits allowed no call to some provider.
    crowded: bool,
}

/// The tries at one provider.
#[derive(Default)]
struct Tries {
    calls: u32,
    repeated: bool,
    raised: bool,
    corrected: bool,
}

/// The log's reason to stop, as the run's error.
pub(super) type Stopped<L> = FallbackError<<L as AttemptLog>::Stop>;

impl<'a, J: Judge, L: AttemptLog> FallbackRun<'a, J, L> {
    pub(crate) fn new(
        fallback: &'a Fallback,
        request: &'a Request,
        judge: &'a J,
        log: &'a L,
    ) -> Self {
        let (faults, failures) = (Vec::new(), Mutex::default());
        Self {
            fallback,
            request,
            judge,
            log,
            previous: None,
            faults,
            failures,
            calls: AtomicU32::new(0),
            crowded: false,
        }
    }

    /// Judges the reply that an earlier run stored.
    pub(crate) async fn resume(&self) -> Result<Option<Delivered<J::Plan>>, Stopped<L>> {
        let request = self.request;
        let Some(StoredReply { n, provider, model, raw }) = &request.stored else {
            return Ok(None);
        };
        let mut read = interpret(*provider, raw);
        let cap = self.fallback.max_output(model);
        let asked = AskedFor { prompt_bytes: request.prompt_bytes, cap };
        self.put_in_bounds(*provider, asked, &mut read);
        let verdict = match read {
            Ok(reply) => Box::pin(self.judged(reply)).await,
            Err(error) => Err((error, None)),
        };
        match verdict {
            Ok((plan, reply)) => Ok(Some(self.deliver(*n, *provider, model, plan, &reply).await?)),
            Err((error, _)) => {
                self.close(*n, *provider, model, error, None, 0).await?;
                Ok(None)
            }
        }
    }

    /// Calls one provider, as often as the retry table allows.
    pub(crate) async fn ask(
        &mut self,
        step: &Step<'_>,
        slice: Slice,
    ) -> Result<Asked<J::Plan>, Stopped<L>> {
        let provider = step.slot.name();
        if let Some(from) = self.previous.replace(provider).filter(|from| *from != provider) {
            let told = Box::pin(self.log.fell_back(from, provider));
            told.await.map_err(FallbackError::Stopped)?;
        }
        if let Some(warning) = &step.warning {
            metrics::counter!("regimen_model_warnings_total", "provider" => provider.as_str())
                .increment(1);
            tracing::warn!(provider = provider.as_str(), warning, "about the model of a job");
        }
        let mut request = self.prepare(step);
        let mut tries = Tries::default();
        loop {
            let Some(permit) = step.slot.enter(self.latest(slice)).await else {
                self.crowded = true;
                return Ok(Asked::FellOver);
            };
            let failed = match self.attempt(step, &request, slice).await? {
                Ok(Accepted { n, plan, reply }) => {
                    let model = &step.model.id;
                    let delivered = Box::pin(self.deliver(n, provider, model, plan, &reply));
                    return Ok(Asked::Delivered(delivered.await?));
                }
                Err(failed) => failed,
            };
            drop(permit);
            tries.calls += 1;
            let most = self.most(step, &request);
            let next = self.next(&failed, &mut tries, &mut request, step, slice);
            let retry_in = match next {
                Next::Again(wait) => Some(wait),
                Next::Raise | Next::Amend => Some(Duration::ZERO),
                Next::FallOver | Next::End(_) => None,
            };
            let (n, model) = (failed.n, &step.model.id);
            Box::pin(self.close(n, provider, model, failed.error, retry_in, most)).await?;
            match next {
                Next::Again(wait) => sleep(wait).await,
                Next::Raise | Next::Amend => {}
                Next::FallOver => return Ok(Asked::FellOver),
                Next::End(settled) => return Ok(Asked::Settled(settled)),
            }
            if !Box::pin(self.admitted_again(step, slice)).await {
                return Ok(Asked::FellOver);
            }
        }
    }

    /// The latest start of a call: one that waited for this worker's own limits must not
    /// fail for want of time, which would count against the provider.
    fn latest(&self, slice: Slice) -> Instant {
        let until = slice.until();
        until.checked_sub(self.fallback.policy.floor).unwrap_or(until)
    }

    /// The first request to a provider.
    pub(super) fn prepare(&self, step: &Step<'_>) -> GenerateRequest {
        let cap = self.request.output_tokens.saturating_add(step.model.headroom);
        GenerateRequest {
            prompt: Arc::clone(&self.request.prompt),
            model: step.model.id.clone(),
            max_output_tokens: cap.min(step.model.max_output),
            reasoning: step.model.reasoning.clone(),
            correction: None,
            without: step.slot.refused.of(&step.model.id),
        }
    }

    /// Decides the next step and prepares the request for it.
    fn next(
        &mut self,
        failed: &Failed,
        tries: &mut Tries,
        request: &mut GenerateRequest,
        step: &Step<'_>,
        slice: Slice,
    ) -> Next {
        let policy = &self.fallback.policy;
        let fault = failed.error.fault();
        let refused = failed.error.refused(request.without);
        let standing = Standing {
            calls: tries.calls,
            // A corrected reply that is invalid again counts as its repeat.
            repeated: tries.repeated || tries.corrected,
            raised: tries.raised,
            can_raise: request.max_output_tokens < step.model.max_output,
            refused: refused.is_some(),
            confirmed: fault.as_ref().is_some_and(|fault| self.faults.contains(fault)),
            left: slice.left(Instant::now()),
        };
        let next = decide(&failed.error, standing, policy, self.fallback.jitter());
        match (&failed.error, next) {
            (ProviderError::Invalid { .. }, Next::Again(_)) => match &failed.correction {
                Some(correction) => {
                    tries.corrected = true;
                    request.correction = Some(correction.clone());
                }
                None => tries.repeated = true,
            },
            (_, Next::Raise) => {
                tries.raised = true;
                let doubled = request.max_output_tokens.saturating_mul(2);
                request.max_output_tokens = doubled.min(step.model.max_output);
            }
            (_, Next::Amend) => {
                // It does not count as a call: nothing was generated or paid.
                tries.calls -= 1;
                request.without = refused.map_or(request.without, |part| request.without.and(part));
            }
            (_, Next::FallOver) => self.faults.extend(fault),
            (_, Next::Again(_) | Next::End(_)) => {}
        }
        next
    }

    /// Another worker may have changed the state meanwhile.
    async fn admitted_again(&self, step: &Step<'_>, slice: Slice) -> bool {
        loop {
            match self.fallback.breakers.admit(&step.key).await {
                Admission::Call | Admission::Probe => return true,
                Admission::Cooling(wait)
                    if wait + self.fallback.policy.floor <= slice.left(Instant::now()) =>
                {
                    sleep(wait).await;
                }
                Admission::Cooling(_) | Admission::Open(_) => return false,
            }
        }
    }

    /// Logs a failed attempt and keeps it.
    pub(super) async fn close(
        &self,
        n: i32,
        provider: ProviderName,
        model: &str,
        error: ProviderError,
        retry_in: Option<Duration>,
        most_micros: u64,
    ) -> Result<(), Stopped<L>> {
        let mut end = End::failed(&error, retry_in);
        match error.billed() {
            Billed::Nothing => {}
            Billed::Tokens(usage) => {
                end.usage = usage;
                end.estimated = usage.estimated;
                end.cost_micros = self.fallback.catalogue.cost_micros(model, &usage);
            }
            Billed::Unknown => {
                end.cost_micros = most_micros;
                end.estimated = true;
            }
        }
        count(provider, &end);
        // Without the detail, which is in the attempt's row: it may quote the quiz.
        tracing::info!(
            n,
            provider = provider.as_str(),
            model = self.known(model),
            class = end.outcome,
            request_id = end.request_id,
            "attempt failed"
        );
        self.log.finished(n, &end).await.map_err(FallbackError::Stopped)?;
        let failure = AttemptFailure { n, provider, model: model.to_owned(), error };
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
        Ok(())
    }

    pub(super) async fn deliver(
        &self,
        n: i32,
        provider: ProviderName,
        model: &str,
        plan: J::Plan,
        reply: &Reply,
    ) -> Result<Delivered<J::Plan>, Stopped<L>> {
        let cost = self.fallback.catalogue.cost_micros(model, &reply.usage);
        let end = End::ok(reply, cost);
        count(provider, &end);
        self.log.finished(n, &end).await.map_err(FallbackError::Stopped)?;
        tracing::info!(
            n,
            provider = provider.as_str(),
            model = self.known(model),
            cost_micros = cost,
            request_id = reply.request_id,
            "a provider delivered"
        );
        let failures = self.take_failures();
        let (model, usage, calls) =
            (model.to_owned(), reply.usage, self.calls.load(Ordering::Relaxed));
        Ok(Delivered { plan, provider, model, n, usage, calls, failures })
    }

    /// The model's name in the log: names that only a client knows are replaced.
    pub(super) fn known<'m>(&self, model: &'m str) -> &'m str {
        let is_set = self.fallback.models().any(|(_, set)| set == model);
        if is_set || self.fallback.catalogue.model(model).is_some() { model } else { "custom" }
    }

    fn take_failures(&self) -> Vec<AttemptFailure> {
        std::mem::take(&mut self.failures.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn out_of_time(&self) -> Stopped<L> {
        FallbackError::DeadlineExceeded { failures: self.take_failures() }
    }

    pub(crate) fn settled(&self, settled: Settled) -> Stopped<L> {
        FallbackError::settled(settled, self.take_failures())
    }

    pub(crate) fn all_failed(&self, free_at: Option<Instant>) -> Stopped<L> {
        let free_in = free_at.map(|at| at.saturating_duration_since(Instant::now()));
        let free_in = free_in.or(self.crowded.then_some(Duration::ZERO));
        FallbackError::all_failed(self.take_failures(), free_in)
    }
}

/// Counts an ended attempt, with the values of the ledger.
pub(super) fn count(provider: ProviderName, end: &End) {
    let (provider, class) = (provider.as_str(), end.outcome);
    metrics::counter!("regimen_provider_attempts_total", "provider" => provider, "class" => class)
        .increment(1);
    metrics::counter!("regimen_provider_cost_micros_total", "provider" => provider)
        .increment(end.cost_micros);
    let usage = &end.usage;
    let tokens = [
        ("input", usage.input),
        ("cached_input", usage.cached),
        ("output", usage.output),
        ("reasoning", usage.reasoning),
    ];
    for (of, tokens) in tokens {
        metrics::counter!("regimen_provider_tokens_total", "provider" => provider, "type" => of)
            .increment(tokens);
    }
}
