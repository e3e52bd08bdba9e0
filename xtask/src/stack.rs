//! The running development stack: PostgreSQL, Redis, the AI simulator, the
//! ingress and the workers, wired to each other.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::key_values::{self, FileError};
use crate::psql::Psql;
use crate::resp::{Connection, RespError};
use crate::secrets::Secrets;
use crate::servers::Servers;
use crate::session::Session;
use crate::state::env_file;
use regimen_devtools::Interrupted;
use regimen_devtools::process::{Output, Process, ProcessError};
use regimen_devtools::signal::Ending;

/// With one of these set, the real providers are called.
const PROVIDER_KEYS: [&str; 3] = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"];

/// Settings of another deployment that a developer's shell may have; they would make the
/// ingress refuse the tokens signed for it.
const FOREIGN: [&str; 4] = ["JWKS_URL", "JWT_ISSUER", "JWT_AUDIENCE", "SERVICE_KEYS"];

/// The variable that holds the simulator's URL, in its report and in other processes'
/// environments.
pub(crate) const SIMULATOR_URL: &str = "SIMULATOR_URL";

/// Hosts that are reached without the environment's proxy.
const NO_PROXY: &str = "127.0.0.1,localhost";

/// Why the stack is not running.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StackError {
    /// One of its processes failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// One of its files cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A process became ready without reporting a required address.
    #[error("{name} started, but its address file lacks {variable}")]
    NoAddress {
        /// The process.
        name: String,
        /// The missing variable.
        variable: &'static str,
    },
    /// No link to the console was made.
    #[error("regimen-ingress console-link failed: {0}")]
    Link(String),
    /// This stack uses real providers.
    #[error("this stack has no simulator")]
    NoSimulator,
    /// This stack has no worker.
    #[error("this stack has no worker")]
    NoWorker,
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What a stack is made of.
#[derive(Clone, Copy)]
pub(crate) struct StackPlan<'a> {
    /// The folder of its files.
    pub(crate) folder: &'a Path,
    /// The folder of the compiled binaries.
    pub(crate) binaries: &'a Path,
    /// Its secrets.
    pub(crate) secrets: &'a Secrets,
    /// How many workers to start.
    pub(crate) workers: usize,
    /// The AI providers.
    pub(crate) providers: Providers,
    /// Additional settings of the ingress.
    pub(crate) ingress_settings: &'a [(&'a str, &'a str)],
    /// Additional settings of the workers.
    pub(crate) worker_settings: &'a [(&'a str, &'a str)],
}

/// The AI providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Providers {
    /// Those with keys in the environment; the simulator if there is no key.
    OfEnvironment,
    /// The simulator, whatever the environment says.
    Simulator,
}

/// One of our processes and the addresses it reported.
#[derive(Debug)]
pub(crate) struct Service {
    name: String,
    /// The process.
    pub(crate) process: Process,
    addresses: BTreeMap<String, String>,
}

/// A running stack. Dropped in the order of the fields.
pub(crate) struct Stack {
    ingress: Service,
    workers: Vec<Service>,
    simulator: Option<Service>,
    servers: Servers,
    secrets: Secrets,
}

