//! Blocks that need no storage and no peer.

use bytes::Bytes;
use holdfast_dag::cid::{Cid, Multihash, identity_data};
use holdfast_dag::hash::HashKind;

/// Blocks that need no storage: those that their CID carries, and the empty directory, file and block.
pub(crate) fn known_block(cid: &Cid) -> Option<Bytes> {
    if let Some(data) = identity_data(cid) {
        return Some(Bytes::copy_from_slice(data));
    }
    EMPTY_BLOCKS
        .iter()
        .find(|(digest, _)| is_sha2_256(cid.hash(), digest))
        .map(|(_, block)| Bytes::from_static(block))
}

fn is_sha2_256(hash: &Multihash, digest: &[u8; 32]) -> bool {
    hash.code() == HashKind::Sha2_256.code() && hash.digest() == digest
}

/// Digest and bytes of the empty directory, the empty file and the empty raw block.
const EMPTY_BLOCKS: [([u8; 32], &[u8]); 3] = [
    (hex("59948439065f29619ef41280cbb932be52c56d99c5966b65e0111239f098bbef"), b"\x0a\x02\x08\x01"),
    (hex("bfccda787baba32b59c78450ac3d20b633360b43992c77289f9ed46d843561e6"), b"\x0a\x04\x08\x02\x18\x00"),
    (hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"), b""),
];

/// Decodes 64 hex digits at compile time.
const fn hex(text: &str) -> [u8; 32] {
    let (digits, mut out, mut at) = (text.as_bytes(), [0; 32], 0);
    while at < 64 {
        #[allow(clippy::indexing_slicing)] // evaluated at compile time: out of bounds would not compile
        let digit = match digits[at] {
            digit @ b'0'..=b'9' => digit - b'0',
            digit => digit - b'a' + 10,
        };
        #[allow(clippy::indexing_slicing)] // as above
        {
            out[at / 2] = out[at / 2] << 4 | digit;
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::{CidBuilder, Version, codec};

    use super::*;

    #[test]
    fn the_empty_blocks_are_named_rightly() {
        let builder = CidBuilder { version: Version::V0, hash: HashKind::Sha2_256 };
        for (digest, block) in EMPTY_BLOCKS {
            let cid = builder.cid_of(codec::DAG_PB, &[block]);
            assert_eq!(cid.hash().digest(), digest);
            assert_eq!(known_block(&cid).as_deref(), Some(block));
        }
    }
}
