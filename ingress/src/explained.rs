//! Adds a problem document to refusals of the HTTP library.
//!
//! A request that cannot be parsed, or whose head exceeds the read buffer, is
//! refused before any route with a bare status line and no body. Those
//! responses are recognised on their way out and get the problem document that
//! every other error has. Our own errors always have a body, so none is
//! mistaken for one of these.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use uuid::Uuid;

use crate::error::{ApiError, PROBLEM_JSON, Part, Problem, ProblemType, type_uri};
use crate::middleware::{HEADER_LINES, MAX_BUFFER_BYTES};

/// A connection whose bare refusals get a body.
#[derive(Debug)]
pub(crate) struct Explained<S> {
    stream: S,
    /// The response sent instead of a bare refusal, and how much of it is sent.
    instead: Vec<u8>,
    sent: usize,
}

impl<S> Explained<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, instead: Vec::new(), sent: 0 }
    }
}

impl<S: AsyncWrite + Unpin> Explained<S> {
    /// Whether `bytes` is a bare refusal; its replacement then waits to be sent.
    fn replaces(&mut self, bytes: &[u8]) -> bool {
        let explanation = explanation(bytes);
        let found = explanation.is_some();
        self.instead.extend(explanation.into_iter().flatten());
        found
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.instead.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Explained<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Explained<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_sent(cx))?;
        if let Some(first) = slices.iter().find(|slice| !slice.is_empty())
            && self.replaces(first)
        {
            return Poll::Ready(Ok(first.len()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_sent(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The whole response to send instead of `bytes`, if that is a bare refusal.
fn explanation(bytes: &[u8]) -> Option<Vec<u8>> {
    let refusal = match bytes.strip_prefix(b"HTTP/1.1 ")?.get(..3)? {
        b"400" => {
            let detail = "this is not HTTP/1.1 as RFC 9112 has it; send a well-formed request";
            ApiError::BadRequest(detail.to_owned())
        }
        b"414" => ApiError::TooLarge { part: Part::Url, limit: MAX_BUFFER_BYTES },
        b"431" => ApiError::HeadTooLarge { limit: MAX_BUFFER_BYTES, lines: HEADER_LINES },
        _ => return None,
    };
    let head = std::str::from_utf8(bytes).ok()?;
    let bare = head.ends_with("\r\n\r\n")
        && head.to_ascii_lowercase().contains("\r\ncontent-length: 0\r\n");
    if bare { answer(&refusal) } else { None }
}

fn answer(refusal: &ApiError) -> Option<Vec<u8>> {
    let ProblemType { status, code, title } = refusal.problem_type();
    let id = Uuid::now_v7().to_string();
    let problem = Problem {
        type_uri: type_uri(code),
        title,
        status: status.as_u16(),
        detail: refusal.to_string(),
        instance: id.clone(),
        code,
        errors: Vec::new(),
        violated_policies: Vec::new(),
    };
    let body = serde_json::to_string(&problem).ok()?;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {length}\r\n\
         cache-control: no-store\r\nx-content-type-options: nosniff\r\nx-request-id: {id}\r\n\
         connection: close\r\n\r\n"
    );
    Some([head, body].concat().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_refusals_are_explained() {
        let told = |text: &str| explanation(text.as_bytes());
        let bare = "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\
                    content-length: 0\r\ndate: x\r\n\r\n";
        let text = String::from_utf8(told(bare).unwrap()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("headers-too-large") && body.contains("65536"), "{body}");
        assert!(told("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n").is_none());
        assert!(told("HTTP/1.1 431 Too\r\ncontent-length: 12\r\n\r\n").is_none());
        assert!(told("HTTP/1.1 431 Too\r\ncontent-length: 0\r\n\r\nmore").is_none());
    }
}
