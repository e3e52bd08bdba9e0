//! A TCP proxy of one test's own, between a process and a store, that breaks
//! connections the way networks do: those that stand go silent while new ones
//! work, new ones reach another server, all are cut.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::task::AbortOnDropHandle;

const BUFFER: usize = 16 * 1024;

/// What happens to a connection that is made now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum New {
    Forward,
    /// Connected, and then nothing, until [`Proxy::resume`].
    Freeze,
    /// Reset at once.
    Refuse,
}

/// A proxy that runs. Its connections end with the value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    _accepting: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Control {
    target: Mutex<String>,
    new: Mutex<New>,
    connections: Mutex<Vec<Connection>>,
    accepted: AtomicU64,
}

/// One connection through the proxy.
#[derive(Debug)]
struct Connection {
    frozen: watch::Sender<bool>,
    task: AbortHandle,
}

impl Proxy {
    /// Starts one on a free port of the loopback address that forwards to
    /// `target`, such as `127.0.0.1:5432`. Call it within a tokio runtime.
    pub async fn to(target: impl Into<String>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port for a proxy");
        let address = listener.local_addr().expect("the address of a proxy");
        let control = Arc::new(Control {
            target: Mutex::new(target.into()),
            new: Mutex::new(New::Forward),
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&control)));
        Self { address, control, _accepting: AbortOnDropHandle::new(accepting) }
    }

    /// The same, to where `url` points.
    pub async fn to_url(url: &str) -> Self {
        let url = url::Url::parse(url).expect("the URL a proxy forwards to");
        let host = url.host_str().expect("a host in the URL a proxy forwards to");
        let port = url.port().expect("a port in the URL a proxy forwards to");
        Self::to(format!("{host}:{port}")).await
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with the proxy in the place of its host and port.
    pub fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("the URL of a store");
        url.set_host(Some("127.0.0.1")).expect("a URL that takes a host");
        url.set_port(Some(self.address.port())).expect("a URL that takes a port");
        url.into()
    }

    /// The connections that stand go silent; new ones work. Neither end is told.
    pub fn freeze(&self) {
        for connection in &*lock(&self.control.connections) {
            connection.frozen.send_replace(true);
        }
    }

    /// New connections are made and stay silent, too, until [`Proxy::resume`].
    pub fn freeze_new(&self) {
        *lock(&self.control.new) = New::Freeze;
    }

    /// New connections are reset at once; those that stand work on.
    pub fn refuse_new(&self) {
        *lock(&self.control.new) = New::Refuse;
    }

    /// Everything is forwarded again. What was sent into silence arrives now.
    pub fn resume(&self) {
        *lock(&self.control.new) = New::Forward;
        for connection in &*lock(&self.control.connections) {
            connection.frozen.send_replace(false);
        }
    }

    /// Resets the connections that stand, frozen ones too. New ones are treated as before.
    pub fn cut(&self) {
        for connection in lock(&self.control.connections).drain(..) {
            connection.task.abort();
        }
    }

    /// From now on new connections reach `target`; those that stand stay where
    /// they are, as at a managed failover.
    pub fn retarget(&self, target: impl Into<String>) {
        *lock(&self.control.target) = target.into();
    }

    /// How many connections stand.
    pub fn standing(&self) -> usize {
        let connections = lock(&self.control.connections);
        connections.iter().filter(|connection| !connection.task.is_finished()).count()
    }

    /// How many connections were made so far, refused ones too.
    pub fn accepted(&self) -> u64 {
        self.control.accepted.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, control: Arc<Control>) {
    // Ends every connection with itself.
    let mut tasks = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        control.accepted.fetch_add(1, Ordering::Relaxed);
        while tasks.try_join_next().is_some() {}
        // Whatever ends here ends as a reset, unlike an orderly goodbye.
        let _ = client.set_zero_linger();
        let new = *lock(&control.new);
        if new == New::Refuse {
            continue;
        }
        let (frozen, is_frozen) = watch::channel(new == New::Freeze);
        let target = lock(&control.target).clone();
        let task = tasks.spawn(forward(client, target, is_frozen));
        let mut connections = lock(&control.connections);
        connections.retain(|connection| !connection.task.is_finished());
        connections.push(Connection { frozen, task });
    }
}

