//! What clients and load balancers see of an ingress that is asked to end.

use regimen_common::test_support::{Binary, TestDatabase, TestRedis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const READY: &str = "GET /readyz HTTP/1.1\r\nhost: ingress\r\n\r\n";
const ALIVE: &str = "GET /livez HTTP/1.1\r\nhost: ingress\r\n\r\n";

struct Ingress {
    binary: Binary,
    _database: TestDatabase,
    _redis: TestRedis,
}

impl Ingress {
    /// One that goes on accepting for `delay` seconds, and leaves connections idle for
    /// `idle` seconds.
    async fn start(delay: &str, idle: &str) -> Self {
        let (database, redis) = (TestDatabase::new().await, TestRedis::new());
        let settings = [
            ("ENVIRONMENT", "development"),
            ("AUTH_MODE", "off"),
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("METRICS_ADDR", "127.0.0.1:0"),
            ("DATABASE_URL", database.url()),
            ("REDIS_URL", redis.url()),
            ("REDIS_PREFIX", redis.prefix()),
            ("SHUTDOWN_DELAY_SECONDS", delay),
            ("HEADER_TIMEOUT_SECONDS", idle),
            ("SHUTDOWN_GRACE_SECONDS", "600"),
        ];
        let binary = Binary::start("regimen-ingress", settings).await;
        Self { binary, _database: database, _redis: redis }
    }

    fn address(&self) -> String {
        self.binary.address("INGRESS_URL").trim_start_matches("http://").to_owned()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }
}

/// The head and the body of the next response, both in lower case.
async fn ask(stream: &mut TcpStream, request: &str) -> (String, String) {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
            let length: usize = length.expect("a response with a length").parse().unwrap();
            if body.len() >= length {
                return (head.to_owned(), body.to_owned());
            }
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{text}");
    }
}

async fn has_closed(stream: &mut TcpStream) -> bool {
    stream.read_u8().await.is_err_and(|error| error.kind() == std::io::ErrorKind::UnexpectedEof)
}

#[tokio::test]
async fn after_the_signal_clients_are_served_and_sent_elsewhere() {
    let mut ingress = Ingress::start("600", "600").await;
    let mut idle = ingress.connect().await;
    let (head, _) = ask(&mut idle, ALIVE).await;
    assert!(head.starts_with("http/1.1 200") && !head.contains("connection: close"), "{head}");

    ingress.binary.process.terminate();
    // New connections are accepted, and learn that there will be no more.
    loop {
        let mut new = ingress.connect().await;
        let (head, body) = ask(&mut new, READY).await;
        if head.starts_with("http/1.1 503") {
            assert!(body.contains("draining") && head.contains("connection: close"), "{head}");
            assert!(has_closed(&mut new).await);
            break;
        }
    }
    // So do those that stood before, with the next response.
    let (head, _) = ask(&mut idle, ALIVE).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
    assert!(has_closed(&mut idle).await);

    // A second signal cuts the delay short.
    ingress.binary.process.terminate();
    assert!(ingress.binary.process.wait_exit().await.success());
}

#[tokio::test]
async fn an_idle_connection_is_served_once_more_after_the_port_is_closed() {
    let mut ingress = Ingress::start("0.01", "600").await;
    let mut idle = ingress.connect().await;
    ask(&mut idle, ALIVE).await;
    ingress.binary.process.terminate();
    let address = ingress.address();
    while TcpStream::connect(&address).await.is_ok() {}
    let (head, _) = ask(&mut idle, ALIVE).await;
    assert!(head.starts_with("http/1.1 200") && head.contains("connection: close"), "{head}");
    assert!(ingress.binary.process.wait_exit().await.success());
}

#[tokio::test]
async fn connections_that_stay_idle_do_not_keep_the_process() {
    let mut ingress = Ingress::start("0.01", "0.3").await;
    let mut idle = ingress.connect().await;
    ask(&mut idle, ALIVE).await;
    ingress.binary.process.terminate();
    assert!(has_closed(&mut idle).await);
    assert!(ingress.binary.process.wait_exit().await.success());
}
