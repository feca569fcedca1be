//! Yamux with a bounded receive window: libp2p's own wrapper leaves it at 1 GiB a connection.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use libp2p::core::UpgradeInfo;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::futures::{AsyncRead, AsyncWrite};
use yamux::{Connection, ConnectionError, Mode};

use super::cork::Cork;
use super::unread::{Held, Inlet, Stream, Unread};

/// Streams of one connection, at most: go opens one for each Bitswap answer, and eight at a time.
pub(super) const STREAMS_MAX: usize = 256;
/// Bytes that the peer may have under way on all streams of one connection. Not less than 256 KiB a stream, which the
/// protocol grants each; what is above that is given to streams that are read fast. What waits unread of them is bounded for all
/// connections together, by [`Unread`].
const RECEIVE_WINDOW_BYTES: usize = 64 << 20;
/// Bytes of a frame that is sent, at most: what is long is cut so that other streams get their turn. Others take up to their
/// window, which begins at 256 KiB; each frame costs a change of task. With the 12 bytes in front of it, it fills four TLS records.
const FRAME_BYTES: usize = (64 << 10) - 12;
/// Streams that wait to be accepted; more are reset. What yamux lets a peer open without an answer.
const WAITING_MAX: usize = 256;

/// Turns a secured connection into many streams.
#[derive(Debug, Clone)]
pub(super) struct Yamux {
    config: yamux::Config,
    unread: Unread,
}

impl Yamux {
    pub(super) fn new(unread: Unread) -> Self {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS_MAX);
        config.set_max_connection_receive_window(Some(RECEIVE_WINDOW_BYTES));
        // What was not read when the connection ended is lost with it, as with every other muxer of libp2p.
        config.set_read_after_close(false);
        config.set_split_send_size(FRAME_BYTES);
        Self { config, unread }
    }
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = iter::Once<Self::Info>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, self, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, socket: C, _: Self::Info) -> Self::Future {
        ready(Ok(Muxer::new(socket, self, Mode::Client)))
    }
}

/// One connection.
#[derive(Debug)]
pub(super) struct Muxer<C> {
    connection: Connection<Inlet<Cork<C>>>,
    /// The socket of the connection.
    cork: Cork<C>,
    /// What waits unread.
    held: Arc<Held>,
    /// Streams that came while the connection was only driven on. At most [`WAITING_MAX`].
    waiting: VecDeque<Stream>,
    /// Whoever waits for an inbound stream.
    waker: Option<Waker>,
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        self.held.end();
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, yamux: Yamux, mode: Mode) -> Self {
        let (cork, held) = (Cork::new(socket), yamux.unread.connection());
        let inlet = Inlet::new(cork.clone(), Arc::clone(&held));
        let connection = Connection::new(inlet, yamux.config, mode);
        Self { connection, cork, held, waiting: VecDeque::new(), waker: None }
    }

    /// What the connection holds unread.
    pub(super) fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        if self.held.must_end(cx) {
            let words = "it holds much that nobody reads, and others wait for room";
            return Poll::Ready(Err(ConnectionError::Io(io::Error::other(words))));
        }
        let next = self.connection.poll_next_inbound(cx);
        // The connection has written all that it has for now. Where the socket takes no more, it wakes this task.
        if let Poll::Ready(Err(error)) = self.cork.poll_pull(cx) {
            return Poll::Ready(Err(ConnectionError::Io(error)));
        }
        let next = ready!(next).unwrap_or(Err(ConnectionError::Closed));
        Poll::Ready(next.map(|stream| Stream::new(stream, &self.held)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if let Some(stream) = self.waiting.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        if let Poll::Ready(next) = self.poll_next(cx) {
            return Poll::Ready(next);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(self.connection.poll_new_outbound(cx))?;
        Poll::Ready(Ok(Stream::new(stream, &self.held)))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.connection.poll_close(cx)
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        let stream = ready!(self.poll_next(cx))?;
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push_back(stream);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
        // There may be more; others get their turn first.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
