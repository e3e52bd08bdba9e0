//! Handlers that panic, of each kind of work: the consumer goes on, the row is
//! tried again like after a failure that may pass, and nothing is done twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apalis_core::monitor::Monitor;
use regimen_common::billing::event::Event;
use regimen_common::clock::Clock;
use regimen_common::config::Env;
use regimen_common::db::billing::events::{self, NewEvent};
use regimen_common::job::JobClass;
use regimen_common::shutdown::Shutdown;
use regimen_common::test_support::{Language, Scripted};
use regimen_worker::config::WorkerConfig;
use regimen_worker::deps::Deps;
use regimen_worker::jobs::callback::claim::{CallbackJob, Callbacks};
use regimen_worker::jobs::plan::claim::Plans;
use regimen_worker::jobs::plan::handler::PlanJob;
use regimen_worker::jobs::stripe_event::claim::{EventJob, Events};
use regimen_worker::periodic;
use regimen_worker::runner::consumer::{self, Job, Kind, Source};
use regimen_worker::runner::shutdown::until_drained;
use regimen_worker::runner::traced::{About, Described};
use serde_json::Value;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::callbacks::LOCAL;
use crate::callbacks::receiver::Receiver;
use crate::fleet::{Fleet, soon};
use crate::stripe::worker::{event, subscription};

/// With leases that outlast the test: what is tried again, is so for the panic.
const LONG_LEASE: (&str, &str) = ("LEASE_SECONDS", "300");

/// When a handler panics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    /// Nothing was done yet.
    Before,
    /// All was done.
    After,
}

/// Which handlers panic, and how often yet.
#[derive(Debug)]
struct Trap<J> {
    when: When,
    is_meant: fn(&J) -> bool,
    left: AtomicUsize,
    /// Panics that were recorded.
    recorded: AtomicUsize,
}

impl<J> Trap<J> {
    fn springs(&self, job: &J, when: When) {
        let springs = self.when == when
            && (self.is_meant)(job)
            && self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
        assert!(!springs, "a handler panics, as its test wants");
    }
}

/// A real job whose handler may panic.
#[derive(Debug)]
struct Trapped<J>(J, Arc<Trap<J>>);

impl<J: Job<Deps>> Described for Trapped<J> {
    fn about(&self) -> About<'_> {
        self.0.about()
    }
}

impl<J: Job<Deps>> Job<Deps> for Trapped<J> {
    async fn run(&self, deps: &Arc<Deps>) {
        let Self(job, trap) = self;
        trap.springs(job, When::Before);
        job.run(deps).await;
        trap.springs(job, When::After);
    }

    async fn panicked(&self, deps: &Arc<Deps>) {
        self.0.panicked(deps).await;
        self.1.recorded.fetch_add(1, Ordering::SeqCst);
    }
}

/// A real source whose jobs may panic.
struct Traps<S: Source<Deps>>(S, Arc<Trap<S::Job>>);

impl<S: Source<Deps>> Source<Deps> for Traps<S> {
    type Job = Trapped<S::Job>;

    async fn claim(&mut self, free: usize) -> Result<Vec<Self::Job>, regimen_common::db::DbError> {
        let claimed = self.0.claim(free).await?;
        Ok(claimed.into_iter().map(|job| Trapped(job, Arc::clone(&self.1))).collect())
    }
}

/// A worker in this process with a consumer of one kind and one slot.
struct Worker<J> {
    deps: Arc<Deps>,
    trap: Arc<Trap<J>>,
    ran: JoinHandle<()>,
}

