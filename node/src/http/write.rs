//! Writing responses.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, response};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, tcp, unix};
use tokio::time::timeout;

use super::body::Activity;

/// Bytes that are gathered before they are written, if more is ready at once.
const GATHER_BYTES: usize = 64 << 10;

/// Where a response goes.
pub(super) trait Writer: AsyncWrite + Send + Sync + Unpin + 'static {
    /// Ends the connection so that the client sees an error, and no orderly end.
    fn reset(&self);
}

impl Writer for tcp::OwnedWriteHalf {
    fn reset(&self) {
        let stream: &TcpStream = self.as_ref();
        // Connecting it to nowhere resets it. If it is gone already, the client knows.
        let _ = rustix::net::connect_unspec(stream);
    }
}

impl Writer for unix::OwnedWriteHalf {
    /// There is no such thing: it is closed.
    fn reset(&self) {}
}

/// The writing end of a connection.
pub(super) struct Sink {
    writer: Box<dyn Writer>,
    buffer: BytesMut,
    activity: Activity,
    stall_timeout: Duration,
}

/// How a body is marked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Known(u64),
    /// In chunks.
    Chunked,
    /// By the end of the connection: all that HTTP/1.0 has.
    ToTheEnd,
    /// There is none: the status says so.
    None,
}

impl Sink {
    pub(super) fn new(writer: impl Writer, activity: Activity, stall_timeout: Duration) -> Self {
        Self { writer: Box::new(writer), buffer: BytesMut::new(), activity, stall_timeout }
    }

    /// Gathers the head of a response.
    pub(super) fn head(&mut self, head: &response::Parts, length: Length, keep_alive: Option<&'static str>) {
        let status = head.status;
        let reason = status.canonical_reason().unwrap_or("Unknown");
        self.gather(format_args!("HTTP/1.1 {} {reason}\r\n", status.as_u16()));
        self.headers(&head.headers);
        if !head.headers.contains_key(http::header::DATE) {
            self.gather(format_args!("Date: {}\r\n", httpdate::fmt_http_date(SystemTime::now())));
        }
        match length {
            Length::Known(bytes) => self.gather(format_args!("Content-Length: {bytes}\r\n")),
            Length::Chunked => self.gather(format_args!("Transfer-Encoding: chunked\r\n")),
            Length::ToTheEnd | Length::None => {}
        }
        if let Some(word) = keep_alive {
            self.gather(format_args!("Connection: {word}\r\n"));
        }
        self.gather(format_args!("\r\n"));
    }

    /// Writes "100 Continue" at once.
    pub(super) async fn go_on(&mut self) -> io::Result<()> {
        self.gather(format_args!("HTTP/1.1 {} Continue\r\n\r\n", StatusCode::CONTINUE.as_u16()));
        self.flush().await
    }

    /// Writes bytes of a body as they are.
    pub(super) async fn plain(&mut self, data: &[u8]) -> io::Result<()> {
        if self.buffer.len() + data.len() <= GATHER_BYTES {
            self.buffer.extend_from_slice(data);
            return Ok(());
        }
        self.flush().await?;
        self.write_all(data).await
    }

    /// Writes a chunk; an empty one would be the last and is left out.
    pub(super) async fn chunk(&mut self, data: &Bytes) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        self.gather(format_args!("{:x}\r\n", data.len()));
        self.plain(data).await?;
        self.buffer.extend_from_slice(b"\r\n");
        if self.buffer.len() > GATHER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Writes the last chunk and what follows it.
    pub(super) async fn last_chunk(&mut self, trailers: &HeaderMap) -> io::Result<()> {
        self.buffer.extend_from_slice(b"0\r\n");
        self.headers(trailers);
        self.buffer.extend_from_slice(b"\r\n");
        self.flush().await
    }

    /// Writes what was gathered.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let buffer = std::mem::take(&mut self.buffer);
        self.write_all(&buffer).await
    }

    /// Whether something was gathered and not written.
    pub(super) fn holds_back(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Breaks off, in a way that no client takes for the end.
    pub(super) fn reset(&mut self) {
        self.buffer.clear();
        self.writer.reset();
    }

    /// Says that nothing more follows.
    pub(super) async fn shut_down(&mut self) -> io::Result<()> {
        self.flush().await?;
        timeout(self.stall_timeout, self.writer.shutdown()).await.map_err(|_| io::ErrorKind::TimedOut)?
    }

    async fn write_all(&mut self, mut data: &[u8]) -> io::Result<()> {
        let mut patience = self.stall_timeout;
        while !data.is_empty() {
            let Ok(written) = timeout(patience, self.writer.write(data)).await else {
                // Something may have come meanwhile: it is slow, and there.
                patience = self.stall_timeout.saturating_sub(self.activity.quiet());
                if patience.is_zero() {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                continue;
            };
            let count = written?;
            self.activity.note();
            patience = self.stall_timeout;
            data = data.get(count..).filter(|_| count > 0).ok_or(io::ErrorKind::WriteZero)?;
        }
        Ok(())
    }

    fn headers(&mut self, headers: &HeaderMap) {
        for (name, value) in headers {
            self.header(name, value);
        }
    }

    /// A header with its name as Go writes it: old clients compare names as they stand.
    fn header(&mut self, name: &HeaderName, value: &HeaderValue) {
        let mut first = true;
        for byte in name.as_str().bytes() {
            self.buffer.extend_from_slice(&[if first { byte.to_ascii_uppercase() } else { byte }]);
            first = byte == b'-';
        }
        self.buffer.extend_from_slice(b": ");
        self.buffer.extend_from_slice(value.as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
    }

    fn gather(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = self.buffer.write_fmt(text);
    }
}
