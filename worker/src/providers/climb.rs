//! One run on the ladder: the attempts at a provider, and what they leave
//! behind for the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::error::Billed;
use super::fallback::{Ladder, Request, Step, StoredReply};
use super::gate::Admission;
use super::log::{AttemptFailure, AttemptLog, End, Judge, Judgement, Start};
use super::outcome::{Delivered, LadderError};
use super::retry::{Health, Next, Settled, Standing, decide, hint, rule};
use super::slice::Slice;
use super::{Correction, GenerateRequest, Prompt, ProviderError, ProviderName, Reply, interpret};

/// Characters per token, low on purpose: an estimate must not be too small.
const CHARS_PER_TOKEN: usize = 3;

/// What became of asking one provider.
pub(crate) enum Asked<T> {
    Delivered(Delivered<T>),
    FellOver,
    Settled(Settled),
}

/// The state of a run.
pub(crate) struct Climb<'a, J, L> {
    ladder: &'a Ladder,
    request: &'a Request,
    judge: &'a J,
    log: &'a L,
    previous: Option<ProviderName>,
    settled: Vec<Settled>,
    failures: Vec<AttemptFailure>,
    calls: u32,
    /// This worker's own limits left no turn at some provider.
    crowded: bool,
}

/// What has been tried at one provider.
#[derive(Default)]
struct Tries {
    calls: u32,
    repeated: bool,
    raised: bool,
    corrected: bool,
}

/// An attempt that brought a reply nobody accepted, or none.
struct Failed {
    n: i32,
    error: ProviderError,
    correction: Option<Correction>,
}

type Stopped<L> = LadderError<<L as AttemptLog>::Stop>;

impl<'a, J: Judge, L: AttemptLog> Climb<'a, J, L> {
    pub(crate) fn new(ladder: &'a Ladder, request: &'a Request, judge: &'a J, log: &'a L) -> Self {
        let (settled, failures) = (Vec::new(), Vec::new());
        Self {
            ladder,
            request,
            judge,
            log,
            previous: None,
            settled,
            failures,
            calls: 0,
            crowded: false,
        }
    }