impl StackPlan<'_> {
    /// Migrates the schema and starts everything besides the two servers; returns when
    /// all is ready.
    ///
    /// # Errors
    /// See [`StackError`]; what was started has ended again.
    pub(crate) fn start(&self, session: &Session, servers: Servers) -> Result<Stack, StackError> {
        self.migrate(session, &servers)?;
        let simulator = self.start_simulator(session, &servers)?;
        session.say(match self.workers {
            0 => "starting the ingress".to_owned(),
            1 => "starting the ingress and a worker".to_owned(),
            workers => format!("starting the ingress and {workers} workers"),
        });
        let ingress = self.ingress(&servers, simulator.as_ref())?;
        let mut pending = vec![self.spawn("ingress", ingress)?];
        for number in 1..=self.workers {
            let worker = self.worker(&servers, simulator.as_ref())?;
            pending.push(self.spawn(&format!("worker-{number}"), worker)?);
        }
        let ready: Result<Vec<_>, _> =
            pending.into_iter().map(|pending| pending.ready(session)).collect();
        let mut ready = ready?.into_iter();
        let Some(ingress) = ready.next() else { return Err(Interrupted.into()) };
        let workers = ready.collect();
        let secrets = self.secrets.clone();
        Ok(Stack { ingress, workers, simulator, servers, secrets })
    }

    /// Migrates the schema.
    ///
    /// # Errors
    /// A migration fails.
    pub(crate) fn migrate(&self, session: &Session, servers: &Servers) -> Result<(), StackError> {
        session.say("applying the migrations");
        let migrate = self.migration(servers);
        let log = self.log("migrate");
        Ok(Process::run(session, "regimen-worker migrate", migrate, log.as_output())?)
    }

    /// What brings the schema up to date.
    pub(crate) fn migration(&self, servers: &Servers) -> Command {
        let mut migrate = self.program("regimen-worker", servers);
        migrate.arg("migrate");
        migrate
    }

    /// Starts the simulator, unless the environment has real providers.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) fn start_simulator(
        &self,
        session: &Session,
        servers: &Servers,
    ) -> Result<Option<Service>, StackError> {
        if self.providers == Providers::OfEnvironment
            && let Some(key) = PROVIDER_KEYS.iter().find(|name| is_given(name))
        {
            session.say(format_args!("{key} is set: plans will be written by the real providers"));
            return Ok(None);
        }
        session.say("starting the AI simulator");
        let mut simulator = self.program("regimen-simulator", servers);
        simulator.env("LISTEN_ADDR", "127.0.0.1:0");
        Ok(Some(self.spawn("simulator", simulator)?.ready(session)?))
    }

    /// One of our binaries with the settings common to all.
    fn program(&self, name: &str, servers: &Servers) -> Command {
        let mut command = Command::new(self.binaries.join(name));
        command
            .env("ENVIRONMENT", "development")
            .env("DATABASE_URL", servers.database_url())
            .env("REDIS_URL", servers.redis_url())
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("NO_PROXY", NO_PROXY)
            .env("no_proxy", NO_PROXY);
        FOREIGN.iter().for_each(|name| {
            command.env_remove(name);
        });
        command
    }

    /// The command that starts an ingress.
    ///
    /// # Errors
    /// The simulator did not report its URL.
    pub(crate) fn ingress(
        &self,
        servers: &Servers,
        simulator: Option<&Service>,
    ) -> Result<Command, StackError> {
        let mut ingress = self.program("regimen-ingress", servers);
        if let Some(simulator) = simulator {
            use_simulator(&mut ingress, &simulator.address(SIMULATOR_URL)?);
        }
        ingress
            .env("AUTH_MODE", "jwt")
            .env("JWT_SECRET", &self.secrets.jwt)
            .env("STRIPE_WEBHOOK_SECRET", &self.secrets.stripe_webhook);
        or_default(&mut ingress, "LISTEN_ADDR", "127.0.0.1:0");
        or_default(&mut ingress, "ALLOWED_ORIGINS", "http://localhost:3000,http://localhost:5173");
        ingress.envs(self.ingress_settings.iter().copied());
        Ok(ingress)
    }

    /// The command that starts a worker.
    ///
    /// # Errors
    /// The simulator did not report its URL.
    pub(crate) fn worker(
        &self,
        servers: &Servers,
        simulator: Option<&Service>,
    ) -> Result<Command, StackError> {
        let mut worker = self.program("regimen-worker", servers);
        if let Some(simulator) = simulator {
            use_simulator(&mut worker, &simulator.address(SIMULATOR_URL)?);
        }
        or_default(&mut worker, "DRAIN_SECONDS", "3");
        worker.envs(self.worker_settings.iter().copied());
        Ok(worker)
    }

    /// Starts one of our processes under this name.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn spawn(&self, name: &str, mut command: Command) -> Result<Pending, StackError> {
        let address_file = self.folder.join("addresses").join(name);
        key_values::make_way(&address_file)?;
        command.env("ADDRESS_FILE", &address_file);
        let log = self.log(name);
        let process = Process::start(name, command, log.as_output(), Ending::Terminate)?;
        Ok(Pending { name: name.to_owned(), process, address_file })
    }

    fn log(&self, name: &str) -> Log {
        Log(self.folder.join("logs").join(format!("{name}.log")))
    }
}

