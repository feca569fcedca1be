//! The body of a response, read as it comes.

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::HeaderMap;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::client::{ClientError, Sending, headers_of};

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;
/// Bytes of a line with the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes of all trailers: they carry whole error messages.
const TRAILER_BYTES_MAX: usize = 64 << 10;
/// Trailers.
const TRAILERS_MAX: usize = 64;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, and where in one we are.
    Chunked(Chunk),
    /// By the end of the connection.
    ToTheEnd,
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
    /// Behind the last chunk.
    Trailers,
}

impl Framing {
    /// At the beginning of a chunked body.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunk::Size);
}

/// The body of a response. Dropping it ends the connection, and with it the request.
pub struct Incoming {
    reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
    decoder: Decoder,
    sending: Sending,
}

/// What was read, and what it means.
struct Decoder {
    buffer: BytesMut,
    framing: Framing,
    trailers: HeaderMap,
}

impl Incoming {
    pub(super) fn new(
        reader: Box<dyn AsyncRead + Send + Sync + Unpin>,
        buffer: BytesMut,
        framing: Framing,
        sending: Sending,
    ) -> Self {
        Self { reader, decoder: Decoder { buffer, framing, trailers: HeaderMap::new() }, sending }
    }

    /// The next bytes; `None` at the end. A connection that ends before the body does is an error, after which there is
    /// nothing more.
    pub async fn next(&mut self) -> Option<Result<Bytes, ClientError>> {
        loop {
            match self.decoder.take() {
                Ok(Some(piece)) => return Some(Ok(piece)),
                Ok(None) if self.decoder.framing == Framing::Done => return None,
                Ok(None) => {}
                Err(error) => return Some(Err(self.fail(error))),
            }
            if let Err(error) = self.fill().await {
                return Some(Err(self.fail(error)));
            }
        }
    }

    /// Reads more into the buffer.
    async fn fill(&mut self) -> Result<(), ClientError> {
        self.decoder.buffer.reserve(READ_BYTES);
        let mut reader = (&mut self.reader).take(READ_BYTES as u64);
        let filled = tokio::select! {
            biased;
            error = self.sending.failed() => return Err(error),
            filled = reader.read_buf(&mut self.decoder.buffer) => filled,
        };
        match filled {
            Ok(1..) => Ok(()),
            Ok(0) if self.decoder.framing == Framing::ToTheEnd => {
                self.decoder.framing = Framing::Done;
                Ok(())
            }
            Ok(_) => Err(ClientError::Cut),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Err(ClientError::Cut),
            Err(error) => Err(error.into()),
        }
    }

    fn fail(&mut self, error: ClientError) -> ClientError {
        self.decoder.framing = Framing::Done;
        error
    }

    /// The headers that followed the body, once it has been read.
    pub fn trailers(&self) -> &HeaderMap {
        &self.decoder.trailers
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("framing", &self.decoder.framing).finish_non_exhaustive()
    }
}

