//! One private key: making, reading and writing it.

use std::fmt;

use data_encoding::BASE64;
use libp2p_identity::{Keypair, PeerId};
use quick_protobuf::BytesReader;
use rsa::pkcs1::EncodeRsaPrivateKey as _;

/// Smallest RSA key that is made or read, in bits (libp2p).
pub const RSA_BITS_MIN: i64 = 2048;

/// Largest RSA key that Kubo makes, in bits.
const RSA_BITS_KUBO_MAX: i64 = 8192;

/// Longest encoded private key that is read, in bytes: an RSA key of 4,096 bits has about 2,400.
pub const ENCODED_BYTES_MAX: usize = 16 << 10;

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// RSA with 2,048, 3,072 or 4,096 bits.
    Rsa,
    /// Ed25519, the default.
    Ed25519,
    /// ECDSA over secp256k1.
    Secp256k1,
    /// ECDSA over P-256: read, never made.
    Ecdsa,
}

impl KeyType {
    /// Number in libp2p's protobuf.
    const fn code(self) -> u8 {
        match self {
            Self::Rsa => 0,
            Self::Ed25519 => 1,
            Self::Secp256k1 => 2,
            Self::Ecdsa => 3,
        }
    }

    /// Name as it stands in the line that `init` prints.
    const fn title(self) -> &'static str {
        match self {
            Self::Rsa => "RSA",
            Self::Ed25519 => "ED25519",
            Self::Secp256k1 => "Secp256k1",
            Self::Ecdsa => "ECDSA",
        }
    }
}

/// A key to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeySpec {
    kind: KeyType,
    rsa_bits: u16,
}

/// Why a key cannot be made. The text is Kubo's where Kubo has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// No key type has this name.
    #[error("unrecognized key type: {0}")]
    Type(String),
    /// A size that keys of the type do not have.
    #[error("invalid key size {bits}: {kind} keys are always 256 bits")]
    FixedSize {
        /// The size asked for.
        bits: i64,
        /// The type.
        kind: String,
    },
    /// An RSA key of so few bits can be broken.
    #[error("rsa keys must be >= {RSA_BITS_MIN} bits to be useful")]
    RsaTooSmall,
    /// An RSA key of so many bits takes too long.
    #[error("rsa keys must be <= {RSA_BITS_KUBO_MAX} bits")]
    RsaTooLarge,
    /// A size of RSA keys that this node cannot sign with.
    #[error("rsa keys of {0} bits are not supported: use 2048, 3072 or 4096")]
    RsaSize(i64),
    /// The generator failed.
    #[error("cannot generate the key: {0}")]
    Failed(String),
}

impl KeySpec {
    /// Reads the options `--type` (`ed25519`, `rsa`, `secp256k1`) and `--size` or `--bits` (`None` and -1: the default).
    pub fn parse(kind: &str, bits: Option<i64>) -> Result<Self, GenerateError> {
        let bits = bits.filter(|bits| *bits != -1);
        let fixed = |parsed: KeyType| match bits {
            None | Some(256) => Ok(Self { kind: parsed, rsa_bits: 0 }),
            Some(bits) => Err(GenerateError::FixedSize { bits, kind: kind.to_owned() }),
        };
        match kind {
            "ed25519" => fixed(KeyType::Ed25519),
            "secp256k1" => fixed(KeyType::Secp256k1),
            "rsa" => match bits.unwrap_or(RSA_BITS_MIN) {
                bits if bits < RSA_BITS_MIN => Err(GenerateError::RsaTooSmall),
                bits if bits > RSA_BITS_KUBO_MAX => Err(GenerateError::RsaTooLarge),
                // What ring signs with; larger keys would be made and then be of no use.
                bits @ (2048 | 3072 | 4096) => {
                    Ok(Self { kind: KeyType::Rsa, rsa_bits: u16::try_from(bits).unwrap_or_default() })
                }
                bits => Err(GenerateError::RsaSize(bits)),
            },
            other => Err(GenerateError::Type(other.to_owned())),
        }
    }

    /// What `init` prints before it makes the key: `generating ED25519 keypair...`.
    pub fn announcement(&self) -> String {
        match self.kind {
            KeyType::Rsa => format!("generating {}-bit RSA keypair...", self.rsa_bits),
            kind => format!("generating {} keypair...", kind.title()),
        }
    }
}

/// Why bytes are not a private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub(super) String);

/// A private key. It is never printed.
#[derive(Clone)]
pub struct PrivateKey {
    keypair: Keypair,
    kind: KeyType,
    /// The `Data` field of the protobuf, as it was read or made.
    data: Vec<u8>,
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind && self.data == other.data
    }
}

impl Eq for PrivateKey {}