struct Log(PathBuf);

impl Log {
    fn as_output(&self) -> Output<'_> {
        Output::Log(&self.0)
    }
}

/// A process that was started and has not reported yet.
pub(crate) struct Pending {
    name: String,
    process: Process,
    address_file: PathBuf,
}

impl Pending {
    /// Whether its report is there.
    pub(crate) fn has_reported(&self) -> bool {
        self.address_file.exists()
    }

    /// Waits until the process is ready and has written its report.
    ///
    /// # Errors
    /// It ended instead, or the program was interrupted.
    pub(crate) fn ready(mut self, session: &Session) -> Result<Service, StackError> {
        loop {
            if let Some(addresses) = key_values::read(&self.address_file)? {
                return Ok(Service { name: self.name, process: self.process, addresses });
            }
            self.process.must_run()?;
            session.pause()?;
        }
    }
}

impl Service {
    /// The value it reported under a name.
    ///
    /// # Errors
    /// It did not.
    pub(crate) fn address(&self, variable: &'static str) -> Result<String, StackError> {
        let found = self.addresses.get(variable).cloned();
        found.ok_or_else(|| StackError::NoAddress { name: self.name.clone(), variable })
    }
}

impl Stack {
    /// The URL of the API.
    ///
    /// # Errors
    /// The ingress did not report it.
    pub(crate) fn ingress_url(&self) -> Result<String, StackError> {
        self.ingress.address("INGRESS_URL")
    }

    /// A link that signs in to the console once, as `role`.
    ///
    /// # Errors
    /// The ingress of `binaries` cannot make one.
    pub(crate) fn console_link(&self, binaries: &Path, role: &str) -> Result<String, StackError> {
        let mut command = Command::new(binaries.join("regimen-ingress"));
        command.env("DATABASE_URL", self.servers.database_url());
        command.args(["console-link", "--as", "xtask", "--role", role]);
        command.args(["--url", &self.ingress_url()?]);
        let output = command.output().map_err(|error| StackError::Link(error.to_string()))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(StackError::Link(said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The simulator's process id.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn simulator_pid(&self) -> Result<u32, StackError> {
        let simulator = self.simulator.as_ref().ok_or(StackError::NoSimulator)?;
        Ok(simulator.process.id())
    }

    /// The ingress's metrics URL.
    ///
    /// # Errors
    /// The ingress did not report it.
    pub(crate) fn metrics_url(&self) -> Result<String, StackError> {
        self.ingress.address("METRICS_URL")
    }

    /// The ingress's process id.
    pub(crate) fn ingress_pid(&self) -> u32 {
        self.ingress.process.id()
    }

    /// The workers' process ids.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        self.workers.iter().map(|worker| worker.process.id()).collect()
    }

    /// The metrics URL of the first worker.
    ///
    /// # Errors
    /// There is none, or it did not report it.
    pub(crate) fn worker_metrics_url(&self) -> Result<String, StackError> {
        let worker = self.workers.first().ok_or(StackError::NoWorker)?;
        worker.address("METRICS_URL")
    }

    /// PostgreSQL and Redis.
    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// The simulator, if there is one.
    pub(crate) fn simulator(&self) -> Option<&Service> {
        self.simulator.as_ref()
    }

    /// The process ids of PostgreSQL and Redis.
    pub(crate) fn server_pids(&self) -> [u32; 2] {
        [self.servers.postgres.process.id(), self.servers.redis.process.id()]
    }

    /// The metrics URLs of the ingress and the workers.
    ///
    /// # Errors
    /// One of them did not report it.
    pub(crate) fn metrics_pages(&self) -> Result<Vec<String>, StackError> {
        let services = std::iter::once(&self.ingress).chain(&self.workers);
        let page = |service: &Service| Ok(format!("{}/metrics", service.address("METRICS_URL")?));
        services.map(page).collect()
    }

    /// Its database.
    pub(crate) fn psql(&self) -> Psql {
        let programs = &self.servers.programs.postgres.folder;
        Psql::new(programs, self.servers.postgres.port, &self.secrets.passwords.postgres)
    }

    /// The simulator's URL.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn simulator_url(&self) -> Result<String, StackError> {
        let simulator = self.simulator.as_ref().ok_or(StackError::NoSimulator)?;
        simulator.address(SIMULATOR_URL)
    }

