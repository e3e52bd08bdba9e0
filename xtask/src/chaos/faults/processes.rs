//! Faults of workers and ingresses: they are killed, ended and frozen.

use std::time::Instant;

use super::kinds::{Choice, Kind};
use super::{Fault, LaneError, LaneLog};
use crate::chaos::chance::{Chance, Deck};
use crate::chaos::clients;
use crate::chaos::fleet::{Member, WORKER_ID};
use crate::chaos::stop::Stage;
use crate::clock;
use crate::stack::StackPlan;

/// A fault of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    Kill,
    Terminate,
    /// Suspends it for longer than a lease, so that others take over its jobs and it
    /// resumes as a stale leaseholder.
    Freeze,
}

const WORKER_BLOWS: [Blow; 6] =
    [Blow::Kill, Blow::Kill, Blow::Kill, Blow::Terminate, Blow::Freeze, Blow::Freeze];
const INGRESS_BLOWS: [Blow; 4] = [Blow::Kill, Blow::Kill, Blow::Terminate, Blow::Freeze];

/// Ends, restarts and freezes workers, up to two at a time.
pub(in crate::chaos) fn workers(
    stage: &Stage<'_>,
    plan: &StackPlan<'_>,
    members: &mut [Member],
    seed: u64,
    choice: &Choice,
) -> Result<LaneLog, LaneError> {
    let blows = if choice.has(Kind::Workers) { WORKER_BLOWS.to_vec() } else { Vec::new() };
    let lane = Lane { stage, plan, pause: (2_000, 5_000), freeze: (12_000, 18_000), most: 2 };
    lane.run(members, Chance::of(seed, "workers"), Deck::of(blows))
}

/// Ends, restarts and freezes ingresses, one at a time.
pub(in crate::chaos) fn ingresses(
    stage: &Stage<'_>,
    plan: &StackPlan<'_>,
    members: &mut [Member],
    seed: u64,
    choice: &Choice,
) -> Result<LaneLog, LaneError> {
    let blows = if choice.has(Kind::Ingresses) { INGRESS_BLOWS.to_vec() } else { Vec::new() };
    let lane = Lane { stage, plan, pause: (5_000, 12_000), freeze: (2_000, 6_000), most: 1 };
    lane.run(members, Chance::of(seed, "ingresses"), Deck::of(blows))
}

struct Lane<'a> {
    stage: &'a Stage<'a>,
    plan: &'a StackPlan<'a>,
    /// The time between two faults, milliseconds.
    pause: (u64, u64),
    /// The length of a freeze, milliseconds.
    freeze: (u64, u64),
    /// The most processes that may be down or frozen at once.
    most: usize,
}

/// A frozen process.
struct Frozen {
    member: usize,
    until: Instant,
    fault: Fault,
}

impl Lane<'_> {
    fn run(
        &self,
        members: &mut [Member],
        mut chance: Chance,
        mut deck: Deck<Blow>,
    ) -> Result<LaneLog, LaneError> {
        let agent = clients::agent();
        let mut log = LaneLog::default();
        let mut frozen: Vec<Frozen> = Vec::new();
        let outcome = loop {
            if let Err(error) = self.stage.rest(chance.millis(self.pause.0, self.pause.1)) {
                break Err(error.into());
            }
            thaw(members, &mut frozen, &mut log, Some(Instant::now()));
            match self.stage.loading() {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error.into()),
            }
            if let Err(error) = self.revive(members, &mut log) {
                break Err(error);
            }
            if frozen.len() >= self.most {
                continue;
            }
            let whole: Vec<usize> = (0..members.len())
                .filter(|at| frozen.iter().all(|frozen| frozen.member != *at))
                .collect();
            let (Some(&at), Some(blow)) = (chance.pick(&whole), deck.draw(&mut chance)) else {
                continue;
            };
            let Some(member) = members.get_mut(at) else { continue };
            let down = chance.millis(300, 2_500);
            match self.strike(member, blow, down, &agent, &mut log) {
                Ok(Some(fault)) => {
                    let until = Instant::now() + chance.millis(self.freeze.0, self.freeze.1);
                    frozen.push(Frozen { member: at, until, fault });
                }
                Ok(None) => {}
                Err(error) => break Err(error),
            }
        };
        // No process may stay frozen, whatever happened.
        thaw(members, &mut frozen, &mut log, None);
        outcome.map(|()| log)
    }

    /// Causes a fault; returns it if it is not over yet.
    fn strike(
        &self,
        member: &mut Member,
        blow: Blow,
        down: std::time::Duration,
        agent: &ureq::Agent,
        log: &mut LaneLog,
    ) -> Result<Option<Fault>, LaneError> {
        let session = self.stage.session;
        if blow != Blow::Freeze {
            member.add_counts(agent, &mut log.counts);
        }
        let what = match blow {
            Blow::Kill => "kill -9",
            Blow::Terminate => "SIGTERM",
            Blow::Freeze => "SIGSTOP",
        };
        session.say(format_args!("  {what}: {}", member.name));
        let (whom, worker) = (member.name.clone(), member.reported(WORKER_ID));
        let at = clock::micros_since_1970();
        let mut fault = Fault { what, whom, at, back: at, worker };
        match blow {
            Blow::Kill => member.kill(session)?,
            Blow::Terminate => member.terminate(session)?,
            Blow::Freeze => {
                member.freeze();
                return Ok(Some(fault));
            }
        }
        self.stage.rest(down)?;
        member.start(session, self.plan)?;
        fault.back = clock::micros_since_1970();
        log.faults.push(fault);
        Ok(None)
    }

    /// Restarts processes that ended unexpectedly.
    fn revive(&self, members: &mut [Member], log: &mut LaneLog) -> Result<(), LaneError> {
        for member in members {
            if let Some(how) = member.ended_by_itself() {
                self.stage.session.say(&how);
                log.unexpected.push(how);
                member.start(self.stage.session, self.plan)?;
            }
        }
        Ok(())
    }
}

/// Resumes the processes that are due; all without a time.
fn thaw(members: &[Member], frozen: &mut Vec<Frozen>, log: &mut LaneLog, now: Option<Instant>) {
    let due = |frozen: &mut Frozen| now.is_none_or(|now| frozen.until <= now);
    for mut thawed in frozen.extract_if(.., due) {
        if let Some(member) = members.get(thawed.member) {
            member.thaw();
        }
        thawed.fault.back = clock::micros_since_1970();
        log.faults.push(thawed.fault);
    }
}
