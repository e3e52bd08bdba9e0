//! The outermost layer around a job: continues the trace of the request that
//! created it, and names the job in error reports.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use regimen_common::telemetry::sentry::{Subject, apart};
use regimen_common::telemetry::spans;
use regimen_common::telemetry::trace_context::{TraceContext, within};
use tower::{Layer, Service};
use tracing::Instrument;
use uuid::Uuid;

use super::consumer::Claimed;

/// The identity of a job for its trace and for error reports. Ids and codes only.
#[derive(Debug, Clone, Default)]
pub struct About<'a> {
    /// Its id.
    pub id: String,
    /// Its user.
    pub user: Option<Uuid>,
    /// The trace context stored with it.
    pub trace: Option<&'a str>,
    /// The name of the context with the facts.
    pub context: &'static str,
    /// More facts.
    pub facts: Vec<(&'static str, String)>,
}

/// Claimed work that describes itself.
pub trait Described: Send + Sync + 'static {
    /// Its identity.
    fn about(&self) -> About<'_>;
}

/// Traces the jobs of one consumer.
#[derive(Debug, Clone, Copy)]
pub struct Trace {
    consumer: &'static str,
}

impl Trace {
    /// For the consumer of this name.
    pub fn new(consumer: &'static str) -> Self {
        Self { consumer }
    }
}

impl<S> Layer<S> for Trace {
    type Service = Traced<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Traced { consumer: self.consumer, inner }
    }
}

/// The service of [`Trace`].
#[derive(Debug, Clone)]
pub struct Traced<S> {
    consumer: &'static str,
    inner: S,
}

impl<J, S> Service<Task<Arc<Claimed<J>>>> for Traced<S>
where
    J: Described,
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
        let (claimed, consumer) = (Arc::clone(&task.args), self.consumer);
        let running = self.inner.call(task);
        Box::pin(async move {
            let about = claimed.job.about();
            let sent = about.trace.and_then(TraceContext::from_text);
            let name = || Subject {
                name: format!("process {consumer}"),
                user: about.user,
                context: about.context,
                facts: about.facts.clone(),
            };
            let work = within(sent.clone(), async {
                let span = spans::process(consumer, &about.id, sent.as_ref());
                running.instrument(span).await
            });
            apart(name, work).await
        })
    }
}
