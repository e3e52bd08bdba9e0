//! What developer commands and tests share: child processes that end with their
//! parent, and private PostgreSQL and Redis servers. Synchronous, so that
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

/// A free port can be taken by another process before it is used; more failures than this
/// have another cause.
const PORT_TRIES: u32 = 5;

/// The program was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// Reports progress and interrupts waits.
pub trait Supervisor {
    /// Waits a moment before the next poll.
    ///
    /// # Errors
    /// The program was interrupted.
    fn pause(&self) -> Result<(), Interrupted>;

    /// Reports progress.
    fn say(&self, text: impl Display);
}

/// A free port of the loopback address.
///
/// # Errors
/// There is none.
pub fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
