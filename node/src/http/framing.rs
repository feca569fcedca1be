//! How the end of a body is known, and taking bodies apart: the same for requests and responses (RFC 9112, section 7).

use bytes::{Buf as _, Bytes, BytesMut};

/// Bytes of a line with the size of a chunk.
const CHUNK_LINE_BYTES_MAX: usize = 8 << 10;
/// Bytes of all trailers: they carry whole error messages.
const TRAILER_BYTES_MAX: usize = 64 << 10;

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
    /// In the lines behind the last chunk, of which so many bytes were seen.
    Trailers(usize),
}

/// What is wrong with a body's encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl Framing {
    /// At the beginning of a chunked body.
    pub(super) const CHUNKED: Self = Self::Chunked(Chunk::Size);

    /// Takes the next bytes of the body out of the buffer; `None` if more has to be read first, or at the end. Each line
    /// behind the last chunk is told.
    pub(super) fn take(
        &mut self,
        buffer: &mut BytesMut,
        trailer: &mut dyn FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<Option<Bytes>, Malformed> {
        loop {
            match self {
                Self::Done => return Ok(None),
                Self::ToTheEnd => return Ok((!buffer.is_empty()).then(|| buffer.split().freeze())),
                Self::Length(left) => {
                    let piece = take_up_to(buffer, left);
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    return Ok(piece);
                }
                Self::Chunked(Chunk::Data(left)) => {
                    let piece = take_up_to(buffer, left);
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::DataEnd);
                    }
                    return Ok(piece);
                }
                Self::Chunked(Chunk::DataEnd) => {
                    let Some(line) = take_line(buffer, 2)? else { return Ok(None) };
                    if !line.is_empty() {
                        return Err(Malformed("a chunk is longer than it says"));
                    }
                    *self = Self::CHUNKED;
                }
                Self::Chunked(Chunk::Size) => {
                    let Some(line) = take_line(buffer, CHUNK_LINE_BYTES_MAX)? else { return Ok(None) };
                    *self = Self::Chunked(match chunk_size(&line)? {
                        0 => Chunk::Trailers(0),
                        size => Chunk::Data(size),
                    });
                }
                Self::Chunked(Chunk::Trailers(seen)) => {
                    let room = TRAILER_BYTES_MAX.saturating_sub(*seen);
                    let Some(line) = take_line(buffer, room)? else { return Ok(None) };
                    *seen += line.len() + 2;
                    if line.is_empty() {
                        *self = Self::Done;
                    } else {
                        trailer(&line)?;
                    }
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

/// A line without its end, if it is there as a whole. Its end is CR LF: a lone LF is where proxies and servers differ.
fn take_line(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, Malformed> {
    match memchr::memchr(b'\n', buffer) {
        Some(at) if at < bytes_max && at > 0 && buffer.get(at - 1) == Some(&b'\r') => {
            let line = buffer.split_to(at - 1).freeze();
            buffer.advance(2);
            Ok(Some(line))
        }
        None if buffer.len() < bytes_max => Ok(None),
        _ => Err(Malformed("a line of its chunks is too long or does not end in CR LF")),
    }
}

/// The number in a chunk's line. Extensions are passed over.
fn chunk_size(line: &[u8]) -> Result<u64, Malformed> {
    let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
    // White space is allowed before an extension alone.
    let digits = if size.len() < line.len() { size.trim_ascii_end() } else { size };
    // 15 digits are a petabyte, and no overflow.
    let sized = !digits.is_empty() && digits.len() <= 15 && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| sized);
    text.and_then(|text| u64::from_str_radix(text, 16).ok()).ok_or(Malformed("a chunk has no size"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, the trailers, and what is left; `None` if the body has no end.
    type Read = Option<(Vec<u8>, Vec<u8>, Vec<u8>)>;

    fn read(mut framing: Framing, wire: &[u8], step: usize) -> Result<Read, Malformed> {
        let (mut buffer, mut out, mut trailers) = (BytesMut::new(), Vec::new(), Vec::new());
        let mut wire = wire.chunks(step);
        loop {
            let mut trailer = |line: &[u8]| {
                trailers.extend_from_slice(line);
                Ok(())
            };
            match framing.take(&mut buffer, &mut trailer)? {
                Some(piece) => out.extend_from_slice(&piece),
                None if framing == Framing::Done => {
                    let rest = wire.flatten().copied();
                    return Ok(Some((out, trailers, buffer.iter().copied().chain(rest).collect())));
                }
                None => match wire.next() {
                    Some(more) => buffer.extend_from_slice(more),
                    None => return Ok(None),
                },
            }
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let wire =
            b"4;name=value\r\nWiki\r\n10 ;x\r\n0123456789abcdef\r\n0\r\nX-Trailer: 1\r\n\r\nGET / HTTP/1.1";
        for step in 1..wire.len() {
            let (body, trailers, rest) = read(Framing::CHUNKED, wire, step).unwrap().unwrap();
            assert_eq!(body, b"Wiki0123456789abcdef", "step {step}");
            assert_eq!(trailers, b"X-Trailer: 1", "step {step}");
            assert_eq!(rest, b"GET / HTTP/1.1", "step {step}");
        }
    }

    #[test]
    fn a_length_ends_where_it_says() {
        for step in 1..8 {
            let (body, _, rest) = read(Framing::Length(5), b"helloGET", step).unwrap().unwrap();
            assert_eq!((body.as_slice(), rest.as_slice()), (b"hello".as_slice(), b"GET".as_slice()));
        }
    }

    #[test]
    fn a_body_without_its_end_is_not_whole() {
        for wire in ["", "4\r\nWi", "4\r\nWiki\r\n", "4\r\nWiki\r\n0\r\n", "0\r\nA: b\r\n"] {
            assert_eq!(read(Framing::CHUNKED, wire.as_bytes(), 2), Ok(None), "{wire:?}");
        }
        assert_eq!(read(Framing::Length(9), b"hello", 2), Ok(None));
        assert_eq!(read(Framing::ToTheEnd, b"hello", 2), Ok(None), "the connection says so");
    }

    #[test]
    fn malformed_and_endless_chunks_are_refused() {
        let (line, trailer) = ("x".repeat(CHUNK_LINE_BYTES_MAX), "x".repeat(TRAILER_BYTES_MAX));
        let (endless, long) = (format!("4;{line}"), format!("0\r\nA: {trailer}"));
        let many = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX / 6 + 1));
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
            &endless,
            &long,
            &many,
        ] {
            assert!(read(Framing::CHUNKED, wire.as_bytes(), 100).is_err(), "{wire:?}");
        }
    }
}
