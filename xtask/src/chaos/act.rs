//! The run itself: the fleet, and a thread for everybody who does something
//! to it or with it.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use serde_json::Value;

use super::ChaosError;
use super::backlog::{self, Sample};
use super::billing::{self, Mailbag, StripeApi, Teller, Truth};
use super::chance::Chance;
use super::check::{Records, count};
use super::clients::{self, Notes, People, Person};
use super::clocks::Clocks;
use super::failover::{self, Pair};
use super::faults::{self, LaneLog, Rollout};
use super::fleet::{Counts, Fleet, Surroundings};
use super::scale::{self, JOBS_PER_REQUEST, Scale, Scenario};
use super::stop::Stage;
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::psql::Psql;
use crate::servers::Servers;
use crate::session::Session;
use crate::stack::{SIMULATOR_URL, Service, StackError, StackPlan};
use regimen_devtools::postgres;
use regimen_devtools::proxy::{Balancer, Proxy};
use regimen_devtools::redis;

/// Clients that follow up, and threads that deliver Stripe's events.
const FOLLOWING: usize = 32;
const DELIVERING: usize = 6;

/// Between two processes of an upgrade: long enough that each release does some work beside
/// the other. And of a rolling restart.
const SIDE_BY_SIDE: Duration = Duration::from_secs(2);
const BETWEEN: Duration = Duration::from_millis(300);

/// How often the end of all jobs is checked.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Jobs and events that are not finished.
const OPEN: &str = "select (select count(*) from regimen.jobs where state in ('queued', 'running'))
    + (select count(*) from regimen.stripe_events where state = 'received')";

/// The workers' counter of refused stale writes.
const STALE_WRITES: &str = "regimen_stale_writes_refused_total";

/// The workers' counter of ids that were pushed again because they seemed lost.
const PUSHED_AGAIN: &str = "regimen_messages_lost_total";

/// Runs the fleet under load and faults, then lets it settle; returns the records.
/// Everything but the servers has ended then.
///
/// # Errors
/// A part of the run failed.
pub(super) fn perform(
    session: &Session,
    scale: &Scale,
    plan: &StackPlan<'_>,
    servers: &mut Servers,
    clocks: Option<&Clocks<'_>>,
) -> Result<Records, ChaosError> {
    let first =
        StackPlan { binaries: scale.scenario.first_release().unwrap_or(plan.binaries), ..*plan };
    first.migrate(session, servers)?;
    let mut pair = match scale.scenario {
        Scenario::Failover(which) => Some(failover::start(which, session, servers)?),
        _ => None,
    };
    let simulator = plan.start_simulator(session, servers)?.ok_or(StackError::NoSimulator)?;
    let weather = Client::new(&simulator.address(SIMULATOR_URL)?, "");
    weather.post("/control", &scale::bad_weather(scale.seed))?;
    let stripe = StripeApi::bind().map_err(ChaosError::StripeApi)?;
    let stripe_url = stripe.url().map_err(ChaosError::StripeApi)?;
    let doors = Doors {
        redis: Proxy::to(format!("127.0.0.1:{}", servers.redis.port)).map_err(ChaosError::Proxy)?,
        postgres: Proxy::to(format!("127.0.0.1:{}", servers.postgres.port))
            .map_err(ChaosError::Proxy)?,
    };
    let balancer = match scale.scenario.replaces() {
        true => Some(Balancer::open().map_err(ChaosError::Balancer)?),
        false => None,
    };
    let passwords = &plan.secrets.passwords;
    let (mut database_url, mut redis_url) = (
        postgres::url(doors.postgres.port(), &passwords.postgres),
        redis::url(doors.redis.port(), &passwords.redis),
    );
    let mut psql = servers.psql();
    if let (Some(pair), Scenario::Failover(which)) = (&pair, &scale.scenario) {
        if which.is_of_redis() {
            pair.url().clone_into(&mut redis_url);
            doors.redis.retarget(format!("127.0.0.1:{}", pair.port(servers)));
        } else {
            pair.url().clone_into(&mut database_url);
            // Ours follows the primary, as the fleet does by itself.
            let programs = &servers.programs.postgres.folder;
            psql = Psql::new(programs, doors.postgres.port(), &passwords.postgres);
        }
    }
    let around = Surroundings {
        simulator: &simulator,
        stripe_url: &stripe_url,
        database_url: &database_url,
        redis_url: &redis_url,
        clocks,
        balancer: balancer.as_ref(),
    };
    session.say("starting the fleet");
    let fleet = Fleet::start(session, &first, servers, &around)?;
    let mut chance = Chance::of(scale.seed, "people");
    let everybody: Vec<Person> =
        (0..scale.users).map(|_| Person::new(&mut chance, &plan.secrets.jwt)).collect();
    let run = Run {
        session,
        scale,
        plan,
        psql,
        weather: &weather,
        stripe: &stripe,
        truth: &Truth::default(),
        mailbag: &Mailbag::default(),
        everybody: &everybody,
        answers: &demo::sample_quiz(session)?,
        doors: &doors,
        balancer: balancer.as_ref(),
    };
    let mut records = run.run(fleet, servers, pair.as_mut(), simulator)?;
    records.restarts = matches!(scale.scenario, Scenario::Restart);
    records.clocks = clocks.map(Clocks::told);
    Ok(records)
}

