//! The apalis backend: a channel that the consumer loop fills.
//!
//! apalis drives the handlers; the source of tasks is the feed (see
//! `consumer`). The backend never yields an error, so a fault of Redis or
//! Postgres never ends a worker: the feed retries inside. When the feed ends,
//! tasks that no handler has taken are dropped at once; apalis itself would
//! keep them until the last running handler ends.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::worker::context::WorkerContext;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tower::layer::util::Identity;

/// Hands tasks from a feed to apalis, one at a time, without a buffer of its own.
pub struct FedBackend<T> {
    feed: Option<BoxFuture<'static, ()>>,
    tasks: Tasks<T>,
}

type Tasks<T> = Arc<Mutex<mpsc::Receiver<T>>>;

fn locked<T>(tasks: &Tasks<T>) -> MutexGuard<'_, mpsc::Receiver<T>> {
    tasks.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> std::fmt::Debug for FedBackend<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FedBackend").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> FedBackend<T> {
    /// A backend over `tasks`, with the `feed` that fills them; it is spawned
    /// when the worker starts and ends when the receiver is gone.
    pub fn new(tasks: mpsc::Receiver<T>, feed: impl Future<Output = ()> + Send + 'static) -> Self {
        let tasks = Arc::new(Mutex::new(tasks));
        let left = Arc::clone(&tasks);
        let feed = async move {
            feed.await;
            let mut left = locked(&left);
            left.close();
            while left.try_recv().is_ok() {}
        };
        Self { feed: Some(Box::pin(feed)), tasks }
    }
}

impl<T: Send + 'static> Backend for FedBackend<T> {
    type Task = Task<T>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<T>, Infallible>>> {
        locked(&self.tasks).poll_recv(cx).map(|task| task.map(|task| Ok(Task::new(task))))
    }

    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        locked(&self.tasks).close();
        Poll::Ready(Ok(()))
    }
}

impl<T: Send + 'static> BackendConfig for FedBackend<T> {
    type Args = T;
    type Id = ();
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        if let Some(feed) = self.feed.take() {
            tokio::spawn(feed);
        }
        Identity::new()
    }
}
