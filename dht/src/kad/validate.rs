//! Which values belong under which keys, and which of two is the better: `/ipns/` and `/pk/`, as Kubo has them.

use std::cmp::Ordering;

use libp2p::PeerId;
use libp2p_identity::PublicKey;

use crate::ipns::{Name, RECORD_BYTES_MAX, Record, Timestamp, compare};

/// What stands before the bytes of a name.
const NAME_PREFIX: &[u8] = b"/ipns/";

/// What stands before the multihash of a public key.
const PUBLIC_KEY_PREFIX: &[u8] = b"/pk/";

/// Longest public key: an RSA key of 8,192 bits has about 1,100 bytes.
const PUBLIC_KEY_BYTES_MAX: usize = 4 << 10;

/// Why a value does not belong under a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidValue {
    /// The key is of no kind that is known. The words are Kubo's.
    #[error("invalid record keytype")]
    KeyType,
    /// Not a valid IPNS record of the name.
    #[error("{0}")]
    Ipns(String),
    /// Not the public key with this hash.
    #[error("public key does not match storage key")]
    PublicKey,
}

/// The most bytes that a value under this key may have; `None` for a key of no kind that is known.
pub(super) fn value_bytes_max(key: &[u8]) -> Option<usize> {
    match key {
        key if key.starts_with(PUBLIC_KEY_PREFIX) => Some(PUBLIC_KEY_BYTES_MAX),
        key if key.starts_with(NAME_PREFIX) => Some(RECORD_BYTES_MAX),
        _ => None,
    }
}

/// Whether a value belongs under a key at this time.
pub fn validate_value(key: &[u8], value: &[u8], now: Timestamp) -> Result<(), InvalidValue> {
    if let Some(hash) = key.strip_prefix(PUBLIC_KEY_PREFIX) {
        if value.len() > PUBLIC_KEY_BYTES_MAX {
            return Err(InvalidValue::PublicKey);
        }
        let peer = PeerId::from_bytes(hash).map_err(|_| InvalidValue::KeyType)?;
        let public = PublicKey::try_decode_protobuf(value).map_err(|_| InvalidValue::PublicKey)?;
        return if public.to_peer_id() == peer { Ok(()) } else { Err(InvalidValue::PublicKey) };
    }
    let name = Name::from_routing_key(key).map_err(|_| InvalidValue::KeyType)?;
    let record = Record::decode(value).map_err(|error| InvalidValue::Ipns(error.to_string()))?;
    record.validate(&name, now).map_err(|error| InvalidValue::Ipns(error.to_string()))
}

/// Compares two valid values of a key; the greater one is the better. Public keys are all the same.
pub fn compare_values(key: &[u8], a: &[u8], b: &[u8]) -> Ordering {
    if key.starts_with(PUBLIC_KEY_PREFIX) || a == b {
        return Ordering::Equal;
    }
    let read = |bytes| Record::decode(bytes).ok().filter(|record| compare(record, record).is_ok());
    match (read(a), read(b)) {
        (Some(a), Some(b)) => compare(&a, &b).unwrap_or(Ordering::Equal),
        (a, b) => a.is_some().cmp(&b.is_some()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use libp2p_identity::Keypair;

    use super::*;
    use crate::ipns::Draft;

    #[test]
    fn records_and_keys_belong_under_their_own_names_only() {
        let (key, other) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let now = Timestamp::from_unix(1_700_000_000, 0);
        let sign = |sequence| {
            let draft = Draft {
                value: "/ipfs/bafkqaaa".to_owned(),
                sequence,
                end_of_life: now.after(Duration::from_secs(60)),
                ttl: Duration::from_secs(1),
                v1_compatible: true,
            };
            draft.sign(&key).unwrap().as_bytes().to_vec()
        };
        let ipns = |key: &Keypair| Name::from(key.public().to_peer_id()).routing_key();
        assert_eq!(validate_value(&ipns(&key), &sign(0), now), Ok(()));
        assert!(validate_value(&ipns(&other), &sign(0), now).is_err());
        assert!(validate_value(&ipns(&key), &sign(0), now.after(Duration::from_secs(61))).is_err());
        assert_eq!(compare_values(&ipns(&key), &sign(2), &sign(1)), Ordering::Greater);
        assert_eq!(compare_values(&ipns(&key), b"junk", &sign(1)), Ordering::Less);

        let public = |key: &Keypair| [b"/pk/", &key.public().to_peer_id().to_bytes()[..]].concat();
        let encoded = key.public().encode_protobuf();
        assert_eq!(validate_value(&public(&key), &encoded, now), Ok(()));
        assert_eq!(validate_value(&public(&other), &encoded, now), Err(InvalidValue::PublicKey));
        assert_eq!(validate_value(b"/other/x", &encoded, now), Err(InvalidValue::KeyType));
    }
}
