//! Faults of PostgreSQL, and operators' actions in it. Each is reverted when
//! its time is over.

use std::time::{Duration, Instant};

use super::kinds::{Choice, Kind};
use super::timetable::{Tempo, Timetable, Turn};
use super::{LaneError, LaneLog, one_by_one, stall};
use crate::chaos::FOLDER;
use crate::chaos::check::count;
use crate::chaos::stop::Stage;
use crate::psql::Psql;
use crate::servers::PostgresKeeper;
use regimen_devtools::process::{Output, Process};
use regimen_devtools::proxy::{Proxy, Refusal};
use regimen_devtools::signal::Ending;

/// The name of our sessions that hold a lock.
const HOLDER: &str = "chaos lock";

const LOCK: &str = "begin; lock table regimen.jobs in access exclusive mode; select pg_sleep(600)";

const LOCKS_HELD: &str = "select count(*) from pg_locks
    join pg_stat_activity using (pid)
    where application_name = 'chaos lock' and relation = 'regimen.jobs'::regclass
      and mode = 'AccessExclusiveLock' and granted";

const UNLOCK: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where application_name = 'chaos lock'";

/// Some hosts set this for their roles; open sessions keep the earlier value.
const HURRY: &str = "alter role current_user set statement_timeout = '300ms';
    alter role current_user set lock_timeout = '150ms'";

const NO_HURRY: &str = "alter role current_user reset statement_timeout;
    alter role current_user reset lock_timeout";

const END_SESSIONS: &str = "select pg_terminate_backend(pid) from pg_stat_activity
    where pid <> pg_backend_pid() and backend_type = 'client backend'";

/// The periods for which the table is locked and free while the time limits are short.
const HELD_UP: Duration = Duration::from_millis(900);
const FREE: Duration = Duration::from_millis(700);

const PAUSE: &str = "insert into regimen.pauses (what, name, paused_by)
    values ('queue', 'pro', 'chaos'), ('queue', 'free', 'chaos') on conflict do nothing";

const RESUME: &str = "delete from regimen.pauses where paused_by = 'chaos'";

/// Runs the lane of PostgreSQL.
///
/// # Errors
/// A fault has no effect, or PostgreSQL does not start again.
pub(in crate::chaos) fn postgres(
    stage: &Stage<'_>,
    keeper: PostgresKeeper<'_>,
    psql: &Psql,
    proxy: &Proxy,
    seed: u64,
    tempo: Tempo,
    choice: &Choice,
) -> Result<LaneLog, LaneError> {
    let mut lane = Lane { stage, keeper, psql, proxy };
    one_by_one(stage, Timetable::of_postgres(seed, tempo, choice), |turn| lane.strike(turn))
}

struct Lane<'a> {
    stage: &'a Stage<'a>,
    keeper: PostgresKeeper<'a>,
    psql: &'a Psql,
    proxy: &'a Proxy,
}

impl Lane<'_> {
    fn strike(&mut self, turn: &Turn) -> Result<(), LaneError> {
        match turn.kind {
            Kind::PostgresCrashes => self.keeper.crash(self.stage.session)?,
            Kind::PostgresStalls => stall(self.stage, self.proxy, turn)?,
            Kind::PostgresLocked => self.lock(turn, turn.lasts)?,
            Kind::PostgresHurries => self.hurry(turn)?,
            Kind::PostgresRefuses => self.refuse(turn)?,
            Kind::Paused => {
                self.psql.run(PAUSE)?;
                self.stage.rest(turn.lasts)?;
                self.psql.run(RESUME)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Blocks all reads and writes of jobs. Other sessions wait from the moment the lock
    /// is requested.
    fn lock(&self, turn: &Turn, lasts: Duration) -> Result<(), LaneError> {
        let session = self.stage.session;
        let command = self.psql.command(HOLDER, LOCK);
        let log = session.workspace.place(FOLDER).join("logs").join("lock.log");
        let output = Output::Log(&log);
        let mut holder = Process::start(HOLDER, command, output, Ending::Terminate)?;
        self.stage.rest(lasts)?;
        let held = count::<u32>(self.psql, LOCKS_HELD)?;
        self.psql.run(UNLOCK)?;
        holder.wait(session)?;
        if held == 0 && lasts == turn.lasts && self.stage.loading()? {
            let (what, whom) = turn.told();
            let seen = "the lock was not granted".to_owned();
            return Err(LaneError::Harmless { what, whom, seen });
        }
        Ok(())
    }

    /// Gives new sessions short limits for statements and locks, and holds a lock that
    /// they must wait for.
    fn hurry(&self, turn: &Turn) -> Result<(), LaneError> {
        self.psql.run(HURRY)?;
        self.psql.run(END_SESSIONS)?;
        let until = Instant::now() + turn.lasts;
        while Instant::now() < until && self.stage.loading()? {
            self.lock(turn, HELD_UP)?;
            self.stage.rest(FREE)?;
        }
        self.psql.run(NO_HURRY)?;
        self.psql.run(END_SESSIONS)?;
        Ok(())
    }

    /// Closes half of the sessions and refuses most new ones.
    fn refuse(&self, turn: &Turn) -> Result<(), LaneError> {
        self.proxy.refuse_most(Some(if turn.late { Refusal::SERVER } else { Refusal::POOL }));
        self.proxy.cut_half();
        self.stage.rest(turn.lasts)?;
        self.proxy.refuse_most(None);
        Ok(())
    }
}
