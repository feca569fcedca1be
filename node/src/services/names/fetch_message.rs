//! The messages of `/libp2p/fetch/0.0.1`, which asks one peer for what it has under a key. No I/O.
//!
//! A request is a protobuf with `identifier` 1; an answer one with `status` 1 (0 found, 1 not, 2 failed) and `data` 2; each
//! with its length before it, as a varint. Unknown fields are passed over, and of a field that comes twice the last one counts.

use holdfast_dht::ipns::RECORD_BYTES_MAX;
use quick_protobuf::{BytesReader, Writer};

/// Longest message, in bytes: a record and what stands around it.
pub const MESSAGE_BYTES_MAX: usize = RECORD_BYTES_MAX + 64;

/// Bytes of a length, at most.
const LENGTH_BYTES_MAX: u32 = 4;

const IDENTIFIER: u32 = 1 << 3 | 2;
const STATUS: u32 = 1 << 3;
const DATA: u32 = 2 << 3 | 2;
const FOUND: u64 = 0;
const NOT_FOUND: u64 = 1;

/// Why bytes are no message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// A length that does not end within four bytes.
    #[error("the length of a message has more than {LENGTH_BYTES_MAX} bytes")]
    Length,
    /// A message beyond [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes; {MESSAGE_BYTES_MAX} are the most")]
    TooLong(usize),
    /// It is no protobuf, or a field has another type.
    #[error("the message cannot be read: {0}")]
    Protobuf(#[from] quick_protobuf::Error),
}

/// The length of a message, byte by byte.
#[derive(Debug, Default)]
pub struct Length {
    value: usize,
    bytes: u32,
}

impl Length {
    /// Takes the next byte; with the last one, says how long the message behind it is: at most [`MESSAGE_BYTES_MAX`].
    pub fn push(&mut self, byte: u8) -> Result<Option<usize>, MessageError> {
        if self.bytes >= LENGTH_BYTES_MAX {
            return Err(MessageError::Length);
        }
        self.value |= usize::from(byte & 0x7f) << (7 * self.bytes);
        self.bytes += 1;
        if byte & 0x80 == 0 {
            let fits = self.value <= MESSAGE_BYTES_MAX;
            return if fits { Ok(Some(self.value)) } else { Err(MessageError::TooLong(self.value)) };
        }
        if self.bytes == LENGTH_BYTES_MAX { Err(MessageError::Length) } else { Ok(None) }
    }
}

/// A message with its length before it.
fn framed(
    write: impl FnOnce(&mut Writer<&mut Vec<u8>>) -> quick_protobuf::Result<()>,
) -> Result<Vec<u8>, MessageError> {
    let mut message = Vec::new();
    write(&mut Writer::new(&mut message))?;
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong(message.len()));
    }
    let mut framed = Vec::with_capacity(message.len() + LENGTH_BYTES_MAX as usize);
    Writer::new(&mut framed).write_bytes(&message)?;
    Ok(framed)
}

/// A request for what is under `key`, with its length before it.
pub fn request(key: &[u8]) -> Result<Vec<u8>, MessageError> {
    framed(|writer| writer.write_with_tag(IDENTIFIER, |writer| writer.write_bytes(key)))
}

/// The key that a request asks for; empty where it names none.
pub fn read_request(message: &[u8]) -> Result<&[u8], MessageError> {
    let mut key: &[u8] = &[];
    let mut reader = BytesReader::from_bytes(message);
    while !reader.is_eof() {
        match reader.next_tag(message)? {
            IDENTIFIER => key = reader.read_bytes(message)?,
            tag => reader.read_unknown(message, tag)?,
        }
    }
    Ok(key)
}

/// An answer with what was found, with its length before it.
pub fn answer(found: Option<&[u8]>) -> Result<Vec<u8>, MessageError> {
    framed(|writer| match found {
        Some(data) => writer.write_with_tag(DATA, |writer| writer.write_bytes(data)),
        None => writer.write_with_tag(STATUS, |writer| writer.write_uint64(NOT_FOUND)),
    })
}

/// What an answer says was found, if anything.
pub fn read_answer(message: &[u8]) -> Result<Option<&[u8]>, MessageError> {
    let (mut status, mut data) = (FOUND, None);
    let mut reader = BytesReader::from_bytes(message);
    while !reader.is_eof() {
        match reader.next_tag(message)? {
            STATUS => status = reader.read_uint64(message)?,
            DATA => data = Some(reader.read_bytes(message)?),
            tag => reader.read_unknown(message, tag)?,
        }
    }
    Ok(data.filter(|_| status == FOUND))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes the length off, as a stream does.
    fn unframed(framed: &[u8]) -> &[u8] {
        let mut length = Length::default();
        for (at, byte) in framed.iter().enumerate() {
            if let Some(bytes) = length.push(*byte).unwrap() {
                assert_eq!(framed.len(), at + 1 + bytes);
                return &framed[at + 1..];
            }
        }
        panic!("no length in {framed:?}");
    }

    #[test]
    fn what_is_asked_and_answered_can_be_read() {
        let (key, record) = ([b"/ipns/".as_slice(), &[7; 40]].concat(), vec![9; RECORD_BYTES_MAX]);
        assert_eq!(read_request(unframed(&request(&key).unwrap())).unwrap(), key);
        assert_eq!(read_answer(unframed(&answer(Some(&record)).unwrap())).unwrap(), Some(record.as_slice()));
        assert_eq!(read_answer(unframed(&answer(None).unwrap())).unwrap(), None);
        assert_eq!(read_request(&[]).unwrap(), b"");
        // A failure counts as nothing found, whatever comes with it.
        assert_eq!(read_answer(&[0x08, 0x02, 0x12, 0x01, 0x61]).unwrap(), None);
    }

    #[test]
    fn a_length_is_bounded_before_any_byte_behind_it_is_read() {
        let push = |bytes: &[u8]| {
            let mut length = Length::default();
            bytes.iter().map(|byte| length.push(*byte)).find_map(Result::transpose)
        };
        assert!(matches!(push(&[0x80, 0x50]), Some(Ok(RECORD_BYTES_MAX))));
        assert!(matches!(push(&[0xc1, 0x50]), Some(Err(MessageError::TooLong(_)))));
        assert!(matches!(push(&[0xff, 0xff, 0xff, 0x7f]), Some(Err(MessageError::TooLong(_)))));
        assert!(matches!(push(&[0x80, 0x80, 0x80, 0x80]), Some(Err(MessageError::Length))));
        assert!(push(&[0x80, 0x80]).is_none(), "there is more to come");
    }
}
