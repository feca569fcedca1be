//! PKCS#8 in PEM: the form of private keys that other programs read, such as openssl.

use data_encoding::BASE64;
use libp2p_identity::{ecdsa, secp256k1};
use rsa::pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};

use super::private::{DecodeError, KeyType, PrivateKey};

const OID_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const OID_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const OID_EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const OID_P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const OID_SECP256K1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.10");

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OID: u8 = 0x06;
/// Context-specific, constructed: the curve in a SEC 1 key.
const CURVE: u8 = 0xa0;
/// Context-specific, constructed: the public key in a SEC 1 key.
const PUBLIC: u8 = 0xa1;

/// One DER element.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
    let mut element = vec![tag];
    match (content.len(), u8::try_from(length.len())) {
        (0..0x80, _) => element.push(length.first().copied().unwrap_or(0)),
        (_, Ok(bytes)) => element.push(0x80 | bytes),
        (_, Err(_)) => {}
    }
    if content.len() >= 0x80 {
        element.extend_from_slice(&length);
    }
    element.extend_from_slice(&content);
    element
}

/// A SEC 1 `ECPrivateKey` of a 256-bit curve, with or without the curve's name.
fn sec1(secret: &[u8], public: &[u8], curve: Option<&ObjectIdentifier>) -> Vec<u8> {
    let curve = curve.map(|oid| der(CURVE, &[&der(OID, &[oid.as_bytes()])])).unwrap_or_default();
    let public = der(PUBLIC, &[&der(BIT_STRING, &[&[0], public])]);
    der(SEQUENCE, &[&der(INTEGER, &[&[1]]), &der(OCTET_STRING, &[secret]), &curve, &public])
}

/// The secret of a SEC 1 key of a 256-bit curve: `SEQUENCE { INTEGER 1, OCTET STRING (32), .. }`.
fn sec1_secret(key: &[u8]) -> Result<&[u8], DecodeError> {
    let inner = match key {
        [SEQUENCE, 0..=0x7f, inner @ ..] | [SEQUENCE, 0x81, _, inner @ ..] => inner,
        _ => &[],
    };
    let secret = inner.strip_prefix(&[INTEGER, 1, 1, OCTET_STRING, 32]).and_then(|rest| rest.get(..32));
    secret.ok_or_else(|| DecodeError("unsupported elliptic curve private key".to_owned()))
}

/// The PKCS#8 document of a key.
fn document(key: &PrivateKey) -> Result<Vec<u8>, DecodeError> {
    let wrong = |error: libp2p_identity::DecodingError| DecodeError(error.to_string());
    let algorithm = |oid: &ObjectIdentifier, parameters: &[u8]| {
        der(SEQUENCE, &[&der(OID, &[oid.as_bytes()]), parameters])
    };
    let curve = |oid: &ObjectIdentifier| algorithm(&OID_EC, &der(OID, &[oid.as_bytes()]));
    let (algorithm, inner) = match key.kind() {
        KeyType::Ed25519 => {
            let seed = key.data().get(..32).unwrap_or_default();
            (algorithm(&OID_ED25519, &[]), der(OCTET_STRING, &[seed]))
        }
        KeyType::Rsa => (algorithm(&OID_RSA, &der(NULL, &[])), key.data().to_vec()),
        KeyType::Secp256k1 => {
            let secret = secp256k1::SecretKey::try_from_bytes(key.data().to_vec()).map_err(wrong)?;
            let public = secp256k1::Keypair::from(secret).public().to_bytes_uncompressed();
            (curve(&OID_SECP256K1), sec1(key.data(), &public, None))
        }
        KeyType::Ecdsa => {
            let secret = sec1_secret(key.data())?;
            (curve(&OID_P256), sec1(secret, &ecdsa_public(secret)?, None))
        }
    };
    Ok(der(SEQUENCE, &[&der(INTEGER, &[&[0]]), &algorithm, &der(OCTET_STRING, &[&inner])]))
}

/// The public point of a P-256 secret, uncompressed.
fn ecdsa_public(secret: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let secret = ecdsa::SecretKey::try_from_bytes(secret).map_err(|error| DecodeError(error.to_string()))?;
    Ok(ecdsa::Keypair::from(secret).public().to_bytes())
}

/// Reads a key from a PKCS#8 document.
fn parse(document: &[u8]) -> Result<PrivateKey, DecodeError> {
    let info = PrivateKeyInfoRef::try_from(document).map_err(|error| DecodeError(error.to_string()))?;
    let inner = info.private_key.as_bytes();
    let curve = || info.algorithm.parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
    match info.algorithm.oid {
        OID_RSA => PrivateKey::from_parts(KeyType::Rsa, inner),
        OID_ED25519 => {
            let seed = inner.strip_prefix(&[OCTET_STRING, 32]).filter(|seed| seed.len() == 32);
            let seed = seed.ok_or_else(|| DecodeError("invalid Ed25519 private key".to_owned()))?;
            let keypair = libp2p_identity::Keypair::ed25519_from_bytes(seed.to_vec());
            let encoded = keypair.and_then(|keypair| keypair.to_protobuf_encoding());
            PrivateKey::from_protobuf(&encoded.map_err(|error| DecodeError(error.to_string()))?)
        }
        OID_EC if curve() == Some(OID_SECP256K1) => {
            PrivateKey::from_parts(KeyType::Secp256k1, sec1_secret(inner)?)
        }
        OID_EC if curve() == Some(OID_P256) => {
            let secret = sec1_secret(inner)?;
            PrivateKey::from_parts(KeyType::Ecdsa, &sec1(secret, &ecdsa_public(secret)?, Some(&OID_P256)))
        }
        other => Err(DecodeError(format!("unsupported key algorithm {other}"))),
    }
}

