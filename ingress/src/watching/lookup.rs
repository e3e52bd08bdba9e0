//! Combines the reads of many requests into one statement.
//!
//! A request submits its key and waits. While a statement is running, the keys
//! of further requests are collected; the next statement reads all of them at
//! once, and equal keys once. So a single request is answered as fast as by its
//! own query, and ten thousand cost a few hundred statements.
//!
//! Invariant: a result is read after its request was made, never before.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use regimen_common::db::jobs::{self, Details, HistoryLine, Mark};
use regimen_common::db::{Client, Pool};
use regimen_common::db::{DbError, StatementLimits, limits};
use tokio::sync::{Mutex, mpsc, oneshot};
use uuid::Uuid;

use crate::error::ApiError;

/// The highest number of keys per statement.
const BATCH: usize = 500;
/// Concurrent statements per kind of look-up.
const LANES: usize = 3;
/// Requests that may wait for a lane.
const WAITING: usize = 4_096;

/// A query that many requests make, each with its own key.
pub trait Lookup: Send + Sync + 'static {
    /// Its key.
    type Key: Copy + Eq + Hash + Send + Sync + 'static;
    /// Its result, shared by all requests with the same key.
    type Value: Clone + Send + Sync + 'static;

    /// The results of those `keys` that have one.
    ///
    /// # Errors
    /// Postgres failed.
    fn find(
        client: &Client,
        keys: &[Self::Key],
    ) -> impl Future<Output = Result<HashMap<Self::Key, Self::Value>, DbError>> + Send;
}

/// The versions of jobs.
#[derive(Debug)]
pub enum MarkLookup {}

impl Lookup for MarkLookup {
    type Key = Uuid;
    type Value = Mark;

    async fn find(client: &Client, keys: &[Uuid]) -> Result<HashMap<Uuid, Mark>, DbError> {
        jobs::marks(client, keys).await
    }
}

/// The details of jobs.
#[derive(Debug)]
pub enum DetailsLookup {}

impl Lookup for DetailsLookup {
    type Key = Uuid;
    type Value = Arc<Details>;

    async fn find(client: &Client, keys: &[Uuid]) -> Result<HashMap<Uuid, Self::Value>, DbError> {
        let details = jobs::details(client, keys).await?;
        Ok(details.into_iter().map(|(id, details)| (id, Arc::new(details))).collect())
    }
}

/// The events of jobs after a number.
#[derive(Debug)]
pub enum HistoryLookup {}

impl Lookup for HistoryLookup {
    type Key = (Uuid, i32);
    type Value = Arc<[HistoryLine]>;

    async fn find(
        client: &Client,
        keys: &[Self::Key],
    ) -> Result<HashMap<Self::Key, Self::Value>, DbError> {
        let histories = jobs::histories(client, keys).await?;
        Ok(histories.into_iter().map(|(key, lines)| (key, lines.into())).collect())
    }
}

/// A look-up without a result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LookupError {
    /// The statement failed; all its requests get this error.
    #[error(transparent)]
    Db(Arc<DbError>),
    /// The process is ending.
    #[error("the look-up was given up because the process ends")]
    GivenUp,
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Db(error) => error.into(),
            LookupError::GivenUp => {
                Self::Unavailable { what: "this process", source: error.into() }
            }
        }
    }
}

type Answer<V> = Result<Option<V>, LookupError>;

struct Question<L: Lookup> {
    key: L::Key,
    answer: oneshot::Sender<Answer<L::Value>>,
}

/// Makes one kind of query. Cheap to clone.
pub struct Lookups<L: Lookup>(mpsc::Sender<Question<L>>);

impl<L: Lookup> Clone for Lookups<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Lookup> std::fmt::Debug for Lookups<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookups")
    }
}

impl<L: Lookup> Lookups<L> {
    /// Starts the lanes; they end with the last clone.
    pub fn new(db: Pool) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let receiver = Arc::new(Mutex::new(receiver));
        for _ in 0..LANES {
            tokio::spawn(serve::<L>(db.clone(), Arc::clone(&receiver)));
        }
        Self(sender)
    }

    /// The result for `key`, or `None` if there is none.
    ///
    /// # Errors
    /// Postgres failed, or the process ends.
    pub async fn find(&self, key: L::Key) -> Answer<L::Value> {
        let (answer, heard) = oneshot::channel();
        let asked = self.0.send(Question { key, answer }).await;
        asked.map_err(|_| LookupError::GivenUp)?;
        // The lanes may be busy with earlier requests.
        let heard = limits::wait(StatementLimits::REQUEST.usual, heard)
            .await
            .map_err(|error| LookupError::Db(Arc::new(error)))?;
        heard.unwrap_or(Err(LookupError::GivenUp))
    }
}

/// One lane: collects keys, runs the statement, sends the results.
async fn serve<L: Lookup>(db: Pool, questions: Arc<Mutex<mpsc::Receiver<Question<L>>>>) {
    let mut asked = Vec::with_capacity(BATCH);
    while questions.lock().await.recv_many(&mut asked, BATCH).await > 0 {
        // Requests that have gone need no result.
        asked.retain(|question| !question.answer.is_closed());
        let mut keys: HashMap<L::Key, Askers<L>> = HashMap::new();
        for question in asked.drain(..) {
            keys.entry(question.key).or_default().push(question.answer);
        }
        if !keys.is_empty() {
            answer::<L>(&db, keys).await;
        }
    }
}

/// All requests for one key.
type Askers<L> = Vec<oneshot::Sender<Answer<<L as Lookup>::Value>>>;

async fn answer<L: Lookup>(db: &Pool, askers: HashMap<L::Key, Askers<L>>) {
    let keys: Vec<L::Key> = askers.keys().copied().collect();
    let found = async {
        let client = db.get().await?;
        L::find(&client, &keys).await
    };
    let found = limits::within(StatementLimits::REQUEST.usual, found)
        .await
        .map_err(|error| LookupError::Db(Arc::new(error)));
    for (key, askers) in askers {
        let answer = found.as_ref().map(|found| found.get(&key).cloned()).map_err(Clone::clone);
        for asker in askers {
            // A request may have gone meanwhile.
            let _ = asker.send(answer.clone());
        }
    }
}
