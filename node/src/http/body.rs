//! The body of a request, read as it comes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Limits;
use super::framing::Framing;

/// Bytes that are read from a connection at a time.
const READ_BYTES: usize = 64 << 10;

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
    pub(super) fn quiet(&self) -> Duration {
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

/// The next bytes of a request's body. What follows its last chunk is of no use to anybody here.
fn take(framing: &mut Framing, source: &mut Source) -> Result<Option<Bytes>, BodyError> {
    framing.take(&mut source.buffer, &mut |_| Ok(())).map_err(|_| BodyError::Malformed)
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
            Framing::Chunked(_) | Framing::ToTheEnd => None,
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
            match take(&mut rest.framing, &mut rest.source) {
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
            match take(&mut self.framing, &mut self.source) {
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
