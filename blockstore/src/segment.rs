//! The format of segment files, to the byte: `docs/disk-format.md` section 2.

use holdfast_dag::cid::Multihash;

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 32;
/// Bytes of a record's fixed header; the multihash and the data follow.
pub(crate) const RECORD_HEADER_BYTES: usize = 32;
/// Largest value that a record may hold: 1 GiB.
pub const VALUE_BYTES_MAX: usize = 1 << 30;
/// Longest binary multihash: two varints of at most 10 bytes and 128 bytes of digest.
pub(crate) const MULTIHASH_BYTES_MAX: usize = 148;

const SEGMENT_MAGIC: [u8; 8] = *b"HOLDFSEG";
const SEGMENT_VERSION: u16 = 1;
/// First bytes of a record; the fourth holds its version and, in the top bit, whether it is deleted.
pub(crate) const RECORD_MAGIC: [u8; 3] = *b"HFR";
const RECORD_VERSION: u8 = 1;
const DELETED_BIT: u8 = 0x80;
/// Offset of the byte that is overwritten when a record is deleted.
pub(crate) const STATE_OFFSET: u64 = 3;
/// What that byte becomes.
pub(crate) const STATE_DELETED: u8 = RECORD_VERSION | DELETED_BIT;

/// Where a record lies and how long its parts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Segment number.
    pub(crate) segment: u32,
    /// Offset of the record's header.
    pub(crate) offset: u64,
    /// Bytes of data.
    pub(crate) size: u32,
}

impl Place {
    /// Offset of the data of a block whose multihash has this many bytes.
    pub(crate) fn data_offset(&self, multihash_len: usize) -> u64 {
        self.offset + (RECORD_HEADER_BYTES + multihash_len) as u64
    }

    /// Bytes of the whole record.
    pub(crate) fn record_len(&self, multihash_len: usize) -> u64 {
        record_len(multihash_len, self.size)
    }
}

/// Bytes of a record.
pub(crate) fn record_len(multihash_len: usize, size: u32) -> u64 {
    (RECORD_HEADER_BYTES + multihash_len) as u64 + u64::from(size)
}

/// Encodes a segment's header.
pub(crate) fn segment_header(segment: u32) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut out = [0; SEGMENT_HEADER_BYTES];
    put(&mut out, 0, &SEGMENT_MAGIC);
    put(&mut out, 8, &SEGMENT_VERSION.to_le_bytes());
    put(&mut out, 10, &(SEGMENT_HEADER_BYTES as u16).to_le_bytes());
    put(&mut out, 12, &u64::from(segment).to_le_bytes());
    let crc = crc32c::crc32c(out.get(..28).unwrap_or_default());
    put(&mut out, 28, &crc.to_le_bytes());
    out
}

/// Whether these are the first bytes of this segment, in a version that this program knows.
pub(crate) fn is_segment_header(bytes: &[u8], segment: u32) -> bool {
    bytes.get(..SEGMENT_HEADER_BYTES) == Some(&segment_header(segment))
}

/// What a record's header says besides where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHeader {
    /// Bytes of data.
    pub(crate) size: u32,
    /// Bytes of the multihash.
    pub(crate) multihash_len: u16,
    /// Codec under which the block was first written: what a rebuild decodes it by.
    pub(crate) codec: u64,
    /// Write epoch.
    pub(crate) epoch: u64,
    /// Whether the record was deleted.
    pub(crate) deleted: bool,
}

