//! Messages from bytes.

use bytes::Bytes;
use holdfast_dag::cid::{CID_BYTES_MAX, Cid, Version as CidVersion, cid_from_bytes, identity_data};
use holdfast_dag::hash::HashKind;
use quick_protobuf::BytesReader;

use super::{BLOCKS_MAX, ENTRIES_MAX, Entry, Message, PRESENCES_MAX, Payload, Prefix, Presence, WantType};

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// They are not protobuf, or a field has another type than it should.
    #[error("malformed message: {0}")]
    Protobuf(#[from] quick_protobuf::Error),
    /// A number is larger than its field allows.
    #[error("malformed message: {0} is out of range")]
    Range(&'static str),
    /// More than [`BLOCKS_MAX`] blocks.
    #[error("message with more than {BLOCKS_MAX} blocks")]
    TooManyBlocks,
}

/// Reads a message without its length prefix. Blocks are slices of `frame`, which lives as long as one of them.
///
/// What a peer may get wrong without harm is left out and counted ([`Message::skipped`]): identity CIDs, CIDs that are too long or do not
/// parse, blocks whose hash function is not allowed.
pub fn decode(frame: &Bytes) -> Result<Message, DecodeError> {
    let bytes: &[u8] = frame;
    let mut reader = BytesReader::from_bytes(bytes);
    let mut message = Message::default();
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            10 => wantlist(reader.read_bytes(bytes)?, &mut message)?,
            18 => {
                let data = frame.slice_ref(reader.read_bytes(bytes)?);
                push_block(&mut message, Some(Prefix::V0), data)?;
            }
            26 => {
                let (prefix, data) = payload(reader.read_bytes(bytes)?)?;
                push_block(&mut message, prefix, frame.slice_ref(data))?;
            }
            34 => match presence(reader.read_bytes(bytes)?)? {
                Some(presence) if message.presences.len() < PRESENCES_MAX => message.presences.push(presence),
                _ => message.skipped += 1,
            },
            40 => message.pending_bytes = reader.read_int32(bytes)?.try_into().unwrap_or(0),
            other => reader.read_unknown(bytes, other)?,
        }
    }
    Ok(message)
}

fn push_block(message: &mut Message, prefix: Option<Prefix>, data: Bytes) -> Result<(), DecodeError> {
    if message.blocks.len() + message.skipped >= BLOCKS_MAX + ENTRIES_MAX + PRESENCES_MAX
        || message.blocks.len() >= BLOCKS_MAX
    {
        return Err(DecodeError::TooManyBlocks);
    }
    match prefix {
        Some(prefix) if prefix.is_allowed() => message.blocks.push(Payload { prefix, data }),
        _ => message.skipped += 1,
    }
    Ok(())
}

fn wantlist(bytes: &[u8], message: &mut Message) -> Result<(), DecodeError> {
    let mut reader = BytesReader::from_bytes(bytes);
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            10 => {
                let line = reader.read_bytes(bytes)?;
                if message.entries.len() >= ENTRIES_MAX {
                    message.skipped += 1;
                    continue;
                }
                match entry(line)? {
                    Some(entry) => message.entries.push(entry),
                    None => message.skipped += 1,
                }
            }
            16 => message.full = reader.read_bool(bytes)?,
            other => reader.read_unknown(bytes, other)?,
        }
    }
    Ok(())
}

fn entry(bytes: &[u8]) -> Result<Option<Entry>, DecodeError> {
    let mut reader = BytesReader::from_bytes(bytes);
    let (mut name, mut priority, mut cancel, mut dont_have): (&[u8], _, _, _) = (&[], 0, false, false);
    let mut want_type = WantType::Block;
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            10 => name = reader.read_bytes(bytes)?,
            16 => priority = reader.read_int32(bytes)?,
            24 => cancel = reader.read_bool(bytes)?,
            // A type from the future is asked for like the weaker of those known.
            32 => want_type = if reader.read_int32(bytes)? == 0 { WantType::Block } else { WantType::Have },
            40 => dont_have = reader.read_bool(bytes)?,
            other => reader.read_unknown(bytes, other)?,
        }
    }
    Ok(named(name).map(|cid| Entry { cid, priority, cancel, want_type, send_dont_have: dont_have }))
}

fn presence(bytes: &[u8]) -> Result<Option<Presence>, DecodeError> {
    let mut reader = BytesReader::from_bytes(bytes);
    let (mut name, mut have): (&[u8], _) = (&[], true);
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            10 => name = reader.read_bytes(bytes)?,
            16 => have = reader.read_int32(bytes)? == 0,
            other => reader.read_unknown(bytes, other)?,
        }
    }
    Ok(named(name).map(|cid| Presence { cid, have }))
}

fn payload(bytes: &[u8]) -> Result<(Option<Prefix>, &[u8]), DecodeError> {
    let mut reader = BytesReader::from_bytes(bytes);
    let (mut name, mut data): (&[u8], &[u8]) = (&[], &[]);
    while !reader.is_eof() {
        match reader.next_tag(bytes)? {
            10 => name = reader.read_bytes(bytes)?,
            18 => data = reader.read_bytes(bytes)?,
            other => reader.read_unknown(bytes, other)?,
        }
    }
    Ok((prefix(name), data))
}

/// A CID that may be exchanged.
fn named(bytes: &[u8]) -> Option<Cid> {
    if bytes.len() > CID_BYTES_MAX {
        return None;
    }
    cid_from_bytes(bytes).ok().filter(|cid| identity_data(cid).is_none())
}

/// Version, codec, hash function and digest length: four varints.
fn prefix(bytes: &[u8]) -> Option<Prefix> {
    let (version, rest) = unsigned_varint::decode::u64(bytes).ok()?;
    let (codec, rest) = unsigned_varint::decode::u64(rest).ok()?;
    let (hash, rest) = unsigned_varint::decode::u64(rest).ok()?;
    let (digest_len, rest) = unsigned_varint::decode::usize(rest).ok()?;
    let version = match version {
        0 => CidVersion::V0,
        1 => CidVersion::V1,
        _ => return None,
    };
    let hash = HashKind::from_code(hash)?;
    rest.is_empty().then_some(Prefix { version, codec, hash, digest_len })
}
