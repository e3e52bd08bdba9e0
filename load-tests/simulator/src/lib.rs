//! A stand-in for the AI providers: their wire formats, their errors, and plans
//! that fit the prompt, with latency and faults on demand.
//!
//! It depends on no other crate of this workspace, so that an error in the
//! worker's formats or food data cannot hide in its tests.

mod calls;
mod chance;
mod clock;
mod connection;
mod control;
pub mod options;
mod plan;
mod provider;
mod routes;
mod server;
mod state;
mod untrusted;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use control::action::{Action, CutAt, Reason, StatusError};
pub use control::settings::{Control, Latency, Mix, MixKind, Nth, Per, RuleSpec};
pub use plan::TableError;
pub use provider::Provider;
pub use wire::complaint::Complaint;
pub use wire::models::ModelName;
pub use wire::odd::Shape;
pub use wire::usage::Usage;

use state::State;

/// The settings of a simulator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many of the latest calls keep their bodies.
    pub keep_calls: usize,
    /// The first settings, as for `POST /control`.
    pub control: Control,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            keep_calls: 4096,
            control: Control::default(),
        }
    }
}

/// Why a simulator did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is in use, or not one of this machine.
    #[error("cannot listen on {address}: {source}; choose another with --listen or LISTEN_ADDR")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// A built-in table is malformed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The first settings cannot work.
    #[error("the settings cannot be used: {0}")]
    Control(String),
    /// The untrusted certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS cannot use the untrusted certificate.
    #[error("cannot serve TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A running simulator; dropping it closes all connections.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    untrusted: SocketAddr,
    task: TaskTracker,
    _stop: DropGuard,
}

impl Simulator {
    /// Starts a simulator, which serves when this returns.
    ///
    /// # Errors
    /// The address is not available, or the settings cannot work.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let state = Arc::new(State::new(settings.keep_calls)?);
        control::apply(&state, &settings.control).map_err(StartError::Control)?;
        let at = |source| StartError::Listen { address: settings.listen, source };
        let listener = TcpListener::bind(settings.listen).await.map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let tls = untrusted::config()?;
        let other = SocketAddr::new(settings.listen.ip(), 0);
        let at = |source| StartError::Listen { address: other, source };
        let tls_listener = TcpListener::bind(other).await.map_err(at)?;
        let untrusted = tls_listener.local_addr().map_err(at)?;
        let stop = CancellationToken::new();
        let task = TaskTracker::new();
        let router = routes::router(Arc::clone(&state));
        task.spawn(server::serve(listener, router, state, stop.clone()));
        task.spawn(untrusted::serve(tls_listener, tls, stop.clone()));
        task.close();
        Ok(Self { address, untrusted, task, _stop: stop.drop_guard() })
    }

    /// Its address, for instance `http://127.0.0.1:4010`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A URL with a certificate that no authority has signed; see `SIMULATOR_UNTRUSTED_URL`.
    pub fn untrusted_url(&self) -> String {
        format!("https://{}", self.untrusted)
    }

    /// Stops it; returns when it no longer listens.
    pub async fn stop(self) {
        let Self { task, _stop, .. } = self;
        drop(_stop);
        task.wait().await;
    }
}