    /// Judges the reply an earlier run left behind.
    pub(crate) async fn resume(&mut self) -> Result<Option<Delivered<J::Plan>>, Stopped<L>> {
        let request = self.request;
        let Some(StoredReply { n, provider, model, raw }) = &request.stored else {
            return Ok(None);
        };
        let verdict = match interpret(*provider, raw) {
            Ok(reply) => self.judged(reply).await,
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

    /// Asks one provider, as often as the retry table says.
    pub(crate) async fn ask(
        &mut self,
        step: &Step<'_>,
        slice: Slice,
    ) -> Result<Asked<J::Plan>, Stopped<L>> {
        let provider = step.rung.name();
        if let Some(from) = self.previous.replace(provider).filter(|from| *from != provider) {
            self.log.fell_back(from, provider).await.map_err(LadderError::Stopped)?;
        }
        let mut request = prepare(&self.request.prompt, step);
        let mut tries = Tries::default();
        loop {
            let Some(permit) = step.rung.enter(slice.until()).await else {
                self.crowded = true;
                return Ok(Asked::FellOver);
            };
            let failed = match self.attempt(step, &request, slice).await? {
                Ok(delivered) => return Ok(Asked::Delivered(delivered)),
                Err(failed) => failed,
            };
            drop(permit);
            tries.calls += 1;
            let most = self.most(step, &request);
            let next = self.next(&failed, &mut tries, &mut request, step, slice);
            let retry_in = match next {
                Next::Again(wait) => Some(wait),
                Next::Raise => Some(Duration::ZERO),
                Next::FallOver | Next::End(_) => None,
            };
            self.close(failed.n, provider, &step.model.id, failed.error, retry_in, most).await?;
            match next {
                Next::Again(wait) => sleep(wait).await,
                Next::Raise => {}
                Next::FallOver => return Ok(Asked::FellOver),
                Next::End(settled) => return Ok(Asked::Settled(settled)),
            }
            if !self.admitted_again(step, slice).await {
                return Ok(Asked::FellOver);
            }
        }
    }

    /// One call: announced, made, stored, read, judged.
    async fn attempt(
        &mut self,
        step: &Step<'_>,
        request: &GenerateRequest,
        slice: Slice,
    ) -> Result<Result<Delivered<J::Plan>, Failed>, Stopped<L>> {
        let provider = step.rung.name();
        let model = &step.model.id;
        let start = Start { provider, model: model.clone(), most_micros: self.most(step, request) };
        let n = self.log.started(&start).await.map_err(LadderError::Stopped)?;
        self.calls += 1;
        let begun = Instant::now();
        let timeouts = slice.timeouts(begun, &self.ladder.policy);
        let read = match step.rung.provider.call(request, timeouts).await {
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
        match judged {
            Ok((plan, reply)) => Ok(Ok(self.deliver(n, provider, model, plan, &reply).await?)),
            Err((error, correction)) => Ok(Err(Failed { n, error, correction })),
        }
    }

    async fn judged(
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

    /// Decides the next step and prepares the request for it.
    fn next(
        &mut self,
        failed: &Failed,
        tries: &mut Tries,
        request: &mut GenerateRequest,
        step: &Step<'_>,
        slice: Slice,
    ) -> Next {
        let policy = &self.ladder.policy;
        let settles = match rule(&failed.error).again {
            super::retry::Again::Settled(settled) => Some(settled),
            _ => None,
        };
        let standing = Standing {
            calls: tries.calls,
            // A corrected reply that is wrong again had its repeat.
            repeated: tries.repeated || tries.corrected,
            raised: tries.raised,
            can_raise: request.max_output_tokens < step.model.max_output,
            confirmed: settles.is_some_and(|settled| self.settled.contains(&settled)),
            left: slice.left(Instant::now()),
        };
        let next = decide(&failed.error, standing, policy, self.ladder.jitter());
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
            (_, Next::FallOver) => self.settled.extend(settles),
            (_, Next::Again(_) | Next::End(_)) => {}
        }
        next
    }

    /// Another worker may have learned something while we waited.
    async fn admitted_again(&self, step: &Step<'_>, slice: Slice) -> bool {
        loop {
            match self.ladder.gate.admit(&step.key).await {
                Admission::Call | Admission::Probe => return true,
                Admission::Cooling(wait)
                    if wait + self.ladder.policy.floor <= slice.left(Instant::now()) =>
                {
                    sleep(wait).await;
                }
                Admission::Cooling(_) | Admission::Open(_) => return false,
            }
        }
    }

    async fn note_health(&self, step: &Step<'_>, error: Option<&ProviderError>, took: Duration) {
        let provider = step.rung.name().as_str();
        let class = error.map_or("ok", ProviderError::class);
        metrics::counter!("regimen_provider_attempts_total", "provider" => provider, "class" => class).increment(1);
        metrics::histogram!("regimen_provider_call_seconds", "provider" => provider)
            .record(took.as_secs_f64());
        let Some(error) = error else {
            step.rung.latency.record(took);
            self.ladder.gate.record(&step.key, Health::Fine, None).await;
            return;
        };
        let rule = rule(error);
        if rule.alert {
            metrics::counter!("regimen_provider_alerts_total", "provider" => provider, "class" => class).increment(1);
            tracing::error!(provider, class, model = step.model.id, %error, "a provider needs attention");
        }
        self.ladder.gate.record(&step.key, rule.health, hint(error)).await;
    }

    /// Logs a failed attempt and keeps it.
    async fn close(
        &mut self,
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
                end.cost_micros = self.ladder.catalogue.cost_micros(model, &usage);
            }
            Billed::Unknown => {
                end.cost_micros = most_micros;
                end.estimated = true;
            }
        }
        tracing::info!(
            n,
            provider = provider.as_str(),
            model,
            class = end.outcome,
            detail = end.detail,
            request_id = end.request_id,
            "attempt failed"
        );
        self.log.finished(n, &end).await.map_err(LadderError::Stopped)?;
        self.failures.push(AttemptFailure { n, provider, model: model.to_owned(), error });
        Ok(())
    }

    async fn deliver(
        &mut self,
        n: i32,
        provider: ProviderName,
        model: &str,
        plan: J::Plan,
        reply: &Reply,
    ) -> Result<Delivered<J::Plan>, Stopped<L>> {
        let cost = self.ladder.catalogue.cost_micros(model, &reply.usage);
        self.log.finished(n, &End::ok(reply, cost)).await.map_err(LadderError::Stopped)?;
        tracing::info!(
            n,
            provider = provider.as_str(),
            model,
            cost_micros = cost,
            request_id = reply.request_id,
            "a provider delivered"
        );
        let failures = std::mem::take(&mut self.failures);
        let (model, usage, calls) = (model.to_owned(), reply.usage, self.calls);
        Ok(Delivered { plan, provider, model, n, usage, calls, failures })
    }

    /// The most this call can cost.
    fn most(&self, step: &Step<'_>, request: &GenerateRequest) -> u64 {
        let prompt = &request.prompt;
        let correction = request.correction.as_ref();
        let extra = correction.map_or(0, |turn| turn.previous.len() + turn.instruction.len());
        let chars =
            prompt.system.len() + prompt.user.len() + prompt.schema.to_string().len() + extra;
        let input = u64::try_from(chars / CHARS_PER_TOKEN).unwrap_or(u64::MAX);
        self.ladder.catalogue.most_micros(&step.model.id, input, request.max_output_tokens)
    }

    pub(crate) fn out_of_time(&mut self) -> Stopped<L> {
        LadderError::DeadlineExceeded { failures: std::mem::take(&mut self.failures) }
    }

    pub(crate) fn settled(&mut self, settled: Settled) -> Stopped<L> {
        LadderError::settled(settled, std::mem::take(&mut self.failures))
    }

    pub(crate) fn all_failed(&mut self, free_in: Option<Duration>) -> Stopped<L> {
        let free_in = free_in.or(self.crowded.then_some(Duration::ZERO));
        LadderError::all_failed(std::mem::take(&mut self.failures), free_in)
    }
}

fn prepare(prompt: &Arc<Prompt>, step: &Step<'_>) -> GenerateRequest {
    let cap = prompt.output_estimate.saturating_add(step.model.headroom);
    GenerateRequest {
        prompt: Arc::clone(prompt),
        model: step.model.id.clone(),
        max_output_tokens: cap.min(step.model.max_output),
        reasoning: step.model.reasoning.clone(),
        correction: None,
    }
}
