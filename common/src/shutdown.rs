//! Turns SIGTERM and SIGINT into tokens the process can wait on: the first
//! signal asks it to drain, the second to stop at once.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The requested shutdown. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled at the first signal: claim nothing new, finish running work.
    pub drain: CancellationToken,
    /// Cancelled at the second signal: release everything now.
    pub now: CancellationToken,
}

impl Shutdown {
    /// Starts listening for the process's signals.
    ///
    /// # Errors
    /// The signal handlers could not be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let shutdown = Self::default();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        tokio::spawn(follow(shutdown.clone(), terminate, interrupt));
        Ok(shutdown)
    }
}

async fn follow(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    for token in [shutdown.drain, shutdown.now] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    }
}