/// The proxies in front of the stores.
struct Doors {
    redis: Proxy,
    postgres: Proxy,
}

/// What the threads share.
struct Run<'a> {
    session: &'a Session,
    scale: &'a Scale,
    plan: &'a StackPlan<'a>,
    psql: Psql,
    weather: &'a Client,
    stripe: &'a StripeApi,
    truth: &'a Truth,
    mailbag: &'a Mailbag,
    everybody: &'a [Person],
    answers: &'a Value,
    doors: &'a Doors,
    balancer: Option<&'a Balancer>,
}

/// What the threads return.
#[derive(Default)]
struct Harvest {
    notes: Vec<Notes>,
    lanes: Vec<LaneLog>,
    backlog: Vec<Sample>,
}

impl Run<'_> {
    fn run(
        &self,
        mut fleet: Fleet,
        servers: &mut Servers,
        pair: Option<&mut Box<dyn Pair>>,
        simulator: Service,
    ) -> Result<Records, ChaosError> {
        let began = clock::micros_since_1970();
        let stage = Stage::new(self.session, self.scale.load, self.scale.settle);
        self.session.say(format_args!(
            "load and faults for {:.0} s (seed {})",
            self.scale.load.as_secs_f64(),
            self.scale.seed
        ));
        let harvest = self.threads(&stage, &mut fleet, servers, pair)?;
        let ended = began + u64::try_from(self.scale.load.as_micros()).unwrap_or(u64::MAX);
        let mut counts = Counts::default();
        let agent = clients::agent();
        fleet.workers.iter().for_each(|worker| worker.add_counts(&agent, &mut counts));
        self.session.say("ending the fleet");
        drop(fleet);
        let calls = self.weather.get("/control/stats")?;
        drop(simulator);
        let mut records = Records {
            load: (began, ended),
            calls: (
                calls["calls"].as_u64().unwrap_or_default(),
                calls["answered"].as_u64().unwrap_or_default(),
            ),
            sent: self.truth.events(),
            due: self.truth.due(),
            backlog: harvest.backlog,
            ..Records::default()
        };
        for lane in harvest.lanes {
            counts.merge(&lane.counts);
            records.faults.extend(lane.faults);
            records.unexpected.extend(lane.unexpected);
            records.returns.extend(lane.returns);
        }
        records.stale_writes = counts.of(STALE_WRITES);
        records.pushed_again = counts.of(PUSHED_AGAIN);
        for (number, notes) in harvest.notes.into_iter().enumerate() {
            let path = self.plan.folder.join("clients").join(format!("{number:02}.jsonl"));
            let failed = |source| ChaosError::Folder { path: path.clone(), source };
            notes.keep(&path).map_err(failed)?;
            records.notes.extend(notes.0);
        }
        Ok(records)
    }

    /// Runs all threads until everything is settled or the time to settle is over.
    fn threads(
        &self,
        stage: &Stage<'_>,
        fleet: &mut Fleet,
        servers: &mut Servers,
        pair: Option<&mut Box<dyn Pair>>,
    ) -> Result<Harvest, ChaosError> {
        let seed = self.scale.seed;
        let chance = |part: &str, number: usize| Chance::of(seed, &format!("{part} {number}"));
        let (follow, work) = mpsc::channel();
        let work = Mutex::new(work);
        let pace = self.scale.asking() as f64 * JOBS_PER_REQUEST / self.scale.jobs_per_second;
        let people = People {
            stage,
            urls: &fleet.urls,
            everybody: self.everybody,
            answers: self.answers,
            pace: Duration::from_secs_f64(pace),
        };
        let pairs = self.pairs();
        let teller = Teller {
            stage,
            urls: &fleet.urls,
            truth: self.truth,
            mailbag: self.mailbag,
            pairs: &pairs,
            answers: self.answers,
        };
        let secret = &self.plan.secrets.stripe_webhook;
        let (people, teller, work, urls) = (&people, &teller, &work, &fleet.urls);
        let readiness = &fleet.readiness();
        let (workers, ingresses) = (&mut fleet.workers, &mut fleet.ingresses);
        let migrate = self.plan.migration(servers);
        let (psql, doors) = (&self.psql, self.doors);
        let (tempo, choice) = (self.scale.tempo, &self.scale.choice);
        let trouble = Mutex::new(None);
        let harvest = std::thread::scope(|scope| {
            let crew = Crew { scope, stage, trouble: &trouble };
            let plan = self.plan;
            let lanes = match (&self.scale.scenario, self.balancer, pair) {
                (Scenario::Upgrade(older), Some(balancer), _) => {
                    let releases = vec![
                        ("to the newer release", plan.binaries),
                        ("to the older release", older.as_path()),
                    ];
                    let rollout =
                        Rollout { migrate: Some(migrate), releases, balancer, pause: SIDE_BY_SIDE };
                    let members = ingresses.iter_mut().chain(workers);
                    vec![crew.hire(move || faults::roll_out(stage, plan, members, rollout))]
                }
                (Scenario::Restart, Some(balancer), _) => {
                    let rollout = || Rollout {
                        migrate: None,
                        releases: vec![("replaced", plan.binaries)],
                        balancer,
                        pause: BETWEEN,
                    };
                    let (third, first, second) = (rollout(), rollout(), rollout());
                    // Two workers at a time: each takes as long as its drain.
                    let half = workers.len() / 2;
                    let (some, others) = workers.split_at_mut(half);
                    vec![
                        crew.hire(move || faults::roll_out(stage, plan, ingresses, first)),
                        crew.hire(move || faults::roll_out(stage, plan, some, second)),
                        crew.hire(move || faults::roll_out(stage, plan, others, third)),
                    ]
                }
                (Scenario::Failover(which), _, Some(pair)) => {
                    let door = if which.is_of_redis() { &doors.redis } else { &doors.postgres };
                    vec![crew.hire(move || {
                        let pair = pair.as_mut();
                        failover::again_and_again(*which, stage, pair, servers, door, readiness)
                    })]
                }
                _ => {
                    let (redis, postgres) = servers.keepers();
                    vec![
                        crew.hire(move || faults::workers(stage, plan, workers, seed, choice)),
                        crew.hire(move || faults::ingresses(stage, plan, ingresses, seed, choice)),
                        crew.hire(move || {
                            faults::redis(stage, redis, &doors.redis, seed, tempo, choice)
                        }),
                        crew.hire(move || {
                            let door = &doors.postgres;
                            faults::postgres(stage, postgres, psql, door, seed, tempo, choice)
                        }),
                    ]
                }
            };
            let password = &self.plan.secrets.passwords.redis;
            let backlog = crew.hire(move || backlog::watch(stage, psql, &doors.redis, password));
            let api = chance("Stripe's API", 0);
            let api = crew.hire(move || self.stripe.serve(stage, api, self.truth));
            let mut clients: Vec<_> = Vec::new();
            for number in 0..self.scale.asking() {
                let (chance, follow) = (chance("asking", number), follow.clone());
                clients.push(crew.hire(move || clients::ask(people, chance, &follow)));
            }
            // The following clients end after the last requesting client.
            drop(follow);
            let stories = chance("stories", 0);
            clients.push(crew.hire(move || billing::tell(teller, stories)));
            for number in 0..FOLLOWING {
                let chance = chance("following", number);
                clients.push(crew.hire(move || clients::follow(stage, urls, chance, work)));
            }
            for number in 0..DELIVERING {
                let (chance, bag) = (chance("delivering", number), self.mailbag);
                clients.push(crew.hire(move || billing::deliver(stage, urls, chance, bag, secret)));
            }
            let lanes = lanes.into_iter().filter_map(|lane| crew.join(lane)).collect();
            let backlog = crew.join(backlog).unwrap_or_default();
            crew.must(self.weather.post("/control", &scale::fair_weather()));
            self.session.say("load and faults are over; letting everything settle");
            let notes = clients.into_iter().filter_map(|client| crew.join(client)).collect();
            crew.must(self.until_ended(stage));
            stage.settle();
            crew.join(api);
            Harvest { notes, lanes, backlog }
        });
        match trouble.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(harvest),
        }
    }

    /// Two users for each of Stripe's customers.
    fn pairs(&self) -> Vec<(Person, Person)> {
        let pairs = self.everybody.chunks_exact(2).take(self.scale.customers);
        pairs.filter_map(|pair| Some((pair.first()?.clone(), pair.get(1)?.clone()))).collect()
    }

    /// Returns when every job has ended and every event is applied, or when the time is
    /// over; the checker reports the rest.
    fn until_ended(&self, stage: &Stage<'_>) -> Result<(), ChaosError> {
        while stage.settling()? {
            if count::<u64>(&self.psql, OPEN)? == 0 {
                return Ok(());
            }
            stage.rest_settling(LOOK_AGAIN)?;
        }
        Ok(())
    }
}

