//! Fallback: the requested provider first, then the configured order, until one
//! delivers, all have had their turn, or the deadline is reached.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::NaiveTime;
use rand::RngExt;
use rand::rngs::StdRng;
use regimen_common::clock::Clock;
use regimen_common::redis::Redis;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};

use super::breaker::{Admission, Breaker, Breakers};
use super::catalogue::{Catalogue, Resolved};
use super::config::FallbackConfig;
use super::http::Transport;
use super::log::{AttemptLog, Judge};
use super::outcome::{Delivered, FallbackError};
use super::paused::PausedProviders;
use super::policy::FallbackPolicy;
use super::run::{Asked, FallbackRun};
use super::slice::Slice;
use super::slot::ProviderSlot;
use super::{LazyPrompt, ProviderName, RawReply};

/// All providers of this worker, in order.
#[derive(Debug)]
pub struct Fallback {
    pub(crate) slots: Vec<ProviderSlot>,
    pub(crate) catalogue: Catalogue,
    pub(crate) breakers: Breakers,
    pub(crate) policy: FallbackPolicy,
    pub(crate) clock: Clock,
    rng: Mutex<StdRng>,
    /// The paused providers.
    pub paused: PausedProviders,
}

/// What blocks a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// Its breaker is open: its calls fail.
    Breaker,
    /// It asked to be called later.
    CoolDown,
}

/// One run: the request, the preferred provider, the deadline.
#[derive(Debug, Clone)]
pub struct Request {
    /// The prompt.
    pub prompt: Arc<LazyPrompt>,
    /// An upper bound of the size of the prompt with its schema, bytes: the highest cost
    /// is known before the prompt is built.
    pub prompt_bytes: usize,
    /// The highest number of tokens of the visible JSON; headroom for reasoning is added
    /// per model.
    pub output_tokens: u32,
    /// The provider that the user wants first.
    pub provider: Option<ProviderName>,
    /// The model the user wants from that provider.
    pub model: Option<String>,
    /// No call continues beyond this.
    pub deadline: Instant,
    /// A reply that an earlier run stored and did not judge.
    pub stored: Option<StoredReply>,
}

/// A paid reply from before a crash.
#[derive(Debug, Clone)]
pub struct StoredReply {
    /// Its attempt's number within the job.
    pub n: i32,
    /// Its provider.
    pub provider: ProviderName,
    /// The requested model.
    pub model: String,
    /// The raw reply.
    pub raw: RawReply,
}

/// A slot with the model to call there.
pub(crate) struct Step<'a> {
    pub(crate) slot: &'a ProviderSlot,
    pub(crate) model: Resolved,
    pub(crate) key: String,
    /// A warning about the requested model.
    pub(crate) warning: Option<String>,
    /// The model is configured or in the catalogue, and not only named by a job.
    pub(crate) known: bool,
}

impl Fallback {
    /// Calls `slots` in this order; cool-downs and breakers are shared through `redis`.
    pub fn new(
        slots: Vec<ProviderSlot>,
        catalogue: Catalogue,
        policy: FallbackPolicy,
        redis: Option<Redis>,
        clock: Clock,
        rng: StdRng,
    ) -> Self {
        let breakers = Breakers::new(redis, policy);
        Self {
            slots,
            catalogue,
            breakers,
            policy,
            clock,
            rng: Mutex::new(rng),
            paused: PausedProviders::default(),
        }
    }

    /// The slots of `settings`, for [`Fallback::new`].
    ///
    /// # Errors
    /// The HTTP client could not be set up.
    pub fn slots(
        settings: &FallbackConfig,
        clock: Clock,
    ) -> Result<Vec<ProviderSlot>, reqwest::Error> {
        Ok(Self::slots_over(settings, &Transport::new(clock)?))
    }

    /// As [`Fallback::slots`], over an existing HTTP client.
    pub fn slots_over(settings: &FallbackConfig, transport: &Transport) -> Vec<ProviderSlot> {
        let adapters = settings.connect(transport);
        let slots = adapters.into_iter().zip(&settings.slots).map(|(provider, settings)| {
            let key = settings.key.expose_secret().as_bytes();
            let configuration = [key, settings.base.as_str().as_bytes()];
            ProviderSlot::new(provider, settings.model.clone(), settings.limits, &configuration)
        });
        slots.collect()
    }

