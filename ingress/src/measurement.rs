//! Questions to Postgres that all requests share: at most one statement runs at a
//! time, and callers that arrive meanwhile get the same result or error. So no
//! caller waits for the failures of others.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use regimen_common::db::{DbError, StatementLimits, limits};
use tokio::time::Instant;

type Measured<T> = Result<Arc<T>, Arc<DbError>>;

/// Measures on request. Cheap to clone.
pub(crate) struct Measurement<T> {
    keep: Duration,
    keeps_failures: bool,
    state: Arc<Mutex<State<T>>>,
}

struct State<T> {
    latest: Option<(Instant, Measured<T>)>,
    under_way: Option<Shared<BoxFuture<'static, Measured<T>>>>,
}

impl<T> Clone for Measurement<T> {
    fn clone(&self) -> Self {
        Self { state: Arc::clone(&self.state), ..*self }
    }
}

impl<T> fmt::Debug for Measurement<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measurement").field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Measurement<T> {
    /// A measurement is valid for `keep`.
    pub(crate) fn new(keep: Duration) -> Self {
        let state = Arc::new(Mutex::new(State { latest: None, under_way: None }));
        Self { keep, keeps_failures: false, state }
    }

    /// A failure is valid for as long. Otherwise the next caller after it measures again.
    pub(crate) fn with_failures(self) -> Self {
        Self { keeps_failures: true, ..self }
    }

    /// The latest measurement, or the one that `measure` makes now.
    ///
    /// # Errors
    /// Postgres failed, or did not answer in time.
    pub(crate) async fn get<F>(&self, measure: impl FnOnce() -> F) -> Measured<T>
    where
        F: Future<Output = Result<T, DbError>> + Send + 'static,
    {
        let under_way = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, latest)) = &state.latest
                && at.elapsed() < self.keep
            {
                return latest.clone();
            }
            state.under_way.get_or_insert_with(|| self.begin(measure())).clone()
        };
        limits::wait(StatementLimits::REQUEST.usual, under_way)
            .await
            .unwrap_or_else(|error| Err(Arc::new(error)))
    }

    /// On its own task, so that it does not end with its first caller.
    fn begin(
        &self,
        measure: impl Future<Output = Result<T, DbError>> + Send + 'static,
    ) -> Shared<BoxFuture<'static, Measured<T>>> {
        let (state, keeps_failures) = (Arc::clone(&self.state), self.keeps_failures);
        let task = tokio::spawn(async move {
            let measured = limits::within(StatementLimits::REQUEST.usual, measure).await;
            let measured = measured.map(Arc::new).map_err(Arc::new);
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.under_way = None;
            if measured.is_ok() || keeps_failures {
                state.latest = Some((Instant::now(), measured.clone()));
            }
            measured
        });
        // It does not panic; if it did, the error of a closed pool is returned.
        task.map(|ended| ended.unwrap_or_else(|_| Err(Arc::new(DbError::Closed)))).boxed().shared()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn everybody_shares_one_answer_and_one_failure() {
        let (measurement, runs) = (Measurement::new(SECOND), Arc::new(AtomicUsize::new(0)));
        let ask = |fails: bool| {
            let runs = Arc::clone(&runs);
            measurement.get(move || async move {
                sleep(3 * SECOND).await;
                let run = runs.fetch_add(1, Ordering::Relaxed);
                if fails { Err(DbError::ReadOnly) } else { Ok(run) }
            })
        };
        let started = Instant::now();
        assert!(join_all((0..50).map(|_| ask(true))).await.iter().all(Result::is_err));
        assert_eq!(started.elapsed(), 3 * SECOND, "nobody waits twice");
        let found = join_all((0..50).map(|_| ask(false))).await;
        assert!(found.iter().all(|found| **found.as_ref().unwrap() == 1), "{found:?}");
        assert_eq!(*ask(false).await.unwrap(), 1, "it is still fresh");
        sleep(SECOND).await;
        assert_eq!(*ask(false).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_repeated_only_where_that_is_wanted() {
        for (measurement, expected) in
            [(Measurement::<()>::new(SECOND), 20), (Measurement::new(SECOND).with_failures(), 1)]
        {
            let runs = Arc::new(AtomicUsize::new(0));
            let fail = async || {
                let runs = Arc::clone(&runs);
                let failure = async move {
                    runs.fetch_add(1, Ordering::Relaxed);
                    Err(DbError::ReadOnly)
                };
                assert!(measurement.get(|| failure).await.is_err());
            };
            for _ in 0..20 {
                fail().await;
            }
            assert_eq!(runs.load(Ordering::Relaxed), expected);
            sleep(SECOND).await;
            fail().await;
            assert_eq!(runs.load(Ordering::Relaxed), expected + 1, "it is kept no longer");
            assert!(measurement.get(|| async { Ok(()) }).await.is_ok() == (expected == 20));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_does_not_take_the_answer_along() {
        let measurement = Measurement::new(SECOND);
        let slow = || async {
            sleep(2 * SECOND).await;
            Ok(7)
        };
        assert!(tokio::time::timeout(SECOND, measurement.get(slow)).await.is_err());
        assert_eq!(*measurement.get(|| async { Ok(8) }).await.unwrap(), 7);
        // Nobody waits longer than a request may.
        let never = Measurement::<u8>::new(SECOND);
        let started = Instant::now();
        assert!(never.get(std::future::pending).await.is_err());
        assert_eq!(started.elapsed(), StatementLimits::REQUEST.usual);
    }
}
