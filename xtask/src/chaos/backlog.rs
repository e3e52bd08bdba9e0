//! Counts, during the load, the ids in Redis and the queued jobs: ids pushed
//! for nothing would accumulate.

use std::time::Duration;

use super::check::count;
use super::stop::Stage;
use crate::psql::Psql;
use crate::resp::{Connection, RespError};
use regimen_devtools::Interrupted;
use regimen_devtools::proxy::Proxy;

/// The polling interval.
const PACE: Duration = Duration::from_secs(2);

/// The lists of job ids, under the default prefix.
const LISTS: [&str; 2] = ["{regimen}:queue:pro", "{regimen}:queue:free"];

const QUEUED: &str = "select count(*) from regimen.jobs where state = 'queued'";

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Ids in the lists.
    pub(super) ids: usize,
    /// Queued jobs in Postgres, right after.
    pub(super) queued: usize,
}

/// Takes samples until the load is over, none while a store is unavailable.
///
/// # Errors
/// The program was interrupted.
pub(super) fn watch(
    stage: &Stage<'_>,
    psql: &Psql,
    redis: &Proxy,
    password: &str,
) -> Result<Vec<Sample>, Interrupted> {
    let mut samples = Vec::new();
    while stage.loading()? {
        if let (Ok(ids), Ok(queued)) = (standing(redis.port(), password), count(psql, QUEUED)) {
            samples.push(Sample { ids, queued });
        }
        stage.rest(PACE)?;
    }
    Ok(samples)
}

fn standing(port: u16, password: &str) -> Result<usize, RespError> {
    let mut redis = Connection::open(port, password)?;
    let mut ids = 0;
    for list in LISTS {
        let length = redis.command(&["LLEN", list])?;
        ids += length.parse::<usize>().map_err(|_| RespError::Unexpected(length))?;
    }
    Ok(ids)
}
