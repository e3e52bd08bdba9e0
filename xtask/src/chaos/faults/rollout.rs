//! A release that is rolled out and back again, process by process, while there
//! is load: first its migrations, then old and new processes side by side.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Fault, LaneError, LaneLog};
use crate::chaos::clients;
use crate::chaos::fleet::{Member, WORKER_ID};
use crate::chaos::stop::Stage;
use crate::clock;
use crate::stack::StackPlan;
use regimen_devtools::process::{Output, Process};

/// Between two processes: long enough that each release does some work beside
/// the other.
const PAUSE: Duration = Duration::from_secs(2);

/// The two releases and what lies between them.
pub(in crate::chaos) struct Rollout<'a> {
    /// Where the older binaries are; the fleet starts with them.
    pub(in crate::chaos) old: &'a Path,
    /// Where the newer ones are.
    pub(in crate::chaos) new: &'a Path,
    /// Brings the schema to the newer release.
    pub(in crate::chaos) migrate: Command,
}

/// Migrates, then replaces every process: old by new, new by old, old by new,
/// for as long as there is load.
pub(in crate::chaos) fn roll_out(
    stage: &Stage<'_>,
    plan: &StackPlan<'_>,
    workers: &mut [Member],
    ingresses: &mut [Member],
    rollout: Rollout<'_>,
) -> Result<LaneLog, LaneError> {
    let (agent, session) = (clients::agent(), stage.session);
    let mut log = LaneLog::default();
    stage.rest(2 * PAUSE)?;
    session.say("  migrating to the newer release");
    let output = plan.folder.join("logs").join("migrate-newer.log");
    Process::run(session, "regimen-worker migrate", rollout.migrate, Output::Log(&output))?;
    for (whereto, folder) in [("newer", rollout.new), ("older", rollout.old)].into_iter().cycle() {
        for member in ingresses.iter_mut().chain(workers.iter_mut()) {
            stage.rest(PAUSE)?;
            if !stage.loading()? {
                return Ok(log);
            }
            if let Some(how) = member.ended_by_itself() {
                session.say(&how);
                log.unexpected.push(how);
            }
            member.add_counts(&agent, &mut log.counts);
            session.say(format_args!("  to the {whereto} release: {}", member.name));
            let (whom, worker) = (member.name.clone(), member.reported(WORKER_ID));
            let at = clock::micros_since_1970();
            member.terminate(session)?;
            member.run_from(folder);
            member.start(session, plan)?;
            let back = clock::micros_since_1970();
            log.faults.push(Fault { what: "SIGTERM", whom, at, back, worker });
        }
    }
    Ok(log)
}
