//! Load over kept-alive connections: closed (each connection sends as soon as its answer
//! is there) or at fixed times that do not depend on earlier answers, so that the delay
//! of every waiting request counts when a server stalls.
//!
//! One thread serves all connections, and HTTP is written by hand, because the load
//! generator takes processor time from the servers that it measures.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::BenchError;
use super::spread::Spread;

/// Longer than any answer takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The longest wait between two checks of the time.
const LOOK: Duration = Duration::from_millis(500);
const CHUNK: usize = 16 * 1024;

/// A load.
pub(super) struct Load<'a> {
    /// The server's URL: `http://host:port`.
    pub(super) url: &'a str,
    /// The number of connections.
    pub(super) connections: usize,
    /// When requests are sent.
    pub(super) pace: Pace,
    /// The requests, sent in turn from the `first` on.
    pub(super) requests: &'a [Request],
    /// The place of the first request.
    pub(super) first: usize,
}

/// When requests are sent, and how many.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// By every connection after each answer, for this time.
    For(Duration),
    /// By every connection after each answer, this many together.
    Count(usize),
    /// By every connection after each answer, this many together, and none after this time.
    Most {
        /// How many together.
        count: usize,
        /// How long.
        time: Duration,
    },
    /// At fixed times.
    Fixed {
        /// The time between two requests; zero sends all at once.
        gap: Duration,
        /// How many together.
        count: usize,
    },
}

/// One request, as it is sent.
#[derive(Debug, Clone)]
pub(super) struct Request(Vec<u8>);

/// The result of a load.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many answers came.
    pub(super) answers: usize,
    /// From the first request to the last answer.
    pub(super) seconds: f64,
    /// Answers per second.
    pub(super) per_second: f64,
    /// The time of each answer since its request was sent, ms.
    pub(super) times: Spread,
    /// The time of each answer since its request was due, ms.
    pub(super) since_due: Spread,
    /// The number of answers with each status.
    pub(super) statuses: BTreeMap<u16, usize>,
    /// The first answer with another status than the others, for messages.
    odd_one: Option<String>,
}

impl Request {
    /// `line` is as in `GET /path`; `headers` has whole lines.
    pub(super) fn new(line: &str, headers: &str, body: Option<&str>) -> Self {
        let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{headers}");
        if let Some(body) = body {
            text +=
                &format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body.unwrap_or_default();
        Self(text.into_bytes())
    }

    /// With a bearer token.
    pub(super) fn by(token: &str, line: &str, body: Option<&str>) -> Self {
        Self::new(line, &format!("authorization: Bearer {token}\r\n"), body)
    }
}

impl Load<'_> {
    /// Sends the requests and waits for all answers.
    ///
    /// # Errors
    /// A connection failed, or an answer cannot be read.
    pub(super) fn run(&self) -> Result<Outcome, BenchError> {
        let broken = |source: io::Error| BenchError::Measurement(format!("{}: {source}", self.url));
        let streams: io::Result<Vec<_>> = (0..self.connections).map(|_| self.connect()).collect();
        let streams = streams.map_err(broken)?;
        let connections = streams.iter().map(|_| Connection::default()).collect();
        let mut run = Run { load: self, streams: &streams, connections, log: Log::default() };
        run.go().map_err(broken)?;
        Ok(run.log.outcome())
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.url.trim_start_matches("http://"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(stream)
    }
}

impl Pace {
    /// When request `number` is to be sent, if it is; none as soon as a connection is free.
    fn due(self, number: usize, begun: Instant, now: Instant) -> Option<Option<Instant>> {
        match self {
            Self::For(time) => (now < begun + time).then_some(None),
            Self::Count(count) => (number < count).then_some(None),
            Self::Most { count, time } => (number < count && now < begun + time).then_some(None),
            Self::Fixed { gap, count } => {
                let after = u32::try_from(number).ok().and_then(|number| gap.checked_mul(number));
                (number < count).then(|| Some(begun + after.unwrap_or_default()))
            }
        }
    }
}

/// What a connection waits for.
#[derive(Debug, Default)]
struct Connection {
    /// When its request was due and sent; none without an open request.
    open: Option<(Instant, Instant)>,
    received: Vec<u8>,
}

/// A load under way.
struct Run<'a> {
    load: &'a Load<'a>,
    streams: &'a [TcpStream],
    connections: Vec<Connection>,
    log: Log,
}

