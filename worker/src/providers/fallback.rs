//! The ladder: the requested provider first, then the configured order, until
//! one delivers, all had their turn, or the time is up.

use std::sync::{Arc, Mutex, PoisonError};

use rand::RngExt;
use rand::rngs::StdRng;
use regimen_common::clock::Clock;
use regimen_common::kv::Kv;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::catalogue::{Catalogue, Resolved};
use super::climb::{Asked, Climb};
use super::gate::{Admission, Gate};
use super::hedge::HedgeBudget;
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
        let adapters = settings.connect(clock)?;
        let rungs = adapters.into_iter().zip(&settings.rungs).map(|(provider, settings)| {
            let key = settings.key.expose_secret().as_bytes();
            let configuration = [key, settings.base.as_str().as_bytes()];
            Rung::new(provider, settings.model.clone(), settings.limits, &configuration)
        });
        Ok(rungs.collect())
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
        loop {
            let mut free_in = None;
            let mut asked = false;
            for (index, step) in steps.iter().enumerate() {
                let others = steps.iter().skip(index + 1);
                let rungs =
                    1 + others.filter(|step| self.gate.blocked(&step.key).is_none()).count();
                let slice = Slice::first_of(rungs, Instant::now(), request.deadline, &self.policy);
                let Some(slice) = slice else { return Err(climb.out_of_time()) };
                match self.gate.admit(&step.key).await {
                    Admission::Call | Admission::Probe => {}
                    Admission::Cooling(wait) | Admission::Open(wait) => {
                        free_in = free_in.map_or(Some(wait), |sooner| Some(wait.min(sooner)));
                        continue;
                    }
                }
                asked = true;
                match climb.ask(step, steps.get(index + 1), slice).await? {
                    Asked::Delivered(delivered) => return Ok(delivered),
                    Asked::FellOver => {}
                    Asked::Settled(settled) => return Err(climb.settled(settled)),
                }
            }
            match free_in {
                // Nobody could be asked, and there is time to wait for the first that can.
                Some(wait)
                    if !asked && Instant::now() + wait + self.policy.floor <= request.deadline =>
                {
                    sleep(wait).await;
                }
                _ => return Err(climb.all_failed(free_in)),
            }
        }
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
