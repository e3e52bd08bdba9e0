//! A closed loop of requests over kept-alive connections: each connection has a
//! thread that sends, reads the answer and sends again. HTTP is written by
//! hand, because the load generator takes processor time from the servers it
//! measures.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::spread::Spread;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The stack of a connection's thread.
const STACK_BYTES: usize = 128 * 1024;

/// A load.
pub(super) struct Load<'a> {
    /// The server's URL: `http://host:port`.
    pub(super) url: &'a str,
    /// The number of connections.
    pub(super) connections: usize,
    /// The duration.
    pub(super) time: Duration,
    /// Creates a connection's next request.
    pub(super) next: &'a (dyn Fn(usize) -> Request + Sync),
}

/// One request.
#[derive(Debug, Clone)]
pub(super) struct Request {
    /// `GET /path`.
    pub(super) line: String,
    /// The bearer token, if any.
    pub(super) token: Option<String>,
    /// The JSON body, if any.
    pub(super) body: Option<String>,
}

/// The result of a load.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many answers came.
    pub(super) answers: usize,
    /// Answers per second.
    pub(super) per_second: f64,
    /// The time of each answer, ms.
    pub(super) times: Spread,
    /// The number of answers with each status.
    pub(super) statuses: BTreeMap<u16, usize>,
}

impl Request {
    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut text = format!("{} HTTP/1.1\r\nhost: {host}\r\n", self.line);
        if let Some(token) = &self.token {
            text += &format!("authorization: Bearer {token}\r\n");
        }
        if let Some(body) = &self.body {
            text +=
                &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += self.body.as_deref().unwrap_or_default();
        text.into_bytes()
    }
}

impl Load<'_> {
    /// Sends for the duration, then waits for the open answers.
    ///
    /// # Errors
    /// A connection failed, or an answer cannot be read.
    pub(super) fn run(&self) -> Result<Outcome, BenchError> {
        let broken = |source: io::Error| BenchError::Measurement(format!("{}: {source}", self.url));
        let host = self.url.trim_start_matches("http://");
        let over = AtomicBool::new(false);
        let begun = Instant::now();
        let answers: io::Result<Vec<Vec<(u16, f64)>>> = thread::scope(|scope| {
            let mut threads = Vec::with_capacity(self.connections);
            for connection in 0..self.connections {
                let builder = thread::Builder::new().stack_size(STACK_BYTES);
                let over = &over;
                threads.push(
                    builder.spawn_scoped(scope, move || self.connection(host, connection, over))?,
                );
            }
            thread::sleep(self.time);
            over.store(true, Ordering::Relaxed);
            let joined = threads.into_iter().map(|thread| {
                thread.join().unwrap_or_else(|_| Err(io::Error::other("a sender panicked")))
            });
            joined.collect()
        });
        let seconds = begun.elapsed().as_secs_f64();
        let answers: Vec<_> = answers.map_err(broken)?.into_iter().flatten().collect();
        let mut statuses = BTreeMap::new();
        for (status, _) in &answers {
            *statuses.entry(*status).or_insert(0) += 1;
        }
        let times = answers.iter().map(|(_, time)| *time).collect();
        let per_second = answers.len() as f64 / seconds;
        Ok(Outcome { answers: answers.len(), per_second, times: Spread::of(times), statuses })
    }

    fn connection(
        &self,
        host: &str,
        connection: usize,
        over: &AtomicBool,
    ) -> io::Result<Vec<(u16, f64)>> {
        let mut stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let (mut answers, mut buffer) = (Vec::new(), Vec::with_capacity(16 * 1024));
        while !over.load(Ordering::Relaxed) {
            let bytes = (self.next)(connection).bytes(host);
            let sent = Instant::now();
            stream.write_all(&bytes)?;
            let status = read_answer(&mut stream, &mut buffer)?;
            answers.push((status, sent.elapsed().as_secs_f64() * 1_000.0));
        }
        Ok(answers)
    }
}

impl Outcome {
    /// # Errors
    /// An answer had another status.
    pub(super) fn all(&self, status: u16) -> Result<(), BenchError> {
        let others = self.statuses.keys().any(|other| *other != status);
        if self.statuses.is_empty() || others {
            let told = format!("answers other than {status}: {:?}", self.statuses);
            return Err(BenchError::Measurement(told));
        }
        Ok(())
    }
}

/// Reads one whole answer; returns its status.
fn read_answer(stream: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<u16> {
    buffer.clear();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some((status, length)) = answer(buffer)
            && buffer.len() >= length
        {
            return Ok(status);
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => buffer.extend_from_slice(&chunk[..read]),
        }
    }
}

/// The status of an answer with a complete head, and the whole answer's length.
fn answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let head_ends = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_ends]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let length = lengths
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse::<usize>().ok());
    Some((status, head_ends + length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let head = "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(answer(b"HTTP/1.1 202 Acc"), None);
        assert_eq!(answer(head.as_bytes()), Some((202, head.len() + 5)));
        assert_eq!(answer(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Some((304, 29)));
        let mut stream = io::Cursor::new(format!("{head}12345"));
        assert_eq!(read_answer(&mut stream, &mut Vec::new()).unwrap(), 202);
        let mut cut = io::Cursor::new(format!("{head}123"));
        assert!(read_answer(&mut cut, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_request_carries_its_parts() {
        let request = Request {
            line: "POST /x".to_owned(),
            token: Some("t".to_owned()),
            body: Some("{}".to_owned()),
        };
        let text = String::from_utf8(request.bytes("h")).unwrap();
        assert!(text.starts_with("POST /x HTTP/1.1\r\nhost: h\r\nauthorization: Bearer t\r\n"));
        assert!(text.ends_with("content-length: 2\r\n\r\n{}"));
    }
}
