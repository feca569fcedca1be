//! Peer IDs in text: base58 multihashes (`12D3Koo..`, `Qm..`) and CIDs with codec libp2p-key (`k51..`, `bafz..`).

use std::str::FromStr;

use holdfast_dag::cid::{Cid, codec, parse_cid};
use libp2p_identity::PeerId;
use multibase::Base;

/// How IDs of keys are written: the option `--ipns-base`. Default base36.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpnsBase {
    /// The multihash in base58: `b58mh` or `v0`.
    Base58Multihash,
    /// A CIDv1 with codec libp2p-key in this base.
    Cid(Base),
}

impl Default for IpnsBase {
    fn default() -> Self {
        Self::Cid(Base::Base36Lower)
    }
}

/// Why a text is no `--ipns-base`. The text is Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unsupported multibase encoding: {0}")]
pub struct IpnsBaseError(String);

/// The bases with their names and, as in `--ipns-base=k`, their letters (multibase table).
const BASES: [(&str, Base); 23] = [
    ("base2", Base::Base2),
    ("base8", Base::Base8),
    ("base10", Base::Base10),
    ("base16", Base::Base16Lower),
    ("base16upper", Base::Base16Upper),
    ("base32", Base::Base32Lower),
    ("base32upper", Base::Base32Upper),
    ("base32pad", Base::Base32PadLower),
    ("base32padupper", Base::Base32PadUpper),
    ("base32hex", Base::Base32HexLower),
    ("base32hexupper", Base::Base32HexUpper),
    ("base32hexpad", Base::Base32HexPadLower),
    ("base32hexpadupper", Base::Base32HexPadUpper),
    ("base32z", Base::Base32Z),
    ("base36", Base::Base36Lower),
    ("base36upper", Base::Base36Upper),
    ("base58btc", Base::Base58Btc),
    ("base58flickr", Base::Base58Flickr),
    ("base64", Base::Base64),
    ("base64pad", Base::Base64Pad),
    ("base64url", Base::Base64Url),
    ("base64urlpad", Base::Base64UrlPad),
    ("base256emoji", Base::Base256Emoji),
];

impl FromStr for IpnsBase {
    type Err = IpnsBaseError;

    fn from_str(text: &str) -> Result<Self, IpnsBaseError> {
        if matches!(text, "b58mh" | "v0") {
            return Ok(Self::Base58Multihash);
        }
        let mut letters = text.chars();
        let only_letter = letters.next().filter(|_| letters.next().is_none());
        let known = |(name, base): &&(&str, Base)| *name == text || only_letter == Some(base.code());
        let base = BASES.iter().find(known).map(|(_, base)| Self::Cid(*base));
        base.ok_or_else(|| IpnsBaseError(text.to_owned()))
    }
}

impl IpnsBase {
    /// Writes a peer ID.
    pub fn format(self, peer_id: &PeerId) -> String {
        match self {
            Self::Base58Multihash => peer_id.to_base58(),
            Self::Cid(base) => {
                let mut bytes = vec![1, u8::try_from(codec::LIBP2P_KEY).unwrap_or_default()];
                bytes.extend_from_slice(&peer_id.to_bytes());
                multibase::encode(base, bytes)
            }
        }
    }
}

/// Why a text is not a peer ID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to parse peer ID: {0}")]
pub struct PeerIdError(String);

/// Longest text that is read as a peer ID, in bytes: the longest ID in base 2 has 369. Base58 takes quadratic time.
const TEXT_BYTES_MAX: usize = 512;

/// Reads a peer ID in any of its forms.
pub fn parse_peer_id(text: &str) -> Result<PeerId, PeerIdError> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(PeerIdError(format!("{} bytes are too long for one", text.len())));
    }
    if text.starts_with("Qm") || text.starts_with('1') {
        return PeerId::from_str(text).map_err(|error| PeerIdError(error.to_string()));
    }
    let cid: Cid = parse_cid(text).map_err(|error| PeerIdError(error.to_string()))?;
    if cid.codec() != codec::LIBP2P_KEY {
        return Err(PeerIdError(format!("can't convert CID of type 0x{:x} to a peer ID", cid.codec())));
    }
    PeerId::from_bytes(&cid.hash().to_bytes()).map_err(|error| PeerIdError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_the_specification() {
        // The pair of the libp2p peer ID specification, and one of the IPNS documentation.
        for (base58, cid) in [
            (
                "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
                "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe",
            ),
            (
                "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA",
                "bafzaajaiaejcal72gwuz2or47oyxxn6b3rkwdmmkrxgkjxzy3rqt5kczyn7lcm3l",
            ),
        ] {
            let id = parse_peer_id(base58).unwrap();
            assert_eq!(parse_peer_id(cid).unwrap(), id);
            assert_eq!("base32".parse::<IpnsBase>().unwrap().format(&id), cid);
            assert_eq!("b58mh".parse::<IpnsBase>().unwrap().format(&id), base58);
            let base36 = IpnsBase::default().format(&id);
            assert!(base36.starts_with('k'), "{base36}");
            assert_eq!(parse_peer_id(&base36).unwrap(), id);
        }
    }

    #[test]
    fn an_ed25519_name_has_its_known_form() {
        let id = parse_peer_id("k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam").unwrap();
        assert_eq!(id.to_base58(), "12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d");
    }

    #[test]
    fn every_base_comes_back() {
        let id = parse_peer_id("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA").unwrap();
        for (name, base) in BASES {
            let written = name.parse::<IpnsBase>().unwrap().format(&id);
            let by_letter = base.code().to_string().parse::<IpnsBase>().unwrap().format(&id);
            assert_eq!(written, by_letter, "{name}");
            assert_eq!(multibase::decode(&written).unwrap().1[2..], id.to_bytes(), "{name}");
        }
        assert_eq!("foo".parse::<IpnsBase>().unwrap_err().to_string(), "unsupported multibase encoding: foo");
    }

    #[test]
    fn what_is_no_peer_id_is_an_error() {
        for text in ["", "foo", "QmFoo", "1", "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"] {
            assert!(parse_peer_id(text).is_err(), "{text}");
        }
        let long = parse_peer_id(&"1".repeat(1 << 20)).unwrap_err().to_string();
        assert_eq!(long, "failed to parse peer ID: 1048576 bytes are too long for one");
    }
}
