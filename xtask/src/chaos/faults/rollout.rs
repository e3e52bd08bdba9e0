//! Processes that are replaced one by one while there is load, as a platform does
//! it: the new one is started first, and the old one is asked to end once the
//! new one is ready.

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
use regimen_devtools::proxy::Balancer;

/// Which processes are replaced, and by what.
pub(in crate::chaos) struct Rollout<'a> {
    /// Brings the schema to the first release.
    pub(in crate::chaos) migrate: Option<Command>,
    /// The releases that follow each other, again and again: what each is called in
    /// messages, and where its binaries are.
    pub(in crate::chaos) releases: Vec<(&'static str, &'a Path)>,
    /// In front of the ingresses.
    pub(in crate::chaos) balancer: &'a Balancer,
    /// Between two processes.
    pub(in crate::chaos) pause: Duration,
}

/// Replaces every process by each release in turn, for as long as there is load.
pub(in crate::chaos) fn roll_out<'m>(
    stage: &Stage<'_>,
    plan: &StackPlan<'_>,
    members: impl IntoIterator<Item = &'m mut Member>,
    rollout: Rollout<'_>,
) -> Result<LaneLog, LaneError> {
    let (agent, session) = (clients::agent(), stage.session);
    let mut members: Vec<_> = members.into_iter().collect();
    let mut log = LaneLog::default();
    if let Some(migrate) = rollout.migrate {
        stage.rest(2 * rollout.pause)?;
        session.say("  migrating to the newer release");
        let output = plan.folder.join("logs").join("migrate-newer.log");
        Process::run(session, "regimen-worker migrate", migrate, Output::Log(&output))?;
    }
    for (release, folder) in rollout.releases.iter().cycle() {
        for member in &mut members {
            stage.rest(rollout.pause)?;
            if !stage.loading()? {
                return Ok(log);
            }
            if let Some(how) = member.ended_by_itself() {
                session.say(&how);
                log.unexpected.push(how);
            }
            session.say(format_args!("  {release}: {}", member.name));
            member.run_from(folder);
            let mut old = member.succeed(session, plan, rollout.balancer)?;
            old.add_counts(&agent, &mut log.counts);
            let (whom, worker) = (old.name.clone(), old.reported(WORKER_ID));
            let api = old.api();
            let at = clock::micros_since_1970();
            old.terminate(session)?;
            api.into_iter().for_each(|api| rollout.balancer.remove(api));
            let back = clock::micros_since_1970();
            log.faults.push(Fault { what: "SIGTERM", whom, at, back, worker });
        }
    }
    Ok(log)
}
