//! Reading archives as their bytes come in.

use bytes::Bytes;

use super::header::{CarHeader, V2_HEADER_BYTES, V2_PAYLOAD_OFFSET_MIN, V2Header};
use super::input::Input;
use crate::block::BLOCK_BYTES_MAX;
use crate::cid::{Cid, CidError, cid_prefix};

/// Longest varint of a length: 63 bits.
const VARINT_BYTES_MAX: usize = 9;

/// What an archive may demand. All of it is checked before anything is kept or allocated.
#[derive(Debug, Clone)]
pub struct CarLimits {
    /// Longest header in bytes. Default 32 MiB (go-car).
    pub header_bytes_max: usize,
    /// Most roots in a header. Default 65,536; each takes about 160 bytes.
    pub roots_max: usize,
    /// Longest section, CID and block, in bytes. Default 8 MiB (go-car). This much is buffered.
    pub section_bytes_max: usize,
    /// Longest block in bytes. Default 2 MiB; the section limit applies even if this is larger.
    pub block_bytes_max: usize,
    /// Whether a section of length zero is the end, as in archives padded with zeros. Default: it is an error.
    pub zero_length_is_end: bool,
}

impl Default for CarLimits {
    fn default() -> Self {
        Self {
            header_bytes_max: 32 << 20,
            roots_max: 1 << 16,
            section_bytes_max: 8 << 20,
            block_bytes_max: BLOCK_BYTES_MAX,
            zero_length_is_end: false,
        }
    }
}

/// What the reader has to say next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarEvent {
    /// Nothing until more is pushed.
    NeedMore,
    /// The header, once and first.
    Header {
        /// Version of the archive.
        version: u64,
        /// Its roots, for version 2 those of the archive inside.
        roots: Vec<Cid>,
    },
    /// A block. Its hash was not checked.
    Block {
        /// Name. Boxed, because a CID is larger than everything else here.
        cid: Box<Cid>,
        /// Content.
        data: Bytes,
    },
    /// The archive is complete. What is pushed from now on (the index of version 2) is dropped.
    End,
}

