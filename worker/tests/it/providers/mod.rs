//! The providers and the fallback over real sockets and a real Redis.

#![expect(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod bench;
mod forbidden;
mod matrix;
mod odd;
mod shared;
mod simulated;
mod sockets;
mod wire;

use regimen_common::clock::Clock;
use regimen_common::process::install_crypto;
use regimen_worker::llm::http::Transport;

fn transport() -> Transport {
    install_crypto();
    Transport::new(Clock::system()).unwrap()
}
