//! The providers and the ladder over real sockets and a real Redis.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod bench;
mod matrix;
mod shared;
mod simulated;
mod sockets;
mod wire;

use std::sync::Once;

use regimen_common::clock::Clock;
use regimen_worker::providers::http::Transport;

/// TLS needs its crypto installed once per process, as main does.
fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        rustls::crypto::ring::default_provider().install_default().unwrap();
    });
}

fn transport() -> Transport {
    install_crypto();
    Transport::new(Clock::system()).unwrap()
}
