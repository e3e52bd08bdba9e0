//! One client of an event stream: a bare socket that is read when it has data,
//! because there may be ten thousand of them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::BenchError;

/// The longest wait between two checks of the time.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// An open stream.
pub(super) struct Watcher {
    socket: TcpStream,
    /// Text that has arrived and was not searched yet.
    text: String,
}

impl Watcher {
    /// Requests the events at `path` from the ingress at `base`.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) fn open(base: &str, path: &str, token: &str) -> Result<Self, BenchError> {
        let address = base.trim_start_matches("http://");
        let mut socket = TcpStream::connect(address)?;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
             Accept: text/event-stream\r\n\r\n"
        );
        socket.write_all(request.as_bytes())?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, text: String::new() })
    }

    /// Reads what has arrived; returns whether the event named `name` is complete.
    fn has(&mut self, name: &str) -> Result<bool, BenchError> {
        let mut chunk = [0; 4096];
        loop {
            match self.socket.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => {
                    let read = chunk.get(..read).unwrap_or_default();
                    self.text.push_str(&String::from_utf8_lossy(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let Some(start) = self.text.find(&format!("event: {name}\n")) else {
            return match self.text.split_once("\r\n") {
                Some((status, _))
                    if !status.starts_with("HTTP/1.1 200") && self.text.starts_with("HTTP") =>
                {
                    Err(BenchError::Measurement(format!("a stream was answered with {status}")))
                }
                _ => Ok(false),
            };
        };
        let Some(length) = self.text.split_at(start).1.find("\n\n") else { return Ok(false) };
        self.text.drain(..start + length);
        self.text.shrink_to_fit();
        Ok(true)
    }
}

/// Waits until all `watchers` have the event named `name`; returns the times from `begun`
/// until the first and the last had it.
///
/// # Errors
/// A stream failed, or the event did not arrive in time.
pub(super) fn first_and_last(
    watchers: &mut [Watcher],
    name: &str,
    begun: Instant,
    patience: Duration,
) -> Result<(Duration, Duration), BenchError> {
    let mut waiting: Vec<&mut Watcher> = watchers.iter_mut().collect();
    let (mut first, mut last) = (None, begun);
    loop {
        let mut left = Vec::with_capacity(waiting.len());
        for watcher in waiting {
            if watcher.has(name)? {
                last = Instant::now();
                first.get_or_insert(last);
            } else {
                left.push(watcher);
            }
        }
        waiting = left;
        if waiting.is_empty() {
            return Ok((first.unwrap_or(last) - begun, last - begun));
        }
        if begun.elapsed() > patience {
            let missing = waiting.len();
            return Err(BenchError::Measurement(format!(
                "{missing} streams did not get the event {name} in time"
            )));
        }
        let mut fds: Vec<_> =
            waiting.iter().map(|one| PollFd::new(&one.socket, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&LOOK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
    }
}