    /// The configured models by provider, for jobs that name none.
    pub fn models(&self) -> impl Iterator<Item = (ProviderName, &str)> {
        self.slots.iter().map(|slot| (slot.name(), slot.model.as_str()))
    }

    /// The model catalogue.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Sets the gauges of the configured models: the state of each breaker, as far as
    /// this process knows, and the remaining cool-down. Models that only jobs name have
    /// none; otherwise users could create unlimited metric labels.
    pub fn report(&self) {
        for slot in &self.slots {
            let (model, key) = self.configured(slot);
            let labels = [("provider", slot.name().as_str().to_owned()), ("model", model)];
            let breaker = self.breakers.breaker(&key);
            metrics::gauge!("regimen_provider_breaker", &labels).set(f64::from(breaker as u8));
            let cooling = self.breakers.cooling(&key).unwrap_or_default();
            metrics::gauge!("regimen_provider_cooling_seconds", &labels).set(cooling.as_secs_f64());
            if let Some(day) = self.catalogue.retires(&slot.model) {
                let end = day.and_time(NaiveTime::MIN).and_utc().timestamp();
                metrics::gauge!(
                    "regimen_model_retires_timestamp_seconds",
                    "provider" => slot.name().as_str(), "model" => slot.model.clone()
                )
                .set(end as f64);
            }
        }
    }

    /// The providers whose configured model is blocked, as far as this process knows, and
    /// by what.
    pub fn blocks(&self) -> HashMap<ProviderName, Block> {
        let block = |slot: &ProviderSlot| {
            let (_, key) = self.configured(slot);
            let is_open = self.breakers.breaker(&key) == Breaker::Open;
            let cooling = self.breakers.cooling(&key).map(|_| Block::CoolDown);
            Some((slot.name(), if is_open { Block::Breaker } else { cooling? }))
        };
        self.slots.iter().filter_map(block).collect()
    }

    /// The providers that this worker has a key for.
    pub fn providers(&self) -> impl Iterator<Item = ProviderName> {
        self.slots.iter().map(ProviderSlot::name)
    }

    /// Asks ahead whether the provider may be called that most jobs begin with.
    pub async fn look_ahead(&self) {
        let Some(slot) = self.slots.first() else { return };
        self.breakers.look(&self.configured(slot).1).await;
    }

    /// The model that a slot is configured with, and its key in cool-downs and breakers.
    fn configured(&self, slot: &ProviderSlot) -> (String, String) {
        let model = self.catalogue.resolve(&slot.model, self.clock.now().date_naive()).id;
        let key = slot.key(&model, self.paused.lifts(slot.name()));
        (model, key)
    }

    /// Calls providers until `judge` accepts a reply. Dropping the future closes the
    /// connection to the provider.
    ///
    /// # Errors
    /// As [`FallbackError`] lists them; every failed attempt is kept in it.
    pub async fn run<J: Judge, L: AttemptLog>(
        &self,
        request: &Request,
        judge: &J,
        log: &L,
    ) -> Result<Delivered<J::Plan>, FallbackError<L::Stop>> {
        let steps = self.steps(request);
        if steps.is_empty() {
            return Err(FallbackError::NoProvider);
        }
        let mut run = FallbackRun::new(self, request, judge, log);
        if let Some(delivered) = Box::pin(run.resume()).await? {
            return Ok(delivered);
        }
        let mut turns: Vec<&Step<'_>> = steps.iter().collect();
        loop {
            let (mut blocked, mut free_at) = (Vec::new(), None::<Instant>);
            let paused = |step: &Step<'_>| self.paused.contains(step.slot.name(), &step.model.id);
            let any_paused = turns.iter().any(|step| paused(step));
            for (index, step) in turns.iter().enumerate() {
                if paused(step) {
                    continue;
                }
                let behind = turns.iter().skip(index + 1).filter(|step| !paused(step));
                let behind: Vec<_> = behind.copied().collect();
                let Some(slice) = self.slice(&behind, request.deadline) else {
                    return Err(run.out_of_time());
                };
                match Box::pin(self.breakers.admit(&step.key)).await {
                    Admission::Call | Admission::Probe => {}
                    Admission::Cooling(wait) | Admission::Open(wait) => {
                        let at = Instant::now() + wait;
                        free_at = free_at.map_or(Some(at), |sooner| Some(at.min(sooner)));
                        blocked.push(*step);
                        continue;
                    }
                }
                match run.ask(step, slice).await? {
                    Asked::Delivered(delivered) => return Ok(delivered),
                    Asked::FellOver => {}
                    Asked::Settled(settled) => return Err(run.settled(settled)),
                }
            }
            match free_at {
                // A blocked provider has not had its turn: wait for it if there is time.
                Some(at) if at.max(Instant::now()) + self.policy.floor <= request.deadline => {
                    sleep_until(at).await;
                    turns = blocked;
                }
                // A paused provider may be called in another round.
                _ => return Err(run.all_failed(free_at.or(any_paused.then(Instant::now)))),
            }
        }
    }

