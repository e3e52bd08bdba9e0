//! The ladder: the requested provider first, then the configured order, until
//! one delivers, all had their turn, or the time is up.

use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use rand::rngs::StdRng;
use regimen_common::clock::Clock;
use regimen_common::kv::Kv;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep_until};

use super::catalogue::{Catalogue, Resolved};
use super::climb::{Asked, Climb};
use super::gate::{Admission, Gate};
use super::hedge::HedgeBudget;
use super::http::Transport;
use super::log::{AttemptLog, Judge};
use super::outcome::{Delivered, LadderError};
use super::policy::Policy;
use super::rests::Rests;
use super::rung::Rung;
use super::settings::LadderSettings;
use super::slice::Slice;
use super::{LazyPrompt, ProviderName, RawReply};

/// All providers of this worker, in order.
#[derive(Debug)]
pub struct Ladder {
    rungs: Vec<Rung>,
    pub(crate) catalogue: Catalogue,
    pub(crate) gate: Gate,
    pub(crate) policy: Policy,
    clock: Clock,
    rng: Mutex<StdRng>,
    pub(crate) hedges: HedgeBudget,
    /// Who is left out for now.
    pub rests: Rests,
}

/// One run: what to ask, whom first, until when.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub prompt: Arc<LazyPrompt>,
    /// The prompt with its schema is not longer, bytes: what it can cost is
    /// known before it is written.
    pub prompt_bytes: usize,
    /// Tokens the visible JSON needs at most; head-room for reasoning is added per model.
    pub output_tokens: u32,
    /// Whom the user wants asked first.
    pub provider: Option<ProviderName>,
    /// The model the user wants from that provider.
    pub model: Option<String>,
    /// No call goes on beyond this.
    pub deadline: Instant,
    /// A reply that was stored by an earlier run and never judged.
    pub stored: Option<StoredReply>,
}

/// A paid reply from before a crash.
#[derive(Debug, Clone)]
pub struct StoredReply {
    /// Its attempt's number within the job.
    pub n: i32,
    /// Who wrote it.
    pub provider: ProviderName,
    /// The model that was asked.
    pub model: String,
    /// The reply itself.
    pub raw: RawReply,
}

/// A rung with the model to ask there.
pub(crate) struct Step<'a> {
    pub(crate) rung: &'a Rung,
    pub(crate) model: Resolved,
    pub(crate) key: String,
    /// What has to be said about the model the job asked for.
    pub(crate) warning: Option<String>,
    /// The model is set or listed here, and not only what some job asks for.
    pub(crate) known: bool,
}

impl Ladder {
    /// A ladder over `rungs`, in this order; cool-downs and breakers are shared through `kv`.
    pub fn new(
        rungs: Vec<Rung>,
        catalogue: Catalogue,
        policy: Policy,
        kv: Option<Kv>,
        clock: Clock,
        rng: StdRng,
    ) -> Self {
        let gate = Gate::new(kv, policy);
        Self {
            rungs,
            catalogue,
            gate,
            policy,
            clock,
            rng: Mutex::new(rng),
            hedges: HedgeBudget::default(),
            rests: Rests::default(),
        }
    }

    /// The rungs `settings` describe, for [`Ladder::new`].
    ///
    /// # Errors
    /// The HTTP client could not be set up.
    pub fn rungs(settings: &LadderSettings, clock: Clock) -> Result<Vec<Rung>, reqwest::Error> {
        Ok(Self::rungs_over(settings, &Transport::new(clock)?))
    }

    /// As [`Ladder::rungs`], over an HTTP client that is already there.
    pub fn rungs_over(settings: &LadderSettings, transport: &Transport) -> Vec<Rung> {
        let adapters = settings.connect(transport);
        let rungs = adapters.into_iter().zip(&settings.rungs).map(|(provider, settings)| {
            let key = settings.key.expose_secret().as_bytes();
            let configuration = [key, settings.base.as_str().as_bytes()];
            Rung::new(provider, settings.model.clone(), settings.limits, &configuration)
        });
        rungs.collect()
    }

    /// The models asked where a job names none, as they are set, by provider.
    pub fn models(&self) -> impl Iterator<Item = (ProviderName, &str)> {
        self.rungs.iter().map(|rung| (rung.name(), rung.model.as_str()))
    }

    /// What is known about models.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Sets the gauges of the models that are set: how each breaker stands, as
    /// far as this process knows, and what is left of a cool-down. Models that
    /// only jobs ask for have none, or their users would make the labels.
    pub fn report(&self) {
        let today = self.clock.now().date_naive();
        for rung in &self.rungs {
            let model = self.catalogue.resolve(&rung.model, today).id;
            let key = rung.key(&model, self.rests.lifts(rung.name()));
            let labels = [("provider", rung.name().as_str().to_owned()), ("model", model)];
            let breaker = self.gate.breaker(&key);
            metrics::gauge!("regimen_provider_breaker", &labels).set(f64::from(breaker as u8));
            let cooling = self.gate.cooling(&key).unwrap_or_default();
            metrics::gauge!("regimen_provider_cooling_seconds", &labels).set(cooling.as_secs_f64());
        }
    }

