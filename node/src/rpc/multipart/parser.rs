//! The parser of multipart bodies: bytes in, events out, no I/O. It holds back no more than a delimiter, and a head.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem::Finder;

use super::head::{PartHead, parse_head};

/// Bytes of the headers of one part. A path of 4,096 bytes is at most three times as long when it is escaped.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes before the first delimiter.
const PREAMBLE_BYTES_MAX: usize = 64 << 10;
/// Bytes between a delimiter and the end of its line.
const LINE_BYTES_MAX: usize = 1 << 10;
/// Bytes of a boundary. RFC 2046 says 70.
const BOUNDARY_BYTES_MAX: usize = 256;

/// Why a body is not multipart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MultipartError {
    /// `Content-Type` has no boundary that could be one.
    #[error("no multipart boundary param in Content-Type")]
    Boundary,
    /// The body ended before the last delimiter.
    #[error("multipart: NextPart: unexpected EOF")]
    Cut,
    /// There is no delimiter where one has to be.
    #[error("multipart: expecting a new Part")]
    NoPart,
    /// The headers of a part are no headers.
    #[error("multipart: malformed headers of a part: {0}")]
    Head(String),
    /// The headers of a part are too long.
    #[error("multipart: the headers of a part are larger than {HEAD_BYTES_MAX} bytes")]
    HeadTooLarge,
    /// The path of a part has too many components.
    #[error("multipart: the path of a part has more than {0} components")]
    TooDeep(usize),
}

/// What the body says next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(PartHead),
    /// Bytes of the part.
    Data(Bytes),
    /// The part ends.
    PartEnd,
}

/// Where in the body we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter; so many bytes were passed over.
    Preamble(usize),
    /// Behind a delimiter, before the end of its line.
    Delimiter,
    /// In the headers of a part, which were looked through up to here.
    Head(usize),
    /// In the data of a part. So many bytes at the front are the end of what came before: the empty line of the headers,
    /// which is also the line end that a delimiter begins with.
    Data(usize),
    /// Behind the last delimiter.
    End,
    /// The data makes no sense.
    Failed,
}

/// A parser of one body: give it bytes by [`Parser::push`], take events by [`Parser::next`] until there is none, and say by
/// [`Parser::finish`] that there are no more bytes.
#[derive(Debug)]
pub struct Parser {
    /// What ends a part: a line end and the delimiter.
    delimiter: Finder<'static>,
    /// The line end of this body: CR LF, or LF where the first delimiter's line has that.
    line_end: &'static [u8],
    boundary: Vec<u8>,
    buffer: BytesMut,
    state: State,
}

impl Parser {
    /// A parser for a body whose parts are set apart by `boundary`.
    pub fn new(boundary: &str) -> Result<Self, MultipartError> {
        let is_plain = boundary.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX || !is_plain {
            return Err(MultipartError::Boundary);
        }
        let boundary = [b"--", boundary.as_bytes()].concat();
        let line_end = b"\r\n";
        let delimiter = Finder::new(&[line_end, &boundary[..]].concat()).into_owned();
        Ok(Self { delimiter, line_end, boundary, buffer: BytesMut::new(), state: State::Preamble(0) })
    }

    /// Takes more of the body.
    pub fn push(&mut self, data: &[u8]) {
        if self.state != State::End {
            self.buffer.extend_from_slice(data);
        }
    }

    /// Whether the last delimiter was seen: what follows does not count.
    pub fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    /// Says that the body is over. It is an error if the last delimiter was not seen.
    pub fn finish(&self) -> Result<(), MultipartError> {
        // Without any part, the last delimiter may be all there is, with no line end.
        let only =
            || self.buffer.strip_prefix(&self.boundary[..]).is_some_and(|rest| rest.starts_with(b"--"));
        match self.state {
            State::End => Ok(()),
            State::Preamble(_) if only() => Ok(()),
            _ => Err(MultipartError::Cut),
        }
    }

