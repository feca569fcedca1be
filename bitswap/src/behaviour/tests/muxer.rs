//! yamux as it comes: nodes wrap it themselves, and so must these tests.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo};

#[derive(Clone)]
pub(super) struct Yamux;

pub(super) struct Muxer<C> {
    connection: yamux::Connection<C>,
    arrived: VecDeque<yamux::Stream>,
    waker: Option<Waker>,
}

impl UpgradeInfo for Yamux {
    type Info = &'static str;
    type InfoIter = std::iter::Once<&'static str>;

    fn protocol_info(&self) -> Self::InfoIter {
        std::iter::once("/yamux/1.0.0")
    }
}

fn muxer<C: AsyncRead + AsyncWrite + Unpin>(
    socket: C,
    mode: yamux::Mode,
) -> Ready<Result<Muxer<C>, io::Error>> {
    let connection = yamux::Connection::new(socket, yamux::Config::default(), mode);
    ready(Ok(Muxer { connection, arrived: VecDeque::new(), waker: None }))
}

impl<C: AsyncRead + AsyncWrite + Unpin> InboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_inbound(self, socket: C, _: &'static str) -> Self::Future {
        muxer(socket, yamux::Mode::Server)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> OutboundConnectionUpgrade<C> for Yamux {
    type Output = Muxer<C>;
    type Error = io::Error;
    type Future = Ready<Result<Muxer<C>, io::Error>>;

    fn upgrade_outbound(self, socket: C, _: &'static str) -> Self::Future {
        muxer(socket, yamux::Mode::Client)
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.connection
            .poll_next_inbound(cx)
            .map(|stream| stream.ok_or(io::ErrorKind::UnexpectedEof)?.map_err(io::Error::other))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = yamux::Stream;
    type Error = io::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        if let Some(stream) = self.arrived.pop_front() {
            return Poll::Ready(Ok(stream));
        }
        self.waker = Some(cx.waker().clone());
        self.next(cx)
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<yamux::Stream>> {
        self.connection.poll_new_outbound(cx).map_err(io::Error::other)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.connection.poll_close(cx).map_err(io::Error::other)
    }

    /// Moves the connection on, also while nobody accepts streams.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<StreamMuxerEvent>> {
        let Poll::Ready(stream) = self.next(cx) else { return Poll::Pending };
        let stream = stream?;
        if self.arrived.len() < 256 {
            self.arrived.push_back(stream);
            self.waker.take().into_iter().for_each(Waker::wake);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
