//! The body of a request, read as it comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Limits;

/// Bytes that are read from a connection at a time.
const READ_BYTES: usize = 64 << 10;
/// Bytes of a line with the size of a chunk, and of all trailers of a request.
const CHUNK_LINE_BYTES_MAX: usize = 8 << 10;

/// Why a body could not be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The client closed the connection before the end.
    #[error("unexpected EOF: the client closed the connection before the end of the body")]
    Cut,
    /// Nothing came for too long.
    #[error("the body of the request stalled for {0:?}")]
    Stalled(Duration),
    /// The chunks are not as RFC 9112 section 7.1 says.
    #[error("malformed chunked encoding")]
    Malformed,
    /// The connection failed.
    #[error("reading the request: {0}")]
    Io(String),
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, and where in one we are.
    Chunked(Chunk),
    /// It has been read.
    Done,
}

/// Where in a chunked body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunk {
    /// Before the line with a size.
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// Behind the bytes of a chunk, before the end of its line.
    DataEnd,
    /// In the lines behind the last chunk, of which so many bytes were seen.
    Trailers(usize),
}

/// The reading end of a connection.
pub(super) struct Source {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    pub(super) buffer: BytesMut,
    activity: Activity,
    stall_timeout: Duration,
}

/// When a byte last went over a connection, in either direction.
#[derive(Debug, Clone)]
pub(super) struct Activity {
    began: Instant,
    millis: Arc<AtomicU64>,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self { began: Instant::now(), millis: Arc::default() }
    }

    /// A byte went over it now.
    pub(super) fn note(&self) {
        self.millis.store(self.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// How long none did.
    fn quiet(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.millis.load(Ordering::Relaxed)))
    }
}

impl Source {
    pub(super) fn new(
        reader: impl AsyncRead + Send + Sync + Unpin + 'static,
        activity: Activity,
        limits: &Limits,
    ) -> Self {
        let stall_timeout = limits.stall_timeout;
        Self { reader: Box::new(reader), buffer: BytesMut::new(), activity, stall_timeout }
    }

    /// Reads more into the buffer, and returns how many bytes came; 0 at the end. Can be dropped without loss.
    pub(super) async fn fill(&mut self, bytes_max: usize) -> io::Result<usize> {
        self.buffer.reserve(bytes_max);
        let count = (&mut self.reader).take(bytes_max as u64).read_buf(&mut self.buffer).await?;
        self.activity.note();
        Ok(count)
    }

    /// The same, within the time that a body may stall.
    async fn fill_in_time(&mut self) -> Result<usize, BodyError> {
        self.activity.note();
        loop {
            let left = self.stall_timeout.saturating_sub(self.activity.quiet());
            match timeout(left.max(Duration::from_millis(1)), self.fill(READ_BYTES)).await {
                Ok(Ok(count)) => return Ok(count),
                Ok(Err(error)) => return Err(BodyError::Io(error.to_string())),
                // Something may have been written meanwhile.
                Err(_) if self.activity.quiet() < self.stall_timeout => {}
                Err(_) => return Err(BodyError::Stalled(self.stall_timeout)),
            }
        }
    }
}

