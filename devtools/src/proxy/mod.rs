//! A TCP proxy in front of a store that breaks connections the way networks and
//! poolers do: it silences or closes open connections, sends new ones to
//! another server, or refuses them like a full pooler. The balancer sends them
//! to one of several servers.

mod balancer;
mod pooler;
#[cfg(test)]
mod tests;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

pub use balancer::Balancer;
pub use pooler::Refusal;

const BUFFER: usize = 16 * 1024;

/// The stack of a thread that only copies bytes; each connection has two.
const STACK: usize = 128 * 1024;

/// A full pooler accepts one in this many new connections.
const LET_IN: usize = 4;

/// A running proxy. Dropping the value closes its connections.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// New connections go to these in turn; without one they are closed.
    targets: Mutex<Vec<String>>,
    turn: AtomicUsize,
    closing: AtomicBool,
    refusal: Mutex<Option<Refusal>>,
    asked: AtomicUsize,
    standing: Mutex<Vec<Arc<Connection>>>,
}

/// One connection, in both directions.
#[derive(Debug)]
struct Connection {
    client: TcpStream,
    server: TcpStream,
    flow: Mutex<Flow>,
    changed: Condvar,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Open,
    Frozen,
    Cut,
}

impl Proxy {
    /// Opens a proxy to `target`, such as `127.0.0.1:5432`.
    ///
    /// # Errors
    /// There is no free port, or no thread can be started.
    pub fn to(target: impl Into<String>) -> io::Result<Self> {
        Self::open(vec![target.into()])
    }

    fn open(targets: Vec<String>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            targets: Mutex::new(targets),
            turn: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            refusal: Mutex::new(None),
            asked: AtomicUsize::new(0),
            standing: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        spawn(move || accept(&listener, &accepting))?;
        Ok(Self { port, shared })
    }

    /// Opens a proxy to the host and port of `url`.
    ///
    /// # Errors
    /// See [`Self::to`].
    pub fn to_url(url: &str) -> io::Result<Self> {
        Self::to(&url[host_and_port(url)])
    }

    /// Its port on the loopback address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `url` with the proxy's host and port.
    pub fn url(&self, url: &str) -> String {
        let place = host_and_port(url);
        format!("{}127.0.0.1:{}{}", &url[..place.start], self.port, &url[place.end..])
    }

    /// Sends new connections to `target` from now on; open ones stay where they are, as
    /// in a managed failover.
    pub fn retarget(&self, target: impl Into<String>) {
        *lock(&self.shared.targets) = vec![target.into()];
    }

    /// Silences the open connections without telling either end; new ones work. Returns
    /// their number.
    pub fn freeze(&self) -> usize {
        let standing = self.shared.standing();
        let open = standing.iter().filter(|connection| connection.set(Flow::Open, Flow::Frozen));
        open.count()
    }

    /// Resumes frozen connections: what was sent in the meantime arrives now, even if
    /// nobody waits for the answer any more.
    pub fn resume(&self) {
        for connection in self.shared.standing().iter() {
            connection.set(Flow::Frozen, Flow::Open);
        }
    }

    /// Closes frozen connections.
    pub fn cut_frozen(&self) {
        for connection in self.shared.standing().iter() {
            if connection.set(Flow::Frozen, Flow::Cut) {
                connection.close();
            }
        }
    }

    /// Closes every other open connection.
    pub fn cut_half(&self) {
        self.shared.standing().iter().step_by(2).for_each(|connection| connection.cut());
    }

    /// Closes every open connection, frozen ones too.
    pub fn cut(&self) {
        self.shared.standing().iter().for_each(|connection| connection.cut());
    }

    /// The number of open connections.
    pub fn standing(&self) -> usize {
        self.shared.standing().len()
    }

    /// Sends this Postgres refusal to most new connections; none disables it.
    pub fn refuse_most(&self, refusal: Option<Refusal>) {
        *lock(&self.shared.refusal) = refusal;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.cut();
    }
}

impl Shared {
    fn standing(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        let mut standing = lock(&self.standing);
        // A connection that only this list still holds has ended in both directions.
        standing.retain(|connection| Arc::strong_count(connection) > 1);
        standing
    }

    /// The server of a new connection.
    fn target(&self) -> Option<String> {
        let targets = lock(&self.targets);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        targets.get(turn.checked_rem(targets.len())?).cloned()
    }

    /// The refusal for a new connection, if it is to be refused.
    fn refusal(&self) -> Option<Refusal> {
        let refusal = (*lock(&self.refusal))?;
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        (asked % LET_IN != LET_IN - 1).then_some(refusal)
    }
}

impl Connection {
    /// Whether it was in the first state, and so is now in the second.
    fn set(&self, from: Flow, to: Flow) -> bool {
        let mut flow = lock(&self.flow);
        let fits = *flow == from;
        if fits {
            *flow = to;
            self.changed.notify_all();
        }
        fits
    }

    fn cut(&self) {
        *lock(&self.flow) = Flow::Cut;
        self.changed.notify_all();
        self.close();
    }

    fn close(&self) {
        // Fails only if an end has closed already.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }

    /// Waits while it is frozen; false when it has been cut.
    fn flows(&self) -> bool {
        let flow = lock(&self.flow);
        let frozen = |flow: &mut Flow| *flow == Flow::Frozen;
        let flow = self.changed.wait_while(flow, frozen).unwrap_or_else(PoisonError::into_inner);
        *flow == Flow::Open
    }

    /// Copies one direction. The end of the input is passed on, but not while frozen.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = from.read(&mut buffer);
            if !self.flows() {
                return;
            }
            match read.map(|count| buffer.get(..count).unwrap_or_default()) {
                Ok([]) => break,
                Ok(bytes) if to.write_all(bytes).is_ok() => {}
                _ => return self.close(),
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.closing.load(Ordering::Relaxed) {
            return;
        }
        let Ok(client) = client else { continue };
        let shared = Arc::clone(shared);
        // If no thread can be started, the client's connection is closed.
        let _ = spawn(move || serve(client, &shared));
    }
}

fn serve(mut client: TcpStream, shared: &Shared) {
    if let Some(refusal) = shared.refusal() {
        // Fails only if the client has gone.
        let _ = refusal.tell(&mut client);
        return;
    }
    let Some(target) = shared.target() else { return };
    // If the target does not answer, the client's connection is closed.
    let Ok(server) = TcpStream::connect(target) else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let flow = Mutex::new(Flow::Open);
    let connection = Arc::new(Connection { client, server, flow, changed: Condvar::new() });
    let other_way = Arc::clone(&connection);
    if spawn(move || other_way.copy(&other_way.server, &other_way.client)).is_err() {
        return;
    }
    shared.standing().push(Arc::clone(&connection));
    connection.copy(&connection.client, &connection.server);
}

/// The range of host and port in `url`, after the login and before the path.
fn host_and_port(url: &str) -> Range<usize> {
    let start = url.find("://").map_or(0, |found| found + 3);
    let end = url[start..].find(['/', '?']).map_or(url.len(), |found| start + found);
    let start = url[start..end].rfind('@').map_or(start, |found| start + found + 1);
    start..end
}

fn spawn(work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().stack_size(STACK).spawn(work).map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
