//! The system under test: two workers, an ingress, the AI simulator, a stand-in
//! for Stripe's API and the two stores. Each can be ended and started again on
//! its port.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regimen_devtools::free_port;
use regimen_devtools::process::{Output, Process};
use regimen_devtools::signal::{self, Ending};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AlertsError, listener};
use crate::clock;
use crate::demo;
use crate::http::Client;
use crate::psql::Psql;
use crate::resp::Connection;
use crate::secrets::Secrets;
use crate::servers::Servers;
use crate::session::Session;
use crate::stack::{Providers, SIMULATOR_URL, Service, StackError, StackPlan};
use crate::token::{Claims, hmac_sha256};

/// Workers.
pub(super) const WORKERS: usize = 2;

/// The variable under which a worker reports its id in Postgres.
const WORKER_ID: &str = "WORKER_ID";

/// The variable under which the simulator reports its port with an untrusted certificate.
const SIMULATOR_UNTRUSTED_URL: &str = "SIMULATOR_UNTRUSTED_URL";

/// The limit of the backlog.
const MAX_QUEUED: &str = "400";

/// The lifetime of the access tokens.
const TOKEN_LIFE: u64 = 4 * 3600;

/// No limits except those of the scenes.
const INGRESS: [(&str, &str); 9] = [
    ("FLOOD_PER_SECOND", "0"),
    ("RATE_GENERATE_PLANS", "1000000/h"),
    ("RATE_DAILY", "1000000/d"),
    ("MONTHLY_QUOTA", "false"),
    ("MAX_QUEUED", MAX_QUEUED),
    ("CALLBACK_ALLOW_HTTP", "true"),
    ("CALLBACK_ALLOWED_NETWORKS", "127.0.0.0/8"),
    // Few, so that requests wait for a connection when Postgres is slow.
    ("DATABASE_POOL_SIZE", "4"),
    ("STREAMS_PER_USER", "50"),
];

/// Few slots and short waits; a call may stay unanswered for a whole scene.
const WORKER: [(&str, &str); 15] = [
    ("WORKER_SLOTS", "4"),
    ("LEASE_SECONDS", "3"),
    ("RECONCILE_SECONDS", "0.5"),
    ("RETRY_ROUNDS_SECONDS", "1,1"),
    ("JOB_DEADLINE_SECONDS", "1200"),
    ("PROVIDER_FIRST_BYTE_SECONDS", "300"),
    ("PROVIDER_BACKOFF_SECONDS", "0.05"),
    ("PROVIDER_BACKOFF_CAP_SECONDS", "0.1"),
    ("PROVIDER_BREAKER_SECONDS", "2"),
    ("BUDGET_PAUSE_SECONDS", "2"),
    ("CALLBACK_ALLOW_HTTP", "true"),
    ("CALLBACK_ALLOWED_NETWORKS", "127.0.0.0/8"),
    ("CALLBACK_RETRY_SECONDS", "1"),
    ("STRIPE_SECRET_KEY", "rk_test_alerts"),
    ("STRIPE_PRICES", PRICES),
];

const PRICES: &str = "pro=price_pro";

/// The whole system. Dropped in the order of the fields.
pub(super) struct Rig<'a> {
    session: &'a Session,
    folder: &'a Path,
    secrets: &'a Secrets,
    servers: &'a Servers,
    binaries: &'a Path,
    ingress: Option<Service>,
    workers: [Option<Service>; WORKERS],
    simulator: Service,
    ports: Ports,
    stripe_url: String,
    stripe_answers: Arc<AtomicBool>,
    callback_secret: String,
    answers: Value,
    /// A session that locks the table of jobs.
    pub(super) holder: Option<Process>,
    /// A counter for scenes that repeat an action.
    pub(super) count: u32,
}

/// The ports of all processes, the same after restarts.
struct Ports {
    ingress: u16,
    ingress_metrics: u16,
    workers_metrics: [u16; WORKERS],
}

