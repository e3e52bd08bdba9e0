//! Looks, all through the load, at how many ids stand in Redis for how many
//! jobs that wait: what is pushed for nothing piles up there.

use std::time::Duration;

use super::check::count;
use super::stop::Stage;
use crate::psql::Psql;
use crate::resp::{Connection, RespError};
use regimen_devtools::Interrupted;
use regimen_devtools::proxy::Proxy;

/// Between two looks.
const PACE: Duration = Duration::from_secs(2);

/// The lists of job ids, under the prefix that nothing here changes.
const LISTS: [&str; 2] = ["{regimen}:queue:pro", "{regimen}:queue:free"];

const QUEUED: &str = "select count(*) from regimen.jobs where state = 'queued'";

/// What was seen at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Ids in the lists.
    pub(super) ids: usize,
    /// Jobs that wait, as Postgres told right after.
    pub(super) queued: usize,
}

/// Looks until the load is over. A store that is away shows nothing.
///
/// # Errors
/// We are asked to stop.
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
