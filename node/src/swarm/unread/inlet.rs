//! The socket below yamux and the streams above it: what comes in through one is read from the others.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use libp2p::futures::{AsyncRead, AsyncWrite};

use super::{FRAME_BYTES_KEPT, Held, Kind, Slot, lock};

/// Bytes in front of each frame of yamux.
const HEADER_BYTES: usize = 12;
/// Bytes of a frame beyond which yamux ends the connection without taking it.
const FRAME_BYTES_MAX: u32 = 1 << 20;

/// A socket below yamux that lets a frame in only when there is room for it.
#[derive(Debug)]
pub(in crate::swarm) struct Inlet<C> {
    socket: C,
    held: Arc<Held>,
    at: At,
}

/// How far the frame is that is being read.
#[derive(Debug, Clone, Copy)]
enum At {
    /// So many bytes of its header have come. They are kept back: yamux makes room for the frame as soon as it knows of it.
    Header { bytes: [u8; HEADER_BYTES], length: usize },
    /// The header is whole, and so much of it was handed on.
    Known { bytes: [u8; HEADER_BYTES], given: usize },
    /// So many bytes of it are missing.
    Body { frame: Frame, missing: usize },
}

const START: At = At::Header { bytes: [0; HEADER_BYTES], length: 0 };

/// What its header says of a frame.
#[derive(Debug, Clone, Copy)]
struct Frame {
    stream: u32,
    kind: Kind,
    /// Bytes behind the header.
    length: u32,
}

impl Frame {
    /// Frames that carry no data have nothing behind the header, and those that yamux will not take do not matter.
    fn of(header: [u8; HEADER_BYTES]) -> Self {
        const DATA: u8 = 0;
        const SYN: u8 = 1;
        const RST: u8 = 8;
        let [_, tag, _, flags, s0, s1, s2, s3, l0, l1, l2, l3] = header;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let length = if tag == DATA && length <= FRAME_BYTES_MAX { length } else { 0 };
        let kind = match flags {
            flags if flags & RST != 0 => Kind::Dropped,
            flags if flags & SYN != 0 => Kind::Opens,
            _ => Kind::Follows,
        };
        Self { stream: u32::from_be_bytes([s0, s1, s2, s3]), kind, length }
    }

    /// What it takes of the bound.
    fn held(self) -> usize {
        self.length as usize + FRAME_BYTES_KEPT
    }
}

