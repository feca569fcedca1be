//! Records of names (IPNS) made by hand, right and wrong in each part, and the messages of the DHT that carry them.
//!
//! Written from the specification of IPNS records and from the rules of go-libp2p-kad-dht; docs/names.md has both to the byte.

use libp2p::PeerId;
use libp2p::identity::Keypair;

use super::words::{bytes_field, fields, framed, number_field};

/// The DHT of a local network.
pub const LAN_DHT: &str = "/ipfs/lan/kad/1.0.0";

/// Bytes of a message of the DHT, at most.
pub const DHT_MESSAGE_BYTES_MAX: usize = 1 << 22;

const PUT_VALUE: u64 = 0;
const GET_VALUE: u64 = 1;

/// A time to live of an hour, in nanoseconds.
const TTL_NANOS: u64 = 3_600_000_000_000;

/// What a record says.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'t> {
    /// A content path.
    pub value: &'t str,
    /// Its number.
    pub sequence: u64,
    /// Its end of life: RFC 3339.
    pub validity: &'t str,
}

/// A record in its parts, each of which a test may change before it is written.
#[derive(Debug, Clone)]
pub struct Parts {
    /// What the fields for programs of the first version say.
    pub value: Vec<u8>,
    /// The signature of the first version.
    pub signature_v1: Vec<u8>,
    /// The number, as those fields say it.
    pub sequence: u64,
    /// The end of life, as those fields say it.
    pub validity: Vec<u8>,
    /// libp2p's `PublicKey`; absent where the name holds the key.
    pub public_key: Option<Vec<u8>>,
    /// The signature of the second version.
    pub signature_v2: Option<Vec<u8>>,
    /// The signed document.
    pub data: Option<Vec<u8>>,
}

impl Parts {
    /// A record that says `terms`, signed with `key` in both versions.
    ///
    /// # Panics
    /// When the key cannot sign.
    pub fn signed(key: &Keypair, terms: Terms<'_>) -> Self {
        let data = document(terms);
        let first = [terms.value.as_bytes(), terms.validity.as_bytes(), b"EOL"].concat();
        let second = [b"ipns-signature:", data.as_slice()].concat();
        Self {
            value: terms.value.into(),
            signature_v1: key.sign(&first).expect("a key that signs"),
            sequence: terms.sequence,
            validity: terms.validity.into(),
            public_key: None,
            signature_v2: Some(key.sign(&second).expect("a key that signs")),
            data: Some(data),
        }
    }

    /// The record as bytes.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        bytes_field(&mut out, 1, &self.value);
        bytes_field(&mut out, 2, &self.signature_v1);
        number_field(&mut out, 3, 0);
        bytes_field(&mut out, 4, &self.validity);
        number_field(&mut out, 5, self.sequence);
        number_field(&mut out, 6, TTL_NANOS);
        for (number, part) in [(7, &self.public_key), (8, &self.signature_v2), (9, &self.data)] {
            if let Some(bytes) = part {
                bytes_field(&mut out, number, bytes);
            }
        }
        out
    }
}

/// The document in canonical DAG-CBOR: a map whose keys are sorted by length, then by bytes.
fn document(terms: Terms<'_>) -> Vec<u8> {
    let mut out = vec![0xa5];
    let key = |out: &mut Vec<u8>, key: &str| {
        head(out, 3, key.len() as u64);
        out.extend_from_slice(key.as_bytes());
    };
    let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
        head(out, 2, bytes.len() as u64);
        out.extend_from_slice(bytes);
    };
    key(&mut out, "TTL");
    head(&mut out, 0, TTL_NANOS);
    key(&mut out, "Value");
    bytes(&mut out, terms.value.as_bytes());
    key(&mut out, "Sequence");
    head(&mut out, 0, terms.sequence);
    key(&mut out, "Validity");
    bytes(&mut out, terms.validity.as_bytes());
    key(&mut out, "ValidityType");
    head(&mut out, 0, 0);
    out
}

/// The beginning of a CBOR item: its kind, and a number in as few bytes as it takes.
fn head(out: &mut Vec<u8>, kind: u8, number: u64) {
    let kind = kind << 5;
    let bytes = number.to_be_bytes();
    match number {
        0..=23 => out.push(kind | number as u8),
        24..=0xff => out.extend([kind | 0x18, number as u8]),
        0x100..=0xffff => {
            out.push(kind | 0x19);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..=0xffff_ffff => {
            out.push(kind | 0x1a);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(kind | 0x1b);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Under which key the DHT keeps the record of a name.
pub fn routing_key(name: &PeerId) -> Vec<u8> {
    [b"/ipns/", name.to_bytes().as_slice()].concat()
}

/// The message that puts a record under a key.
pub fn put_value(key: &[u8], record: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    bytes_field(&mut kept, 1, key);
    bytes_field(&mut kept, 2, record);
    let mut message = Vec::new();
    number_field(&mut message, 1, PUT_VALUE);
    bytes_field(&mut message, 2, key);
    bytes_field(&mut message, 3, &kept);
    framed(&message)
}

/// The message that asks for the record under a key.
pub fn get_value(key: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    number_field(&mut message, 1, GET_VALUE);
    bytes_field(&mut message, 2, key);
    framed(&message)
}

/// The record that a message of the DHT carries.
pub fn record_in(message: &[u8]) -> Option<Vec<u8>> {
    let (_, kept) = fields(message).into_iter().find(|(number, _)| *number == 3)?;
    let (_, record) = fields(kept).into_iter().find(|(number, _)| *number == 2)?;
    Some(record.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_canonical() {
        let written = document(Terms { value: "/ipfs/a", sequence: 300, validity: "2100" });
        let text = "a5 63 54544c 1b 0000034630b8a000 65 56616c7565 47 2f697066732f61 68 53657175656e6365 19 012c \
                    68 56616c6964697479 44 32313030 6c 56616c696469747954797065 00";
        let digits: Vec<char> = text.chars().filter(|letter| !letter.is_whitespace()).collect();
        let expected: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap())
            .collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn what_is_put_can_be_read() {
        let message = put_value(b"key", b"record");
        assert_eq!(record_in(&message[1..]), Some(b"record".to_vec()));
        assert_eq!(record_in(&get_value(b"key")[1..]), None);
    }
}