    /// The share of a slot that has these `behind` it, blocked ones left out.
    fn slice(&self, behind: &[&Step<'_>], deadline: Instant) -> Option<Slice> {
        let free = behind.iter().filter(|step| self.breakers.blocked(&step.key).is_none()).count();
        Slice::first_of(1 + free, Instant::now(), deadline, &self.policy)
    }

    /// The slots in the order of this request.
    fn steps(&self, request: &Request) -> Vec<Step<'_>> {
        let wish = Wish::of(request, &self.catalogue);
        let today = self.clock.now().date_naive();
        let (first, others): (Vec<_>, Vec<_>) =
            self.slots.iter().partition(|slot| Some(slot.name()) == wish.provider);
        let mut steps: Vec<Step<'_>> = first
            .into_iter()
            .chain(others)
            .map(|slot| {
                let asked = wish.model_of(slot.name());
                let id = asked.unwrap_or(&slot.model);
                let model = self.catalogue.resolve(id, today);
                Step {
                    slot,
                    key: slot.key(&model.id, self.paused.lifts(slot.name())),
                    known: asked.is_none() || self.catalogue.model(id).is_some(),
                    warning: asked
                        .and_then(|id| self.catalogue.notice(id, today))
                        .map(|notice| notice.to_string()),
                    model,
                }
            })
            .collect();
        let unmet = wish.unmet(|name| steps.iter().any(|step| step.slot.name() == name));
        if let (Some(unmet), Some(step)) = (unmet, steps.first_mut()) {
            step.warning = Some(unmet);
        }
        steps
    }

    /// The highest output cap of `model`.
    pub(crate) fn max_output(&self, model: &str) -> u32 {
        self.catalogue.resolve(model, self.clock.now().date_naive()).max_output
    }

    /// A random number from 0 up to 1.
    pub(crate) fn jitter(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

/// The provider and model that a request names.
struct Wish<'a> {
    provider: Option<ProviderName>,
    model: Option<&'a str>,
    /// The provider of that model, if it is known.
    whose: Option<ProviderName>,
}

impl<'a> Wish<'a> {
    fn of(request: &'a Request, catalogue: &Catalogue) -> Self {
        let model = request.model.as_deref();
        let whose = model.and_then(|id| Some(catalogue.model(id)?.provider));
        Self { provider: request.provider.or(whose), model, whose }
    }

    /// The requested model for `name`. A model of another provider does not apply.
    fn model_of(&self, name: ProviderName) -> Option<&'a str> {
        let its = self.provider == Some(name) && self.whose.is_none_or(|whose| whose == name);
        self.model.filter(|_| its)
    }

    /// Why the wish cannot be met, if so, where the providers that `has` says are set.
    fn unmet(&self, has: impl Fn(ProviderName) -> bool) -> Option<String> {
        match (self.provider, self.model, self.whose) {
            (Some(name), _, _) if !has(name) => {
                Some(format!("{name} was asked for and has no key here; others are asked"))
            }
            (Some(name), Some(id), Some(whose)) if whose != name => {
                Some(format!("{id} is a model of {whose}, not of {name}; {name}'s own is asked"))
            }
            (None, Some(id), _) => {
                Some(format!("{id} is not known here and not asked; name its provider too"))
            }
            _ => None,
        }
    }
}
