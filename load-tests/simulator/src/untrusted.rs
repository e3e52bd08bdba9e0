//! A port that speaks TLS with a certificate that no authority has signed, for
//! tests of clients that must refuse it.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::StartError;

/// How long a client may take for each step of the handshake.
const PATIENCE: Duration = Duration::from_secs(5);

/// The server's side of TLS, with a new certificate for the loopback address.
pub(crate) fn config() -> Result<Arc<ServerConfig>, StartError> {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())?;
    Ok(Arc::new(config))
}

/// Shakes hands with every client until `stop` is cancelled, and serves nobody.
pub(crate) async fn serve(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    stop: CancellationToken,
) {
    while let Some(Ok((stream, _))) = stop.run_until_cancelled(listener.accept()).await {
        let config = Arc::clone(&config);
        tokio::task::spawn_blocking(move || {
            let shaken = stream.into_std().and_then(|stream| shake_hands(&stream, config));
            if let Err(error) = shaken {
                tracing::debug!(%error, "the certificate was refused");
            }
        });
    }
}

fn shake_hands(mut stream: &TcpStream, config: Arc<ServerConfig>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut connection = ServerConnection::new(config).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    Ok(())
}
