//! The wrapper around a muxer and its streams.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::futures::{AsyncRead, AsyncWrite};
use tokio::time::{Sleep, sleep};

use super::header::HeadReader;
use super::{ConnectionMeter, Meter, StreamMeter, lock};

/// Streams that are refused in a row before others get their turn.
const REFUSED_AT_ONCE: usize = 16;

/// How long a connection that is given up may take to say so. It counts as open until then, and what it says waits for a peer
/// that reads, or for a link that is cut.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(5);

/// A muxer whose streams are counted.
#[derive(Debug)]
pub(in crate::swarm) struct Metered<M> {
    muxer: Pin<Box<M>>,
    meter: Meter,
    connection: Arc<ConnectionMeter>,
    /// Set when it begins to close.
    closing: Option<Pin<Box<Sleep>>>,
}

impl<M> Metered<M> {
    pub(super) fn new(muxer: M, meter: Meter, connection: Arc<ConnectionMeter>) -> Self {
        Self { muxer: Box::pin(muxer), meter, connection, closing: None }
    }

    /// Whether one more stream that the peer opens is within the limits.
    fn may_accept(&self) -> bool {
        self.meter.may_accept(&self.connection.peer)
    }
}

impl<M: StreamMuxer> StreamMuxer for Metered<M> {
    type Substream = MeteredStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        for _ in 0..REFUSED_AT_ONCE {
            let stream = ready!(self.muxer.as_mut().poll_inbound(cx))?;
            if self.may_accept() {
                let (meter, connection) = (self.meter.clone(), Arc::clone(&self.connection));
                return Poll::Ready(Ok(MeteredStream::new(stream, meter, connection, Side::Responder)));
            }
            // Dropping it resets it.
            self.meter.shared.refused.fetch_add(1, Ordering::Relaxed);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(self.muxer.as_mut().poll_outbound(cx))?;
        let (meter, connection) = (self.meter.clone(), Arc::clone(&self.connection));
        Poll::Ready(Ok(MeteredStream::new(stream, meter, connection, Side::Initiator)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        if let Poll::Ready(closed) = self.muxer.as_mut().poll_close(cx) {
            return Poll::Ready(closed);
        }
        let closing = self.closing.get_or_insert_with(|| Box::pin(sleep(CLOSING_TIME_MAX)));
        // The peer sees the end of the socket, when it looks.
        closing.as_mut().poll(cx).map(Ok)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.muxer.as_mut().poll(cx)
    }
}

/// Who opened a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// We did: what is read says what was agreed on.
    Initiator,
    /// The peer did: what is written says it.
    Responder,
}

/// A stream that is counted.
#[derive(Debug)]
pub(in crate::swarm) struct MeteredStream<S> {
    stream: Pin<Box<S>>,
    count: Count,
}

/// What is counted of a stream, as long as it is there.
#[derive(Debug)]
struct Count {
    meter: Meter,
    connection: Arc<ConnectionMeter>,
    stream: Arc<StreamMeter>,
    id: u64,
    side: Side,
    /// None once the protocol is known.
    head: Option<Box<HeadReader>>,
    /// Bytes in and out before the protocol was known.
    before: (u64, u64),
}

impl<S> MeteredStream<S> {
    fn new(stream: S, meter: Meter, connection: Arc<ConnectionMeter>, side: Side) -> Self {
        let known = Arc::new(StreamMeter { is_inbound: side == Side::Responder, protocol: OnceLock::new() });
        let id = meter.shared.next.fetch_add(1, Ordering::Relaxed);
        lock(&connection.streams).insert(id, Arc::clone(&known));
        match side {
            Side::Initiator => {
                connection.peer.outbound.fetch_add(1, Ordering::Relaxed);
                meter.shared.outbound.fetch_add(1, Ordering::Relaxed)
            }
            Side::Responder => {
                connection.peer.inbound.fetch_add(1, Ordering::Relaxed);
                meter.shared.inbound.fetch_add(1, Ordering::Relaxed)
            }
        };
        let head = Some(Box::default());
        let count = Count { meter, connection, stream: known, id, side, head, before: (0, 0) };
        Self { stream: Box::pin(stream), count }
    }
}

impl Count {
    fn read(&mut self, bytes: &[u8]) {
        let length = bytes.len() as u64;
        self.meter.shared.total.read(length);
        self.connection.peer.counter.read(length);
        if self.side == Side::Initiator {
            self.look(bytes);
        }
        match self.stream.protocol.get() {
            Some((_, counter)) => counter.read(length),
            None => self.before.0 += length,
        }
    }

    /// Whether a write failed that only agrees to the protocol of a peer that does not wait for it.
    ///
    /// go-libp2p sends a message on a stream of its own, and closes both directions at once: over QUIC that is STOP_SENDING,
    /// which may be here before our half of the negotiation is out. The message is complete and has to be read.
    fn needs_no_answer(&self, error: &io::Error) -> bool {
        self.side == Side::Responder && self.head.is_some() && error.kind() == io::ErrorKind::ConnectionReset
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if self.side == Side::Responder {
            self.look(bytes);
        }
        self.wrote_bytes(bytes.len() as u64);
    }

