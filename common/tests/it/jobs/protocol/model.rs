//! The states of the model, its steps, and what must always hold.

use stateright::{Model, Property};

const WORKERS: usize = 2;
const JOBS: usize = 2;
/// Each claim needs a fault or the first turn, so there are never more.
const MOST_CLAIMS: u8 = 12;
/// A job that took so many workers with it ends (`LOST_WORKERS_LIMIT`).
const MOST_LOST: u8 = 3;

/// What a statement checks or a process repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guard {
    /// A claim takes queued jobs only.
    StateAtClaim,
    /// A claim takes a new fence.
    NewFence,
    /// A claim renews its worker's lease.
    LeaseAtClaim,
    /// The start of a call checks the fence.
    FenceAtStart,
    /// An end checks the fence.
    FenceAtEnd,
    /// An end checks that the job runs.
    StateAtEnd,
    /// A release checks the fence.
    FenceAtRelease,
    /// Only jobs of a worker that is expired are taken over.
    LeaseAtTakeover,
    /// Jobs of expired workers are taken over.
    Takeover,
    /// Claims that no handler has are given up.
    Strays,
    /// But not while the claim's answer may be on its way.
    Patience,
    /// The third loss ends a job.
    Poison,
    /// Only open jobs are cancelled.
    StateAtCancel,
    /// Only waiting jobs that nobody has claimed are overdue.
    StateAtExpiry,
    /// Queued jobs that Redis lost are dispatched again.
    Redispatch,
    /// A stored reply is used by the next holder.
    StoredReply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

/// A job's row in Postgres, and what was done for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Job {
    state: JobState,
    holder: usize,
    fence: u8,
    /// A reply is stored.
    reply: bool,
    /// Its id stands in Redis.
    in_redis: bool,
    /// Plans saved.
    plans: u8,
    /// Calls to a provider.
    calls: u8,
    /// Workers lost with it.
    lost: u8,
    /// The fence of the claim that a reconciler is about to end.
    picked: Option<u8>,
}

