//! Ends connections whose clients stop reading.
//!
//! hyper limits the time for a request's head, but not the time for a response. Without a
//! limit, a client that takes nothing of its response would keep it, and its connection's
//! place, for ever.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that fails when its client takes nothing for a while of what is written.
/// Any progress starts the time again: event streams and slow clients are left alone.
#[derive(Debug)]
pub(crate) struct Unread<S> {
    stream: S,
    limit: Duration,
    give_up: fn(&S),
    /// Runs while something cannot be written. Most connections never have one.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Unread<S> {
    /// `give_up` is called once nothing was taken for `limit`, before the error.
    pub(crate) fn new(stream: S, limit: Duration, give_up: fn(&S)) -> Self {
        Self { stream, limit, give_up, stalled: None }
    }

    /// What becomes of a write: a pending one fails when its time is over.
    fn limited<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(cx));
        (self.give_up)(&self.stream);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Unread<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Unread<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.limited(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.limited(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.limited(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.limited(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);
    const ON_THE_WAY: usize = 4;

    /// A connection on which `ON_THE_WAY` bytes fit, and its client.
    fn connection(give_up: fn(&DuplexStream)) -> (Unread<DuplexStream>, DuplexStream) {
        let (server, client) = duplex(ON_THE_WAY);
        (Unread::new(server, LIMIT, give_up), client)
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_cut_off() {
        static GIVEN_UP: AtomicUsize = AtomicUsize::new(0);
        let (mut server, _client) = connection(|_| {
            GIVEN_UP.fetch_add(1, Ordering::Relaxed);
        });
        let started = Instant::now();
        let error = server.write_all(&[0; 2 * ON_THE_WAY]).await.unwrap_err();
        assert_eq!((error.kind(), started.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
        assert_eq!(GIVEN_UP.load(Ordering::Relaxed), 1);
        // So is one that stops in the middle.
        let (mut server, mut stops) = connection(|_| {});
        let reads_once = async {
            sleep(LIMIT / 2).await;
            stops.read_u8().await.unwrap();
            std::future::pending::<()>().await;
        };
        let started = Instant::now();
        let response = [0; 2 * ON_THE_WAY];
        tokio::select! {
            written = server.write_all(&response) => {
                assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
            }
            () = reads_once => {}
        }
        assert_eq!(started.elapsed(), LIMIT / 2 + LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_and_one_that_sends_nothing_are_left_alone() {
        let (mut server, mut client) = connection(|_| {});
        let response = [0; 20];
        let slowly = async {
            for _ in &response {
                sleep(LIMIT * 9 / 10).await;
                client.read_u8().await.unwrap();
            }
        };
        let (written, ()) = tokio::join!(server.write_all(&response), slowly);
        written.unwrap();
        assert!(server.stalled.is_none(), "an idle connection has no timer");
        // Events with long pauses, all read.
        for _ in 0..10 {
            sleep(10 * LIMIT).await;
            server.write_all(&[0; ON_THE_WAY]).await.unwrap();
            client.read_exact(&mut [0; ON_THE_WAY]).await.unwrap();
        }
    }
}