    fn wrote_bytes(&mut self, length: u64) {
        self.meter.shared.total.wrote(length);
        self.connection.peer.counter.wrote(length);
        match self.stream.protocol.get() {
            Some((_, counter)) => counter.wrote(length),
            None => self.before.1 += length,
        }
    }

    /// Looks for the protocol in what the responder says.
    fn look(&mut self, bytes: &[u8]) {
        let Some(name) = self.head.as_mut().and_then(|head| head.read(bytes)) else { return };
        self.head = None;
        let (name, counter) = self.meter.protocol(&name);
        counter.read(self.before.0);
        counter.wrote(self.before.1);
        // It is set nowhere else.
        let _ = self.stream.protocol.set((name, counter));
    }

    fn wrote_slices(&mut self, slices: &[IoSlice<'_>], mut length: usize) {
        if self.head.is_none() || self.side == Side::Initiator {
            return self.wrote_bytes(length as u64);
        }
        for slice in slices {
            let now = slice.get(..length.min(slice.len())).unwrap_or_default();
            self.wrote(now);
            length -= now.len();
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        lock(&self.connection.streams).remove(&self.id);
        match self.side {
            Side::Initiator => {
                self.connection.peer.outbound.fetch_sub(1, Ordering::Relaxed);
                self.meter.shared.outbound.fetch_sub(1, Ordering::Relaxed)
            }
            Side::Responder => {
                self.connection.peer.inbound.fetch_sub(1, Ordering::Relaxed);
                self.meter.shared.inbound.fetch_sub(1, Ordering::Relaxed)
            }
        };
    }
}

impl<S: AsyncRead> AsyncRead for MeteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let length = ready!(self.stream.as_mut().poll_read(cx, buffer))?;
        self.count.read(buffer.get(..length).unwrap_or_default());
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite> AsyncWrite for MeteredStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let length = match ready!(self.stream.as_mut().poll_write(cx, buffer)) {
            Err(error) if self.count.needs_no_answer(&error) => buffer.len(),
            outcome => outcome?,
        };
        self.count.wrote(buffer.get(..length).unwrap_or_default());
        Poll::Ready(Ok(length))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = match ready!(self.stream.as_mut().poll_write_vectored(cx, slices)) {
            Err(error) if self.count.needs_no_answer(&error) => slices.iter().map(|slice| slice.len()).sum(),
            outcome => outcome?,
        };
        self.count.wrote_slices(slices, length);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use libp2p::core::{ConnectedPoint, Endpoint, transport::PortUse};
    use libp2p::futures::io::Cursor;
    use libp2p::{Multiaddr, PeerId};

    /// A stream whose other end reads nothing more.
    #[derive(Debug)]
    struct Stopped;

    impl AsyncWrite for Stopped {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A muxer that cannot say goodbye, because nobody reads.
    struct Stuck;

    impl StreamMuxer for Stuck {
        type Substream = Cursor<Vec<u8>>;
        type Error = io::Error;

        fn poll_inbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_outbound(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<Self::Substream>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
            Poll::Pending
        }
    }

    fn point() -> ConnectedPoint {
        ConnectedPoint::Dialer {
            address: Multiaddr::empty(),
            role_override: Endpoint::Dialer,
            port_use: PortUse::New,
        }
    }

    #[tokio::test]
    async fn a_connection_that_nobody_reads_from_ends_all_the_same() {
        let meter = Meter::new(None);
        let mut muxer = meter.wrap(Stuck, PeerId::random(), &point(), None);
        // Without a bound it waits for ever.
        std::future::poll_fn(|cx| Pin::new(&mut muxer).poll_close(cx)).await.unwrap();
    }

    fn stopped(side: Side) -> MeteredStream<Stopped> {
        let meter = Meter::new(None);
        let connection = Arc::clone(&meter.wrap((), PeerId::random(), &point(), None).connection);
        MeteredStream::new(Stopped, meter, connection, side)
    }

    fn write(stream: &mut MeteredStream<Stopped>, bytes: &[u8]) -> Option<usize> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match Pin::new(stream).poll_write(&mut cx, bytes) {
            Poll::Ready(Ok(length)) => Some(length),
            _ => None,
        }
    }

    #[test]
    fn a_peer_that_sends_a_message_and_stops_reading_is_agreed_with_into_the_void() {
        let mut stream = stopped(Side::Responder);
        assert_eq!(write(&mut stream, b"\x13/multistream/1.0.0\n"), Some(20));
        assert_eq!(write(&mut stream, b"\x04/ab\n"), Some(5));
        assert_eq!(
            write(&mut stream, b"an answer"),
            None,
            "what a protocol answers is lost, and it is told so"
        );
        assert_eq!(write(&mut stopped(Side::Initiator), b"\x13/multistream/1.0.0\n"), None);
    }
}
