//! Keys and values of the index, to the byte: `docs/disk-format.md` section 3.

use std::fmt::Write as _;

use holdfast_dag::cid::{Cid, Multihash, Version, cid_from_bytes};

use crate::error::IndexError;
use crate::pins::{Pin, PinKind};
use crate::segment::{Place, multihash_from};

/// Names of the column families.
pub(crate) mod family {
    pub(crate) const META: &str = "meta";
    pub(crate) const LINKS: &str = "links";
    pub(crate) const RLINKS: &str = "rlinks";
    pub(crate) const PINS: &str = "pins";
    pub(crate) const FILES: &str = "mfs";
    pub(crate) const NAMES: &str = "names";
    pub(crate) const STATS: &str = "stats";
    pub(crate) const PROVIDERS: &str = "providers";
    pub(crate) const VALUES: &str = "values";
    pub(crate) const PEERS: &str = "peers";
    pub(crate) const PROVIDES: &str = "provides";
    pub(crate) const ALL: [&str; 11] =
        [META, LINKS, RLINKS, PINS, FILES, NAMES, STATS, PROVIDERS, VALUES, PEERS, PROVIDES];
}

pub(crate) const ROW_VERSION: u8 = 1;

/// Keys of the `stats` family.
pub(crate) mod stats_key {
    /// Format of the store, u32.
    pub(crate) const FORMAT: &[u8] = b"format";
    /// Number of blocks, i64, merged.
    pub(crate) const BLOCKS: &[u8] = b"blocks";
    /// Bytes of their values, i64, merged.
    pub(crate) const VALUE_BYTES: &[u8] = b"value_bytes";
    /// Write epoch, u64.
    pub(crate) const EPOCH: &[u8] = b"epoch";
    /// Number of the last batch, u64.
    pub(crate) const ROUND: &[u8] = b"round";
    /// Where the background verification goes on.
    pub(crate) const SCRUB: &[u8] = b"scrub";
    /// What the last whole background verification found.
    pub(crate) const SCRUBBED: &[u8] = b"scrubbed";
    /// What was lost and nobody has acknowledged yet.
    pub(crate) const LOST: &[u8] = b"lost";
    /// Prefix of the times at which epochs began: epoch (u64 big-endian) -> milliseconds since 1970, u64.
    pub(crate) const EPOCH_BEGAN: u8 = b'e';
    /// Prefix of committed lengths: segment number (u32 big-endian) -> u64.
    pub(crate) const COMMITTED: u8 = b'c';
    /// Prefix of live bytes: segment number (u32 big-endian) -> i64, merged.
    pub(crate) const LIVE: u8 = b'l';
    /// Prefix of blocks whose stored copy is known to be damaged: multihash -> nothing.
    pub(crate) const DAMAGED: u8 = b'x';

    /// Prefix of blocks that were dropped as damaged while something held them: multihash -> nothing. Their links stay.
    pub(crate) const DROPPED: u8 = b'g';

    /// Key of an epoch's row.
    pub(crate) fn of_epoch(epoch: u64) -> Vec<u8> {
        [[EPOCH_BEGAN, b':'].as_slice(), &epoch.to_be_bytes()].concat()
    }

    /// Key of a segment's row.
    pub(crate) fn of_segment(prefix: u8, segment: u32) -> [u8; 6] {
        let [a, b, c, d] = segment.to_be_bytes();
        [prefix, b':', a, b, c, d]
    }

    /// Segment of such a key.
    pub(crate) fn segment_of(prefix: u8, key: &[u8]) -> Option<u32> {
        let rest = key.strip_prefix(&[prefix, b':'])?;
        Some(u32::from_be_bytes(rest.try_into().ok()?))
    }

    /// Key that marks a damaged block.
    pub(crate) fn of_damaged(multihash: &[u8]) -> Vec<u8> {
        [&[DAMAGED, b':'], multihash].concat()
    }

    /// Key that marks a dropped block whose links are kept.
    pub(crate) fn of_dropped(multihash: &[u8]) -> Vec<u8> {
        [&[DROPPED, b':'], multihash].concat()
    }
}

/// Keys of the `mfs` family.
pub(crate) mod files_key {
    /// The root.
    pub(crate) const ROOT: &[u8] = b"root";
    /// The root that it replaced.
    pub(crate) const PREVIOUS: &[u8] = b"previous";
}

/// A row of `meta`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MetaRow {
    pub(crate) epoch: u64,
    pub(crate) place: Place,
}

impl MetaRow {
    pub(crate) const LEN: usize = 25;

