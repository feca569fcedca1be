//! An HTTP/1.1 client that sees every byte: one connection, written without the code that it judges.
//!
//! It sends what it is given, whole or in pieces, and reads answers strictly: a head that is not one, a chunk whose length
//! is not hexadecimal or that does not end in CRLF, and bytes after the end of an answer are panics, which is how a test
//! reports. What a server may do (close early, reset, answer before the request is whole) is a value.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::reply::{End, Head, Reply, field};

/// How long a read or a write may wait before the test fails.
pub const WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest head that is read, in bytes.
const HEAD_BYTES_MAX: usize = 1 << 20;

/// A piece of a body as it arrives.
#[derive(Debug, Clone)]
pub enum Part {
    /// Bytes: a chunk, or what a read gave.
    Data(Vec<u8>),
    /// The end, with the trailers.
    End(End, Vec<(String, String)>),
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Chunks,
    Length(usize),
    UntilClose,
    Over,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    unread: Vec<u8>,
    closed: bool,
    framing: Framing,
}

impl Wire {
    /// Connects over TCP.
    ///
    /// # Panics
    /// When nobody listens.
    #[track_caller]
    pub fn tcp(to: SocketAddr) -> Self {
        let stream =
            TcpStream::connect_timeout(&to, WAIT_MAX).unwrap_or_else(|error| panic!("{to}: {error}"));
        stream.set_nodelay(true).unwrap();
        let wire = Self::over(Stream::Tcp(stream));
        wire.wait_at_most(WAIT_MAX);
        wire
    }