impl PrivateKey {
    /// Makes a new key from the operating system's randomness. RSA takes seconds: keep it off async tasks.
    pub fn generate(spec: KeySpec) -> Result<Self, GenerateError> {
        let failed = |reason: String| GenerateError::Failed(reason);
        match spec.kind {
            KeyType::Rsa => {
                let key = rsa::RsaPrivateKey::new(&mut rand::rng(), usize::from(spec.rsa_bits));
                let der = key.map_err(|error| failed(error.to_string()))?.to_pkcs1_der();
                let der = der.map_err(|error| failed(error.to_string()))?;
                Self::from_parts(KeyType::Rsa, der.as_bytes()).map_err(|error| failed(error.0))
            }
            KeyType::Secp256k1 => Self::from_keypair(&Keypair::generate_secp256k1()),
            KeyType::Ed25519 | KeyType::Ecdsa => Self::from_keypair(&Keypair::generate_ed25519()),
        }
    }

    fn from_keypair(keypair: &Keypair) -> Result<Self, GenerateError> {
        let failed = |reason: String| GenerateError::Failed(reason);
        let encoded = keypair.to_protobuf_encoding().map_err(|error| failed(error.to_string()))?;
        Self::from_protobuf(&encoded).map_err(|error| failed(error.0))
    }

    /// Makes a key of its type and the `Data` of its protobuf.
    pub(super) fn from_parts(kind: KeyType, data: &[u8]) -> Result<Self, DecodeError> {
        // Old Ed25519 keys of Go repeat the public key at the end.
        let data = match (kind, data.len(), data.get(..64), data.get(32..64), data.get(64..)) {
            (KeyType::Ed25519, 96, Some(key), Some(public), Some(again)) if public == again => key,
            _ => data,
        };
        let keypair = Keypair::from_protobuf_encoding(&encode(kind, data));
        let keypair = keypair.map_err(|error| DecodeError(error.to_string()))?;
        Ok(Self { keypair, kind, data: data.to_vec() })
    }

    /// Reads libp2p's `PrivateKey` message: `Type` (field 1) and `Data` (field 2).
    pub fn from_protobuf(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > ENCODED_BYTES_MAX {
            return Err(DecodeError(format!("{} bytes, the limit is {ENCODED_BYTES_MAX}", bytes.len())));
        }
        let broken =
            |error: quick_protobuf::Error| DecodeError(format!("broken private key message: {error}"));
        let mut reader = BytesReader::from_bytes(bytes);
        let (mut kind, mut data) = (None, None);
        while !reader.is_eof() {
            match reader.next_tag(bytes).map_err(broken)? {
                0x08 => kind = Some(reader.read_int32(bytes).map_err(broken)?),
                0x12 => data = Some(reader.read_bytes(bytes).map_err(broken)?),
                tag => reader.read_unknown(bytes, tag).map_err(broken)?,
            }
        }
        let kind = match kind {
            Some(0) => KeyType::Rsa,
            Some(1) => KeyType::Ed25519,
            Some(2) => KeyType::Secp256k1,
            Some(3) => KeyType::Ecdsa,
            Some(other) => return Err(DecodeError(format!("unknown key type {other}"))),
            None => return Err(DecodeError("private key message without a type".to_owned())),
        };
        let data = data.ok_or_else(|| DecodeError("private key message without data".to_owned()))?;
        Self::from_parts(kind, data)
    }

    /// libp2p's `PrivateKey` message.
    pub fn to_protobuf(&self) -> Vec<u8> {
        encode(self.kind, &self.data)
    }

    /// Reads the form in the config: base64 of the protobuf.
    pub fn from_base64(text: &str) -> Result<Self, DecodeError> {
        let bytes = BASE64.decode(text.trim().as_bytes());
        Self::from_protobuf(&bytes.map_err(|error| DecodeError(format!("illegal base64 data: {error}")))?)
    }

    /// The form in the config.
    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.to_protobuf())
    }

    /// Its type.
    pub fn kind(&self) -> KeyType {
        self.kind
    }

    /// The `Data` field of the protobuf.
    pub(super) fn data(&self) -> &[u8] {
        &self.data
    }

    /// The peer ID of its public key.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// libp2p's `PublicKey` message of its public key: what `id` shows in base64.
    pub fn public_protobuf(&self) -> Vec<u8> {
        self.keypair.public().encode_protobuf()
    }

    /// The key pair, for signing and for the swarm.
    pub fn keypair(&self) -> &Keypair {
        &self.keypair
    }
}

/// Builds the message; lengths are at most [`ENCODED_BYTES_MAX`], so a varint of three bytes is the longest.
fn encode(kind: KeyType, data: &[u8]) -> Vec<u8> {
    let mut message = vec![0x08, kind.code(), 0x12];
    let mut rest = data.len();
    while rest >= 0x80 {
        message.push(u8::try_from(rest & 0x7f).unwrap_or_default() | 0x80);
        rest >>= 7;
    }
    message.push(u8::try_from(rest).unwrap_or_default());
    message.extend_from_slice(data);
    message
}