async fn forward(client: TcpStream, target: String, mut frozen: watch::Receiver<bool>) {
    thaw(&mut frozen).await;
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true), server.set_zero_linger());
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        copy(from_client, to_server, frozen.clone()),
        copy(from_server, to_client, frozen),
    );
}

/// Returns once the connection is not frozen.
async fn thaw(frozen: &mut watch::Receiver<bool>) {
    // The sender is kept as long as the connection is.
    let _ = frozen.wait_for(|frozen| !frozen).await;
}

/// One direction. An end is passed on as an end.
async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut frozen: watch::Receiver<bool>) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        thaw(&mut frozen).await;
        match read {
            Ok(0) | Err(_) => break,
            Ok(count) => {
                if to.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// How long silence is listened to.
    const SILENCE: Duration = Duration::from_millis(200);

    /// A server that says its name to each line it reads.
    async fn server(name: &'static str) -> (String, AbortOnDropHandle<()>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut byte = [0];
                    while client.read_exact(&mut byte).await.is_ok() {
                        client.write_all(name.as_bytes()).await.unwrap();
                    }
                });
            }
        };
        (address, AbortOnDropHandle::new(tokio::spawn(serve)))
    }

    async fn heard(client: &mut TcpStream) -> std::io::Result<u8> {
        client.read_u8().await
    }

    async fn ask(client: &mut TcpStream) -> std::io::Result<u8> {
        client.write_all(b"?").await?;
        heard(client).await
    }

    async fn client(proxy: &Proxy) -> TcpStream {
        TcpStream::connect(proxy.address()).await.unwrap()
    }

    #[tokio::test]
    async fn standing_connections_go_silent_while_new_ones_work() {
        let (target, _server) = server("a").await;
        let proxy = Proxy::to(target).await;
        let mut old = client(&proxy).await;
        assert_eq!(ask(&mut old).await.unwrap(), b'a');
        proxy.freeze();
        assert!(timeout(SILENCE, ask(&mut old)).await.is_err(), "nothing is said");
        assert_eq!(ask(&mut client(&proxy).await).await.unwrap(), b'a');
        proxy.resume();
        assert_eq!(heard(&mut old).await.unwrap(), b'a', "what was asked meanwhile is answered");
    }

    #[tokio::test]
    async fn new_connections_are_refused_or_stay_silent() {
        let (target, _server) = server("a").await;
        let proxy = Proxy::to(target).await;
        let mut old = client(&proxy).await;
        assert_eq!(ask(&mut old).await.unwrap(), b'a');
        proxy.refuse_new();
        assert!(ask(&mut client(&proxy).await).await.is_err());
        proxy.freeze_new();
        let mut new = client(&proxy).await;
        assert!(timeout(SILENCE, ask(&mut new)).await.is_err());
        assert_eq!(ask(&mut old).await.unwrap(), b'a', "those that stand work on");
        proxy.resume();
        assert_eq!(heard(&mut new).await.unwrap(), b'a');
        assert_eq!((proxy.standing(), proxy.accepted()), (2, 3));
    }

    #[tokio::test]
    async fn a_cut_ends_frozen_connections_too() {
        let (target, _server) = server("a").await;
        let proxy = Proxy::to(target).await;
        let (mut one, mut other) = (client(&proxy).await, client(&proxy).await);
        assert_eq!(ask(&mut one).await.unwrap(), b'a');
        assert_eq!(ask(&mut other).await.unwrap(), b'a');
        proxy.freeze();
        proxy.cut();
        assert!(heard(&mut one).await.is_err());
        assert!(heard(&mut other).await.is_err());
        assert_eq!(ask(&mut client(&proxy).await).await.unwrap(), b'a');
    }

    #[tokio::test]
    async fn after_a_failover_only_new_connections_reach_the_other_server() {
        let ((a, _a), (b, _b)) = (server("a").await, server("b").await);
        let proxy = Proxy::to_url(&format!("redis://{a}/0")).await;
        let mut old = client(&proxy).await;
        assert_eq!(ask(&mut old).await.unwrap(), b'a');
        proxy.retarget(b);
        assert_eq!(ask(&mut client(&proxy).await).await.unwrap(), b'b');
        assert_eq!(ask(&mut old).await.unwrap(), b'a');
        let url = proxy.url("redis://user:secret@store:6379/2");
        assert_eq!(url, format!("redis://user:secret@{}/2", proxy.address()));
    }
}