impl<'a> Rig<'a> {
    /// Starts everything.
    ///
    /// # Errors
    /// A part does not start.
    pub(super) fn start(
        session: &'a Session,
        folder: &'a Path,
        binaries: &'a Path,
        secrets: &'a Secrets,
        servers: &'a Servers,
    ) -> Result<Self, AlertsError> {
        let plan = plan(folder, binaries, secrets);
        plan.migrate(session, servers)?;
        let simulator = plan.start_simulator(session, servers)?.ok_or(StackError::NoSimulator)?;
        let stripe_answers = Arc::new(AtomicBool::new(true));
        let answers = Arc::clone(&stripe_answers);
        // Called only for lists of events here, which are empty.
        let stripe_url = listener::serve(move |_, _| match answers.load(Ordering::Relaxed) {
            true => (200, r#"{"object":"list","data":[],"has_more":false}"#.to_owned()),
            false => (503, r#"{"error":{"type":"api_error"}}"#.to_owned()),
        });
        let port = || free_port().map_err(AlertsError::Port);
        let ports = Ports {
            ingress: port()?,
            ingress_metrics: port()?,
            workers_metrics: [port()?, port()?],
        };
        let mut rig = Self {
            session,
            folder,
            secrets,
            servers,
            binaries,
            ingress: None,
            workers: [None, None],
            simulator,
            ports,
            stripe_url: stripe_url.map_err(AlertsError::Port)?,
            stripe_answers,
            callback_secret: format!(
                "whsec_{}",
                STANDARD.encode(Uuid::new_v4().simple().to_string())
            ),
            answers: demo::sample_quiz(session)?,
            holder: None,
            count: 0,
        };
        session.say("starting the ingress and two workers");
        rig.start_ingress()?;
        rig.start_workers(&[])?;
        Ok(rig)
    }

    /// The jobs of Prometheus with the addresses of their metrics.
    pub(super) fn targets(&self) -> [(&'static str, Vec<String>); 2] {
        let address = |port: &u16| format!("127.0.0.1:{port}");
        [
            ("regimen-ingress", vec![address(&self.ports.ingress_metrics)]),
            ("regimen-worker", self.ports.workers_metrics.iter().map(address).collect()),
        ]
    }

    pub(super) fn start_ingress(&mut self) -> Result<(), AlertsError> {
        let plan = plan(self.folder, self.binaries, self.secrets);
        let mut command = plan.ingress(self.servers, Some(&self.simulator))?;
        command
            .env("LISTEN_ADDR", format!("127.0.0.1:{}", self.ports.ingress))
            .env("METRICS_ADDR", format!("127.0.0.1:{}", self.ports.ingress_metrics))
            .env("CALLBACK_SECRETS", &self.callback_secret);
        self.ingress = Some(plan.spawn("ingress", command)?.ready(self.session)?);
        Ok(())
    }

    /// Starts the workers that are not running; `settings` are added to the usual ones or
    /// replace them.
    pub(super) fn start_workers(&mut self, settings: &[(&str, &str)]) -> Result<(), AlertsError> {
        for number in 0..WORKERS {
            if let Some(None) = self.workers.get(number) {
                let worker = self.worker(number, settings)?;
                let plan = plan(self.folder, self.binaries, self.secrets);
                let service = plan.spawn(&format!("worker-{}", number + 1), worker)?;
                let service = service.ready(self.session)?;
                if let Some(place) = self.workers.get_mut(number) {
                    *place = Some(service);
                }
            }
        }
        Ok(())
    }

    fn worker(&self, number: usize, settings: &[(&str, &str)]) -> Result<Command, AlertsError> {
        let plan = plan(self.folder, self.binaries, self.secrets);
        let mut command = plan.worker(self.servers, Some(&self.simulator))?;
        let port = self.ports.workers_metrics.get(number).copied().unwrap_or_default();
        command
            .env("METRICS_ADDR", format!("127.0.0.1:{port}"))
            .env("STRIPE_BASE_URL", &self.stripe_url)
            .env("CALLBACK_SECRETS", &self.callback_secret)
            .envs(settings.iter().copied());
        Ok(command)
    }

    /// Restarts the workers in order, with other settings.
    pub(super) fn restart_workers(&mut self, settings: &[(&str, &str)]) -> Result<(), AlertsError> {
        self.workers.iter().flatten().for_each(|worker| worker.process.ask_to_end());
        self.workers = [None, None];
        self.start_workers(settings)
    }

    /// Runs a command of the worker's binary, as an operator would.
    pub(super) fn operate(&self, arguments: &[&str]) -> Result<(), AlertsError> {
        let mut command = self.worker(WORKERS, &[])?;
        command.args(arguments);
        let log = self.log("operator");
        Ok(Process::run(self.session, "regimen-worker", command, Output::Log(&log))?)
    }

    /// Kills a worker and does not restart it.
    pub(super) fn kill_worker(&mut self, number: usize) -> Result<(), AlertsError> {
        if let Some(mut worker) = self.workers.get_mut(number).and_then(Option::take) {
            signal::kill(worker.process.id());
            worker.process.wait(self.session)?;
        }
        Ok(())
    }

    /// Kills the worker that holds a job and restarts it; returns whether one did.
    pub(super) fn kill_holder(&mut self) -> Result<bool, AlertsError> {
        let sql = "select worker_id from regimen.jobs where state = 'running' limit 1";
        let rows = self.psql().rows(sql)?;
        let Some(holder) = rows.first().map(|row| row.get::<String>(0)).transpose()? else {
            return Ok(false);
        };
        let is_meant = |worker: &Option<Service>| {
            worker
                .as_ref()
                .is_some_and(|worker| worker.address(WORKER_ID).is_ok_and(|id| id == holder))
        };
        // The holder may have been killed already.
        let Some(number) = self.workers.iter().position(is_meant) else { return Ok(false) };
        self.kill_worker(number)?;
        self.start_workers(&[])?;
        Ok(true)
    }

    /// Ends the ingress and all workers.
    pub(super) fn kill_all(&mut self) -> Result<(), AlertsError> {
        for number in 0..WORKERS {
            self.kill_worker(number)?;
        }
        if let Some(mut ingress) = self.ingress.take() {
            signal::kill(ingress.process.id());
            ingress.process.wait(self.session)?;
        }
        Ok(())
    }

    /// Submits the sample quiz as a new user; refusals are expected.
    pub(super) fn submit(&self, more: &Value) {
        let mut body = json!({"kinds": ["meal", "workout"], "answers": self.answers});
        if let (Some(body), Some(more)) = (body.as_object_mut(), more.as_object()) {
            body.extend(more.clone());
        }
        let _ = self.client(Uuid::new_v4(), None).post("/v1/plans", &body);
    }

    /// Submits many requests at once, each waiting for its answer.
    pub(super) fn crowd(&self, people: usize) {
        std::thread::scope(|scope| {
            for _ in 0..people {
                scope.spawn(|| self.submit(&json!({})));
            }
        });
    }

    /// An operator's request.
    pub(super) fn admin(&self, path: &str) -> Result<Value, AlertsError> {
        Ok(self.client(Uuid::from_u128(1), Some("admin")).post(path, &json!({}))?)
    }

    /// An operator's GET request.
    pub(super) fn admin_get(&self, path: &str) -> Result<Value, AlertsError> {
        Ok(self.client(Uuid::from_u128(1), Some("admin")).get(path)?)
    }

    fn client(&self, user: Uuid, role: Option<&str>) -> Client {
        let issued_at = clock::seconds_since_1970();
        let claims = Claims { user, role, issued_at, life: TOKEN_LIFE };
        let url = format!("http://127.0.0.1:{}", self.ports.ingress);
        Client::new(&url, &claims.sign(&self.secrets.jwt))
    }

    /// Replaces all rules for the providers' answers.
    pub(super) fn providers(&self, rules: &Value) -> Result<(), AlertsError> {
        let simulator = Client::new(&self.simulator.address(SIMULATOR_URL)?, "");
        simulator.post("/control", &json!({"replace": true, "rules": rules}))?;
        Ok(())
    }

    /// Removes all rules; calls held open continue.
    pub(super) fn calm_providers(&self) -> Result<(), AlertsError> {
        let simulator = Client::new(&self.simulator.address(SIMULATOR_URL)?, "");
        simulator.delete("/control")?;
        Ok(())
    }

    /// A URL for a provider, with a certificate that no authority has signed.
    pub(super) fn untrusted_provider(&self) -> Result<String, AlertsError> {
        Ok(self.simulator.address(SIMULATOR_UNTRUSTED_URL)?)
    }

    /// Delivers a Stripe event. A wrong signature uses another secret.
    pub(super) fn deliver(&self, event: &Value, rightly: bool) -> Result<(), AlertsError> {
        let secret = if rightly { self.secrets.stripe_webhook.as_str() } else { "whsec_other" };
        let (body, now) = (event.to_string(), clock::seconds_since_1970());
        let mac = hmac_sha256(secret.as_bytes(), format!("{now}.{body}").as_bytes());
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        let agent: ureq::Agent = ureq::Agent::config_builder().proxy(None).build().into();
        let url = format!("http://127.0.0.1:{}/api/stripe/webhook", self.ports.ingress);
        let sent =
            agent.post(url).header("stripe-signature", format!("t={now},v1={hex}")).send(&body);
        match (sent.is_ok(), rightly) {
            (true, true) | (false, false) => Ok(()),
            (false, true) => Err(AlertsError::Harmless("a delivery was not acknowledged")),
            (true, false) => {
                Err(AlertsError::Harmless("a delivery with a wrong signature was taken"))
            }
        }
    }

    /// Whether Stripe's API answers.
    pub(super) fn stripe_answers(&self, answers: bool) {
        self.stripe_answers.store(answers, Ordering::Relaxed);
    }

    /// Suspends or resumes Redis.
    pub(super) fn freeze_redis(&self, still: bool) {
        let pid = self.servers.redis.process.id();
        if still {
            signal::freeze(pid);
        } else {
            signal::thaw(pid);
        }
    }

    pub(super) fn redis(&self) -> Result<Connection, AlertsError> {
        Ok(self.servers.redis()?)
    }

    pub(super) fn psql(&self) -> Psql {
        let programs = &self.servers.programs.postgres.folder;
        Psql::new(programs, self.servers.postgres.port, &self.secrets.passwords.postgres)
    }

    /// Runs statements in a session that stays open.
    pub(super) fn hold(&mut self, name: &str, sql: &str) -> Result<(), AlertsError> {
        let log = self.log("lock");
        let command = self.psql().command(name, sql);
        self.holder = Some(Process::start(name, command, Output::Log(&log), Ending::Terminate)?);
        Ok(())
    }

    /// A model catalogue in which the first model retires on that day.
    pub(super) fn catalogue(&self, model: &str, retires: &str) -> Result<String, AlertsError> {
        let path = self.session.workspace.root().join("worker/src/llm/catalogue.json");
        let failed = |source| AlertsError::Folder { path: path.clone(), source };
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        let mut catalogue: Value = serde_json::from_str(&text).unwrap_or_default();
        let models = catalogue["models"].as_array_mut();
        let found = models.and_then(|models| models.iter_mut().find(|found| found["id"] == model));
        let found = found.ok_or(AlertsError::Harmless("the catalogue lacks the model"))?;
        found["retires"] = json!(retires);
        Ok(catalogue.to_string())
    }

    fn log(&self, name: &str) -> std::path::PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }
}

impl Drop for Rig<'_> {
    fn drop(&mut self) {
        // Resumes what a failed scene may have left suspended.
        self.freeze_redis(false);
        let services = self.ingress.iter().chain(self.workers.iter().flatten());
        services.for_each(|service| service.process.ask_to_end());
    }
}

fn plan<'a>(folder: &'a Path, binaries: &'a Path, secrets: &'a Secrets) -> StackPlan<'a> {
    StackPlan {
        folder,
        binaries,
        secrets,
        workers: WORKERS,
        providers: Providers::Simulator,
        ingress_settings: &INGRESS,
        worker_settings: &WORKER,
    }
}
