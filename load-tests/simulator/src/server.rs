//! Accepts connections and serves the routes on them.
//!
//! Not `axum::serve`, because connections are counted and handlers can close
//! theirs.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::state::State;

/// The pause after a failed accept, for example when no more files can be opened.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);

/// Serves until `stop` is cancelled; then all connections are dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    state: Arc<State>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, state, stop) = (router.clone(), Arc::clone(&state), stop.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, router, &state) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(AFTER_FAILED_ACCEPT).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, router: Router, state: &State) {
    let _counted = Counted::new(state);
    if let Err(error) = serve_one(stream, router).await {
        tracing::debug!(%error, "connection ended");
    }
}

async fn serve_one(stream: TcpStream, router: Router) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let handle = Connection::default();
    let inner = TowerToHyperService::new(router);
    let own = handle.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(own.clone());
        hyper::service::Service::call(&inner, request)
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = serving => served.map_err(io::Error::other),
        () = handle.closed() => Ok(()),
    }
}

/// Counts a connection while it is open.
struct Counted<'a>(&'a State);

impl<'a> Counted<'a> {
    fn new(state: &'a State) -> Self {
        state.connections.fetch_add(1, Ordering::SeqCst);
        Self(state)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
    }
}
