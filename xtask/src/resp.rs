//! Just enough of Redis's protocol (RESP 2) to send a command and read a
//! short answer, without a driver.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A connection to Redis.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RespError {
    /// The connection failed.
    #[error("Redis does not answer: {0}")]
    Io(#[from] io::Error),
    /// Redis refused the command.
    #[error("Redis refuses: {0}")]
    Refused(String),
    /// An answer that this client cannot parse.
    #[error("Redis answered with something else than a line: {0:?}")]
    Unexpected(String),
}

impl Connection {
    /// Connects to `port` on this machine and authenticates.
    ///
    /// # Errors
    /// Nothing listens there, or the password is wrong.
    pub(crate) fn open(port: u16, password: &str) -> Result<Self, RespError> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        // A command is one small packet and must not wait for another.
        stream.set_nodelay(true)?;
        let mut connection = Self { stream: BufReader::new(stream) };
        connection.command(&["AUTH", password])?;
        Ok(connection)
    }

    /// Sends a command, whose answer must be one line or one string.
    ///
    /// # Errors
    /// See [`RespError`].
    pub(crate) fn command(&mut self, parts: &[&str]) -> Result<String, RespError> {
        let mut request = format!("*{}\r\n", parts.len());
        for part in parts {
            request.push_str(&format!("${}\r\n{part}\r\n", part.len()));
        }
        self.stream.get_mut().write_all(request.as_bytes())?;
        read_answer(&mut self.stream)
    }
}

fn read_answer(input: &mut impl BufRead) -> Result<String, RespError> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let line = line.trim_end();
    match line.split_at_checked(1) {
        Some(("+" | ":", value)) => Ok(value.to_owned()),
        Some(("-", refusal)) => Err(RespError::Refused(refusal.to_owned())),
        Some(("$", length)) => {
            let length: usize =
                length.parse().map_err(|_| RespError::Unexpected(line.to_owned()))?;
            let mut text = String::new();
            input.take(length as u64).read_to_string(&mut text)?;
            input.read_line(&mut String::new())?;
            Ok(text)
        }
        _ => Err(RespError::Unexpected(line.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_strings_and_refusals_are_read() {
        let mut input = "+OK\r\n:3\r\n$5\r\na\r\nbc\r\n-ERR no\r\n*1\r\n".as_bytes();
        assert_eq!(read_answer(&mut input).unwrap(), "OK");
        assert_eq!(read_answer(&mut input).unwrap(), "3");
        assert_eq!(read_answer(&mut input).unwrap(), "a\r\nbc");
        assert!(matches!(read_answer(&mut input), Err(RespError::Refused(why)) if why == "ERR no"));
        assert!(matches!(read_answer(&mut input), Err(RespError::Unexpected(_))));
    }
}