/// Starts threads and stops all of them when one fails.
struct Crew<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    stage: &'scope Stage<'scope>,
    /// The first failure, which caused the others.
    trouble: &'scope Mutex<Option<ChaosError>>,
}

impl<'scope> Crew<'scope, '_> {
    fn hire<T, E>(
        &self,
        work: impl FnOnce() -> Result<T, E> + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, Option<T>>
    where
        T: Send + 'scope,
        E: Into<ChaosError>,
    {
        let (stage, trouble) = (self.stage, self.trouble);
        self.scope.spawn(move || kept(stage, trouble, work()))
    }

    fn join<T>(&self, hired: ScopedJoinHandle<'scope, Option<T>>) -> Option<T> {
        hired.join().unwrap_or_else(|_| {
            kept(self.stage, self.trouble, Err(ChaosError::Broke("a thread panicked")))
        })
    }

    fn must<T, E: Into<ChaosError>>(&self, outcome: Result<T, E>) -> Option<T> {
        kept(self.stage, self.trouble, outcome)
    }
}

/// The result of a part; an error is recorded and stops the others.
fn kept<T, E: Into<ChaosError>>(
    stage: &Stage<'_>,
    trouble: &Mutex<Option<ChaosError>>,
    outcome: Result<T, E>,
) -> Option<T> {
    outcome
        .map_err(|error| {
            let mut first = trouble.lock().unwrap_or_else(PoisonError::into_inner);
            first.get_or_insert_with(|| error.into());
            stage.break_off();
        })
        .ok()
}