impl<J: Job<Deps>> Worker<J> {
    /// Its first `times` jobs that `is_meant` takes panic.
    fn start<S: Source<Deps, Job = J>>(
        fleet: &Fleet,
        new_source: fn(&Arc<Deps>) -> S,
        (when, times): (When, usize),
        is_meant: fn(&J) -> bool,
    ) -> Self {
        let config = WorkerConfig::read(Env::from_pairs(fleet.settings().clone())).unwrap();
        let deps = Deps::new(config, Shutdown::default()).unwrap();
        let (left, recorded) = (AtomicUsize::new(times), AtomicUsize::new(0));
        let trap = Arc::new(Trap { when, is_meant, left, recorded });
        let kind = Kind {
            name: "trapped",
            slots: 1,
            deps: Arc::clone(&deps),
            drain: deps.shutdown.drain.clone(),
            tasks: deps.tasks.clone(),
        };
        let of = Arc::clone(&trap);
        let monitor = consumer::register(Monitor::new(), kind, move |deps| {
            Traps(new_source(deps), Arc::clone(&of))
        });
        periodic::spawn(&deps);
        let context = deps.context();
        let ran = tokio::spawn(async move {
            let drain = context.shutdown.drain.clone();
            let consumer = async move { consumer::run(monitor, &drain).await };
            until_drained(&context, consumer).await.unwrap();
        });
        Self { deps, trap, ran }
    }

    /// Drains once `times` panics were recorded; what panicked is settled by then.
    async fn drained(self, times: usize) {
        assert!(!self.ran.is_finished(), "a panic ended more than its job's round");
        self.deps.shutdown.drain.cancel();
        soon("the drain", self.ran).await.unwrap();
        assert_eq!(self.trap.recorded.load(Ordering::SeqCst), times);
    }
}

fn any<J>(_: &J) -> bool {
    true
}

/// A plan job of a new user, handed out as an ingress would.
async fn plan_job(fleet: &Fleet) -> Uuid {
    let user = fleet.profile().await;
    let jobs = fleet.accept(user, JobClass::Free, 1).await;
    fleet.push(JobClass::Free, &jobs).await;
    jobs[0]
}

const SUCCEEDED: &str = "select count(*) from regimen.jobs where state = 'succeeded'";

#[tokio::test]
async fn a_plan_whose_handler_panics_counts_a_lost_worker_and_is_made_in_the_next_round() {
    let fleet = Fleet::new(&[LONG_LEASE]).await;
    let worker = Worker::<PlanJob>::start(&fleet, Plans::new, (When::Before, 1), any);
    let job = plan_job(&fleet).await;
    fleet.until_count(SUCCEEDED, 1).await;
    let once = "select count(*) from regimen.jobs where lost = 1 and attempts = 2";
    assert_eq!(fleet.count(once).await, 1);
    assert_eq!(fleet.history(job).await[..4], ["accepted", "claimed", "lease_lost", "claimed"]);
    assert_eq!((fleet.plans().await, fleet.simulator.calls_of(job).await), (1, 1));
    worker.drained(1).await;
}

#[tokio::test]
async fn a_plan_whose_handler_panics_three_times_is_poisoned_and_the_next_one_is_made() {
    three_panics().await;
}

pub(crate) async fn three_panics() {
    let fleet = Fleet::new(&[LONG_LEASE]).await;
    let worker = Worker::<PlanJob>::start(&fleet, Plans::new, (When::Before, 3), any);
    let poisoned = plan_job(&fleet).await;
    let ended = "select count(*) from regimen.jobs
                 where state = 'failed' and error_code = 'poisoned' and lost = 3";
    fleet.until_count(ended, 1).await;
    plan_job(&fleet).await;
    fleet.until_count(SUCCEEDED, 1).await;
    let expected =
        ["accepted", "claimed", "lease_lost", "claimed", "lease_lost", "claimed", "failed"];
    assert_eq!(fleet.history(poisoned).await, expected);
    assert_eq!((fleet.plans().await, fleet.simulator.calls_of(poisoned).await), (1, 0));
    worker.drained(3).await;
}

#[tokio::test]
async fn a_plan_that_is_saved_before_its_handler_panics_is_not_made_again() {
    let fleet = Fleet::new(&[LONG_LEASE]).await;
    let worker = Worker::<PlanJob>::start(&fleet, Plans::new, (When::After, 1), any);
    let saved = plan_job(&fleet).await;
    plan_job(&fleet).await;
    fleet.until_count(SUCCEEDED, 2).await;
    worker.drained(1).await;
    let untouched = "select count(*) from regimen.jobs where lost = 0 and attempts = 1";
    assert_eq!((fleet.count(untouched).await, fleet.plans().await), (2, 2));
    assert_eq!(fleet.simulator.calls_of(saved).await, 1);
}

