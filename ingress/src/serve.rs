//! Accepts connections and serves them with limits per connection.
//!
//! It uses hyper directly instead of `axum::serve`, which offers no limit on
//! slow heads, header lines or the number of connections.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, header};
use futures_util::FutureExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::explained::Explained;
use crate::middleware::{HEADER_LINES, LimitsConfig, MAX_BUFFER_BYTES};
use crate::unread::Unread;

/// Pause after a failed accept, usually a lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How much of a response may wait in the kernel for the client to take what is on its way
/// already. By default it is megabytes: a slow client would then seem to take nothing for
/// minutes, and one that takes nothing would hold them.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 64 * 1024;

/// As many connections as may wait in a listener's queue are still accepted at its end.
const BACKLOG: usize = 1_024;

/// How serving ends after the signal. Each response closes its connection from then on, so
/// that load balancers and clients with connections of their own go elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// How long new connections are accepted. Without a delay nobody has to be sent
    /// elsewhere: idle connections are closed at once.
    pub delay: Duration,
    /// How long the connections may take to end after that.
    pub grace: Duration,
}

/// Serves `router` on `listener` until `shutdown` is cancelled, and then as `ending` says.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: &LimitsConfig,
    shutdown: &CancellationToken,
    ending: Ending,
) {
    let http = connection_settings(limits);
    let graceful = GracefulShutdown::new();
    let slots = Arc::new(Semaphore::new(limits.max_connections));
    let closing = async {
        shutdown.cancelled().await;
        tokio::time::sleep(ending.delay).await;
    };
    tokio::pin!(closing);
    let begin = |(stream, peer, slot)| {
        let service = service_for(router.clone(), peer, shutdown.clone());
        let stream = Unread::new(stream, limits.write_timeout, discard_unsent);
        let stream = TokioIo::new(Explained::new(stream));
        let connection = graceful.watch(http.serve_connection(stream, service));
        tokio::spawn(async move {
            // Errors here are the client's: it disconnected, was too slow, or did not
            // speak HTTP.
            if let Err(error) = connection.await {
                tracing::debug!(%peer, error = &error as &dyn std::error::Error, "connection ended");
            }
            drop(slot);
        });
    };
    loop {
        tokio::select! {
            () = &mut closing => break,
            accepted = accept(&listener, &slots) => accepted.into_iter().for_each(begin),
        }
    }
    // The kernel resets connections that wait in the queue of a listener that is closed.
    for _ in 0..BACKLOG {
        let Some(Some(accepted)) = accept(&listener, &slots).now_or_never() else { break };
        begin(accepted);
    }
    drop(listener);
    let end = async {
        if !ending.delay.is_zero() {
            // A connection that is closed while a request is on its way would lose it. So
            // each is left open until it was used once more, or was idle for as long as
            // clients know that it may be.
            let all = u32::try_from(limits.max_connections).unwrap_or(u32::MAX);
            let _ = tokio::time::timeout(limits.header_timeout, slots.acquire_many(all)).await;
        }
        graceful.shutdown().await;
    };
    if tokio::time::timeout(ending.grace, end).await.is_err() {
        tracing::warn!("closing connections that did not finish within the grace period");
    }
}

fn connection_settings(limits: &LimitsConfig) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_headers(HEADER_LINES)
        .max_buf_size(MAX_BUFFER_BYTES);
    http
}

type Slot = tokio::sync::OwnedSemaphorePermit;

/// The next connection, when there is room for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            set_options(&stream);
            Some((stream, peer, slot))
        }
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept connections");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Without them the connection is slower, or its client is cut off sooner.
fn set_options(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT_BYTES);
}

/// Otherwise the kernel would keep what the client does not take, also after the end of
/// the connection.
fn discard_unsent(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

fn service_for(
    router: Router,
    peer: SocketAddr,
    shutdown: CancellationToken,
) -> impl hyper::service::Service<
    hyper::Request<Incoming>,
    Response = axum::response::Response,
    Error = Infallible,
    Future = impl Future<Output = Result<axum::response::Response, Infallible>> + Send,
> {
    service_fn(move |request: hyper::Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let (answer, shutdown) = (router.clone().oneshot(request), shutdown.clone());
        async move {
            let mut response = answer.await?;
            if shutdown.is_cancelled() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(header::CONNECTION, close);
            }
            Ok(response)
        }
    })
}
