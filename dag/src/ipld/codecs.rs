//! Names and codes of IPLD codecs (multicodec table, tag `ipld`).

use crate::cid::codec;

/// Every codec of the multicodec table that is tagged `ipld`, by code: what `cid codecs` lists.
pub const CODECS: [(u64, &str); 44] = [
    (0x51, "cbor"),
    (0x55, "raw"),
    (0x70, "dag-pb"),
    (0x71, "dag-cbor"),
    (0x72, "libp2p-key"),
    (0x78, "git-raw"),
    (0x7b, "torrent-info"),
    (0x7c, "torrent-file"),
    (0x80, "blake3-hashseq"),
    (0x81, "leofcoin-block"),
    (0x82, "leofcoin-tx"),
    (0x83, "leofcoin-pr"),
    (0x85, "dag-jose"),
    (0x86, "dag-cose"),
    (0x90, "eth-block"),
    (0x91, "eth-block-list"),
    (0x92, "eth-tx-trie"),
    (0x93, "eth-tx"),
    (0x94, "eth-tx-receipt-trie"),
    (0x95, "eth-tx-receipt"),
    (0x96, "eth-state-trie"),
    (0x97, "eth-account-snapshot"),
    (0x98, "eth-storage-trie"),
    (0x99, "eth-receipt-log-trie"),
    (0x9a, "eth-receipt-log"),
    (0xb0, "bitcoin-block"),
    (0xb1, "bitcoin-tx"),
    (0xb2, "bitcoin-witness-commitment"),
    (0xc0, "zcash-block"),
    (0xc1, "zcash-tx"),
    (0xd0, "stellar-block"),
    (0xd1, "stellar-tx"),
    (0xe0, "decred-block"),
    (0xe1, "decred-tx"),
    (0xf0, "dash-block"),
    (0xf1, "dash-tx"),
    (0xfa, "swarm-manifest"),
    (0xfb, "swarm-feed"),
    (0xfc, "beeson"),
    (0x129, "dag-json"),
    (0x1f0, "swhid-1-snp"),
    (0x200, "json"),
    (0xb403, "rdfc-1"),
    (0xb601, "json-jcs"),
];

/// The codecs that commands know more of than the name, by code: what `cid codecs --supported` lists.
pub const SUPPORTED: [u64; 9] = [
    codec::CBOR,
    codec::RAW,
    codec::DAG_PB,
    codec::DAG_CBOR,
    codec::LIBP2P_KEY,
    codec::GIT_RAW,
    codec::DAG_JOSE,
    codec::DAG_JSON,
    codec::JSON,
];

/// The name of a codec.
pub fn codec_name(code: u64) -> Option<&'static str> {
    CODECS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The code of a codec given by name, or by number (decimal, or with the prefix `0x`, `0o` or `0b`) if it is in
/// the table or in the range for private use, 0x300000 to 0x3fffff. Words for `None`: `unknown multicodec: "x"`.
pub fn codec_by_name(text: &str) -> Option<u64> {
    if let Some((code, _)) = CODECS.iter().find(|(_, name)| *name == text) {
        return Some(*code);
    }
    let code = parse_number(text)?;
    let private = (0x30_0000..=0x3f_ffff).contains(&code);
    (private || codec_name(code).is_some()).then_some(code)
}

/// A number as Go's `ParseUint` with base 0 reads it, underscores aside.
fn parse_number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (lower.as_str(), 8)
    } else {
        (lower.as_str(), 10)
    };
    if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() }
}

/// Whether [`super::decode`] and [`super::links()`] understand blocks of this codec.
pub fn has_decoder(codec: u64) -> bool {
    matches!(
        codec,
        codec::RAW
            | codec::CBOR
            | codec::JSON
            | codec::DAG_PB
            | codec::DAG_CBOR
            | codec::DAG_JSON
            | codec::DAG_JOSE
            | codec::GIT_RAW
    )
}