    /// The next event; `None` if there is none before more bytes come, or at the end.
    // Not an iterator: there may be more after `None`.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Event>, MultipartError> {
        let event = self.step();
        if event.is_err() {
            (self.state, self.buffer) = (State::Failed, BytesMut::new());
        }
        event
    }

    fn step(&mut self) -> Result<Option<Event>, MultipartError> {
        loop {
            match self.state {
                State::End | State::Failed => return Ok(None),
                State::Preamble(passed) => {
                    if !self.preamble(passed)? {
                        return Ok(None);
                    }
                }
                State::Delimiter => {
                    if !self.rest_of_delimiter()? {
                        return Ok(None);
                    }
                }
                State::Head(scanned) => return self.head(scanned),
                State::Data(skip) => return Ok(self.data(skip)),
            }
        }
    }

    /// Passes over a line before the first delimiter. False if more bytes are needed.
    fn preamble(&mut self, passed: usize) -> Result<bool, MultipartError> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer) else {
            let fits = passed + self.buffer.len() <= PREAMBLE_BYTES_MAX;
            return if fits { Ok(false) } else { Err(MultipartError::NoPart) };
        };
        if passed + end > PREAMBLE_BYTES_MAX {
            return Err(MultipartError::NoPart);
        }
        let line = self.buffer.split_to(end + 1);
        self.state = match line.strip_prefix(&self.boundary[..]) {
            Some(rest) if rest.starts_with(b"--") => State::End,
            Some(rest) if rest.trim_ascii().is_empty() => {
                if !rest.ends_with(b"\r\n") {
                    self.line_end = b"\n";
                    self.delimiter = Finder::new(&[self.line_end, &self.boundary[..]].concat()).into_owned();
                }
                State::Head(0)
            }
            _ => State::Preamble(passed + line.len()),
        };
        Ok(true)
    }

    /// Reads what follows a delimiter. False if more bytes are needed.
    fn rest_of_delimiter(&mut self) -> Result<bool, MultipartError> {
        if self.buffer.starts_with(b"--") {
            (self.state, self.buffer) = (State::End, BytesMut::new());
            return Ok(true);
        }
        match memchr::memchr(b'\n', &self.buffer) {
            Some(end) => {
                let line = self.buffer.split_to(end + 1);
                if end > LINE_BYTES_MAX || !line.trim_ascii().is_empty() {
                    return Err(MultipartError::NoPart);
                }
                self.state = State::Head(0);
                Ok(true)
            }
            None if self.buffer.len() > LINE_BYTES_MAX => Err(MultipartError::NoPart),
            None => Ok(false),
        }
    }

    /// Reads headers up to the empty line. Every byte is looked at once, however few come at a time.
    fn head(&mut self, mut scanned: usize) -> Result<Option<Event>, MultipartError> {
        let end = loop {
            let rest = self.buffer.get(scanned..).unwrap_or_default();
            let Some(at) = memchr::memchr(b'\n', rest) else {
                if self.buffer.len() > HEAD_BYTES_MAX {
                    return Err(MultipartError::HeadTooLarge);
                }
                // A line is looked through again when more of it is there; lines are bounded, too.
                self.state = State::Head(scanned);
                return Ok(None);
            };
            let line = rest.get(..at).unwrap_or_default();
            scanned += at + 1;
            if scanned > HEAD_BYTES_MAX {
                return Err(MultipartError::HeadTooLarge);
            }
            if line.is_empty() || line == b"\r" {
                break scanned;
            }
        };
        let head = parse_head(self.buffer.get(..end).unwrap_or_default())?;
        // The line end stays: a delimiter may follow at once.
        let skip = self.line_end.len().min(end);
        self.buffer.advance(end - skip);
        self.state = State::Data(skip);
        Ok(Some(Event::Part(head)))
    }

    /// Bytes of a part, or its end.
    fn data(&mut self, skip: usize) -> Option<Event> {
        let (end, is_delimiter) = self.end_of_data();
        if end > skip {
            self.buffer.advance(skip);
            self.state = State::Data(0);
            return Some(Event::Data(self.buffer.split_to(end - skip).freeze()));
        }
        if is_delimiter {
            self.buffer.advance(end + self.line_end.len() + self.boundary.len());
            self.state = State::Delimiter;
            return Some(Event::PartEnd);
        }
        None
    }

    /// Up to where the buffer holds data, and whether a delimiter is there.
    fn end_of_data(&self) -> (usize, bool) {
        let needle_len = self.line_end.len() + self.boundary.len();
        let mut from = 0;
        while let Some(at) = self.buffer.get(from..).and_then(|rest| self.delimiter.find(rest)) {
            let at = from + at;
            match self.buffer.get(at + needle_len) {
                Some(b' ' | b'\t' | b'\r' | b'\n' | b'-') => return (at, true),
                // It only begins like one.
                Some(_) => from = at + 1,
                None => return (at, false),
            }
        }
        // The last bytes may be the beginning of a delimiter. What is not is given out at once: somebody may wait for it.
        let needle = self.delimiter.needle();
        let tail_at = self.buffer.len().saturating_sub(needle_len - 1).max(from);
        let tail = self.buffer.get(tail_at..).unwrap_or_default();
        let begins = (0..tail.len()).find(|at| tail.get(*at..).is_some_and(|rest| needle.starts_with(rest)));
        (tail_at + begins.unwrap_or(tail.len()), false)
    }
}

#[cfg(test)]
mod tests {
    use super::super::head::PartKind;
    use super::*;

    /// The paths and contents of all parts, from a body that comes in pieces of `piece` bytes.
    fn parts(boundary: &str, body: &[u8], piece: usize) -> Result<Vec<(String, Vec<u8>)>, MultipartError> {
        let mut parser = Parser::new(boundary)?;
        let (mut parts, mut open) = (Vec::<(String, Vec<u8>)>::new(), false);
        for piece in body.chunks(piece) {
            parser.push(piece);
            while let Some(event) = parser.next()? {
                match event {
                    Event::Part(head) => {
                        assert!(!std::mem::replace(&mut open, true));
                        parts.push((String::from_utf8(head.path).unwrap(), Vec::new()));
                    }
                    Event::Data(data) => {
                        assert!(open && !data.is_empty());
                        parts.last_mut().unwrap().1.extend_from_slice(&data);
                    }
                    Event::PartEnd => assert!(std::mem::replace(&mut open, false)),
                }
            }
        }
        parser.finish().map(|()| parts)
    }