/// Stores an event as the webhook does; a reconciler dispatches it.
async fn store(fleet: &Fleet, event: &Value) {
    let payload = event.to_string();
    let event = Event::from_value(event.clone()).unwrap();
    let new = NewEvent {
        event: &event,
        payload: &payload,
        source: events::Source::Webhook,
        mismatch: None,
        trace_context: None,
    };
    events::store(&fleet.db().await, &new).await.unwrap();
}

fn paid(id: &str, user: Uuid) -> Value {
    let now = Clock::system().now().timestamp();
    event(id, "customer.subscription.created", now, &subscription("active", Some(user)))
}

fn is_event(job: &EventJob) -> bool {
    matches!(job, EventJob::Event(_))
}

fn is_mail(job: &EventJob) -> bool {
    matches!(job, EventJob::Mail(_))
}

#[tokio::test]
async fn an_event_whose_handler_panics_is_applied_in_the_next_try() {
    let fleet = Fleet::new(&[]).await;
    let user = fleet.profile().await;
    let worker = Worker::start(&fleet, Events::new, (When::Before, 1), is_event);
    store(&fleet, &paid("evt_1", user)).await;
    // Given back, not left to the end of its claim.
    let applied = "select count(*) from regimen.stripe_events
                   where state = 'applied' and attempts = 2 and lost = 0";
    fleet.until_count(applied, 1).await;
    assert_eq!(fleet.plan_of(user).await, "pro");
    worker.drained(1).await;
}

#[tokio::test]
async fn an_event_whose_handler_panics_in_the_last_try_is_dead_and_the_next_one_is_applied() {
    let fleet = Fleet::new(&[]).await;
    let (user, other) = (fleet.profile().await, fleet.profile().await);
    store(&fleet, &paid("evt_1", user)).await;
    let tried = "update regimen.stripe_events set attempts = 5";
    fleet.db().await.execute(tried, &[]).await.unwrap();
    let worker = Worker::start(&fleet, Events::new, (When::Before, 1), is_event);
    let dead = "select count(*) from regimen.stripe_events
                where state = 'dead' and error_code = 'panicked' and attempts = 6";
    fleet.until_count(dead, 1).await;
    assert_eq!(fleet.plan_of(user).await, "free");
    let mut next = paid("evt_2", other);
    next["data"]["object"]["customer"] = "cus_2".into();
    next["data"]["object"]["id"] = "sub_2".into();
    store(&fleet, &next).await;
    let applied = "select count(*) from regimen.stripe_events where state = 'applied'";
    fleet.until_count(applied, 1).await;
    assert_eq!(fleet.plan_of(other).await, "pro");
    worker.drained(1).await;
}

#[tokio::test]
async fn an_event_that_is_applied_before_its_handler_panics_is_not_applied_again() {
    let fleet = Fleet::new(&[]).await;
    let user = fleet.profile().await;
    let worker = Worker::start(&fleet, Events::new, (When::After, 1), is_event);
    store(&fleet, &paid("evt_1", user)).await;
    let applied = "select count(*) from regimen.stripe_events
                   where state = 'applied' and attempts = 1 and error_code is null";
    fleet.until_count(applied, 1).await;
    worker.drained(1).await;
    assert_eq!((fleet.count(applied).await, fleet.plan_of(user).await), (1, "pro".to_owned()));
}

/// A deployment that sends mails to `mails`.
async fn mailing(mails: &Scripted) -> Fleet {
    let port = mails.port.to_string();
    let settings = [
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", port.as_str()),
        ("SMTP_TLS", "none"),
        ("SMTP_FROM", "Regimen <billing@regimen.example.test>"),
        ("APP_URL", "https://app.example.test/plan"),
    ];
    Fleet::new(&settings).await
}

/// Stores an event that its user is told of.
async fn store_news(fleet: &Fleet) {
    let user = fleet.profile().await;
    let mut trial = subscription("trialing", Some(user));
    trial["trial_end"] = 1_800_574_790_i64.into();
    let now = Clock::system().now().timestamp();
    store(fleet, &event("evt_1", "customer.subscription.trial_will_end", now, &trial)).await;
}

