//! A load balancer as platforms have it: it asks each server's `/readyz` again
//! and again, and sends new connections to those that answer with 200. Open
//! connections stay where they are.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::{Proxy, Shared, lock, spawn};
use std::sync::atomic::Ordering;

/// Between two questions to a server.
const EVERY: Duration = Duration::from_millis(200);
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

const QUESTION: &[u8] = b"GET /readyz HTTP/1.1\r\nhost: balancer\r\nconnection: close\r\n\r\n";
const READY: &[u8] = b"HTTP/1.1 200 ";

/// A running load balancer. Dropping the value closes its connections.
#[derive(Debug)]
pub struct Balancer {
    proxy: Proxy,
    servers: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Balancer {
    /// Opens one without servers.
    ///
    /// # Errors
    /// There is no free port, or no thread can be started.
    pub fn open() -> io::Result<Self> {
        let proxy = Proxy::open(Vec::new())?;
        let servers = Arc::<Mutex<Vec<SocketAddr>>>::default();
        let (shared, asked) = (Arc::clone(&proxy.shared), Arc::clone(&servers));
        spawn(move || look(&shared, &asked))?;
        Ok(Self { proxy, servers })
    }

    /// Its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.proxy.port()
    }

    /// Adds a server, which gets connections from its first answer on.
    pub fn add(&self, server: SocketAddr) {
        lock(&self.servers).push(server);
    }

    /// Removes a server.
    pub fn remove(&self, server: SocketAddr) {
        lock(&self.servers).retain(|known| *known != server);
    }

    /// Whether new connections go to this server, too.
    pub fn uses(&self, server: SocketAddr) -> bool {
        lock(&self.proxy.shared.targets).contains(&server.to_string())
    }
}

/// Asks all servers, until the proxy is closed.
fn look(shared: &Shared, servers: &Mutex<Vec<SocketAddr>>) {
    while !shared.closing.load(Ordering::Relaxed) {
        let asked = lock(servers).clone();
        let ready = asked.into_iter().filter(is_ready).map(|server| server.to_string()).collect();
        *lock(&shared.targets) = ready;
        thread::sleep(EVERY);
    }
}

fn is_ready(server: &SocketAddr) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(server, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(QUESTION)?;
        let mut status = [0; READY.len()];
        stream.read_exact(&mut status)?;
        Ok(status == *READY)
    };
    ask().unwrap_or(false)
}
