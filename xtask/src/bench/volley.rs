//! Requests at fixed times, independent of earlier answers: if a server stalls,
//! the delay of every waiting request counts.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The stack of a connection's thread.
const STACK_BYTES: usize = 128 * 1024;

/// A volley of requests.
pub(super) struct Volley<'a> {
    /// The server's URL: `http://host:port`.
    pub(super) url: &'a str,
    /// The path of the POST requests.
    pub(super) path: &'a str,
    /// The number of connections.
    pub(super) connections: usize,
    /// The time between two requests; zero sends all at once.
    pub(super) gap: Duration,
    /// The number of requests.
    pub(super) count: u32,
    /// The header lines and the body of a request.
    pub(super) request: &'a (dyn Fn(u32) -> (String, String) + Sync),
}

/// The times of the answers, ms.
#[derive(Debug, Default)]
pub(super) struct Flown {
    /// Since the time each request was due.
    pub(super) since_due: Vec<f64>,
    /// Since each was sent; a connection sends one at a time.
    pub(super) since_sent: Vec<f64>,
    /// From the first request to the last answer, seconds.
    pub(super) seconds: f64,
}

impl Volley<'_> {
    /// Sends all requests; each must be answered with 200.
    ///
    /// # Errors
    /// A connection failed, or an answer has another status.
    pub(super) fn fly(&self) -> Result<Flown, BenchError> {
        let broken = |source: io::Error| BenchError::Measurement(format!("{}: {source}", self.url));
        let (next, begun) = (AtomicU32::new(0), Instant::now());
        let flown: io::Result<Vec<Flown>> = thread::scope(|scope| {
            let threads: io::Result<Vec<_>> = (0..self.connections)
                .map(|_| {
                    let builder = thread::Builder::new().stack_size(STACK_BYTES);
                    builder.spawn_scoped(scope, || self.connection(&next, begun))
                })
                .collect();
            let joined = threads?.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a sender panicked")))
            });
            joined.collect()
        });
        let mut all = Flown::default();
        for flown in flown.map_err(broken)? {
            all.since_due.extend(flown.since_due);
            all.since_sent.extend(flown.since_sent);
        }
        all.seconds = begun.elapsed().as_secs_f64();
        Ok(all)
    }

    fn connection(&self, next: &AtomicU32, begun: Instant) -> io::Result<Flown> {
        let host = self.url.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let mut flown = Flown::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.count {
                return Ok(flown);
            }
            let due = begun + self.gap * number;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let (headers, body) = (self.request)(number);
            let length = body.len();
            let request = format!(
                "POST {} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n{headers}content-length: {length}\r\n\r\n{body}",
                self.path
            );
            let sent = Instant::now();
            stream.write_all(request.as_bytes())?;
            let answer = read_answer(&mut stream)?;
            if !answer.starts_with("HTTP/1.1 200") {
                return Err(io::Error::other(answer));
            }
            flown.since_due.push(due.elapsed().as_secs_f64() * 1_000.0);
            flown.since_sent.push(sent.elapsed().as_secs_f64() * 1_000.0);
        }
    }
}

/// Reads one whole answer with a content-length.
fn read_answer(stream: &mut impl Read) -> io::Result<String> {
    let (mut text, mut chunk) = (String::new(), [0; 4096]);
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines = head.lines().filter_map(|line| line.split_once(':'));
            let length = lines
                .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .find_map(|(_, value)| value.trim().parse::<usize>().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(text);
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => text.push_str(&String::from_utf8_lossy(&chunk[..read])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end() {
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n12345";
        let mut whole = io::Cursor::new(answer);
        assert_eq!(read_answer(&mut whole).unwrap(), answer);
        let mut cut = io::Cursor::new(&answer[..answer.len() - 1]);
        assert!(read_answer(&mut cut).is_err());
    }
}
