//! What developer commands and tests share: programs that end with whoever
//! started them, and a PostgreSQL and a Redis of one's own. Synchronous, so that
//! `xtask` needs no runtime; tests call it from blocking threads.

pub mod account;
pub mod leash;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod signal;

use std::fmt::Display;
use std::net::{Ipv4Addr, TcpListener};

/// A port seen free can be taken by another before we listen on it; one more
/// failure than this means something else.
const PORT_TRIES: u32 = 5;

/// Nobody waits any more: the program was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Who starts programs and waits for them.
pub trait Supervisor {
    /// Waits a moment before a state is looked at again.
    ///
    /// # Errors
    /// Nobody waits any more.
    fn pause(&self) -> Result<(), Interrupted>;

    /// Hears what is being done.
    fn say(&self, text: impl Display);
}

/// A port of the loopback address that nobody listens on at the moment.
///
/// # Errors
/// The system has none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
