//! The fleet: private servers, the simulator, ingresses and workers that are
//! ended in every way and come back in the same place.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::clients;
use super::clocks::Clocks;
use super::scale::{INGRESSES, WORKERS};
use crate::clock;
use crate::servers::Servers;
use crate::session::Session;
use crate::stack::{Service, StackError, StackPlan};
use regimen_devtools::free_port;
use regimen_devtools::process::ProcessError;
use regimen_devtools::proxy::Balancer;
use regimen_devtools::signal;

/// How long a process may take to become ready again: if a store is unavailable, it ends
/// and is started again, as platforms do.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// How long a process may take to end after SIGTERM.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// The variable under which a worker reports its id in Postgres.
pub(super) const WORKER_ID: &str = "WORKER_ID";

/// The variable under which an ingress reports where its API is.
const API_URL: &str = "INGRESS_URL";

/// Why the fleet failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FleetError {
    /// A process does not start.
    #[error(transparent)]
    Stack(#[from] StackError),
    /// A process cannot be watched.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// There is no free port.
    #[error("cannot find a free port on 127.0.0.1: {0}")]
    Port(#[source] std::io::Error),
    /// A started ingress gets no connections.
    #[error("the balancer does not use {name} after {} s; see its log", BACK_WITHIN.as_secs())]
    NotUsed {
        /// Its name.
        name: String,
    },
    /// The clock of a process is correct although it was set wrong.
    #[error("{name} says that it is {date}: libfaketime does not set its clock")]
    RightClock {
        /// Its name.
        name: String,
        /// The time it reports.
        date: String,
    },
    /// A process still runs after SIGTERM.
    #[error("{name} did not end within {} s of SIGTERM; see its log", ENDS_WITHIN.as_secs())]
    DoesNotEnd {
        /// Its name.
        name: String,
    },
    /// A process failed after SIGTERM.
    #[error("{name} ended with {status} after SIGTERM; see its log")]
    EndedBadly {
        /// Its name.
        name: String,
        /// Its exit status.
        status: std::process::ExitStatus,
    },
}

/// The environment of the fleet.
pub(super) struct Surroundings<'a> {
    /// The simulator of the providers.
    pub(super) simulator: &'a Service,
    /// The URL of Stripe's API.
    pub(super) stripe_url: &'a str,
    /// The URL of the proxy in front of PostgreSQL.
    pub(super) database_url: &'a str,
    /// The URL of the proxy in front of Redis.
    pub(super) redis_url: &'a str,
    /// The wrong clocks, if any.
    pub(super) clocks: Option<&'a Clocks<'a>>,
    /// In front of ingresses that are replaced; without one each keeps its address.
    pub(super) balancer: Option<&'a Balancer>,
}

/// A command that can be started repeatedly.
#[derive(Clone)]
struct Recipe {
    program: PathBuf,
    environment: Vec<(OsString, Option<OsString>)>,
}