    /// Asks until `judge` accepts a reply. Dropping the future closes the
    /// connection to the provider.
    ///
    /// # Errors
    /// As [`LadderError`] lists them; every failed attempt is kept in it.
    pub async fn run<J: Judge, L: AttemptLog>(
        &self,
        request: &Request,
        judge: &J,
        log: &L,
    ) -> Result<Delivered<J::Plan>, LadderError<L::Stop>> {
        let steps = self.steps(request);
        if steps.is_empty() {
            return Err(LadderError::NoProvider);
        }
        let mut climb = Climb::new(self, request, judge, log);
        if let Some(delivered) = climb.resume().await? {
            return Ok(delivered);
        }
        let mut turns: Vec<&Step<'_>> = steps.iter().collect();
        loop {
            let (mut blocked, mut free_at) = (Vec::new(), None::<Instant>);
            let rests = |step: &Step<'_>| self.rests.contains(step.rung.name());
            let resting = turns.iter().any(|step| rests(step));
            for (index, step) in turns.iter().enumerate() {
                if rests(step) {
                    continue;
                }
                let behind = turns.iter().skip(index + 1).filter(|step| !rests(step));
                let behind: Vec<_> = behind.copied().collect();
                let Some(slice) = self.slice(&behind, request.deadline) else {
                    return Err(climb.out_of_time());
                };
                match self.gate.admit(&step.key).await {
                    Admission::Call | Admission::Probe => {}
                    Admission::Cooling(wait) | Admission::Open(wait) => {
                        let at = Instant::now() + wait;
                        free_at = free_at.map_or(Some(at), |sooner| Some(at.min(sooner)));
                        blocked.push(*step);
                        continue;
                    }
                }
                match climb.ask(step, behind.first().copied(), slice).await? {
                    Asked::Delivered(delivered) => return Ok(delivered),
                    Asked::FellOver => {}
                    Asked::Settled(settled) => return Err(climb.settled(settled)),
                }
            }
            match free_at {
                // A blocked provider has not had its turn: wait for it while there is time.
                Some(at) if at.max(Instant::now()) + self.policy.floor <= request.deadline => {
                    sleep_until(at).await;
                    turns = blocked;
                }
                // Whoever rests may be asked in another round.
                _ => return Err(climb.all_failed(free_at.or(resting.then(Instant::now)))),
            }
        }
    }

    /// The share of a rung that has these `behind` it, blocked ones left out.
    fn slice(&self, behind: &[&Step<'_>], deadline: Instant) -> Option<Slice> {
        let free = behind.iter().filter(|step| self.gate.blocked(&step.key).is_none()).count();
        Slice::first_of(1 + free, Instant::now(), deadline, &self.policy)
    }

    /// The rungs in the order in which this request asks them.
    fn steps(&self, request: &Request) -> Vec<Step<'_>> {
        let wish = Wish::of(request, &self.catalogue);
        let today = self.clock.now().date_naive();
        let (first, others): (Vec<_>, Vec<_>) =
            self.rungs.iter().partition(|rung| Some(rung.name()) == wish.provider);
        let mut steps: Vec<Step<'_>> = first
            .into_iter()
            .chain(others)
            .map(|rung| {
                let asked = wish.model_of(rung.name());
                let id = asked.unwrap_or(&rung.model);
                let model = self.catalogue.resolve(id, today);
                Step {
                    rung,
                    key: rung.key(&model.id, self.rests.lifts(rung.name())),
                    known: asked.is_none() || self.catalogue.model(id).is_some(),
                    warning: asked
                        .and_then(|id| self.catalogue.notice(id, today))
                        .map(|notice| notice.to_string()),
                    model,
                }
            })
            .collect();
        let unmet = wish.unmet(|name| steps.iter().any(|step| step.rung.name() == name));
        if let (Some(unmet), Some(step)) = (unmet, steps.first_mut()) {
            step.warning = Some(unmet);
        }
        steps
    }

    /// The highest output cap of `model`.
    pub(crate) fn max_output(&self, model: &str) -> u32 {
        self.catalogue.resolve(model, self.clock.now().date_naive()).max_output
    }

    /// A draw from 0 up to 1.
    pub(crate) fn jitter(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}

/// What a request says about whom to ask.
struct Wish<'a> {
    provider: Option<ProviderName>,
    model: Option<&'a str>,
    /// Whose model that is, if it is known.
    whose: Option<ProviderName>,
}

impl<'a> Wish<'a> {
    fn of(request: &'a Request, catalogue: &Catalogue) -> Self {
        let model = request.model.as_deref();
        let whose = model.and_then(|id| Some(catalogue.model(id)?.provider));
        Self { provider: request.provider.or(whose), model, whose }
    }

    /// The model wanted from `name`. One of another provider is no wish of this one's.
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
