//! A TCP connection that a handler can close.

use tokio_util::sync::CancellationToken;

/// A handle to a request's connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(CancellationToken);

impl Connection {
    /// Closes the connection when its task next runs; unsent data is dropped.
    pub(crate) fn close(&self) {
        self.0.cancel();
    }

    /// Waits until the connection is closed by a handler.
    pub(crate) async fn closed(&self) {
        self.0.cancelled().await;
    }
}