/// Writes a key as PKCS#8 in PEM.
pub(super) fn to_pem(key: &PrivateKey) -> Result<String, DecodeError> {
    let base64 = BASE64.encode(&document(key)?);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(64).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

/// The first PEM block in a text: its label and its bytes.
pub(super) fn find_pem(text: &str) -> Option<(String, Vec<u8>)> {
    let (_, after) = text.split_once("-----BEGIN ")?;
    let (label, after) = after.split_once("-----")?;
    let (body, _) = after.split_once(&format!("-----END {label}-----"))?;
    let base64: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    Some((label.to_owned(), BASE64.decode(base64.as_bytes()).ok()?))
}

/// Reads a key from PKCS#8 in PEM, with Kubo's words for what is wrong.
pub(super) fn from_pem(text: &str) -> Result<PrivateKey, DecodeError> {
    let (label, document) =
        find_pem(text).ok_or_else(|| DecodeError(format!("PEM block not found in input data:\n{text}")))?;
    if label != "PRIVATE KEY" {
        return Err(DecodeError(format!("expected PRIVATE KEY type in PEM block but got: {label}")));
    }
    parse(&document).map_err(|error| DecodeError(format!("parsing PKCS8 format: {error}")))
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER as HEX;

    use super::super::private::{KeySpec, tests::VECTORS};
    use super::*;

    /// Made by openssl 3 (`genpkey -algorithm ED25519`; `ecparam -genkey` and `pkcs8 -topk8` for the curves), with the peer
    /// IDs of their public keys.
    const OPENSSL: [(&str, &str); 3] = [
        (
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIAr0BPzg3J7gOIMQlDU8P8r/S/UgZknUowOScFGUSlEG\n-----END PRIVATE KEY-----\n",
            "12D3KooWFbnwvuFMCtpaVnNLjtKLscjaQfA2Px669WDhVMn7aw8C",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQgIne5wxNahZlBGWLKgACB\nOKdVFxaNWOJSraNU2pWW3eqhRANCAATKS84wFwrfZ/flkFY/+l9wEJC/XGy0Ctg+\n7VqHhaDX9g1TC4thYuWGMjWomT4F0bo33v/xF4NTC127rifLlFzW\n-----END PRIVATE KEY-----\n",
            "16Uiu2HAm93MNrfH9vZGHoKBBmLVxA65KdGn84g5yikYmoLENsepV",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgHDs8o+lc1djijrXw\n3tuQIuYlhBM1upPy4K4DWHceKbWhRANCAARSpVlXcsUnOiBLu0dmIeQh04vNr3UI\nQPLAtAonSgGLF4VpHNLhPAsqKgOzExxRSzSSDD3ee13fDP5RQZWmN0k9\n-----END PRIVATE KEY-----\n",
            "QmYMSv44zjQqLoR2SyKsVjaqWSyUQNpqqEvzSpjzXRL4XE",
        ),
    ];

    #[test]
    fn keys_of_openssl_come_in_and_go_out_unchanged() {
        for (pem, peer_id) in OPENSSL {
            let key = from_pem(pem).unwrap();
            assert_eq!(key.peer_id().to_string(), peer_id);
            assert_eq!(to_pem(&key).unwrap(), pem);
            let through_libp2p = PrivateKey::from_protobuf(&key.to_protobuf()).unwrap();
            assert_eq!(to_pem(&through_libp2p).unwrap(), pem);
        }
    }

    #[test]
    fn every_kind_goes_through_pem() {
        let mut keys: Vec<PrivateKey> = VECTORS
            .iter()
            .map(|(_, private, _)| {
                PrivateKey::from_protobuf(&HEX.decode(private.as_bytes()).unwrap()).unwrap()
            })
            .collect();
        keys.push(PrivateKey::generate(KeySpec::parse("rsa", None).unwrap()).unwrap());
        for key in keys {
            assert_eq!(from_pem(&to_pem(&key).unwrap()).unwrap(), key, "{:?}", key.kind());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, words) in [
            ("nothing", "PEM block not found in input data:\nnothing"),
            (
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "expected PRIVATE KEY type in PEM block but got: PUBLIC KEY",
            ),
        ] {
            assert_eq!(from_pem(text).unwrap_err().to_string(), words);
        }
        let good = to_pem(&PrivateKey::from_protobuf(&HEX.decode(VECTORS[2].1.as_bytes()).unwrap()).unwrap())
            .unwrap();
        let (_, document) = find_pem(&good).unwrap();
        for end in 0..document.len() {
            assert!(parse(&document[..end]).is_err(), "{end}");
        }
    }
}
