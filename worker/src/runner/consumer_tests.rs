//! The consumer loop with apalis' layers, over a scripted source.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;

use super::*;
use crate::runner::traced::About;

/// More than any of this takes.
const LIMIT: Duration = Duration::from_secs(30);

/// What one job does when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Ends,
    Panics,
    /// And panics again when that is recorded.
    PanicsTwice,
}

/// What a source does when it is asked for work.
#[derive(Debug, Clone, Copy)]
enum Step {
    Gives(Does),
    Fails,
    Panics,
}

/// What jobs and sources share with their test.
#[derive(Debug)]
struct Stage {
    steps: Mutex<VecDeque<Step>>,
    drain: CancellationToken,
    told: mpsc::UnboundedSender<(usize, &'static str)>,
    /// Jobs given so far.
    given: AtomicUsize,
    /// One reference more for each job that holds a slot.
    alive: Arc<()>,
    /// The most jobs there ever were at once.
    most: AtomicUsize,
    /// Sources made.
    sources: AtomicUsize,
}

impl Stage {
    fn tell(&self, n: usize, what: &'static str) {
        // The receiver lives as long as the test.
        let _ = self.told.send((n, what));
    }
}

#[derive(Debug)]
struct TestJob {
    n: usize,
    does: Does,
    _alive: Arc<()>,
}

impl Described for TestJob {
    fn about(&self) -> About<'_> {
        About { id: self.n.to_string(), ..About::default() }
    }
}

impl Job<Stage> for TestJob {
    async fn run(&self, stage: &Arc<Stage>) {
        // Others get their turn while it runs.
        for _ in 0..10 {
            yield_now().await;
        }
        assert_eq!(self.does, Does::Ends, "job {} panics, as its test wants", self.n);
        stage.tell(self.n, "ended");
    }

    async fn panicked(&self, stage: &Arc<Stage>) {
        stage.tell(self.n, "panicked");
        assert_ne!(self.does, Does::PanicsTwice, "recording {} panics, too", self.n);
    }
}

struct Script(Arc<Stage>);

impl Source<Stage> for Script {
    type Job = TestJob;

    async fn claim(&mut self, free: usize) -> Result<Vec<TestJob>, DbError> {
        let Stage { steps, drain, given, alive, most, .. } = &*self.0;
        let mut claimed = Vec::new();
        while claimed.len() < free {
            let step = steps.lock().unwrap().pop_front();
            let does = match step {
                Some(Step::Gives(does)) => does,
                Some(Step::Fails) => return Err(DbError::Closed),
                Some(Step::Panics) => panic!("a claim panics, as its test wants"),
                None => break,
            };
            let n = given.fetch_add(1, Ordering::SeqCst);
            claimed.push(TestJob { n, does, _alive: Arc::clone(alive) });
        }
        most.fetch_max(Arc::strong_count(alive) - 1, Ordering::SeqCst);
        if claimed.is_empty() {
            drain.cancelled().await;
        }
        Ok(claimed)
    }
}

/// A running monitor with one consumer.
struct Running {
    stage: Arc<Stage>,
    heard: mpsc::UnboundedReceiver<(usize, &'static str)>,
    monitor: JoinHandle<()>,
}

impl Running {
    fn start(slots: usize, steps: impl IntoIterator<Item = Step>) -> Self {
        let (told, heard) = mpsc::unbounded_channel();
        let drain = CancellationToken::new();
        let stage = Arc::new(Stage {
            steps: Mutex::new(steps.into_iter().collect()),
            drain: drain.clone(),
            told,
            given: AtomicUsize::new(0),
            alive: Arc::default(),
            most: AtomicUsize::new(0),
            sources: AtomicUsize::new(0),
        });
        let (deps, until) = (Arc::clone(&stage), drain.clone());
        let kind = Kind { name: "test", slots, deps, drain, tasks: TaskTracker::new() };
        let monitor = register(Monitor::new(), kind, |stage: &Arc<Stage>| {
            stage.sources.fetch_add(1, Ordering::SeqCst);
            Script(Arc::clone(stage))
        });
        let monitor = tokio::spawn(async move { run(monitor, &until).await.unwrap() });
        Self { stage, heard, monitor }
    }

    async fn hear(&mut self) -> (usize, &'static str) {
        timeout(LIMIT, self.heard.recv()).await.unwrap().unwrap()
    }

    /// Drains, and waits until the monitor has come to its end.
    async fn drained(self) {
        self.stage.drain.cancel();
        timeout(LIMIT, self.monitor).await.unwrap().unwrap();
        assert_eq!(Arc::strong_count(&self.stage.alive), 1, "a job is still there");
    }
}

#[tokio::test]
async fn a_panic_ends_its_jobs_round_and_nothing_else() {
    let jobs = [Does::Ends, Does::Panics, Does::Ends].map(Step::Gives);
    let mut running = Running::start(1, jobs);
    // One slot: the third could not start if the second kept it.
    let ended = [running.hear().await, running.hear().await, running.hear().await];
    assert_eq!(ended, [(0, "ended"), (1, "panicked"), (2, "ended")]);
    assert!(!running.monitor.is_finished());
    running.drained().await;
}

#[tokio::test]
async fn a_panic_while_a_panic_is_recorded_ends_nothing_else_either() {
    let mut running =
        Running::start(1, [Does::PanicsTwice, Does::PanicsTwice, Does::Ends].map(Step::Gives));
    let heard = [running.hear().await, running.hear().await, running.hear().await];
    assert_eq!(heard, [(0, "panicked"), (1, "panicked"), (2, "ended")]);
    assert!(!running.monitor.is_finished());
    running.drained().await;
}

#[tokio::test]
async fn never_more_is_claimed_than_there_are_slots() {
    const SLOTS: usize = 3;
    const JOBS: usize = 60;
    let jobs = (0..JOBS).map(|n| if n % 3 == 1 { Does::Panics } else { Does::Ends });
    let mut running = Running::start(SLOTS, jobs.map(Step::Gives));
    let mut heard = Vec::new();
    for _ in 0..JOBS {
        heard.push(running.hear().await);
    }
    heard.sort_unstable();
    let told = |n| if n % 3 == 1 { "panicked" } else { "ended" };
    let expected: Vec<_> = (0..JOBS).map(|n| (n, told(n))).collect();
    assert_eq!(heard, expected);
    assert_eq!(running.stage.most.load(Ordering::SeqCst), SLOTS);
    running.drained().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_or_panics_is_tried_again() {
    let steps = [Step::Fails, Step::Fails, Step::Panics, Step::Gives(Does::Ends)];
    let mut running = Running::start(2, steps);
    assert_eq!(running.hear().await, (0, "ended"));
    // What a panic left of a source is not used again.
    assert_eq!(running.stage.sources.load(Ordering::SeqCst), 2);
    running.drained().await;
}

#[tokio::test]
async fn a_drain_ends_the_wait_after_a_claim_that_failed() {
    let running = Running::start(1, [Step::Fails; 1_000]);
    running.drained().await;
}