impl Recipe {
    fn of(command: &Command) -> Self {
        let owned = |(name, value): (&std::ffi::OsStr, Option<&std::ffi::OsStr>)| {
            (name.to_owned(), value.map(std::ffi::OsStr::to_owned))
        };
        Self {
            program: command.get_program().into(),
            environment: command.get_envs().map(owned).collect(),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}

/// An ingress or a worker, running or stopped.
pub(super) struct Member {
    /// Its name in logs and reports.
    pub(super) name: String,
    /// The number of those it has succeeded, with itself.
    generation: u32,
    recipe: Recipe,
    service: Option<Service>,
}

/// The processes besides the servers.
pub(super) struct Fleet {
    /// The ingresses.
    pub(super) ingresses: Vec<Member>,
    /// The workers.
    pub(super) workers: Vec<Member>,
    /// The URLs of the ingresses.
    pub(super) urls: Vec<String>,
}

impl Fleet {
    /// Starts all of it. Each ingress keeps its address over restarts, unless there is a
    /// balancer in front of them.
    ///
    /// # Errors
    /// A process does not start.
    pub(super) fn start(
        session: &Session,
        plan: &StackPlan<'_>,
        servers: &Servers,
        around: &Surroundings<'_>,
    ) -> Result<Self, FleetError> {
        let doors = |command: &mut Command| {
            command.env("DATABASE_URL", around.database_url).env("REDIS_URL", around.redis_url);
        };
        let mut fleet = Self { ingresses: Vec::new(), workers: Vec::new(), urls: Vec::new() };
        for number in 1..=INGRESSES {
            let port = match around.balancer {
                None => free_port().map_err(FleetError::Port)?,
                Some(_) => 0,
            };
            let address = format!("127.0.0.1:{port}");
            let mut command = plan.ingress(servers, Some(around.simulator))?;
            command.env("LISTEN_ADDR", &address);
            doors(&mut command);
            if let Some(clocks) = around.clocks {
                clocks.of_ingress(number, &mut command);
            }
            if around.balancer.is_none() {
                fleet.urls.push(format!("http://{address}"));
            }
            fleet.ingresses.push(Member::new(format!("ingress-{number}"), &command));
        }
        for number in 1..=WORKERS {
            let mut command = plan.worker(servers, Some(around.simulator))?;
            command.env("STRIPE_BASE_URL", around.stripe_url);
            doors(&mut command);
            if let Some(clocks) = around.clocks {
                clocks.of_worker(number, &mut command);
            }
            fleet.workers.push(Member::new(format!("worker-{number}"), &command));
        }
        for member in fleet.ingresses.iter_mut().chain(&mut fleet.workers) {
            member.start(session, plan)?;
        }
        if let Some(balancer) = around.balancer {
            fleet.urls.push(format!("http://127.0.0.1:{}", balancer.port()));
            for ingress in &fleet.ingresses {
                ingress.join(session, balancer)?;
            }
        }
        // Needed to match a lost job with the fault that lost it.
        for service in fleet.workers.iter().filter_map(|worker| worker.service.as_ref()) {
            service.address(WORKER_ID)?;
        }
        if let Some(clocks) = around.clocks {
            fleet.must_be_wrong(clocks)?;
        }
        Ok(fleet)
    }
}

impl Fleet {
    /// The URLs under which the processes tell whether they use both stores.
    pub(super) fn readiness(&self) -> Vec<String> {
        let api = self.ingresses.iter().map(|ingress| ingress.reported(API_URL));
        let metrics = self.workers.iter().map(|worker| worker.reported("METRICS_URL"));
        api.chain(metrics).flatten().map(|url| format!("{url}/readyz")).collect()
    }

    /// A correct clock would test nothing.
    fn must_be_wrong(&self, clocks: &Clocks<'_>) -> Result<(), FleetError> {
        let agent = clients::agent();
        for (name, said) in clocks.said(clock::seconds_since_1970()) {
            let mut members = self.ingresses.iter().chain(&self.workers);
            let url = members.find(|member| member.name == name).and_then(Member::metrics_url);
            let reply = url.and_then(|url| agent.get(&url).call().ok());
            let date = reply.as_ref().and_then(|reply| reply.headers().get("date")?.to_str().ok());
            let date = date.unwrap_or("nothing").to_owned();
            if !said.contains(&date) {
                return Err(FleetError::RightClock { name, date });
            }
        }
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // All at once, because draining processes need not wait for each other.
        let members = self.ingresses.iter().chain(&self.workers);
        for service in members.filter_map(|member| member.service.as_ref()) {
            signal::thaw(service.process.id());
            service.process.ask_to_end();
        }
    }
}

impl Member {
    fn new(name: String, command: &Command) -> Self {
        Self { name, generation: 1, recipe: Recipe::of(command), service: None }
    }

    /// Starts it; if it ends before it is ready, starts it again until the time is over.
    ///
    /// # Errors
    /// It does not become ready.
    pub(super) fn start(
        &mut self,
        session: &Session,
        plan: &StackPlan<'_>,
    ) -> Result<(), FleetError> {
        let give_up = Instant::now() + BACK_WITHIN;
        loop {
            let started = plan.spawn(&self.name, self.recipe.command())?.ready(session);
            match started {
                Ok(service) => {
                    self.service = Some(service);
                    return Ok(());
                }
                Err(StackError::Process(ProcessError::Ended { .. }))
                    if Instant::now() < give_up =>
                {
                    session.pause().map_err(StackError::from)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Starts its successor; returns the old one when the successor is ready and, if it is
    /// an ingress, used by the balancer.
    ///
    /// # Errors
    /// The successor does not become ready.
    pub(super) fn succeed(
        &mut self,
        session: &Session,
        plan: &StackPlan<'_>,
        balancer: &Balancer,
    ) -> Result<Self, FleetError> {
        let generation = self.generation + 1;
        let first = self.name.split('.').next().unwrap_or_default();
        let name = format!("{first}.{generation}");
        let mut new = Self { name, generation, recipe: self.recipe.clone(), service: None };
        new.start(session, plan)?;
        new.join(session, balancer)?;
        Ok(std::mem::replace(self, new))
    }

    /// Waits until the balancer uses it, if it is an ingress.
    fn join(&self, session: &Session, balancer: &Balancer) -> Result<(), FleetError> {
        let Some(address) = self.api() else { return Ok(()) };
        balancer.add(address);
        let give_up = Instant::now() + BACK_WITHIN;
        while !balancer.uses(address) {
            if Instant::now() > give_up {
                return Err(FleetError::NotUsed { name: self.name.clone() });
            }
            session.pause().map_err(StackError::from)?;
        }
        Ok(())
    }

    /// The address of its API, if it is an ingress.
    pub(super) fn api(&self) -> Option<SocketAddr> {
        self.reported(API_URL)?.strip_prefix("http://")?.parse().ok()
    }

    /// From its next start on it is the binary of this folder.
    pub(super) fn run_from(&mut self, folder: &Path) {
        if let Some(name) = self.recipe.program.file_name() {
            self.recipe.program = folder.join(name);
        }
    }

    /// Kills it, without a word of warning.
    ///
    /// # Errors
    /// The program was interrupted.
    pub(super) fn kill(&mut self, session: &Session) -> Result<(), FleetError> {
        if let Some(mut service) = self.service.take() {
            signal::kill(service.process.id());
            service.process.wait(session)?;
        }
        Ok(())
    }

    /// Sends SIGTERM and expects it to end in time and successfully.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn terminate(&mut self, session: &Session) -> Result<(), FleetError> {
        let Some(mut service) = self.service.take() else { return Ok(()) };
        service.process.ask_to_end();
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            match service.process.status()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(FleetError::EndedBadly { name: self.name.clone(), status });
                }
                None if Instant::now() > deadline => {
                    return Err(FleetError::DoesNotEnd { name: self.name.clone() });
                }
                None => session.pause().map_err(StackError::from)?,
            }
        }
    }

    /// Suspends it.
    pub(super) fn freeze(&self) {
        if let Some(service) = &self.service {
            signal::freeze(service.process.id());
        }
    }

    /// Resumes it.
    pub(super) fn thaw(&self) {
        self.service.iter().for_each(|service| signal::thaw(service.process.id()));
    }

    /// The value it reported under a name when it started.
    pub(super) fn reported(&self, variable: &'static str) -> Option<String> {
        self.service.as_ref().and_then(|service| service.address(variable).ok())
    }

    /// Its metrics URL.
    fn metrics_url(&self) -> Option<String> {
        self.reported("METRICS_URL").map(|url| format!("{url}/metrics"))
    }

    /// How it ended, if it ended by itself.
    pub(super) fn ended_by_itself(&mut self) -> Option<String> {
        let ended = self.service.as_mut()?.process.ended_meanwhile()?;
        self.service = None;
        Some(ended.to_string())
    }

    /// Adds its counters since its start to `counts`. If a process does not answer, its
    /// counters are lost.
    pub(super) fn add_counts(&self, agent: &ureq::Agent, counts: &mut Counts) {
        let text = self.metrics_url().and_then(|url| agent.get(&url).call().ok());
        let text = text.and_then(|mut reply| reply.body_mut().read_to_string().ok());
        counts.add(&text.unwrap_or_default());
    }
}

/// Sums of counters over processes and their restarts.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<String, f64>);

impl Counts {
    /// Adds an exposition in Prometheus's text format.
    fn add(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            let name = series.split('{').next().unwrap_or(series);
            if let (true, Ok(value)) = (name.ends_with("_total"), value.parse::<f64>()) {
                *self.0.entry(name.to_owned()).or_default() += value;
            }
        }
    }

    /// Adds other sums.
    pub(super) fn merge(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// The sum of one counter over all its labels.
    pub(super) fn of(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_labels_and_processes() {
        let mut counts = Counts::default();
        let text = "# TYPE a_total counter\na_total{x=\"1 2\"} 2\na_total{x=\"3\"} 1\nb 7\n";
        counts.add(text);
        counts.add(text);
        assert_eq!((counts.of("a_total"), counts.of("b")), (6.0, 0.0));
    }
}