impl Framing {
    /// Takes the next bytes of the body out of the buffer; `None` if more has to be read first.
    fn take(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, BodyError> {
        loop {
            match self {
                Self::Done => return Ok(None),
                Self::Length(left) => {
                    let piece = take_up_to(buffer, left);
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    return Ok(piece);
                }
                Self::Chunked(chunk) => match chunk {
                    Chunk::Data(left) => {
                        let piece = take_up_to(buffer, left);
                        if *left == 0 {
                            *chunk = Chunk::DataEnd;
                        }
                        return Ok(piece);
                    }
                    Chunk::DataEnd => {
                        let Some(line) = take_line(buffer, 2)? else { return Ok(None) };
                        if !line.is_empty() {
                            return Err(BodyError::Malformed);
                        }
                        *chunk = Chunk::Size;
                    }
                    Chunk::Size => {
                        let Some(line) = take_line(buffer, CHUNK_LINE_BYTES_MAX)? else { return Ok(None) };
                        *chunk = match chunk_size(&line)? {
                            0 => Chunk::Trailers(0),
                            size => Chunk::Data(size),
                        };
                    }
                    Chunk::Trailers(seen) => {
                        let room = CHUNK_LINE_BYTES_MAX.saturating_sub(*seen);
                        let Some(line) = take_line(buffer, room)? else { return Ok(None) };
                        if line.is_empty() {
                            *self = Self::Done;
                        } else {
                            *seen += line.len();
                        }
                    }
                },
            }
        }
    }
}

/// At most `left` bytes, and at least one.
fn take_up_to(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let count = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
    *left -= count as u64;
    (count > 0).then(|| buffer.split_to(count).freeze())
}

/// A line without its end, if it is there as a whole. Its end is CR LF: a lone LF is where proxies and servers differ.
fn take_line(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, BodyError> {
    match memchr::memchr(b'\n', buffer) {
        Some(at) if at < bytes_max && at > 0 && buffer.get(at - 1) == Some(&b'\r') => {
            let line = buffer.split_to(at - 1).freeze();
            buffer.advance(2);
            Ok(Some(line))
        }
        None if buffer.len() < bytes_max => Ok(None),
        _ => Err(BodyError::Malformed),
    }
}

/// The number in a chunk's line. Extensions are passed over.
fn chunk_size(line: &[u8]) -> Result<u64, BodyError> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // White space is allowed before an extension alone.
    let digits = if size.len() < line.len() { size.trim_ascii_end() } else { size };
    // 15 digits are a petabyte, and no overflow.
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(BodyError::Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| BodyError::Malformed)?;
    u64::from_str_radix(text, 16).map_err(|_| BodyError::Malformed)
}

/// A connection's reading end after a request: where the body was left.
pub(super) struct Rest {
    pub(super) source: Source,
    pub(super) framing: Framing,
    /// Nothing can be read any more.
    pub(super) failed: bool,
}

/// The body of a request. Dropping it gives the connection back.
pub struct Body {
    rest: Option<Rest>,
    give_back: Option<oneshot::Sender<Rest>>,
    /// Asks for "100 Continue" before the first byte is waited for.
    ask: Option<oneshot::Sender<()>>,
    /// Bytes that it holds, if it says so.
    length: Option<u64>,
    bytes_read: Arc<AtomicU64>,
}

impl Body {
    pub(super) fn new(
        source: Source,
        framing: Framing,
        ask: Option<oneshot::Sender<()>>,
    ) -> (Self, oneshot::Receiver<Rest>) {
        let (give_back, given_back) = oneshot::channel();
        let length = match framing {
            Framing::Length(length) => Some(length),
            Framing::Done => Some(0),
            Framing::Chunked(_) => None,
        };
        let rest = Rest { source, framing, failed: false };
        let mut body =
            Self { rest: Some(rest), give_back: Some(give_back), ask, length, bytes_read: Arc::default() };
        body.end_if_done();
        (body, given_back)
    }

    /// A body of no connection, for tests of handlers.
    pub fn from_bytes(data: impl Into<Bytes>) -> Self {
        let data: Bytes = data.into();
        let framing = if data.is_empty() { Framing::Done } else { Framing::Length(data.len() as u64) };
        let mut source = Source::new(tokio::io::empty(), Activity::new(), &Limits::default());
        source.buffer = BytesMut::from(data);
        Self::new(source, framing, None).0
    }

    /// Bytes of the whole body, if the client said how many. What a client says is no reason to allocate.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Counts the bytes that are read of it, also after it was given away.
    pub fn bytes_read(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes_read)
    }

