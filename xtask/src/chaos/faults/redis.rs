//! Faults of Redis. Each is verified to have its effect before it counts, and
//! is reverted when its time is over.

use super::kinds::{Choice, Kind};
use super::timetable::{Tempo, Timetable, Turn};
use super::{LaneError, LaneLog, one_by_one, stall};
use crate::chaos::stop::Stage;
use crate::resp::{Connection, RespError};
use crate::servers::RedisKeeper;
use regimen_devtools::proxy::Proxy;

/// A port on which nothing listens: the master of a replica that has lost it.
const NOBODY: [&str; 2] = ["127.0.0.1", "1"];

/// Runs the lane of Redis.
///
/// # Errors
/// A fault has no effect, or Redis does not start again.
pub(in crate::chaos) fn redis(
    stage: &Stage<'_>,
    keeper: RedisKeeper<'_>,
    proxy: &Proxy,
    seed: u64,
    tempo: Tempo,
    choice: &Choice,
) -> Result<LaneLog, LaneError> {
    let mut lane = Lane { stage, keeper, proxy };
    one_by_one(stage, Timetable::of_redis(seed, tempo, choice), |turn| lane.strike(turn))
}

struct Lane<'a> {
    stage: &'a Stage<'a>,
    keeper: RedisKeeper<'a>,
    proxy: &'a Proxy,
}

impl Lane<'_> {
    fn strike(&mut self, turn: &Turn) -> Result<(), LaneError> {
        let [host, port] = NOBODY;
        match turn.kind {
            Kind::RedisForgets => drop(self.keeper.connect()?.command(&["FLUSHALL"])?),
            Kind::RedisCrashes => self.keeper.crash(self.stage.session)?,
            Kind::RedisFull => self.refuses(
                turn,
                "OOM",
                &["CONFIG", "SET", "maxmemory", "1"],
                &["CONFIG", "SET", "maxmemory", "0"],
            )?,
            Kind::RedisAlone => self.refuses(
                turn,
                "NOREPLICAS",
                &["CONFIG", "SET", "min-replicas-to-write", "1"],
                &["CONFIG", "SET", "min-replicas-to-write", "0"],
            )?,
            Kind::RedisReadOnly => self.refuses(
                turn,
                "READONLY",
                &["REPLICAOF", host, port],
                &["REPLICAOF", "NO", "ONE"],
            )?,
            Kind::RedisDemoted => self.demote(turn)?,
            Kind::RedisStalls => stall(self.stage, self.proxy, turn)?,
            _ => {}
        }
        Ok(())
    }

    /// Redis answers, and refuses every write.
    fn refuses(
        &self,
        turn: &Turn,
        with: &str,
        begin: &[&str],
        end: &[&str],
    ) -> Result<(), LaneError> {
        let mut redis = self.keeper.connect()?;
        redis.command(begin)?;
        must_refuse(self.stage, &mut redis, turn, with)?;
        self.stage.rest(turn.lasts)?;
        redis.command(end)?;
        Ok(())
    }

    /// A managed failover: another server becomes the master, new connections reach it,
    /// and open ones stay with the old server, now its replica, until that ends.
    fn demote(&mut self, turn: &Turn) -> Result<(), LaneError> {
        let old = self.keeper.fail_over(self.stage.session)?;
        self.proxy.retarget(format!("127.0.0.1:{}", self.keeper.port()));
        must_refuse(self.stage, &mut self.keeper.connect_to(&old)?, turn, "READONLY")?;
        self.stage.rest(turn.lasts)?;
        drop(old);
        Ok(())
    }
}

/// # Errors
/// A write is not refused with the error of the fault.
fn must_refuse(
    stage: &Stage<'_>,
    redis: &mut Connection,
    turn: &Turn,
    with: &str,
) -> Result<(), LaneError> {
    let (what, whom) = turn.told();
    loop {
        let seen = match redis.command(&["SET", "chaos:probe", "1"]) {
            Err(RespError::Refused(why)) if why.starts_with(with) => return Ok(()),
            // A replica that is still loading its master's data.
            Err(RespError::Refused(why)) if why.starts_with("LOADING") => {
                stage.session.pause()?;
                continue;
            }
            Err(RespError::Refused(why)) => format!("a write was refused with {why}"),
            Err(error) => return Err(error.into()),
            Ok(answer) => format!("a write was answered with {answer}"),
        };
        return Err(LaneError::Harmless { what, whom, seen });
    }
}
