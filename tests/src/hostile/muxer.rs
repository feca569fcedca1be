//! Many streams over one secured connection (yamux), as a hostile peer has them: no bound but the protocol's own.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::iter::{self, Once};
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};
use libp2p::futures::{AsyncRead, AsyncWrite};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// Streams that wait to be taken; further ones are dropped.
const WAITING_MAX: usize = 256;

/// Makes a [`Muxer`] of a connection.
#[derive(Debug, Clone)]
pub(super) struct Yamux;

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        iter::once("/yamux/1.0.0")
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(socket, Mode::Server)))
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<io::Result<Muxer<C>>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        ready(Ok(Muxer::new(socket, Mode::Client)))
    }
}

/// One connection.
pub(super) struct Muxer<C> {
    connection: Connection<C>,
    waiting: VecDeque<Stream>,
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn new(socket: C, mode: Mode) -> Self {
        Self { connection: Connection::new(socket, Config::default(), mode), waiting: VecDeque::new() }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_next_inbound(cx).map(|next| next.unwrap_or(Err(ConnectionError::Closed)))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + 'static> StreamMuxer for Muxer<C> {
    type Substream = Stream;
    type Error = ConnectionError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, ConnectionError>> {
        match self.waiting.pop_front() {
            Some(stream) => Poll::Ready(Ok(stream)),
            None => self.poll_next(cx),
        }
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Stream, ConnectionError>> {
        self.connection.poll_new_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        self.connection.poll_close(cx)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, ConnectionError>> {
        while let Poll::Ready(stream) = self.poll_next(cx) {
            let stream = stream?;
            if self.waiting.len() < WAITING_MAX {
                self.waiting.push_back(stream);
            }
        }
        Poll::Pending
    }
}