    fn same_however_it_comes(boundary: &str, body: &[u8]) -> Result<Vec<(String, Vec<u8>)>, MultipartError> {
        let whole = parts(boundary, body, body.len().max(1));
        for piece in [1, 2, 3, 7, 64] {
            assert_eq!(parts(boundary, body, piece), whole, "in pieces of {piece}");
        }
        whole
    }

    fn pairs(parts: &[(String, Vec<u8>)]) -> Vec<(&str, &[u8])> {
        parts.iter().map(|(name, data)| (&name[..], &data[..])).collect()
    }

    #[test]
    fn parts_are_the_same_however_the_bytes_come() {
        let body = b"to be ignored\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"one\"\r\n\r\n1\r\n\r\n--c\r\n--bb\r\n\
            --b \t\r\nContent-Disposition: form-data; filename=two\r\nContent-Type: text/plain\r\n\r\n\r\n--b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\nepilogue";
        let got = same_however_it_comes("b", body).unwrap();
        assert_eq!(pairs(&got), [("one", &b"1\r\n\r\n--c\r\n--bb"[..]), ("two", b""), ("", b""), ("", b"x")]);
    }

    #[test]
    fn what_only_begins_like_a_delimiter_is_data() {
        let body = b"--b\r\n\r\n\r\n--b\x01\r\n--bx\r\n--\r\r\n\r\n--b--";
        let got = same_however_it_comes("b", body).unwrap();
        assert_eq!(pairs(&got), [("", &b"\r\n--b\x01\r\n--bx\r\n--\r\r\n"[..])]);
    }

    #[test]
    fn a_body_with_plain_line_feeds_is_read() {
        let body = b"--b\nContent-Disposition: form-data; filename=f\n\na\nb\n--b--\n";
        assert_eq!(pairs(&same_however_it_comes("b", body).unwrap()), [("f", &b"a\nb"[..])]);
    }

    #[test]
    fn a_body_without_parts_is_empty_and_one_without_an_end_is_an_error() {
        assert_eq!(same_however_it_comes("b", b"--b--"), Ok(Vec::new()));
        assert_eq!(same_however_it_comes("b", b"--b--\r\n"), Ok(Vec::new()));
        let whole = b"--b\r\nContent-Disposition: form-data; filename=f\r\n\r\ndata\r\n--b--";
        for cut in 0..whole.len() {
            assert_eq!(same_however_it_comes("b", &whole[..cut]), Err(MultipartError::Cut), "at {cut}");
        }
        assert_eq!(pairs(&same_however_it_comes("b", whole).unwrap()), [("f", &b"data"[..])]);
    }

    #[test]
    fn nothing_grows_beyond_its_bound() {
        let refused = |body: Vec<u8>| parts("b", &body, 1000).unwrap_err();
        assert_eq!(refused(vec![b'x'; PREAMBLE_BYTES_MAX + 1000]), MultipartError::NoPart);
        assert_eq!(refused(b"x\r\n".repeat(PREAMBLE_BYTES_MAX)), MultipartError::NoPart);
        let long = [b"--b\r\nA: ", &vec![b'x'; HEAD_BYTES_MAX + 1000][..]].concat();
        assert_eq!(refused(long), MultipartError::HeadTooLarge);
        let line = [b"--b\r\n\r\n\r\n--b", &vec![b' '; LINE_BYTES_MAX + 1000][..]].concat();
        assert_eq!(refused(line), MultipartError::NoPart);
        assert_eq!(Parser::new("").unwrap_err(), MultipartError::Boundary);
        assert_eq!(Parser::new("a\r\nb").unwrap_err(), MultipartError::Boundary);
        let garbage = b"--b\r\n\r\nx\r\n--b y\r\n".to_vec();
        assert_eq!(refused(garbage), MultipartError::NoPart);
        assert!(matches!(refused(b"--b\r\nno header\r\n\r\nx\r\n--b--".to_vec()), MultipartError::Head(_)));
    }

    #[test]
    fn a_large_part_is_given_out_as_it_comes() {
        let mut parser = Parser::new("b").unwrap();
        parser.push(b"--b\r\nContent-Type: application/symlink\r\n\r\n");
        let Some(Event::Part(head)) = parser.next().unwrap() else { panic!("a part") };
        assert_eq!(head.kind, PartKind::Symlink);
        let mut given = 0;
        for _ in 0..100 {
            parser.push(&[b'x'; 1000]);
            while let Some(Event::Data(data)) = parser.next().unwrap() {
                given += data.len();
            }
        }
        assert_eq!(given, 100_000, "nothing is held back that cannot be a delimiter");
        for (piece, held) in [(&b"x\r\n--"[..], 4), (b"\r\r\n", 2), (b"x\r", 1)] {
            parser.push(piece);
            while parser.next().unwrap().is_some() {}
            assert_eq!(parser.buffer.len(), held, "{piece:?}");
        }
    }
}
