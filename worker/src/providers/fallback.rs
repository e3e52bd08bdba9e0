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
use super::rung::Rung;
use super::settings::LadderSettings;
use super::slice::Slice;
use super::{Prompt, ProviderName, RawReply};

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
}

/// One run: what to ask, whom first, until when.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked.
    pub prompt: Arc<Prompt>,
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
            for (index, step) in turns.iter().enumerate() {
                let behind = turns.get(index + 1..).unwrap_or_default();
                let Some(slice) = self.slice(behind, request.deadline) else {
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
                _ => return Err(climb.all_failed(free_at)),
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
        let listed = request.model.as_deref().and_then(|id| self.catalogue.model(id));
        let first = request.provider.or(listed.map(|model| model.provider));
        let today = self.clock.now().date_naive();
        let (wanted, others): (Vec<_>, Vec<_>) =
            self.rungs.iter().partition(|rung| Some(rung.name()) == first);
        let step = |rung: &'_ Rung, id: &str| {
            let model = self.catalogue.resolve(id, today);
            (rung.key(&model.id), model)
        };
        let model_of = |rung: &Rung| match &request.model {
            // A model of another provider is no wish of this one's.
            Some(id)
                if Some(rung.name()) == first
                    && listed.is_none_or(|model| model.provider == rung.name()) =>
            {
                id.clone()
            }
            _ => rung.model.clone(),
        };
        wanted
            .into_iter()
            .chain(others)
            .map(|rung| {
                let (key, model) = step(rung, &model_of(rung));
                Step { rung, model, key }
            })
            .collect()
    }

    /// A draw from 0 up to 1.
    pub(crate) fn jitter(&self) -> f64 {
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).random()
    }
}