#[cfg(test)]
pub(super) mod tests {
    use data_encoding::HEXLOWER_PERMISSIVE as HEX;

    use super::*;

    /// Test vectors of the libp2p specification (peer-ids): private and public key messages.
    pub(in crate::keys) const VECTORS: [(KeyType, &str, &str); 3] = [
        (
            KeyType::Ed25519,
            "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
            "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
        ),
        (
            KeyType::Secp256k1,
            "0802122053dadf1d5a164d6b4acdb15e24aa4c5b1d3461bdbd42abedb0a4404d56ced8fb",
            "08021221037777e994e452c21604f91de093ce415f5432f701dd8cd1a7a6fea0e630bfca99",
        ),
        (
            KeyType::Ecdsa,
            "08031279307702010104203e5b1fe9712e6c314942a750bd67485de3c1efe85b1bfb520ae8f9ae3dfa4a4ca00a06082a8648ce3d030107a14403420004de3d300fa36ae0e8f5d530899d83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62",
            "0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004de3d300fa36ae0e8f5d530899d83abab44abf3161f162a4bc901d8e6ecda020e8b6d5f8da30525e71d6851510c098e5c47c646a597fb4dcec034e9f77c409e62",
        ),
    ];

    #[test]
    fn the_specifications_keys_keep_their_bytes_and_give_their_public_keys() {
        for (kind, private, public) in VECTORS {
            let bytes = HEX.decode(private.as_bytes()).unwrap();
            let key = PrivateKey::from_protobuf(&bytes).unwrap();
            assert_eq!(key.kind(), kind);
            assert_eq!(key.to_protobuf(), bytes, "{kind:?}");
            assert_eq!(HEX.encode(&key.public_protobuf()), public, "{kind:?}");
            assert_eq!(PrivateKey::from_base64(&key.to_base64()).unwrap(), key);
            let signature = key.keypair().sign(b"message").unwrap();
            assert!(key.keypair().public().verify(b"message", &signature));
        }
    }

    #[test]
    fn generated_keys_come_back() {
        for (kind, size) in
            [("ed25519", None), ("ed25519", Some(256)), ("secp256k1", Some(-1)), ("rsa", None)]
        {
            let key = PrivateKey::generate(KeySpec::parse(kind, size).unwrap()).unwrap();
            let again = PrivateKey::from_protobuf(&key.to_protobuf()).unwrap();
            assert_eq!(again.peer_id(), key.peer_id());
            let signature = again.keypair().sign(b"message").unwrap();
            assert!(key.keypair().public().verify(b"message", &signature), "{kind}");
        }
    }

    #[test]
    fn specs_are_refused_in_kubos_words() {
        for (kind, size, words) in [
            ("foo", None, "unrecognized key type: foo"),
            ("ed25519", Some(2048), "invalid key size 2048: ed25519 keys are always 256 bits"),
            ("rsa", Some(1024), "rsa keys must be >= 2048 bits to be useful"),
            ("rsa", Some(9000), "rsa keys must be <= 8192 bits"),
            ("rsa", Some(8192), "rsa keys of 8192 bits are not supported: use 2048, 3072 or 4096"),
        ] {
            assert_eq!(KeySpec::parse(kind, size).unwrap_err().to_string(), words);
        }
        assert_eq!(KeySpec::parse("ed25519", None).unwrap().announcement(), "generating ED25519 keypair...");
        assert_eq!(
            KeySpec::parse("rsa", Some(3072)).unwrap().announcement(),
            "generating 3072-bit RSA keypair..."
        );
    }

    #[test]
    fn damaged_keys_are_errors() {
        let good = HEX.decode(VECTORS[0].1.as_bytes()).unwrap();
        for end in 0..good.len() {
            assert!(PrivateKey::from_protobuf(&good[..end]).is_err(), "{end}");
        }
        let mut wrong = good.clone();
        *wrong.last_mut().unwrap() ^= 1;
        assert!(
            PrivateKey::from_protobuf(&wrong).is_err(),
            "the public half does not belong to the private one"
        );
        let mut twice = good[..4].to_vec();
        twice[3] = 96;
        twice.extend_from_slice(&good[4..]);
        twice.extend_from_slice(&good[36..]);
        assert_eq!(PrivateKey::from_protobuf(&twice).unwrap().to_protobuf(), good, "the old form of Go");
        assert!(PrivateKey::from_protobuf(&vec![0; ENCODED_BYTES_MAX + 1]).is_err());
        assert!(PrivateKey::from_base64("%").is_err());
    }
}