impl Decoder {
    /// Takes the next bytes of the body out of the buffer; `None` if more has to be read first, or at the end.
    fn take(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            match &mut self.framing {
                Framing::Done => return Ok(None),
                Framing::ToTheEnd => {
                    let mut left = u64::MAX;
                    return Ok(take_up_to(&mut self.buffer, &mut left));
                }
                Framing::Length(left) => {
                    let piece = take_up_to(&mut self.buffer, left);
                    if *left == 0 {
                        self.framing = Framing::Done;
                    }
                    return Ok(piece);
                }
                Framing::Chunked(Chunk::Data(left)) => {
                    let piece = take_up_to(&mut self.buffer, left);
                    if *left == 0 {
                        self.framing = Framing::Chunked(Chunk::DataEnd);
                    }
                    return Ok(piece);
                }
                Framing::Chunked(Chunk::DataEnd) => {
                    let Some(line) = take_line(&mut self.buffer)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(ClientError::Malformed("a chunk is longer than it says"));
                    }
                    self.framing = Framing::CHUNKED;
                }
                Framing::Chunked(Chunk::Size) => {
                    let Some(line) = take_line(&mut self.buffer)? else { return Ok(None) };
                    self.framing = Framing::Chunked(match chunk_size(&line)? {
                        0 => Chunk::Trailers,
                        size => Chunk::Data(size),
                    });
                }
                Framing::Chunked(Chunk::Trailers) => {
                    let Some(trailers) = take_trailers(&mut self.buffer)? else { return Ok(None) };
                    self.trailers = trailers;
                    self.framing = Framing::Done;
                }
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

/// A line without its end, if it is there as a whole.
fn take_line(buffer: &mut BytesMut) -> Result<Option<Bytes>, ClientError> {
    match memchr::memchr(b'\n', buffer) {
        Some(at) if at < CHUNK_LINE_BYTES_MAX => {
            let mut line = buffer.split_to(at);
            buffer.advance(1);
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            Ok(Some(line.freeze()))
        }
        None if buffer.len() < CHUNK_LINE_BYTES_MAX => Ok(None),
        _ => Err(ClientError::Malformed("the line of a chunk is too long")),
    }
}

/// The number in a chunk's line. Extensions are passed over.
fn chunk_size(line: &[u8]) -> Result<u64, ClientError> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
    let text =
        std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let size = text.and_then(|text| u64::from_str_radix(text, 16).ok());
    size.ok_or(ClientError::Malformed("a chunk has no size"))
}

/// The headers behind the last chunk, if they are there as a whole.
fn take_trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, ClientError> {
    let mut headers = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let parsed = httparse::parse_headers(buffer, &mut headers);
    let parsed = parsed.map_err(|_| ClientError::Malformed("its trailers cannot be read"))?;
    match parsed {
        httparse::Status::Complete((length, found)) => {
            let trailers = headers_of(found)?;
            buffer.advance(length);
            Ok(Some(trailers))
        }
        httparse::Status::Partial if buffer.len() < TRAILER_BYTES_MAX => Ok(None),
        httparse::Status::Partial => Err(ClientError::Malformed("its trailers are too long")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(framing: Framing, wire: &[u8], step: usize) -> Result<(Vec<u8>, HeaderMap), ClientError> {
        let mut decoder = Decoder { buffer: BytesMut::new(), framing, trailers: HeaderMap::new() };
        let (mut wire, mut out) = (wire.chunks(step), Vec::new());
        loop {
            match decoder.take()? {
                Some(piece) => out.extend_from_slice(&piece),
                None if decoder.framing == Framing::Done => return Ok((out, decoder.trailers)),
                None => decoder.buffer.extend_from_slice(wire.next().ok_or(ClientError::Cut)?),
            }
        }
    }

    #[test]
    fn chunks_and_trailers_are_read_however_they_are_cut() {
        let wire = b"4;x=y\r\nWiki\r\nB\r\n0123456789a\r\n0\r\nX-Stream-Error: it broke\r\nA: b\r\n\r\n";
        for step in 1..=wire.len() {
            let (body, trailers) = read(Framing::CHUNKED, wire, step).unwrap();
            assert_eq!(body, b"Wiki0123456789a", "step {step}");
            assert_eq!(trailers.get("x-stream-error").unwrap(), "it broke", "step {step}");
        }
        assert!(read(Framing::CHUNKED, b"0\r\n\r\n", 1).unwrap().1.is_empty());
        assert_eq!(read(Framing::Length(3), b"abc", 2).unwrap().0, b"abc");
    }

    #[test]
    fn a_body_without_its_end_is_cut_and_not_whole() {
        for wire in ["", "4\r\nWi", "4\r\nWiki\r\n", "4\r\nWiki\r\n0\r\n", "0\r\nA: b\r\n"] {
            assert!(matches!(read(Framing::CHUNKED, wire.as_bytes(), 2), Err(ClientError::Cut)), "{wire:?}");
        }
        assert!(matches!(read(Framing::Length(4), b"abc", 2), Err(ClientError::Cut)));
    }

    #[test]
    fn what_is_malformed_or_endless_is_refused() {
        let long = format!("4;{}", "x".repeat(CHUNK_LINE_BYTES_MAX));
        let trailers = format!("0\r\nA: {}", "x".repeat(TRAILER_BYTES_MAX));
        for wire in ["x\r\n", "\r\n", "-1\r\n", "4\r\nWikiX\r\n", "11111111111111111\r\n", &long, &trailers] {
            let refused = read(Framing::CHUNKED, wire.as_bytes(), 1000);
            assert!(matches!(refused, Err(ClientError::Malformed(_))), "{wire:?}");
        }
    }
}
