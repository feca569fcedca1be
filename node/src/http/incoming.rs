//! The body of a response, read as it comes.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::client::{ClientError, Sending};
use super::framing::{Framing, Malformed};

/// Bytes that are read at a time.
const READ_BYTES: usize = 256 << 10;
/// Trailers.
const TRAILERS_MAX: usize = 64;

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
        self.sending.set_awaited(true);
        let next = self.next_piece().await;
        self.sending.set_awaited(false);
        next
    }

    async fn next_piece(&mut self) -> Option<Result<Bytes, ClientError>> {
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
        let trailers = &mut self.trailers;
        let taken = self.framing.take(&mut self.buffer, &mut |line| note(line, trailers));
        taken.map_err(|Malformed(why)| ClientError::Malformed(why))
    }
}

/// Notes a header that follows the body.
fn note(line: &[u8], trailers: &mut HeaderMap) -> Result<(), Malformed> {
    let (name, value) = memchr::memchr(b':', line).map(|at| line.split_at(at)).unwrap_or_default();
    let name = HeaderName::from_bytes(name).ok();
    let value = HeaderValue::from_bytes(value.get(1..).unwrap_or_default().trim_ascii()).ok();
    let (name, value) = name.zip(value).ok_or(Malformed("its trailers cannot be read"))?;
    let is_noted = trailers.try_append(name, value).is_ok_and(|_| trailers.len() <= TRAILERS_MAX);
    if is_noted { Ok(()) } else { Err(Malformed("it has too many trailers")) }
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
    fn trailers_that_are_none_are_refused() {
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(TRAILERS_MAX + 1));
        for wire in ["0\r\nno colon\r\n\r\n", "0\r\nA b: c\r\n\r\n", "0\r\n: c\r\n\r\n", "x\r\n", &many] {
            let refused = read(Framing::CHUNKED, wire.as_bytes(), 1000);
            assert!(matches!(refused, Err(ClientError::Malformed(_))), "{wire:?}");
        }
    }
}
