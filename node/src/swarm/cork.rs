//! What a muxer writes, gathered.
//!
//! Yamux writes the 12 bytes in front of a frame and the frame one after the other, and flushes each frame. Below it each write
//! is a TLS record, or a noise frame, and a call to the system. Here what is short waits for what follows it, until the
//! connection has nothing to do: then its task pulls the cork ([`Cork::poll_pull`]).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use libp2p::futures::{AsyncRead, AsyncWrite};

/// Bytes that wait at most. What is longer goes to the socket at once, behind what waits.
const WAITING_BYTES_MAX: usize = 16 << 10;

/// Bytes of memory that a connection keeps for them while it has nothing to say.
const IDLE_BYTES_MAX: usize = 256;

/// A socket whose writes are gathered. Clones share it; one task uses all of them.
#[derive(Debug)]
pub(super) struct Cork<C> {
    inner: Arc<Mutex<Inner<C>>>,
}

#[derive(Debug)]
struct Inner<C> {
    socket: C,
    waiting: Vec<u8>,
    needs_flush: bool,
}

impl<C> Clone for Cork<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Cork<C> {
    pub(super) fn new(socket: C) -> Self {
        let inner = Inner { socket, waiting: Vec::new(), needs_flush: false };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Lets go what waits.
    pub(super) fn poll_pull(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_pull(cx)
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Inner<C> {
    /// Writes what waits, and of `next`, which follows it, as much as is taken; how much that is.
    fn poll_write_behind(&mut self, cx: &mut Context<'_>, next: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let slices = [IoSlice::new(&self.waiting), IoSlice::new(next)];
            let slices = if self.waiting.is_empty() { slices.get(1..) } else { slices.get(..) };
            let count =
                ready!(Pin::new(&mut self.socket).poll_write_vectored(cx, slices.unwrap_or_default()))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.needs_flush = true;
            let of_waiting = count.min(self.waiting.len());
            self.waiting.drain(..of_waiting);
            if self.waiting.is_empty() && (next.is_empty() || count > of_waiting) {
                return Poll::Ready(Ok(count - of_waiting));
            }
        }
    }

    fn poll_pull(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.waiting.is_empty() {
            ready!(self.poll_write_behind(cx, &[]))?;
        }
        if self.waiting.capacity() > IDLE_BYTES_MAX {
            self.waiting = Vec::new();
        }
        if self.needs_flush {
            ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
            self.needs_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncRead for Cork<C> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.lock().socket).poll_read(cx, buf)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Cork<C> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.lock();
        if inner.waiting.len() + buf.len() <= WAITING_BYTES_MAX {
            inner.waiting.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        inner.poll_write_behind(cx, buf)
    }

    /// Does nothing: whoever drives the connection pulls the cork.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.lock();
        ready!(inner.poll_pull(cx))?;
        Pin::new(&mut inner.socket).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use libp2p::futures::task::noop_waker;

    use super::*;

    /// Takes `room` bytes, a few at a time, and says where it was asked to flush.
    #[derive(Debug, Default)]
    struct Slow {
        taken: Vec<u8>,
        writes: usize,
        room: usize,
        flushed_at: Vec<usize>,
        is_closed: bool,
    }

    impl AsyncRead for Slow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.room);
            if count == 0 {
                return Poll::Pending;
            }
            self.taken.extend_from_slice(&buf[..count]);
            self.room -= count;
            self.writes += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            self.as_mut().poll_write(cx, &all)
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            let at = self.taken.len();
            self.flushed_at.push(at);
            Poll::Ready(Ok(()))
        }

        fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_closed = true;
            Poll::Ready(Ok(()))
        }
    }

    fn cork(room: usize) -> Cork<Slow> {
        Cork::new(Slow { room, ..Slow::default() })
    }

    fn write(cork: &mut Cork<Slow>, bytes: &[u8]) -> Poll<usize> {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        Pin::new(cork).poll_write(&mut cx, bytes).map(|count| count.unwrap())
    }

    #[test]
    fn a_frame_goes_out_with_what_is_in_front_of_it_in_one_write() {
        let mut cork = cork(usize::MAX);
        assert_eq!(write(&mut cork, b"twelve bytes"), Poll::Ready(12));
        assert_eq!(cork.lock().taken_writes(), (0, 0));
        let body = vec![7; 64 << 10];
        assert_eq!(write(&mut cork, &body), Poll::Ready(body.len()));
        assert_eq!(cork.lock().taken_writes(), (12 + body.len(), 1));
    }

    #[test]
    fn short_writes_wait_until_the_cork_is_pulled_and_then_are_flushed_once() {
        let mut cork = cork(usize::MAX);
        for _ in 0..100 {
            assert_eq!(write(&mut cork, b"short"), Poll::Ready(5));
        }
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut cork).poll_flush(&mut cx).is_ready());
        assert_eq!(cork.lock().taken_writes(), (0, 0), "yamux flushes each frame");
        assert!(cork.poll_pull(&mut cx).is_ready());
        assert!(cork.poll_pull(&mut cx).is_ready());
        assert_eq!(cork.lock().taken_writes(), (500, 1));
        assert_eq!(cork.lock().socket.flushed_at, [500]);
    }

    #[test]
    fn a_socket_that_takes_little_gets_every_byte_once_and_in_order() {
        let mut cork = cork(0);
        let sent: Vec<u8> = (0..200_000_u32).map(|n| (n % 251) as u8).collect();
        let (mut at, mut piece) = (0, 0);
        while at < sent.len() {
            // Writes of 1 to 40,000 bytes, and room for 9,000 at a time.
            piece = (piece * 7 + 1) % 40_000;
            let end = (at + 1 + piece).min(sent.len());
            match write(&mut cork, &sent[at..end]) {
                Poll::Ready(count) => at += count,
                Poll::Pending => cork.lock().socket.room += 9_000,
            }
            assert!(cork.lock().waiting.len() <= WAITING_BYTES_MAX);
        }
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        while Pin::new(&mut cork).poll_close(&mut cx).is_pending() {
            assert!(!cork.lock().socket.is_closed, "closed with bytes that wait");
            cork.lock().socket.room += 100;
        }
        assert!(cork.lock().socket.is_closed);
        assert!(cork.lock().socket.taken == sent);
    }

    impl Inner<Slow> {
        fn taken_writes(&self) -> (usize, usize) {
            (self.socket.taken.len(), self.socket.writes)
        }
    }
}