/// Appends a record's header and multihash. The checksum covers where the record lies, so that bytes inside a value
/// that look like a record are never taken for one.
pub(crate) fn put_record_head(out: &mut Vec<u8>, place: Place, codec: u64, epoch: u64, multihash: &[u8]) {
    let mut head = [0; RECORD_HEADER_BYTES];
    put(&mut head, 0, &RECORD_MAGIC);
    put(&mut head, 3, &[RECORD_VERSION]);
    put(&mut head, 8, &place.size.to_le_bytes());
    put(&mut head, 12, &(multihash.len() as u16).to_le_bytes());
    put(&mut head, 16, &codec.to_le_bytes());
    put(&mut head, 24, &epoch.to_le_bytes());
    let crc = record_crc(place.segment, place.offset, &head, multihash);
    put(&mut head, 4, &crc.to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(multihash);
}

/// Reads the fixed part of a record's header. `None`: not a record of a version that this program knows.
/// The checksum still has to be compared, by [`record_is_sound`].
pub(crate) fn record_header(bytes: &[u8]) -> Option<RecordHeader> {
    let state = *bytes.get(3)?;
    let header = RecordHeader {
        size: u32::from_le_bytes(*bytes.get(8..)?.first_chunk()?),
        multihash_len: u16::from_le_bytes(*bytes.get(12..)?.first_chunk()?),
        codec: u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?),
        epoch: u64::from_le_bytes(*bytes.get(24..)?.first_chunk()?),
        deleted: state & DELETED_BIT != 0,
    };
    let known = bytes.starts_with(&RECORD_MAGIC) && state & !DELETED_BIT == RECORD_VERSION;
    let plausible = header.size as usize <= VALUE_BYTES_MAX
        && (2..=MULTIHASH_BYTES_MAX).contains(&usize::from(header.multihash_len));
    (known && plausible).then_some(header)
}

/// Whether header and multihash (in `bytes`, one after the other) are as they were written at this place.
pub(crate) fn record_is_sound(segment: u32, offset: u64, bytes: &[u8], header: &RecordHeader) -> bool {
    let end = RECORD_HEADER_BYTES + usize::from(header.multihash_len);
    let (Some(head), Some(multihash)) =
        (bytes.first_chunk::<RECORD_HEADER_BYTES>(), bytes.get(RECORD_HEADER_BYTES..end))
    else {
        return false;
    };
    let stored = head.get(4..).and_then(|rest| rest.first_chunk()).map(|crc| u32::from_le_bytes(*crc));
    stored == Some(record_crc(segment, offset, head, multihash))
}

fn record_crc(segment: u32, offset: u64, head: &[u8; RECORD_HEADER_BYTES], multihash: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&segment.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, head.get(8..).unwrap_or_default());
    crc32c::crc32c_append(crc, multihash)
}

/// Copies `from` to `at`; both are fixed by the format and fit.
fn put(out: &mut [u8], at: usize, from: &[u8]) {
    if let Some(to) = out.get_mut(at..at + from.len()) {
        to.copy_from_slice(from);
    }
}

/// Parses a binary multihash that fills `bytes`.
pub(crate) fn multihash_from(bytes: &[u8]) -> Option<Multihash> {
    Multihash::from_bytes(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = Place { segment: 7, offset: 4096, size: 11 };

    fn head() -> Vec<u8> {
        let mut out = Vec::new();
        put_record_head(&mut out, PLACE, 0x55, 3, &[0x12, 2, 0xAA, 0xBB]);
        out
    }

    #[test]
    fn a_record_head_is_as_the_format_page_says() {
        let bytes = head();
        assert_eq!(&bytes[..4], b"HFR\x01");
        assert_eq!(bytes[8..12], 11_u32.to_le_bytes());
        assert_eq!(bytes[12..16], [4, 0, 0, 0]);
        assert_eq!(bytes[16..24], 0x55_u64.to_le_bytes());
        assert_eq!(bytes[24..32], 3_u64.to_le_bytes());
        assert_eq!(bytes[32..], [0x12, 2, 0xAA, 0xBB]);
        let header = record_header(&bytes).unwrap();
        assert_eq!((header.size, header.multihash_len, header.codec, header.epoch), (11, 4, 0x55, 3));
        assert!(record_is_sound(7, 4096, &bytes, &header));
    }

    #[test]
    fn a_record_is_sound_only_where_it_was_written() {
        let bytes = head();
        let header = record_header(&bytes).unwrap();
        assert!(!record_is_sound(7, 4097, &bytes, &header));
        assert!(!record_is_sound(8, 4096, &bytes, &header));
    }

    #[test]
    fn every_flipped_bit_of_a_head_is_noticed_except_the_deletion_mark() {
        let good = head();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let sound = record_header(&bad).is_some_and(|header| record_is_sound(7, 4096, &bad, &header));
            assert_eq!(sound, bit == 3 * 8 + 7, "bit {bit}");
        }
    }

    #[test]
    fn a_segment_header_names_its_segment() {
        let bytes = segment_header(9);
        assert!(is_segment_header(&bytes, 9));
        assert!(!is_segment_header(&bytes, 10));
        assert!(!is_segment_header(&bytes[..31], 9));
    }
}