impl<C> Inlet<C> {
    pub(in crate::swarm) fn new(socket: C, held: Arc<Held>) -> Self {
        Self { socket, held, at: START }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Inlet<C> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        loop {
            match &mut this.at {
                At::Header { bytes, length } => {
                    let rest = bytes.get_mut(*length..).unwrap_or_default();
                    let count = ready!(Pin::new(&mut this.socket).poll_read(cx, rest))?;
                    if count == 0 {
                        return Poll::Ready(Ok(0));
                    }
                    *length += count;
                    if *length == HEADER_BYTES {
                        this.at = At::Known { bytes: *bytes, given: 0 };
                    }
                }
                At::Known { bytes, given } => {
                    let frame = Frame::of(*bytes);
                    if *given == 0 && frame.length > 0 {
                        ready!(this.held.poll_take(cx, frame.held()));
                    }
                    let count = (HEADER_BYTES - *given).min(buf.len());
                    let (now, rest) = (bytes.get(*given..*given + count), buf.get_mut(..count));
                    if let (Some(now), Some(rest)) = (now, rest) {
                        rest.copy_from_slice(now);
                    }
                    *given += count;
                    if *given == HEADER_BYTES {
                        let body = At::Body { frame, missing: frame.length as usize };
                        this.at = if frame.length > 0 { body } else { START };
                    }
                    return Poll::Ready(Ok(count));
                }
                At::Body { frame, missing } => {
                    let room = (*missing).min(buf.len());
                    let into = buf.get_mut(..room).unwrap_or_default();
                    let count = ready!(Pin::new(&mut this.socket).poll_read(cx, into))?;
                    *missing -= count;
                    if *missing == 0 {
                        this.held.arrived(frame.stream, frame.kind, frame.length);
                        this.at = START;
                    }
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Inlet<C> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_close(cx)
    }
}

/// A stream of yamux that says what was read of it.
#[derive(Debug)]
pub(in crate::swarm) struct Stream {
    slot: Arc<Slot>,
    id: u32,
    held: Arc<Held>,
}

impl Stream {
    pub(in crate::swarm) fn new(stream: yamux::Stream, held: &Arc<Held>) -> Self {
        let id = stream.id().val();
        let slot = Arc::new(Mutex::new(Some(stream)));
        held.opened(id, Arc::clone(&slot));
        Self { slot, id, held: Arc::clone(held) }
    }

    /// Uses it while there is a connection. The words for what comes later are those of yamux.
    fn with<T>(
        &self,
        act: impl FnOnce(Pin<&mut yamux::Stream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match lock(&self.slot).as_mut() {
            Some(stream) => act(Pin::new(stream)),
            None => Poll::Ready(Err(io::Error::new(io::ErrorKind::WriteZero, "connection is closed"))),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.held.closed(self.id);
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = match lock(&self.slot).as_mut() {
            Some(stream) => ready!(Pin::new(stream).poll_read(cx, buf))?,
            // What yamux says of a connection that is over.
            None => return Poll::Ready(Ok(0)),
        };
        self.held.was_read(self.id, count);
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_close(cx))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use libp2p::futures::io::Cursor;

    use super::super::Unread;
    use super::super::tests::Flag;
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, length: u32, body: &[u8]) -> Vec<u8> {
        [&[0, kind, 0, flags], &stream.to_be_bytes()[..], &length.to_be_bytes()[..], body].concat()
    }

    #[test]
    fn bytes_pass_unchanged_and_a_frame_without_room_is_not_even_announced() {
        let sent = [
            frame(0, 1, 1, 5, b"first"),
            frame(1, 0, 1, 300_000, b""),
            frame(2, 0, 0, 7, b""),
            frame(0, 0, 1, 40, &[7; 40]),
            frame(0, 0, 1, 60, &[8; 60]),
        ]
        .concat();
        let all = Unread::new(120 + 4 * FRAME_BYTES_KEPT);
        let mut inlet = Inlet::new(Cursor::new(sent.clone()), all.connection());
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let mut cx = Context::from_waker(&waker);
        let mut read = Vec::new();
        // Pieces of 7 bytes, so that no boundary is met by chance.
        let mut piece = [0; 7];
        while let Poll::Ready(Ok(count)) = Pin::new(&mut inlet).poll_read(&mut cx, &mut piece) {
            assert!(count > 0, "it waits before the end");
            read.extend_from_slice(&piece[..count]);
        }
        assert_eq!(read.len(), sent.len() - 72, "the last frame is held back with its header");
        assert_eq!(all.bytes(), 45 + 2 * FRAME_BYTES_KEPT);
        inlet.held.was_read(1, 45);
        assert!(flag.take());
        while let Poll::Ready(Ok(count)) = Pin::new(&mut inlet).poll_read(&mut cx, &mut piece) {
            read.extend_from_slice(&piece[..count]);
            if count == 0 {
                break;
            }
        }
        assert!(read == sent);
    }

    #[test]
    fn a_frame_that_resets_a_stream_opens_none() {
        let [syn, rst] = [1, 8];
        let kinds = [0, syn, rst, syn | rst].map(|flags| {
            let header = frame(0, flags, 1, 1, b"");
            Frame::of(header.try_into().unwrap()).kind
        });
        assert_eq!(kinds, [Kind::Follows, Kind::Opens, Kind::Dropped, Kind::Dropped]);
    }
}
