//! Names: hashes of public keys.

use std::fmt;
use std::str::FromStr;

use libp2p_identity::{PeerId, PublicKey};

use crate::peer_id::{IpnsBase, PeerIdError, parse_peer_id};

/// What stands before names in paths and in routing keys.
const PREFIX: &str = "/ipns/";

/// Multihash code of the identity function: the name is the key.
const IDENTITY: u64 = 0;

/// An IPNS name: the multihash of a public key. Short keys (Ed25519, secp256k1) are their own multihash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(PeerId);

/// Why bytes are not the routing key of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name is invalid")]
pub struct NameError;

impl Name {
    /// Reads the binary key under which records are kept in the DHT: `/ipns/` and the multihash.
    pub fn from_routing_key(key: &[u8]) -> Result<Self, NameError> {
        let multihash = key.strip_prefix(PREFIX.as_bytes()).ok_or(NameError)?;
        PeerId::from_bytes(multihash).map(Self).map_err(|_| NameError)
    }

    /// The binary key under which records are kept in the DHT.
    pub fn routing_key(&self) -> Vec<u8> {
        [PREFIX.as_bytes(), &self.to_bytes()].concat()
    }

    /// The binary multihash.
    pub fn to_bytes(self) -> Vec<u8> {
        self.0.to_bytes()
    }

    /// The peer ID with the same key.
    pub fn peer_id(&self) -> PeerId {
        self.0
    }

    /// The name's public key, if the name holds it.
    pub fn public_key(&self) -> Option<PublicKey> {
        let hash = self.0.as_ref();
        (hash.code() == IDENTITY).then(|| PublicKey::try_decode_protobuf(hash.digest()).ok()).flatten()
    }
}

impl From<PeerId> for Name {
    fn from(peer_id: PeerId) -> Self {
        Self(peer_id)
    }
}

impl fmt::Display for Name {
    /// The canonical form: a CIDv1 with codec libp2p-key in base36, `k51...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&IpnsBase::default().format(&self.0))
    }
}

impl FromStr for Name {
    type Err = PeerIdError;

    /// Reads a name in any of its forms, with or without `/ipns/` before it.
    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        parse_peer_id(text.strip_prefix(PREFIX).unwrap_or(text)).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name_is_the_same_name() {
        let name: Name = "k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam".parse().unwrap();
        for text in [
            "12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d",
            "/ipns/12D3KooWLQzUv2FHWGVPXTXSZpdHs7oHbXub2G5WC8Tx4NQhyd2d",
            &IpnsBase::from_str("base32").unwrap().format(&name.peer_id()),
        ] {
            assert_eq!(text.parse(), Ok(name), "{text}");
        }
        assert_eq!(name.to_string(), "k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam");
        assert_eq!(Name::from_routing_key(&name.routing_key()), Ok(name));
        assert_eq!(Name::from_routing_key(b"/pk/x"), Err(NameError));
        assert!(name.public_key().is_some_and(|key| key.to_peer_id() == name.peer_id()));
    }

    #[test]
    fn an_rsa_name_does_not_hold_its_key() {
        let name: Name = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N".parse().unwrap();
        assert!(name.public_key().is_none());
        assert!(name.to_string().starts_with("k2k4r8"), "{name}");
    }
}