    pub(crate) fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let (size, epoch) = (self.place.size.to_le_bytes(), self.epoch.to_le_bytes());
        let (segment, offset) = (self.place.segment.to_le_bytes(), self.place.offset.to_le_bytes());
        let bytes = [ROW_VERSION].into_iter().chain(size).chain(epoch).chain(segment).chain(offset);
        for (to, from) in out.iter_mut().zip(bytes) {
            *to = from;
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, IndexError> {
        let read = || {
            if bytes.len() != Self::LEN || bytes.first() != Some(&ROW_VERSION) {
                return None;
            }
            let size = u32::from_le_bytes(*bytes.get(1..)?.first_chunk()?);
            let epoch = u64::from_le_bytes(*bytes.get(5..)?.first_chunk()?);
            let segment = u32::from_le_bytes(*bytes.get(13..)?.first_chunk()?);
            let offset = u64::from_le_bytes(*bytes.get(17..)?.first_chunk()?);
            Some(Self { epoch, place: Place { segment, offset, size } })
        };
        read().ok_or(malformed(family::META, "not a version 1 row of 25 bytes"))
    }
}

/// A key as messages name it.
pub(crate) fn hex(key: &[u8]) -> String {
    key.iter().fold(String::with_capacity(2 * key.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn malformed(family: &'static str, reason: &'static str) -> IndexError {
    IndexError::Row { family, reason, key: None }
}

/// Key of a `links` row; also the second half of an `rlinks` key. Rows of one multihash lie together, because no
/// binary multihash is a prefix of another.
pub(crate) fn links_key(multihash: &[u8], codec: u64) -> Vec<u8> {
    [multihash, &codec.to_be_bytes()].concat()
}

/// Splits a `links` key.
pub(crate) fn split_links_key(key: &[u8]) -> Option<(&[u8], u64)> {
    let (multihash, codec) = key.split_last_chunk::<8>()?;
    Some((multihash, u64::from_be_bytes(*codec)))
}

/// Key of an `rlinks` row: child, then parent and the codec by which the parent has that child.
pub(crate) fn rlinks_key(child: &[u8], parent: &[u8], codec: u64) -> Vec<u8> {
    [child, parent, &codec.to_be_bytes()].concat()
}

/// Splits an `rlinks` key into child, parent and the parent's codec. A multihash says itself how long it is.
pub(crate) fn split_rlinks_key(key: &[u8]) -> Option<(&[u8], &[u8], u64)> {
    let (_, rest) = unsigned_varint::decode::u64(key).ok()?;
    let (len, rest) = unsigned_varint::decode::usize(rest).ok()?;
    let (child, parent) = key.split_at_checked((key.len() - rest.len()).checked_add(len)?)?;
    let (parent, codec) = split_links_key(parent)?;
    Some((child, parent, codec))
}

/// A `links` value: version, then each child as a varint length and a binary CID, as written in the block.
pub(crate) fn encode_links(children: &[Cid]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + children.len() * 38);
    out.push(ROW_VERSION);
    for child in children {
        let bytes = child.to_bytes();
        let mut buffer = unsigned_varint::encode::usize_buffer();
        out.extend_from_slice(unsigned_varint::encode::usize(bytes.len(), &mut buffer));
        out.extend_from_slice(&bytes);
    }
    out
}

pub(crate) fn decode_links(bytes: &[u8]) -> Result<Vec<Cid>, IndexError> {
    let bad = |reason| malformed(family::LINKS, reason);
    let mut rest = bytes.strip_prefix(&[ROW_VERSION]).ok_or(bad("unknown version"))?;
    let mut children = Vec::new();
    while !rest.is_empty() {
        let (cid, tail) = split_link(rest)?;
        children.push(cid_from_bytes(cid).map_err(|_| bad("bad cid"))?);
        rest = tail;
    }
    Ok(children)
}

/// The first link of the rest of a `links` value, and what follows it.
pub(crate) fn split_link(rest: &[u8]) -> Result<(&[u8], &[u8]), IndexError> {
    let bad = |reason| malformed(family::LINKS, reason);
    let (len, tail) = unsigned_varint::decode::usize(rest).map_err(|_| bad("bad length"))?;
    tail.split_at_checked(len).ok_or(bad("truncated"))
}

/// Key of a pin: kind, multihash, CID version, codec. Pins of one block under any CID lie together.
pub(crate) fn pin_key(kind: PinKind, cid: &Cid) -> Vec<u8> {
    let mut key = pin_prefix(kind, &cid.hash().to_bytes());
    key.push(u64::from(cid.version()) as u8);
    key.extend_from_slice(&cid.codec().to_be_bytes());
    key
}

/// First bytes of the keys of all pins of a kind on a block.
pub(crate) fn pin_prefix(kind: PinKind, multihash: &[u8]) -> Vec<u8> {
    [&[kind.code()], multihash].concat()
}

/// A pin's value: version, time in milliseconds since 1970, name.
pub(crate) fn pin_value(pin: &Pin) -> Vec<u8> {
    [&[ROW_VERSION], pin.created_unix_ms.to_le_bytes().as_slice(), pin.name.as_bytes()].concat()
}

/// The CID and kind that a pin key names.
pub(crate) fn decode_pin_key(key: &[u8]) -> Result<(PinKind, Cid), IndexError> {
    let read = || {
        let (kind, rest) = key.split_first()?;
        let (rest, codec) = rest.split_last_chunk::<8>()?;
        let (version, multihash) = rest.split_last()?;
        let version = Version::try_from(u64::from(*version)).ok()?;
        let cid = Cid::new(version, u64::from_be_bytes(*codec), multihash_from(multihash)?).ok()?;
        Some((PinKind::from_code(*kind)?, cid))
    };
    read().ok_or_else(|| malformed(family::PINS, "bad key").at(key))
}

pub(crate) fn decode_pin(key: &[u8], value: &[u8]) -> Result<Pin, IndexError> {
    let (kind, cid) = decode_pin_key(key)?;
    let read = || {
        let rest = value.strip_prefix(&[ROW_VERSION])?;
        let (time, name) = rest.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*time), String::from_utf8(name.to_vec()).ok()?))
    };
    let (created_unix_ms, name) = read().ok_or_else(|| malformed(family::PINS, "bad value").at(key))?;
    Ok(Pin { cid, kind, name, created_unix_ms })
}

