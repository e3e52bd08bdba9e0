//! The layer outside of apalis' `catch_panic`: records a handler's panic with
//! its job, so that only that round ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use tower::{Layer, Service};

use super::consumer::{Claimed, Job};

/// Records panics of one consumer's handlers.
#[derive(Debug)]
pub struct RecordPanics<D> {
    consumer: &'static str,
    deps: Arc<D>,
}

impl<D> RecordPanics<D> {
    /// For the consumer of this name.
    pub fn new(consumer: &'static str, deps: Arc<D>) -> Self {
        Self { consumer, deps }
    }
}

impl<D> Clone for RecordPanics<D> {
    fn clone(&self) -> Self {
        Self { consumer: self.consumer, deps: Arc::clone(&self.deps) }
    }
}

impl<D, S> Layer<S> for RecordPanics<D> {
    type Service = RecordsPanics<D, S>;

    fn layer(&self, inner: S) -> Self::Service {
        RecordsPanics { layer: self.clone(), inner }
    }
}

/// The service of [`RecordPanics`].
#[derive(Debug)]
pub struct RecordsPanics<D, S> {
    layer: RecordPanics<D>,
    inner: S,
}

impl<D, S: Clone> Clone for RecordsPanics<D, S> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone(), inner: self.inner.clone() }
    }
}

impl<D, J, S> Service<Task<Arc<Claimed<J>>>> for RecordsPanics<D, S>
where
    D: Send + Sync + 'static,
    J: Job<D>,
    S: Service<Task<Arc<Claimed<J>>>, Response = (), Error = BoxDynError>,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = Pin<Box<dyn Future<Output = Result<(), BoxDynError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, task: Task<Arc<Claimed<J>>>) -> Self::Future {
        let (claimed, layer) = (Arc::clone(&task.args), self.layer.clone());
        let running = self.inner.call(task);
        Box::pin(async move {
            // Handlers return no errors: this one is `catch_panic`'s. Its text may quote
            // user data; the line of the panic itself has the source location.
            if running.await.is_err() {
                let consumer = layer.consumer;
                metrics::counter!("regimen_handler_panics_total", "consumer" => consumer)
                    .increment(1);
                tracing::error!(consumer, "a handler panicked; its job is recorded as such");
                // Boxed, because every running job would otherwise have room for it.
                Box::pin(claimed.job.panicked(&layer.deps)).await;
            }
            Ok(())
        })
    }
}