/// Why bytes are not an archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CarError {
    /// There are no bytes at all.
    #[error("EOF")]
    Empty,
    /// The input, or the payload of version 2, ends inside a header or a section.
    #[error("unexpected EOF")]
    Truncated,
    /// The header is longer than allowed.
    #[error("invalid header data, length of read beyond allowable maximum")]
    HeaderTooLarge {
        /// Claimed length in bytes.
        len: u64,
    },
    /// A section is longer than allowed.
    #[error("invalid section data, length of read beyond allowable maximum")]
    SectionTooLarge {
        /// Claimed length in bytes.
        len: u64,
    },
    /// A block is longer than allowed.
    #[error(
        "produced block is over 2MiB: big blocks can't be exchanged with other peers. consider using UnixFS for \
         automatic chunking of bigger files, or pass --allow-big-block to override"
    )]
    BlockTooLarge {
        /// Its name.
        cid: Box<Cid>,
        /// Its length in bytes.
        len: usize,
    },
    /// The header is no map of roots and version.
    #[error("invalid header: {0}")]
    Header(String),
    /// Neither version 1 nor 2.
    #[error("invalid car version: {0}")]
    Version(u64),
    /// The payload of version 2 is not version 1.
    #[error("invalid data payload header version; expected 1, got {0}")]
    PayloadVersion(u64),
    /// The fixed header of version 2 contradicts itself.
    #[error("invalid CARv2 header: {0}")]
    V2Header(&'static str),
    /// A section without content.
    #[error("invalid cid: cid too short")]
    ZeroLengthSection,
    /// A length that is no varint of 63 bits in its shortest form.
    #[error("varint: {0}")]
    Varint(&'static str),
    /// A section that does not begin with a CID.
    #[error(transparent)]
    Cid(#[from] CidError),
}

#[derive(Debug)]
enum State {
    /// At the header of version 1, or the pragma of version 2.
    Start,
    /// At the fixed header of version 2.
    V2Header,
    /// Before the payload of version 2.
    V2Padding { left: u64, data_size: u64 },
    /// At the header of the payload.
    PayloadHeader,
    /// At a section.
    Section,
    /// After the last section.
    End,
    /// After an error.
    Failed(CarError),
}

/// Reads an archive of version 1 or 2.
///
/// Push when it says [`CarEvent::NeedMore`], and call [`CarReader::finish`] when there is no more. It holds at most
/// one header or section and what was pushed last.
#[derive(Debug)]
pub struct CarReader {
    limits: CarLimits,
    input: Input,
    state: State,
    /// Whether all input was pushed.
    finished: bool,
    /// Bytes left in the payload of version 2.
    payload_left: Option<u64>,
}

impl CarReader {
    /// A reader at the start of an archive.
    pub fn new(limits: CarLimits) -> Self {
        Self { limits, input: Input::default(), state: State::Start, finished: false, payload_left: None }
    }

    /// Takes the next bytes. Blocks will be slices of them, so they stay in memory as long as any of those.
    pub fn push(&mut self, bytes: impl Into<Bytes>) {
        if !matches!(self.state, State::End | State::Failed(_)) {
            self.input.push(bytes.into());
        }
    }

    /// Says that there is nothing more to push.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// The next event. A failed reader repeats its error.
    pub fn next_event(&mut self) -> Result<CarEvent, CarError> {
        let result = loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(CarEvent::NeedMore)) if self.finished => break Err(CarError::Truncated),
                Ok(Some(event)) => break Ok(event),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = &result {
            self.state = State::Failed(error.clone());
            self.input = Input::default();
        }
        result
    }

    /// Advances by one state; `None` where that gives no event.
    fn step(&mut self) -> Result<Option<CarEvent>, CarError> {
        match &mut self.state {
            State::Start => {
                if self.finished && self.input.len() == 0 {
                    return Err(CarError::Empty);
                }
                let Some(header) = self.header()? else { return Ok(Some(CarEvent::NeedMore)) };
                match header.version {
                    1 => {
                        self.state = State::Section;
                        Ok(Some(CarEvent::Header { version: 1, roots: header.roots }))
                    }
                    2 if header.roots.is_empty() => {
                        self.state = State::V2Header;
                        Ok(None)
                    }
                    2 => Err(CarError::Header("a pragma with roots".to_owned())),
                    other => Err(CarError::Version(other)),
                }
            }
            State::V2Header => {
                let Some(bytes) = self.input.take(V2_HEADER_BYTES) else {
                    return Ok(Some(CarEvent::NeedMore));
                };
                let V2Header { data_offset, data_size } = V2Header::decode(&bytes)?;
                self.state = State::V2Padding { left: data_offset - V2_PAYLOAD_OFFSET_MIN, data_size };
                Ok(None)
            }
            State::V2Padding { left, data_size } => {
                *left -= self.input.skip(*left);
                if *left > 0 {
                    return Ok(Some(CarEvent::NeedMore));
                }
                self.payload_left = Some(*data_size);
                self.state = State::PayloadHeader;
                Ok(None)
            }
            State::PayloadHeader => {
                let Some(header) = self.header()? else { return Ok(Some(CarEvent::NeedMore)) };
                if header.version != 1 {
                    return Err(CarError::PayloadVersion(header.version));
                }
                self.state = State::Section;
                Ok(Some(CarEvent::Header { version: 2, roots: header.roots }))
            }
            State::Section => self.section().map(Some),
            State::End => Ok(Some(CarEvent::End)),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// Reads a header and its length; `None` where input is missing.
    fn header(&mut self) -> Result<Option<CarHeader>, CarError> {
        let Some((prefix, len)) = self.length()? else { return Ok(None) };
        let body = usize::try_from(len).ok().filter(|len| *len <= self.limits.header_bytes_max);
        let body = body.ok_or(CarError::HeaderTooLarge { len })?;
        let Some(bytes) = self.prefixed(prefix, body)? else { return Ok(None) };
        CarHeader::decode(&bytes, self.limits.roots_max).map(Some)
    }

    /// Reads a section, or finds that there is none.
    fn section(&mut self) -> Result<CarEvent, CarError> {
        let at_end = self.payload_left.map_or(self.finished && self.input.len() == 0, |left| left == 0);
        if at_end {
            return Ok(self.end());
        }
        let Some((prefix, len)) = self.length()? else { return Ok(CarEvent::NeedMore) };
        if len == 0 {
            return if self.limits.zero_length_is_end {
                Ok(self.end())
            } else {
                Err(CarError::ZeroLengthSection)
            };
        }
        let body = usize::try_from(len).ok().filter(|len| *len <= self.limits.section_bytes_max);
        let body = body.ok_or(CarError::SectionTooLarge { len })?;
        let Some(mut section) = self.prefixed(prefix, body)? else { return Ok(CarEvent::NeedMore) };
        let (cid, cid_len) = cid_prefix(&section)?;
        let cid = Box::new(cid);
        let data = section.split_off(cid_len);
        if data.len() > self.limits.block_bytes_max {
            return Err(CarError::BlockTooLarge { cid, len: data.len() });
        }
        Ok(CarEvent::Block { cid, data })
    }

    fn end(&mut self) -> CarEvent {
        self.state = State::End;
        self.input = Input::default();
        CarEvent::End
    }

    /// Reads a varint without consuming it: how many bytes it takes, and its value. `None` where input is missing.
    fn length(&self) -> Result<Option<(usize, u64)>, CarError> {
        let mut value = 0;
        let payload_left = self.payload_left.unwrap_or(u64::MAX);
        for (index, byte) in self.input.peek().take(VARINT_BYTES_MAX).enumerate() {
            if index as u64 >= payload_left {
                return Err(CarError::Truncated);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return if byte == 0 && index > 0 {
                    Err(CarError::Varint("not minimally encoded"))
                } else {
                    Ok(Some((index + 1, value)))
                };
            }
        }
        if self.input.len() >= VARINT_BYTES_MAX {
            return Err(CarError::Varint("varints larger than uint63 not supported"));
        }
        Ok(None)
    }

    /// Consumes a prefix and what follows it, if all of that is there; gives what follows.
    fn prefixed(&mut self, prefix: usize, body: usize) -> Result<Option<Bytes>, CarError> {
        let total = prefix + body;
        if let Some(left) = &mut self.payload_left {
            let rest = left.checked_sub(total as u64).ok_or(CarError::Truncated)?;
            if self.input.len() >= total {
                *left = rest;
            }
        }
        // The prefix is split off first: then the body is a slice even where only the prefix spans two pushes.
        if self.input.len() < total {
            return Ok(None);
        }
        self.input.skip(prefix as u64);
        Ok(self.input.take(body))
    }
}