    /// Whether everything has been read, or there is nothing to read.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_none()
    }

    /// The next bytes; `None` at the end. After an error there is nothing more.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let rest = self.rest.as_mut()?;
            match rest.framing.take(&mut rest.source.buffer) {
                Ok(Some(piece)) => {
                    self.bytes_read.fetch_add(piece.len() as u64, Ordering::Relaxed);
                    self.end_if_done();
                    return Some(Ok(piece));
                }
                Ok(None) if rest.framing == Framing::Done => {
                    self.end_if_done();
                    return None;
                }
                Ok(None) => {
                    if let Some(ask) = self.ask.take() {
                        // Without a receiver the head of the response is out already: the client goes on by itself.
                        let _ = ask.send(());
                    }
                    let filled = match rest.source.fill_in_time().await {
                        Ok(0) => Err(BodyError::Cut),
                        other => other,
                    };
                    if let Err(error) = filled {
                        return Some(Err(self.fail(error)));
                    }
                }
                Err(error) => return Some(Err(self.fail(error))),
            }
        }
    }

    fn fail(&mut self, error: BodyError) -> BodyError {
        if let Some(mut rest) = self.rest.take() {
            rest.failed = true;
            self.give(rest);
        }
        error
    }

    /// The connection is free again at the end of the body, not only when its handler lets go of it.
    fn end_if_done(&mut self) {
        if let Some(rest) = self.rest.take_if(|rest| rest.framing == Framing::Done) {
            self.give(rest);
        }
    }

    fn give(&mut self, rest: Rest) {
        if let Some(give_back) = self.give_back.take() {
            // Nobody waits for it if the connection is gone.
            let _ = give_back.send(rest);
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(rest) = self.rest.take() {
            self.give(rest);
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body")
            .field("length", &self.length)
            .field("at_end", &self.is_at_end())
            .finish_non_exhaustive()
    }
}

impl Rest {
    /// Reads what is left of the body and throws it away, up to a bound. Whether the connection can be used again.
    pub(super) async fn drain(&mut self, bytes_max: u64) -> bool {
        let mut bytes = 0;
        loop {
            if self.failed {
                return false;
            }
            match self.framing.take(&mut self.source.buffer) {
                Ok(Some(piece)) => bytes += piece.len() as u64,
                Ok(None) if self.framing == Framing::Done => return true,
                Ok(None) => self.failed = !matches!(self.source.fill_in_time().await, Ok(1..)),
                Err(_) => self.failed = true,
            }
            if bytes > bytes_max {
                return false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(mut framing: Framing, wire: &[u8], step: usize) -> Result<(Vec<u8>, Vec<u8>), BodyError> {
        let (mut buffer, mut out) = (BytesMut::new(), Vec::new());
        let mut wire = wire.chunks(step);
        loop {
            match framing.take(&mut buffer)? {
                Some(piece) => out.extend_from_slice(&piece),
                None if framing == Framing::Done => {
                    let rest = wire.flatten().copied();
                    return Ok((out, buffer.iter().copied().chain(rest).collect()));
                }
                None => buffer.extend_from_slice(wire.next().ok_or(BodyError::Cut)?),
            }
        }
    }

    const CHUNKED: Framing = Framing::Chunked(Chunk::Size);

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let wire =
            b"4;name=value\r\nWiki\r\n10\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1";
        for step in 1..wire.len() {
            let (body, rest) = read(CHUNKED, wire, step).unwrap();
            assert_eq!(body, b"Wiki0123456789abcdef", "step {step}");
            assert_eq!(rest, b"GET / HTTP/1.1", "step {step}");
        }
    }

    #[test]
    fn a_length_ends_where_it_says() {
        for step in 1..8 {
            assert_eq!(
                read(Framing::Length(5), b"helloGET", step).unwrap(),
                (b"hello".to_vec(), b"GET".to_vec())
            );
        }
        assert_eq!(read(Framing::Length(9), b"hello", 2), Err(BodyError::Cut));
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for wire in [
            "x\r\n",
            "4 Wiki\r\n",
            "4 \r\nWiki\r\n",
            "\r\n",
            "-4\r\nWiki\r\n",
            "4\nWiki\r\n",
            "4\r\nWikiX\r\n",
            "4\r\nWiki\n0\r\n\r\n",
            "ffffffffffffffff\r\n",
            "0x4\r\nWiki\r\n",
            "+4\r\nWiki\r\n",
        ] {
            assert_eq!(read(CHUNKED, wire.as_bytes(), 3), Err(BodyError::Malformed), "{wire:?}");
        }
        let endless = format!("4;{}", "x".repeat(CHUNK_LINE_BYTES_MAX));
        assert_eq!(read(CHUNKED, endless.as_bytes(), 100), Err(BodyError::Malformed));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(CHUNK_LINE_BYTES_MAX));
        assert_eq!(read(CHUNKED, trailers.as_bytes(), 100), Err(BodyError::Malformed));
    }

    #[tokio::test]
    async fn a_body_ends_once_and_gives_the_connection_back() {
        let mut body = Body::from_bytes("hello");
        assert_eq!(body.length(), Some(5));
        assert_eq!(body.next().await, Some(Ok(Bytes::from("hello"))));
        assert!(body.is_at_end());
        assert_eq!(body.next().await, None);
        assert!(Body::from_bytes("").is_at_end());
    }
}
