//! Reading RocksDB's log without RocksDB: what a rebuild does with the log of an index that does not open, and what
//! keeps RocksDB from a damaged log that it would not stop to read.
//!
//! The format is that of RocksDB's `log_format.h` and `write_batch.cc`: blocks of 32 KiB, in them pieces with a masked
//! CRC32C, put together to batches of puts and deletes. A piece that is damaged costs its batch, and reading goes on
//! at the next one, where RocksDB gives up the rest of the block or of the log.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::IndexError;

const BLOCK: usize = 32 << 10;
const HEAD: usize = 7;
/// Sequence number and count at the beginning of a batch.
const BATCH_HEAD: usize = 12;
/// Kinds of records of recycled logs.
const RECYCLED: [u8; 6] = [5, 6, 7, 8, 11, 131];

/// A change of one key, in whatever family.
pub(crate) enum Entry<'a> {
    Put(&'a [u8], &'a [u8]),
    Delete(&'a [u8]),
}

/// Reads all logs in a folder, in their order, and returns the number of damaged places.
pub(crate) fn read_logs(folder: &Path, each: &mut dyn FnMut(Entry<'_>)) -> io::Result<u64> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number =
            path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if path.extension().is_some_and(|end| end == "log")
            && let Some(number) = number
        {
            logs.push((number, path));
        }
    }
    logs.sort_unstable();
    let mut damaged = 0;
    for (_, path) in logs {
        damaged += read_log(&std::fs::read(path)?, each);
    }
    Ok(damaged)
}

/// Refuses an index that RocksDB 11 would read for ever.
pub(crate) fn refuse_endless(folder: &Path) -> Result<(), IndexError> {
    let unread = |source: io::Error| IndexError::Unread { path: folder.into(), source: Arc::new(source) };
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let file = entry.map_err(unread)?.path();
        if let Some(at) = endless_record(&file).map_err(unread)? {
            return Err(IndexError::Record { file, at });
        }
    }
    Ok(())
}

/// Where a log or a manifest has a record of which RocksDB's reader, which opening, listing and repairing use, would
/// never come to an end: one of a recycled log, behind others that are not. This program recycles no logs, so that such
/// a record is made by one flipped bit.
pub(crate) fn endless_record(file: &Path) -> io::Result<Option<usize>> {
    let is_log = file.extension().is_some_and(|end| end == "log");
    let is_manifest =
        || file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"MANIFEST-"));
    if is_log || is_manifest() { Ok(endless_at(&std::fs::read(file)?)) } else { Ok(None) }
}

fn endless_at(log: &[u8]) -> Option<usize> {
    for (n, block) in log.chunks(BLOCK).enumerate() {
        let mut rest = block;
        while let Some(kind) = rest.get(HEAD - 1) {
            if RECYCLED.contains(kind) {
                return Some(n * BLOCK + (block.len() - rest.len()));
            }
            // RocksDB leaves out the rest of a block behind a damaged record.
            let Some((_, _, after)) = piece(rest) else { break };
            rest = after;
        }
    }
    None
}

fn read_log(log: &[u8], each: &mut dyn FnMut(Entry<'_>)) -> u64 {
    let mut damaged = 0;
    let mut batch: Option<Vec<u8>> = None;
    for block in log.chunks(BLOCK) {
        let mut rest = block;
        while rest.len() >= HEAD && rest.iter().take(HEAD).any(|byte| *byte != 0) {
            let Some((kind, piece, after)) = piece(rest) else {
                damaged += 1;
                batch = None;
                rest = next_sound(rest);
                continue;
            };
            rest = after;
            match kind {
                1 => damaged += read_batch(piece, each),
                2 => batch = Some(piece.to_vec()),
                3 | 4 => {
                    // The beginning may have been in a damaged block, which is counted already.
                    let Some(whole) = &mut batch else { continue };
                    whole.extend_from_slice(piece);
                    if kind == 4 {
                        damaged += read_batch(whole, each);
                        batch = None;
                    }
                }
                // Notes of the log about itself.
                _ => {}
            }
        }
    }
    damaged + u64::from(batch.is_some())
}

/// Where the next sound piece of a block begins behind a damaged one, or nothing.
fn next_sound(block: &[u8]) -> &[u8] {
    let mut rest = block;
    while let Some((_, after)) = rest.split_first() {
        rest = after;
        // An empty piece is all zeros but for its checksum: too little to be sure.
        if piece(rest).is_some_and(|(kind, bytes, _)| (1..=4).contains(&kind) && !bytes.is_empty()) {
            return rest;
        }
    }
    rest
}

/// The kind and the bytes of a piece, and what follows; `None` if it is damaged.
fn piece(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let masked = u32::from_le_bytes(*bytes.first_chunk()?);
    let len = usize::from(u16::from_le_bytes(*bytes.get(4..)?.first_chunk()?));
    let covered = bytes.get(6..HEAD + len)?;
    let crc = masked.wrapping_sub(0xa282_ead8).rotate_right(17);
    let (kind, piece) = covered.split_first()?;
    (crc == crc32c::crc32c(covered)).then_some((*kind, piece, bytes.get(HEAD + len..)?))
}

/// Tells about every change of a batch; returns 1 if it is not one to its end.
fn read_batch(batch: &[u8], each: &mut dyn FnMut(Entry<'_>)) -> u64 {
    let mut rest = batch.get(BATCH_HEAD..).unwrap_or_default();
    while let Some((tag, after)) = rest.split_first() {
        match read_entry(*tag, after, each) {
            Some(after) => rest = after,
            None => return 1,
        }
    }
    0
}

fn read_entry<'a>(tag: u8, bytes: &'a [u8], each: &mut dyn FnMut(Entry<'_>)) -> Option<&'a [u8]> {
    // Changes of other families than the first name it.
    let in_family = matches!(tag, 4 | 5 | 6 | 8 | 14);
    let rest = if in_family { unsigned_varint::decode::u32(bytes).ok()?.1 } else { bytes };
    match tag {
        0 | 4 | 7 | 8 => {
            let (key, rest) = slice(rest)?;
            each(Entry::Delete(key));
            Some(rest)
        }
        1 | 2 | 5 | 6 | 14 | 15 => {
            let (key, rest) = slice(rest)?;
            let (value, rest) = slice(rest)?;
            if matches!(tag, 1 | 5) {
                each(Entry::Put(key, value));
            }
            Some(rest)
        }
        3 => Some(slice(rest)?.1),
        13 => Some(rest),
        _ => None,
    }
}

fn slice(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = unsigned_varint::decode::u32(bytes).ok()?;
    rest.split_at_checked(len as usize)
}