#[derive(Debug, Default)]
struct Log {
    times: Vec<f64>,
    since_due: Vec<f64>,
    statuses: BTreeMap<u16, usize>,
    odd_one: Option<String>,
    seconds: f64,
}

impl Run<'_> {
    fn go(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let mut idle: Vec<usize> = (0..self.streams.len()).rev().collect();
        let mut number = 0;
        let mut ready = Vec::new();
        let mut fds: Vec<_> =
            self.streams.iter().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        loop {
            let now = Instant::now();
            let mut next = self.load.pace.due(number, begun, now);
            while let Some(due) = next
                && due.is_none_or(|due| due <= now)
                && let Some(connection) = idle.pop()
            {
                self.send(connection, number, due.unwrap_or(now))?;
                number += 1;
                next = self.load.pace.due(number, begun, now);
            }
            if next.is_none() && idle.len() == self.streams.len() {
                self.log.seconds = begun.elapsed().as_secs_f64();
                return Ok(());
            }
            let wait = match next.flatten() {
                Some(due) if !idle.is_empty() => due.saturating_duration_since(now).min(LOOK),
                _ => LOOK,
            };
            match poll(&mut fds, Some(&timespec(wait))) {
                Ok(0) => self.must_be_in_time()?,
                Ok(_) => {
                    let readable =
                        fds.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty());
                    ready.extend(readable.map(|(connection, _)| connection));
                    for connection in ready.drain(..) {
                        if self.receive(connection)? {
                            idle.push(connection);
                        }
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn send(&mut self, connection: usize, number: usize, due: Instant) -> io::Result<()> {
        let Load { requests, first, .. } = self.load;
        let Request(bytes) = &requests[(first + number) % requests.len()];
        self.connections[connection].open = Some((due, Instant::now()));
        let mut stream = &self.streams[connection];
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            match stream.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(stream, PollFlags::OUT)], Some(&timespec(LOOK)))?;
                    self.must_be_in_time()?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what has arrived; whether the answer is complete.
    fn receive(&mut self, connection: usize) -> io::Result<bool> {
        let mut chunk = [0; CHUNK];
        let state = &mut self.connections[connection];
        match (&self.streams[connection]).read(&mut chunk) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => state.received.extend_from_slice(&chunk[..read]),
            Err(error) if is_nothing_new(&error) => return Ok(false),
            Err(error) => return Err(error),
        }
        let Some((status, length)) = answer(&state.received) else { return Ok(false) };
        if state.received.len() < length {
            return Ok(false);
        }
        let Some((due, sent)) = state.open.take() else {
            return Err(io::Error::other("an answer to no request"));
        };
        let ms = |since: Instant| since.elapsed().as_secs_f64() * 1_000.0;
        self.log.times.push(ms(sent));
        self.log.since_due.push(ms(due));
        *self.log.statuses.entry(status).or_insert(0) += 1;
        if self.log.statuses.len() > 1 && self.log.odd_one.is_none() {
            self.log.odd_one = Some(String::from_utf8_lossy(&state.received).into_owned());
        }
        state.received.clear();
        Ok(true)
    }

    fn must_be_in_time(&self) -> io::Result<()> {
        let open = self.connections.iter().filter_map(|connection| connection.open);
        if open.map(|(_, sent)| sent.elapsed()).any(|waited| waited > TIMEOUT) {
            let told = format!("no answer within {} s", TIMEOUT.as_secs());
            return Err(io::Error::new(ErrorKind::TimedOut, told));
        }
        Ok(())
    }
}

impl Log {
    fn outcome(self) -> Outcome {
        let answers = self.times.len();
        Outcome {
            answers,
            seconds: self.seconds,
            per_second: answers as f64 / self.seconds,
            times: Spread::of(self.times),
            since_due: Spread::of(self.since_due),
            statuses: self.statuses,
            odd_one: self.odd_one,
        }
    }
}

impl Outcome {
    /// # Errors
    /// An answer had another status.
    pub(super) fn all(&self, status: u16) -> Result<(), BenchError> {
        let others = self.statuses.keys().any(|other| *other != status);
        if self.statuses.is_empty() || others {
            let odd_one = self.odd_one.as_deref().unwrap_or_default();
            let told =
                format!("answers other than {status}: {:?}; one is {odd_one}", self.statuses);
            return Err(BenchError::Measurement(told));
        }
        Ok(())
    }
}

fn is_nothing_new(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn timespec(wait: Duration) -> Timespec {
    Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() }
}

/// The status of an answer with a complete head, and the whole answer's length.
fn answer(bytes: &[u8]) -> Option<(u16, usize)> {
    let head_ends = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..head_ends]).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    // It has no body, whatever length it tells (RFC 9110, section 15.4.5).
    if status == 304 {
        return Some((status, head_ends));
    }
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    let length = lengths
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .find_map(|(_, value)| value.trim().parse::<usize>().ok());
    Some((status, head_ends + length.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn an_answer_is_read_to_its_end_and_no_further() {
        let head = "HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(answer(b"HTTP/1.1 202 Acc"), None);
        assert_eq!(answer(head.as_bytes()), Some((202, head.len() + 5)));
        assert_eq!(answer(b"HTTP/1.1 304 Not Modified\r\n\r\n"), Some((304, 29)));
        let told = b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n";
        assert_eq!(answer(told), Some((304, told.len())));
    }

    #[test]
    fn a_request_carries_its_parts() {
        let Request(bytes) = Request::by("t", "POST /x", Some("{}"));
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with("POST /x HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer t\r\n")
        );
        assert!(text.ends_with("content-length: 2\r\n\r\n{}"));
    }

    /// A server that answers the `n`th request of each connection after `delay(n)`, in two
    /// pieces. Ends with the last connection.
    fn serve(connections: usize, delay: fn(u32) -> Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for _ in 0..connections {
                let (mut stream, _) = listener.accept().unwrap();
                std::thread::spawn(move || {
                    let mut lines = io::BufReader::new(stream.try_clone().unwrap()).lines();
                    let mut number = 0;
                    while let Some(Ok(line)) = lines.next() {
                        if line.is_empty() {
                            std::thread::sleep(delay(number));
                            number += 1;
                            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Le").unwrap();
                            stream.write_all(b"ngth: 2\r\n\r\nok").unwrap();
                        }
                    }
                });
            }
        });
        url
    }

    fn load(url: &str, connections: usize, pace: Pace) -> Outcome {
        let requests = [Request::new("GET /x", "", None)];
        Load { url, connections, pace, requests: &requests, first: 0 }.run().unwrap()
    }

    #[test]
    fn a_closed_load_sends_what_was_asked_for_and_gets_every_answer() {
        let url = serve(3, |_| Duration::ZERO);
        let outcome = load(&url, 3, Pace::Count(50));
        assert_eq!(outcome.answers, 50);
        outcome.all(200).unwrap();
        assert!(outcome.all(202).unwrap_err().to_string().contains("other than 202"));
    }

    #[test]
    fn a_load_that_is_not_through_ends_with_its_time() {
        let url = serve(1, |_| Duration::from_millis(20));
        let (few, many) = (Duration::from_millis(200), Duration::from_secs(60));
        let cut = load(&url, 1, Pace::Most { count: 1_000_000, time: few });
        assert!((1..=10).contains(&cut.answers), "{cut:?}");
        let url = serve(1, |_| Duration::ZERO);
        assert_eq!(load(&url, 1, Pace::Most { count: 5, time: many }).answers, 5);
    }

    #[test]
    fn the_wait_behind_a_slow_answer_counts_where_times_are_fixed() {
        let slow_first = |number| Duration::from_millis(if number == 0 { 200 } else { 0 });
        let url = serve(1, slow_first);
        let outcome = load(&url, 1, Pace::Fixed { gap: Duration::from_millis(10), count: 10 });
        assert_eq!(outcome.answers, 10);
        // Half of the requests waited for more than 100 ms, though only one was slow.
        assert!(outcome.since_due.percentile(0.5) > 100.0, "{:?}", outcome.since_due);
        assert!(outcome.times.percentile(0.5) < 100.0, "{:?}", outcome.times);
    }
}
