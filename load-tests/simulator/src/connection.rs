//! A TCP connection that a handler can close from inside.

use tokio_util::sync::CancellationToken;

/// A handle to the connection a request came on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connection(CancellationToken);

impl Connection {
    /// Closes the connection as soon as its task runs again; what is not sent
    /// by then is never sent.
    pub(crate) fn close(&self) {
        self.0.cancel();
    }

    /// Waits until somebody closes the connection.
    pub(crate) async fn closed(&self) {
        self.0.cancelled().await;
    }
}