#[tokio::test]
async fn a_mail_whose_handler_panics_is_sent_in_the_next_try() {
    let Some(python) = Language::python("stripe") else { return };
    let mut mails = Scripted::start(&python, "mail_server.py", &[]).await;
    let fleet = mailing(&mails).await;
    let worker = Worker::start(&fleet, Events::new, (When::Before, 1), is_mail);
    store_news(&fleet).await;
    let later = "select count(*) from regimen.billing_notices where mail_state = 'waiting'
                   and attempts = 1 and error like '%panicked%' and run_at > now()";
    fleet.until_count(later, 1).await;
    assert!(mails.file("mail-1.json").is_none());
    let due = "update regimen.billing_notices set run_at = now()";
    fleet.db().await.execute(due, &[]).await.unwrap();
    let sent = "select count(*) from regimen.billing_notices
                where mail_state = 'sent' and attempts = 2";
    fleet.until_count(sent, 1).await;
    mails.when_there("mail-1.json").await;
    worker.drained(1).await;
    assert!(mails.file("mail-2.json").is_none());
}

#[tokio::test]
async fn a_mail_that_is_sent_before_its_handler_panics_is_not_sent_again() {
    let Some(python) = Language::python("stripe") else { return };
    let mails = Scripted::start(&python, "mail_server.py", &[]).await;
    let fleet = mailing(&mails).await;
    let worker = Worker::start(&fleet, Events::new, (When::After, 1), is_mail);
    store_news(&fleet).await;
    let sent = "select count(*) from regimen.billing_notices
                where mail_state = 'sent' and attempts = 1 and error is null";
    fleet.until_count(sent, 1).await;
    worker.drained(1).await;
    assert_eq!(fleet.count(sent).await, 1);
    assert!(mails.file("mail-1.json").is_some() && mails.file("mail-2.json").is_none());
}

/// A job that has ended, whose end is to be told to `receiver`.
async fn owed(fleet: &Fleet, receiver: &Receiver) {
    let ingress = fleet.ingress().await;
    let mut body = crate::fleet::ingress::body(&["meal"]);
    body["callback_url"] = receiver.url.as_str().into();
    let user = Uuid::new_v4();
    let job = ingress.submit_body(user, &body).await[0];
    assert_eq!(ingress.cancel(user, job).await, 202);
}

#[tokio::test]
async fn a_callback_whose_handler_panics_is_sent_in_the_next_try() {
    let (fleet, receiver) = (Fleet::new(&LOCAL).await, Receiver::new().await);
    let worker = Worker::<CallbackJob>::start(&fleet, Callbacks::new, (When::Before, 2), any);
    owed(&fleet, &receiver).await;
    let delivered = "select count(*) from regimen.callbacks
                     where state = 'delivered' and attempts = 3 and http_status = 204";
    fleet.until_count(delivered, 1).await;
    worker.drained(2).await;
    assert_eq!(receiver.deliveries().len(), 1);
}

#[tokio::test]
async fn a_callback_whose_handler_always_panics_is_given_up_with_its_reason() {
    let (fleet, receiver) = (Fleet::new(&LOCAL).await, Receiver::new().await);
    // The first try and the three that `LOCAL` allows for.
    let worker = Worker::<CallbackJob>::start(&fleet, Callbacks::new, (When::Before, 4), any);
    owed(&fleet, &receiver).await;
    let dead = "select count(*) from regimen.callbacks
                where state = 'dead' and attempts = 4 and error like '%panicked%'";
    fleet.until_count(dead, 1).await;
    worker.drained(4).await;
    assert_eq!(receiver.deliveries().len(), 0);
}

#[tokio::test]
async fn a_callback_that_is_sent_before_its_handler_panics_is_not_sent_again() {
    let (fleet, receiver) = (Fleet::new(&LOCAL).await, Receiver::new().await);
    let worker = Worker::<CallbackJob>::start(&fleet, Callbacks::new, (When::After, 1), any);
    owed(&fleet, &receiver).await;
    let delivered = "select count(*) from regimen.callbacks
                     where state = 'delivered' and attempts = 1 and error is null";
    fleet.until_count(delivered, 1).await;
    worker.drained(1).await;
    assert_eq!((fleet.count(delivered).await, receiver.deliveries().len()), (1, 1));
}
