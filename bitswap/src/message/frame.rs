//! Messages out of a stream of bytes: length prefixes, and buffers that grow with what came, never with what was announced.

use bytes::Bytes;

use super::MESSAGE_BYTES_MAX;

/// Bytes read at once where a message begins.
const SCRATCH_BYTES: usize = 4096;

/// The first buffer of a message has at most this many bytes, unless the stream carried a larger message to its end before.
const FIRST_BYTES_MAX: usize = 64 << 10;

/// Bytes of the longest length prefix that can be valid.
const PREFIX_BYTES_MAX: usize = 4;

/// Why a stream cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The length prefix is not a number, or above [`MESSAGE_BYTES_MAX`].
    #[error("message of more than {MESSAGE_BYTES_MAX} bytes")]
    TooLarge,
}

/// Puts messages together from what is read off one stream.
///
/// Read into [`Assembler::space`], tell by [`Assembler::filled`] how much came, and take messages by [`Assembler::next_frame`] until
/// there is none.
#[derive(Debug, Default)]
pub struct Assembler {
    /// Bytes before the beginning of a message's body: at most [`SCRATCH_BYTES`].
    scratch: Vec<u8>,
    /// What was taken of it, and what is filled.
    scratch_start: usize,
    scratch_len: usize,
    body: Option<Body>,
    /// Size of the largest message so far: what the peer has shown that it really sends.
    largest: usize,
}

#[derive(Debug)]
struct Body {
    bytes: Vec<u8>,
    filled: usize,
    len: usize,
}

impl Body {
    /// Makes room for more, at most doubling what is held.
    fn grow(&mut self, proven: usize) {
        if self.filled == self.bytes.len() {
            let grown = FIRST_BYTES_MAX.max(proven).max(2 * self.filled).min(self.len);
            self.bytes.reserve_exact(grown.saturating_sub(self.bytes.len()));
            self.bytes.resize(grown, 0);
        }
    }
}

impl Assembler {
    /// Where to read the next bytes to. Never empty between calls of [`Assembler::next_frame`] that gave nothing.
    pub fn space(&mut self) -> &mut [u8] {
        if let Some(body) = &mut self.body {
            body.grow(self.largest);
            return body.bytes.get_mut(body.filled..).unwrap_or_default();
        }
        // Moved once for all messages that were in it.
        self.scratch.copy_within(self.scratch_start..self.scratch_len, 0);
        self.scratch_len -= std::mem::take(&mut self.scratch_start);
        self.scratch.resize(SCRATCH_BYTES, 0);
        self.scratch.get_mut(self.scratch_len..).unwrap_or_default()
    }

    /// Says how many bytes were read to [`Assembler::space`].
    pub fn filled(&mut self, count: usize) {
        match &mut self.body {
            Some(body) => body.filled = (body.filled + count).min(body.bytes.len()),
            None => self.scratch_len = (self.scratch_len + count).min(self.scratch.len()),
        }
    }

    /// Bytes that are held for a message that is not whole.
    pub fn held_bytes(&self) -> usize {
        self.scratch.len() + self.body.as_ref().map_or(0, |body| body.bytes.len())
    }

    /// Bytes that came of a message that is not whole.
    pub fn received_bytes(&self) -> usize {
        self.scratch_len - self.scratch_start + self.body.as_ref().map_or(0, |body| body.filled)
    }

    /// Whether [`Assembler::space`] has to take more memory for the message that is under way.
    pub fn is_full(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.filled == body.bytes.len())
    }

    /// Gives back what is held between messages, until the next begins.
    pub fn rest(&mut self) {
        if self.scratch_len == self.scratch_start {
            (self.scratch, self.scratch_start, self.scratch_len) = (Vec::new(), 0, 0);
        }
    }

    /// Whether part of a message is here.
    pub fn is_amid(&self) -> bool {
        self.body.is_some() || self.scratch_len > self.scratch_start
    }

    /// The next message that is whole, without its length prefix.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        loop {
            if let Some(body) = self.body.take_if(|body| body.filled >= body.len) {
                self.largest = self.largest.max(body.len);
                return Ok(Some(body.bytes.into()));
            }
            if self.body.is_some() || !self.begin()? {
                return Ok(None);
            }
        }
    }

    /// Takes a length prefix, and what is here of the message behind it, off the scratch buffer.
    fn begin(&mut self) -> Result<bool, FrameError> {
        let held = self.scratch.get(self.scratch_start..self.scratch_len).unwrap_or_default();
        let (len, prefix) = match unsigned_varint::decode::usize(held) {
            Ok((len, rest)) => (len, held.len() - rest.len()),
            Err(_) if held.len() < PREFIX_BYTES_MAX && held.iter().all(|byte| byte & 0x80 != 0) => {
                return Ok(false);
            }
            Err(_) => return Err(FrameError::TooLarge),
        };
        if len > MESSAGE_BYTES_MAX {
            return Err(FrameError::TooLarge);
        }
        let taken = held.len().min(prefix + len);
        // No more than what is here: for more, the reader may have to wait.
        let bytes = held.get(prefix..taken).unwrap_or_default().to_vec();
        let body = Body { filled: bytes.len(), bytes, len };
        self.scratch_start += taken;
        self.rest();
        self.body = Some(body);
        Ok(true)
    }
}