    /// A connection to its Redis.
    ///
    /// # Errors
    /// Redis does not answer.
    pub(crate) fn redis(&self) -> Result<Connection, RespError> {
        self.servers.redis()
    }

    /// Writes the file `env`, which other programs need to use the stack.
    ///
    /// # Errors
    /// The file cannot be written, or an address is not known.
    pub(crate) fn write_env(&self, folder: &Path) -> Result<(), StackError> {
        let pid = |service: &Service| service.process.id().to_string();
        let workers: Vec<_> = self.workers.iter().map(pid).collect();
        let mut lines = vec![
            ("INGRESS_URL", self.ingress_url()?),
            ("METRICS_URL", self.metrics_url()?),
            ("DATABASE_URL", self.servers.database_url()),
            ("REDIS_URL", self.servers.redis_url()),
            ("JWT_SECRET", self.secrets.jwt.clone()),
            ("STRIPE_WEBHOOK_SECRET", self.secrets.stripe_webhook.clone()),
            ("INGRESS_PID", pid(&self.ingress)),
            ("WORKER_PIDS", workers.join(",")),
            ("REDIS_PID", self.servers.redis.process.id().to_string()),
            ("POSTGRES_PID", self.servers.postgres.process.id().to_string()),
        ];
        if let Some(simulator) = &self.simulator {
            lines.push((SIMULATOR_URL, simulator.address(SIMULATOR_URL)?));
            lines.push(("SIMULATOR_PID", pid(simulator)));
        }
        let lines = lines.iter().map(|(name, value)| (*name, value.as_str()));
        Ok(key_values::write(&env_file(folder), lines)?)
    }

    /// The processes that have ended since the last call, each with how it ended.
    pub(crate) fn ended(&mut self) -> Vec<ProcessError> {
        self.processes().filter_map(Process::ended_meanwhile).collect()
    }

    /// Leaves everything running after this program.
    pub(crate) fn detach(mut self) {
        self.processes().for_each(Process::detach);
    }

    fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        let services = std::iter::once(&mut self.ingress).chain(&mut self.workers);
        let services = services.chain(&mut self.simulator).map(|service| &mut service.process);
        services.chain([&mut self.servers.redis.process, &mut self.servers.postgres.process])
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // All at once, because draining workers need not wait for each other. The two
        // servers end when the fields are dropped.
        let services = std::iter::once(&self.ingress).chain(&self.workers).chain(&self.simulator);
        services.for_each(|service| service.process.ask_to_end());
    }
}

/// Sets a variable unless it is set in our environment.
fn or_default(command: &mut Command, name: &str, value: &str) {
    if !is_given(name) {
        command.env(name, value);
    }
}

fn is_given(name: &str) -> bool {
    std::env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// Makes the simulator every provider.
fn use_simulator(program: &mut Command, url: &str) {
    for (provider, path) in
        [("OPENAI", "/v1"), ("ANTHROPIC", ""), ("GEMINI", ""), ("LLAMA", "/llama/v1")]
    {
        program.env(format!("{provider}_API_KEY"), "simulator");
        program.env(format!("{provider}_BASE_URL"), format!("{url}{path}"));
    }
    // This provider has no default model, because it can be any compatible host.
    or_default(program, "LLAMA_MODEL", "llama");
}
