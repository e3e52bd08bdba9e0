//! Changes many rows at once; a row that cannot be changed does not block the
//! others.
//!
//! A batch is picked and changed in one transaction. When Postgres refuses it,
//! perhaps because of one row (a constraint, a trigger, a number out of range),
//! the batch is halved until the failing rows are alone. They are returned to
//! the caller, who reports them and sets them aside for a while.

use crate::db::{Client, Transaction};

use super::DbError;
use super::planner;

/// The highest number of failing rows to find in one batch. With more of them the rest of
/// the batch waits for the next run.
const MOST_POISONED: usize = 16;

/// A row that cannot be changed, and Postgres' error.
#[derive(Debug)]
pub struct PoisonRow<K> {
    /// Which row.
    pub key: K,
    /// The error.
    pub error: DbError,
}

/// The outcome of a batch.
#[derive(Debug)]
pub struct Outcome<K, T> {
    /// The changed rows.
    pub done: Vec<T>,
    /// The rows that could not be changed.
    pub poisoned: Vec<PoisonRow<K>>,
    /// The rows that were not tried.
    pub untried: Vec<K>,
    /// Why not, if Postgres failed in between.
    pub broken_off: Option<DbError>,
}

impl<K, T> Outcome<K, T> {
    /// All rows were changed.
    pub(super) fn of(done: Vec<T>) -> Self {
        Self { done, poisoned: Vec::new(), untried: Vec::new(), broken_off: None }
    }
}

/// Rows to pick, and the change to make.
pub(super) trait Batch: Sync {
    /// Identifies a row.
    type Key: Clone + Send + Sync;
    /// What is returned of a changed row.
    type Done: Send;

    /// Finds the rows and locks them, along an index ([`planner::by_index`]).
    fn pick(
        &self,
        tx: &Transaction<'_>,
    ) -> impl Future<Output = Result<Vec<Self::Key>, DbError>> + Send;

    /// Changes those of the rows that still meet the condition of `pick`.
    fn change(
        &self,
        tx: &Transaction<'_>,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<Vec<Self::Done>, DbError>> + Send;
}

/// Picks a batch and changes it.
///
/// # Errors
/// Nothing was changed.
pub(super) async fn run<B: Batch>(
    client: &mut Client,
    batch: &B,
) -> Result<Outcome<B::Key, B::Done>, DbError> {
    let tx = planner::by_index(client).await?;
    let keys = batch.pick(&tx).await?;
    if keys.is_empty() {
        tx.rollback().await?;
        return Ok(Outcome::of(Vec::new()));
    }
    planner::any_way(&tx).await?;
    let changed = match batch.change(&tx, &keys).await {
        Ok(done) => tx.commit().await.map(|()| done),
        Err(error) => tx.rollback().await.and(Err(error)),
    };
    or_in_halves(client, batch, &keys, changed).await
}

/// Changes rows with known keys, as [`run`] changes picked ones.
///
/// # Errors
/// Nothing was changed.
pub(super) async fn change<B: Batch>(
    client: &mut Client,
    batch: &B,
    keys: &[B::Key],
) -> Result<Outcome<B::Key, B::Done>, DbError> {
    if keys.is_empty() {
        return Ok(Outcome::of(Vec::new()));
    }
    let changed = alone(client, batch, keys).await;
    or_in_halves(client, batch, keys, changed).await
}

/// The result of `changed` for all `keys` or, if one failing row prevented it, the result
/// for those that can be changed.
///
/// # Errors
/// Nothing was changed, and no single row caused it.
pub(super) async fn or_in_halves<B: Batch>(
    client: &mut Client,
    batch: &B,
    keys: &[B::Key],
    changed: Result<Vec<B::Done>, DbError>,
) -> Result<Outcome<B::Key, B::Done>, DbError> {
    match changed {
        Ok(done) => Ok(Outcome::of(done)),
        Err(error) if error.may_blame_a_row() => halves(client, batch, keys, error).await,
        Err(error) => Err(error),
    }
}

async fn halves<B: Batch>(
    client: &mut Client,
    batch: &B,
    keys: &[B::Key],
    error: DbError,
) -> Result<Outcome<B::Key, B::Done>, DbError> {
    let (mut outcome, mut passed) = (Outcome::of(Vec::new()), false);
    let mut failed = vec![(keys, error)];
    while let Some((part, error)) = failed.pop() {
        match part {
            [key] => outcome.poisoned.push(PoisonRow { key: key.clone(), error }),
            part if outcome.poisoned.len() >= MOST_POISONED || outcome.broken_off.is_some() => {
                outcome.untried.extend_from_slice(part);
            }
            part => {
                let (first, second) = part.split_at(part.len() / 2);
                for half in [second, first] {
                    match alone(client, batch, half).await {
                        Ok(done) => {
                            passed = true;
                            outcome.done.extend(done);
                        }
                        Err(error) if error.may_blame_a_row() => failed.push((half, error)),
                        Err(error) => {
                            outcome.untried.extend_from_slice(half);
                            outcome.broken_off = Some(error);
                        }
                    }
                }
            }
        }
    }
    // A missing table, column or privilege stops every row, which says nothing of any: none is
    // set aside. Where others pass, it was raised for the rows that do not.
    let unsaid = |row: &PoisonRow<B::Key>| !row.error.blames_a_row();
    if !passed
        && outcome.poisoned.iter().all(unsaid)
        && let Some(PoisonRow { error, .. }) = outcome.poisoned.pop()
    {
        return Err(outcome.broken_off.unwrap_or(error));
    }
    Ok(outcome)
}

async fn alone<B: Batch>(
    client: &mut Client,
    batch: &B,
    keys: &[B::Key],
) -> Result<Vec<B::Done>, DbError> {
    let tx = client.transaction();
    let done = batch.change(&tx, keys).await?;
    tx.commit().await?;
    Ok(done)
}

/// The readable rows of claimed ones. An unreadable one is reported and left out; its
/// claim is given up later, as one without a handler.
pub(super) fn readable<T>(
    step: &'static str,
    rows: impl Iterator<Item = Result<T, DbError>>,
) -> Vec<T> {
    rows.filter_map(|row| {
        row.inspect_err(|error| {
            metrics::counter!("regimen_poison_rows_total", "step" => step).increment(1);
            tracing::error!(step, %error, "a claimed row cannot be read by this release");
        })
        .ok()
    })
    .collect()
}