/// A counter's value.
pub(crate) fn decode_i64(bytes: &[u8]) -> Result<i64, IndexError> {
    bytes.try_into().map(i64::from_le_bytes).map_err(|_| malformed(family::STATS, "not 8 bytes"))
}

/// The multihash of a `meta` key.
pub(crate) fn decode_meta_key(key: &[u8]) -> Result<Multihash, IndexError> {
    multihash_from(key).ok_or_else(|| malformed(family::META, "key is not a multihash").at(key))
}

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::{CidBuilder, codec};
    use holdfast_dag::hash::HashKind;

    use super::*;

    fn cid(codec: u64, version: Version) -> Cid {
        CidBuilder { version, hash: HashKind::Sha2_256 }.cid_of(codec, &[b"x"])
    }

    #[test]
    fn a_meta_row_is_as_the_format_page_says() {
        let row = MetaRow { epoch: 2, place: Place { segment: 3, offset: 0x0102, size: 5 } };
        let bytes = row.encode();
        let mut expected = vec![1, 5, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0];
        expected.extend_from_slice(&[2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes.to_vec(), expected);
        assert_eq!(MetaRow::decode(&bytes).unwrap(), row);
        assert!(MetaRow::decode(&bytes[..24]).is_err());
    }

    #[test]
    fn links_keep_order_repeats_and_versions() {
        let children =
            [cid(codec::RAW, Version::V1), cid(codec::DAG_PB, Version::V0), cid(codec::RAW, Version::V1)];
        let bytes = encode_links(&children);
        assert_eq!(decode_links(&bytes).unwrap(), children);
        assert_eq!(decode_links(&encode_links(&[])).unwrap(), []);
        for cut in 0..bytes.len() {
            let cut_at_a_link = decode_links(&bytes[..cut]).is_ok_and(|links| links.len() < 3);
            assert!(cut_at_a_link || decode_links(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    #[test]
    fn an_rlinks_key_splits_where_it_was_joined() {
        let (child, parent) = (cid(codec::RAW, Version::V1), cid(codec::DAG_PB, Version::V0));
        let (child, parent) = (child.hash().to_bytes(), parent.hash().to_bytes());
        let key = rlinks_key(&child, &parent, codec::DAG_PB);
        assert_eq!(split_rlinks_key(&key), Some((child.as_slice(), parent.as_slice(), codec::DAG_PB)));
        for cut in 0..child.len() + 8 {
            assert_eq!(split_rlinks_key(&key[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_pin_row_gives_its_pin_back() {
        for cid in
            [cid(codec::DAG_PB, Version::V0), cid(codec::DAG_PB, Version::V1), cid(codec::RAW, Version::V1)]
        {
            let pin = Pin { cid, kind: PinKind::Direct, name: "a name".to_owned(), created_unix_ms: 5 };
            let back = decode_pin(&pin_key(pin.kind, &cid), &pin_value(&pin)).unwrap();
            assert_eq!(back, pin);
        }
    }
}