/// What a worker does for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Idle,
    /// Claimed; the answer is on its way.
    Hearing {
        fence: u8,
        stored: bool,
    },
    /// About to call a provider.
    Calling {
        fence: u8,
    },
    /// With a reply that is not stored yet.
    Replied {
        fence: u8,
    },
    /// About to save the plan.
    Ending {
        fence: u8,
    },
    /// Stopped without a result.
    Releasing {
        fence: u8,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Worker {
    alive: bool,
    stalled: bool,
    /// Its lease in Postgres has expired.
    expired: bool,
    steps: [Step; JOBS],
    /// Claims that it sent and does not wait for, and that Postgres may still commit.
    late: [bool; JOBS],
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct World {
    workers: [Worker; WORKERS],
    jobs: [Job; JOBS],
    /// The sequence of fences.
    fences: u8,
    crashes: u8,
    stalls: u8,
    losses: u8,
    turns: u8,
    /// A row was changed that had ended, or that another claim holds.
    stale_change: bool,
    /// A provider is called although a reply was stored when the job was claimed.
    paid_again: bool,
    /// A provider is called for a job that another claim holds, or none.
    stale_call: bool,
    /// A claim was ended while its worker's lease was valid.
    lease_broken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Claim(usize, usize),
    Hear(usize, usize),
    LateClaim(usize, usize),
    LateClaimVanishes(usize, usize),
    GiveUpClaim(usize, usize),
    /// The claim is committed and its answer lost.
    ClaimUnheard(usize, usize),
    Call(usize, usize),
    StoreReply(usize, usize),
    End(usize, usize),
    Fail(usize, usize),
    RetryLater(usize, usize),
    Cancel(usize),
    Overdue(usize),
    /// The write is committed and its answer lost: the worker repeats it.
    StoreReplyUnheard(usize, usize),
    EndUnheard(usize, usize),
    Abandon(usize, usize),
    Release(usize, usize),
    GiveUpStray(usize, usize),
    Heartbeat(usize),
    Expire(usize),
    Crash(usize),
    Stall(usize),
    CrashWhileClaiming(usize, usize),
    StallWhileClaiming(usize, usize),
    Resume(usize),
    Pick(usize),
    TakeOver(usize),
    Redispatch(usize),
    RedisForgets(usize),
}

/// How often each fault may happen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    pub(super) crashes: u8,
    pub(super) stalls: u8,
    pub(super) losses: u8,
    /// How often a job is cancelled, overdue, failed or tried again.
    pub(super) turns: u8,
    /// A claim's answer takes a step, and so does a takeover between its choice and its write.
    pub(super) fine: bool,
}

/// The protocol, without one of its guards or with all of them.
#[derive(Clone, Copy)]
pub(super) struct Protocol {
    pub(super) scope: Scope,
    pub(super) without: Option<Guard>,
}

impl Protocol {
    fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The claim statement. Returns the fence, if the job was claimed.
    fn claim(self, world: &mut World, w: usize, j: usize) -> Option<u8> {
        if self.has(Guard::LeaseAtClaim) {
            world.workers[w].expired = false;
        }
        if world.jobs[j].state != JobState::Queued && self.has(Guard::StateAtClaim) {
            return None;
        }
        world.stale_change |= world.jobs[j].ended();
        if self.has(Guard::NewFence) {
            world.fences += 1;
        }
        let fence = world.fences;
        let job = &mut world.jobs[j];
        (job.state, job.holder, job.fence) = (JobState::Running, w, fence);
        Some(fence)
    }

    /// What a worker does for a job that it has claimed.
    fn hear(self, world: &mut World, fence: u8, stored: bool) -> Step {
        let replied = stored && self.has(Guard::StoredReply);
        world.paid_again |= stored && !replied;
        if replied { Step::Ending { fence } } else { Step::Calling { fence } }
    }

    /// The statements that write what became of a claim: a plan and its job's end, a
    /// failure, or another round.
    fn end(self, world: &mut World, j: usize, fence: u8, state: JobState) {
        let job = &mut world.jobs[j];
        let held = (job.fence == fence || !self.has(Guard::FenceAtEnd))
            && (job.state == JobState::Running || !self.has(Guard::StateAtEnd));
        if held {
            world.stale_change |= job.ended() || job.fence != fence;
            job.state = state;
            job.plans += u8::from(state == JobState::Succeeded);
            if state == JobState::Queued {
                // Its reply was no use.
                (job.reply, job.in_redis) = (false, true);
            }
        }
    }

    /// The statement that ends a claim as lost with its worker.
    fn lose(self, world: &mut World, j: usize) {
        world.stale_change |= world.jobs[j].ended();
        let job = &mut world.jobs[j];
        job.lost += 1;
        if job.lost < MOST_LOST || !self.has(Guard::Poison) {
            Self::requeue(job);
        } else {
            job.state = JobState::Failed;
        }
    }

    fn requeue(job: &mut Job) {
        (job.state, job.in_redis) = (JobState::Queued, true);
    }
}

impl Job {
    fn ended(&self) -> bool {
        matches!(self.state, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }

    fn held_by(&self, w: usize) -> bool {
        self.state == JobState::Running && self.holder == w
    }
}

impl Step {
    /// The fence of the claim that a handler works under.
    fn fence(self) -> Option<u8> {
        match self {
            Self::Calling { fence } | Self::Replied { fence } | Self::Ending { fence } => {
                Some(fence)
            }
            Self::Idle | Self::Hearing { .. } | Self::Releasing { .. } => None,
        }
    }
}

impl World {
    /// Faults so far.
    fn faults(&self, scope: Scope) -> u8 {
        scope.crashes + scope.stalls + scope.losses - self.crashes - self.stalls - self.losses
    }

    /// A claim that its worker does not wait for.
    fn send_claim(&mut self, w: usize, j: usize) {
        self.jobs[j].in_redis = false;
        self.workers[w].late[j] = true;
    }

    fn crash(&mut self, w: usize) {
        self.crashes -= 1;
        self.workers[w].alive = false;
        self.workers[w].steps = [Step::Idle; JOBS];
    }

    fn stall(&mut self, w: usize) {
        self.stalls -= 1;
        self.workers[w].stalled = true;
    }

    /// The same world with its workers and jobs in one of all orders: which is which makes
    /// no difference.
    fn in_order(self) -> Self {
        let mut jobs_swapped = self.clone();
        jobs_swapped.jobs.swap(0, 1);
        for worker in &mut jobs_swapped.workers {
            worker.steps.swap(0, 1);
            worker.late.swap(0, 1);
        }
        let workers_swapped = |world: &Self| {
            let mut world = world.clone();
            world.workers.swap(0, 1);
            for job in &mut world.jobs {
                job.holder = 1 - job.holder;
            }
            world
        };
        let both = workers_swapped(&jobs_swapped).min(workers_swapped(&self));
        self.min(jobs_swapped).min(both)
    }

    /// Whether a reconciler runs somewhere.
    fn somebody_lives(&self) -> bool {
        self.workers.iter().any(|worker| worker.alive && !worker.stalled)
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let worker = Worker {
            alive: true,
            stalled: false,
            expired: false,
            steps: [Step::Idle; JOBS],
            late: [false; JOBS],
        };
        let job = Job {
            state: JobState::Queued,
            holder: 0,
            fence: 0,
            reply: false,
            in_redis: true,
            plans: 0,
            calls: 0,
            lost: 0,
            picked: None,
        };
        let (workers, jobs) = ([worker; WORKERS], [job; JOBS]);
        vec![World {
            workers,
            jobs,
            fences: 0,
            crashes: self.scope.crashes,
            stalls: self.scope.stalls,
            losses: self.scope.losses,
            turns: self.scope.turns,
            stale_change: false,
            paid_again: false,
            stale_call: false,
            lease_broken: false,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        for (w, worker) in world.workers.iter().enumerate() {
            for (j, job) in world.jobs.iter().enumerate() {
                // Postgres does not need the worker for these.
                if worker.late[j] {
                    actions.extend([Action::LateClaim(w, j), Action::LateClaimVanishes(w, j)]);
                }
                if !worker.alive || worker.stalled {
                    continue;
                }
                let lossy = world.losses > 0;
                match worker.steps[j] {
                    Step::Idle => {
                        if job.in_redis && !worker.late[j] {
                            actions.push(Action::Claim(w, j));
                            if lossy {
                                actions.push(Action::GiveUpClaim(w, j));
                                actions.push(Action::ClaimUnheard(w, j));
                            }
                            if world.crashes > 0 {
                                actions.push(Action::CrashWhileClaiming(w, j));
                            }
                            if world.stalls > 0 {
                                actions.push(Action::StallWhileClaiming(w, j));
                            }
                        }
                        if job.held_by(w) && self.has(Guard::Strays) {
                            actions.push(Action::GiveUpStray(w, j));
                        }
                    }
                    Step::Hearing { .. } => {
                        actions.push(Action::Hear(w, j));
                        if job.held_by(w) && !self.has(Guard::Patience) {
                            actions.push(Action::GiveUpStray(w, j));
                        }
                    }
                    Step::Calling { .. } => actions.push(Action::Call(w, j)),
                    Step::Replied { .. } => {
                        actions.push(Action::StoreReply(w, j));
                        if lossy {
                            actions.push(Action::StoreReplyUnheard(w, j));
                        }
                    }
                    Step::Ending { .. } => {
                        actions.push(Action::End(w, j));
                        if world.turns > 0 {
                            actions.extend([Action::Fail(w, j), Action::RetryLater(w, j)]);
                        }
                        if lossy {
                            actions.push(Action::EndUnheard(w, j));
                        }
                    }
                    Step::Releasing { .. } => actions.push(Action::Release(w, j)),
                }
                if worker.expired && worker.steps[j].fence().is_some() {
                    actions.push(Action::Abandon(w, j));
                }
            }
            if worker.alive && !worker.stalled {
                if worker.expired {
                    actions.push(Action::Heartbeat(w));
                }
                if world.crashes > 0 {
                    actions.push(Action::Crash(w));
                }
                if world.stalls > 0 {
                    actions.push(Action::Stall(w));
                }
            } else if !worker.expired {
                actions.push(Action::Expire(w));
            }
            if worker.alive && worker.stalled {
                actions.push(Action::Resume(w));
            }
        }
        for (j, job) in world.jobs.iter().enumerate() {
            let expired = world.workers[job.holder].expired;
            if job.picked.is_some() {
                if world.somebody_lives() {
                    actions.push(Action::TakeOver(j));
                }
            } else if job.state == JobState::Running
                && world.somebody_lives()
                && self.has(Guard::Takeover)
                && (expired || !self.has(Guard::LeaseAtTakeover))
            {
                actions.push(if self.scope.fine { Action::Pick(j) } else { Action::TakeOver(j) });
            }
            if world.turns > 0 {
                if !job.ended() || !self.has(Guard::StateAtCancel) {
                    actions.push(Action::Cancel(j));
                }
                let waits = job.state == JobState::Queued && job.fence == 0;
                if waits || !self.has(Guard::StateAtExpiry) {
                    actions.push(Action::Overdue(j));
                }
            }
            let lost = job.state == JobState::Queued && !job.in_redis;
            if lost && world.somebody_lives() && self.has(Guard::Redispatch) {
                actions.push(Action::Redispatch(j));
            }
            if job.in_redis && world.losses > 0 {
                actions.push(Action::RedisForgets(j));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Claim(w, j) => {
                world.jobs[j].in_redis = false;
                let stored = world.jobs[j].reply;
                let claimed = self.claim(&mut world, w, j);
                world.workers[w].steps[j] = match claimed {
                    None => Step::Idle,
                    Some(fence) if self.scope.fine => Step::Hearing { fence, stored },
                    Some(fence) => self.hear(&mut world, fence, stored),
                };
            }
            Action::Hear(w, j) => {
                let Step::Hearing { fence, stored } = last.workers[w].steps[j] else { return None };
                world.workers[w].steps[j] = self.hear(&mut world, fence, stored);
            }
            Action::LateClaim(w, j) => {
                world.workers[w].late[j] = false;
                self.claim(&mut world, w, j);
            }
            Action::LateClaimVanishes(w, j) => world.workers[w].late[j] = false,
            Action::GiveUpClaim(w, j) => {
                world.losses -= 1;
                world.send_claim(w, j);
            }
            Action::ClaimUnheard(w, j) => {
                world.losses -= 1;
                world.jobs[j].in_redis = false;
                self.claim(&mut world, w, j);
            }
            Action::Call(w, j) => {
                let Step::Calling { fence } = last.workers[w].steps[j] else { return None };
                let job = &mut world.jobs[j];
                // The start of a call is a write: a stale one is refused.
                let held = job.held_by(w) && job.fence == fence;
                if held || !self.has(Guard::FenceAtStart) {
                    job.calls += 1;
                    world.stale_call |= !held;
                    world.workers[w].steps[j] = Step::Replied { fence };
                } else {
                    world.workers[w].steps[j] = Step::Idle;
                }
            }
            Action::StoreReply(w, j) | Action::StoreReplyUnheard(w, j) => {
                let Step::Replied { fence } = last.workers[w].steps[j] else { return None };
                world.jobs[j].reply = true;
                if matches!(action, Action::StoreReply(..)) {
                    world.workers[w].steps[j] = Step::Ending { fence };
                } else {
                    world.losses -= 1;
                }
            }
            Action::End(w, j) | Action::EndUnheard(w, j) => {
                let Step::Ending { fence } = last.workers[w].steps[j] else { return None };
                self.end(&mut world, j, fence, JobState::Succeeded);
                if matches!(action, Action::End(..)) {
                    world.workers[w].steps[j] = Step::Idle;
                } else {
                    world.losses -= 1;
                }
            }
            Action::Fail(w, j) | Action::RetryLater(w, j) => {
                let Step::Ending { fence } = last.workers[w].steps[j] else { return None };
                world.turns -= 1;
                let fails = matches!(action, Action::Fail(..));
                let state = if fails { JobState::Failed } else { JobState::Queued };
                self.end(&mut world, j, fence, state);
                world.workers[w].steps[j] = Step::Idle;
            }
            Action::Cancel(j) => {
                world.turns -= 1;
                world.stale_change |= world.jobs[j].ended();
                world.jobs[j].state = JobState::Cancelled;
            }
            Action::Overdue(j) => {
                world.turns -= 1;
                world.stale_change |= world.jobs[j].state != JobState::Queued;
                world.jobs[j].state = JobState::Failed;
            }
            Action::Abandon(w, j) => {
                let fence = last.workers[w].steps[j].fence()?;
                world.workers[w].steps[j] = Step::Releasing { fence };
            }
            Action::Release(w, j) => {
                let Step::Releasing { fence } = last.workers[w].steps[j] else { return None };
                let job = &world.jobs[j];
                if job.state == JobState::Running
                    && (job.fence == fence || !self.has(Guard::FenceAtRelease))
                {
                    // Not the job's fault: its worker was seen to fail.
                    world.stale_change |= job.holder != w;
                    Self::requeue(&mut world.jobs[j]);
                }
                world.workers[w].steps[j] = Step::Idle;
            }
            Action::GiveUpStray(_, j) => self.lose(&mut world, j),
            Action::Heartbeat(w) => {
                world.workers[w].expired = false;
                for (j, job) in last.jobs.iter().enumerate() {
                    let step = &mut world.workers[w].steps[j];
                    if step.fence().is_some_and(|fence| !job.held_by(w) || job.fence != fence) {
                        *step = Step::Idle;
                    }
                }
            }
            Action::Expire(w) => world.workers[w].expired = true,
            Action::Crash(w) => world.crash(w),
            Action::CrashWhileClaiming(w, j) => {
                world.send_claim(w, j);
                world.crash(w);
            }
            Action::Stall(w) => world.stall(w),
            Action::StallWhileClaiming(w, j) => {
                world.send_claim(w, j);
                world.stall(w);
            }
            Action::Resume(w) => world.workers[w].stalled = false,
            Action::Pick(j) => world.jobs[j].picked = Some(world.jobs[j].fence),
            Action::TakeOver(j) => {
                let job = &last.jobs[j];
                let picked =
                    world.jobs[j].picked.take().or((!self.scope.fine).then_some(job.fence));
                let expired = last.workers[job.holder].expired;
                if job.state == JobState::Running
                    && (expired || !self.has(Guard::LeaseAtTakeover))
                    && picked == Some(job.fence)
                {
                    world.lease_broken |= !expired;
                    self.lose(&mut world, j);
                }
            }
            Action::Redispatch(j) => world.jobs[j].in_redis = true,
            Action::RedisForgets(j) => {
                world.losses -= 1;
                world.jobs[j].in_redis = false;
            }
        }
        Some(world.in_order())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("a claim has one holder", |_, world: &World| {
                world.jobs.iter().enumerate().all(|(j, job)| {
                    let holds = |worker: &&Worker| {
                        worker.alive && worker.steps[j].fence() == Some(job.fence)
                    };
                    job.state != JobState::Running || world.workers.iter().filter(holds).count() < 2
                })
            }),
            Property::always("what has ended or is another's stays", |_, world: &World| {
                !world.stale_change
            }),
            Property::always("a plan is saved once", |_, world: &World| {
                let once = |job: &Job| job.plans == u8::from(job.state == JobState::Succeeded);
                world.jobs.iter().all(once)
            }),
            Property::always("no stored reply is paid for again", |_, world: &World| {
                !world.paid_again
            }),
            Property::always("only its holder calls for a job", |_, world: &World| {
                !world.stale_call
            }),
            Property::always("a valid lease keeps its claims", |_, world: &World| {
                !world.lease_broken
            }),
            Property::always(
                "only faults and retries cost a second call",
                |protocol: &Self, world: &World| {
                    let retries = protocol.scope.turns - world.turns;
                    let most = 1 + world.faults(protocol.scope) + retries;
                    world.jobs.iter().all(|job| job.calls <= most)
                },
            ),
            Property::always(
                "only faults are held against a job",
                |protocol: &Self, world: &World| {
                    let faults = world.faults(protocol.scope);
                    world.jobs.iter().all(|job| job.lost <= faults)
                },
            ),
            Property::always("a job takes three workers at most", |_, world: &World| {
                let stopped = |job: &Job| job.ended() && job.lost == MOST_LOST;
                world.jobs.iter().all(|job| job.lost < MOST_LOST || stopped(job))
            }),
            Property::always("claims are bounded", |_, world: &World| world.fences < MOST_CLAIMS),
            Property::eventually("every job ends", |_, world: &World| {
                world.jobs.iter().all(Job::ended)
            }),
        ]
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.fences <= MOST_CLAIMS
    }
}