    /// Connects over a unix socket.
    ///
    /// # Panics
    /// When nobody listens.
    #[track_caller]
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let wire = Self::over(Stream::Unix(stream));
        wire.wait_at_most(WAIT_MAX);
        wire
    }

    fn over(stream: Stream) -> Self {
        Self { stream, unread: Vec::new(), closed: false, framing: Framing::Over }
    }

    /// Sets how long reads and writes wait.
    pub fn wait_at_most(&self, time: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => {
                stream.set_read_timeout(Some(time)).unwrap();
                stream.set_write_timeout(Some(time)).unwrap();
            }
            Stream::Unix(stream) => {
                stream.set_read_timeout(Some(time)).unwrap();
                stream.set_write_timeout(Some(time)).unwrap();
            }
        }
    }

    /// Sends bytes; whether they could be sent.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the other side does not take them.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap_or_else(|error| panic!("sending {} bytes: {error}", bytes.len()));
    }

    /// Sends one chunk.
    ///
    /// # Panics
    /// When the other side does not take it.
    #[track_caller]
    pub fn send_chunk(&mut self, bytes: &[u8]) {
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(&chunk);
    }

    /// Says that nothing more will be sent.
    pub fn end_sending(&mut self) {
        // The other side may have closed already.
        drop(match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        });
    }

    /// Reads more; false at the end. A reset is an end too: what an abrupt close looks like from here.
    #[track_caller]
    fn fill(&mut self) -> bool {
        if self.closed {
            return false;
        }
        let mut buffer = [0; 16 << 10];
        let read = match &mut self.stream {
            Stream::Tcp(stream) => stream.read(&mut buffer),
            Stream::Unix(stream) => stream.read(&mut buffer),
        };
        match read {
            Ok(0) => self.closed = true,
            Ok(count) => self.unread.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                self.closed = true;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                panic!("waiting for bytes: {error}; unread: {:?}", crate::run::readable(&self.unread))
            }
        }
        !self.closed
    }

    #[track_caller]
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.unread.drain(..at + 2).take(at).collect();
                return Some(line);
            }
            assert!(self.unread.len() < HEAD_BYTES_MAX, "a line without an end");
            if !self.fill() {
                return None;
            }
        }
    }

    /// The head of the next answer, interim ones (100) included; `None` when the connection ended instead.
    ///
    /// # Panics
    /// When something else comes, or nothing within the wait.
    #[track_caller]
    pub fn head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                break at;
            }
            assert!(self.unread.len() < HEAD_BYTES_MAX, "a head without an end");
            if !self.fill() {
                assert!(self.unread.is_empty(), "half a head: {:?}", crate::run::readable(&self.unread));
                return None;
            }
        };
        let bytes: Vec<u8> = self.unread.drain(..end + 4).take(end).collect();
        let head = Head::parse(&bytes);
        let length = head.get("Content-Length").map(|value| value.parse().expect("a length is a number"));
        let chunks = head.lists("Transfer-Encoding", "chunked");
        assert!(!(chunks && length.is_some()), "a length and chunks at once: {head:?}");
        self.framing = match (head.status, length) {
            (100..=199 | 204 | 304, _) => Framing::Over,
            _ if chunks => Framing::Chunks,
            (_, Some(length)) => Framing::Length(length),
            (_, None) => Framing::UntilClose,
        };
        Some(head)
    }

    /// The next piece of the body.
    ///
    /// # Panics
    /// When its framing is wrong, or nothing comes within the wait.
    #[track_caller]
    pub fn part(&mut self) -> Part {
        let part = match self.framing {
            Framing::Over | Framing::Length(0) => Part::End(End::Whole, Vec::new()),
            Framing::Chunks => self.chunk(),
            Framing::Length(left) => {
                if self.unread.is_empty() && !self.fill() {
                    Part::End(End::Cut, Vec::new())
                } else {
                    let count = left.min(self.unread.len());
                    self.framing = Framing::Length(left - count);
                    Part::Data(self.unread.drain(..count).collect())
                }
            }
            Framing::UntilClose => {
                if self.unread.is_empty() && !self.fill() {
                    Part::End(End::Closed, Vec::new())
                } else {
                    Part::Data(std::mem::take(&mut self.unread))
                }
            }
        };
        if matches!(part, Part::End(..)) {
            self.framing = Framing::Over;
        }
        part
    }

    #[track_caller]
    fn chunk(&mut self) -> Part {
        let Some(line) = self.line() else { return Part::End(End::Cut, Vec::new()) };
        let text = String::from_utf8_lossy(&line).into_owned();
        let size =
            usize::from_str_radix(&text, 16).unwrap_or_else(|_| panic!("not a chunk length: {text:?}"));
        if size == 0 {
            let mut trailers = Vec::new();
            loop {
                let Some(line) = self.line() else { return Part::End(End::Cut, trailers) };
                if line.is_empty() {
                    return Part::End(End::Whole, trailers);
                }
                trailers.push(field(&String::from_utf8_lossy(&line)));
            }
        }
        while self.unread.len() < size + 2 {
            if !self.fill() {
                return Part::End(End::Cut, Vec::new());
            }
        }
        let data: Vec<u8> = self.unread.drain(..size).collect();
        let end: Vec<u8> = self.unread.drain(..2).collect();
        assert_eq!(end, b"\r\n", "a chunk that does not end after its length");
        Part::Data(data)
    }

    /// The rest of the body after `head`.
    #[track_caller]
    pub fn rest(&mut self, head: Head) -> Reply {
        let mut body = Vec::new();
        loop {
            match self.part() {
                Part::Data(bytes) => body.extend_from_slice(&bytes),
                Part::End(end, trailers) => return Reply { head, body, trailers, end },
            }
        }
    }

    /// The next whole answer, interim ones skipped; `None` when the connection ended instead.
    #[track_caller]
    pub fn reply(&mut self) -> Option<Reply> {
        loop {
            let head = self.head()?;
            if head.status >= 200 {
                return Some(self.rest(head));
            }
        }
    }

    /// The next whole answer; `None` when the connection ended before the answer's head did.
    #[track_caller]
    pub fn reply_if_whole_head(&mut self) -> Option<Reply> {
        while !self.unread.windows(4).any(|four| four == b"\r\n\r\n") {
            if !self.fill() {
                return None;
            }
        }
        self.reply()
    }

    /// The answer to a HEAD request: its fields may speak of a body, which does not come.
    #[track_caller]
    pub fn reply_without_body(&mut self) -> Option<Reply> {
        let head = self.head()?;
        self.framing = Framing::Over;
        Some(self.rest(head))
    }

    /// Whether the other side closes now, without another byte.
    ///
    /// # Panics
    /// When it neither closes nor sends within the wait.
    #[track_caller]
    pub fn closes(&mut self) -> bool {
        self.unread.is_empty() && !self.fill()
    }

    /// What arrives within `time`, framing included; less if the connection ends.
    pub fn read_for(&mut self, time: Duration) -> Vec<u8> {
        self.gather(time).0
    }

    /// Whether the connection ends within `time`. What is sent meanwhile is read over.
    pub fn ends_within(&mut self, time: Duration) -> bool {
        self.gather(time).1
    }

    fn gather(&mut self, time: Duration) -> (Vec<u8>, bool) {
        let until = Instant::now() + time;
        let mut bytes = std::mem::take(&mut self.unread);
        while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.wait_at_most(left);
            let mut buffer = [0; 4096];
            let read = match &mut self.stream {
                Stream::Tcp(stream) => stream.read(&mut buffer),
                Stream::Unix(stream) => stream.read(&mut buffer),
            };
            match read {
                Ok(count @ 1..) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(0) | Err(_) => return (bytes, true),
            }
        }
        (bytes, false)
    }
}
