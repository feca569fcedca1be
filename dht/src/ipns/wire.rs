//! The protobuf around a record, to the byte of the specification.
//!
//! `value` 1, `signatureV1` 2, `validityType` 3, `validity` 4, `sequence` 5, `ttl` 6, `pubKey` 7, `signatureV2` 8, `data` 9;
//! all optional, written in this order. Fields 1 to 6 are for readers of the first version.

use quick_protobuf::BytesReader;

const VALUE: u32 = 1 << 3 | LENGTH;
const SIGNATURE_V1: u32 = 2 << 3 | LENGTH;
const VALIDITY_TYPE: u32 = 3 << 3;
const VALIDITY: u32 = 4 << 3 | LENGTH;
const SEQUENCE: u32 = 5 << 3;
const TTL: u32 = 6 << 3;
const PUBLIC_KEY: u32 = 7 << 3 | LENGTH;
const SIGNATURE_V2: u32 = 8 << 3 | LENGTH;
const DATA: u32 = 9 << 3 | LENGTH;
/// Wire type of bytes.
const LENGTH: u32 = 2;

/// The fields. Absent and empty bytes mean the same, as they do to every reader of the format.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) value: Vec<u8>,
    pub(super) signature_v1: Vec<u8>,
    pub(super) validity_type: Option<u64>,
    pub(super) validity: Vec<u8>,
    pub(super) sequence: Option<u64>,
    pub(super) ttl_nanos: Option<u64>,
    pub(super) public_key: Vec<u8>,
    pub(super) signature_v2: Vec<u8>,
    pub(super) data: Vec<u8>,
}

impl Wire {
    /// Reads the message. Unknown fields are passed over; of a field that comes twice, the last one counts.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, quick_protobuf::Error> {
        let mut wire = Self::default();
        let mut reader = BytesReader::from_bytes(bytes);
        while !reader.is_eof() {
            match reader.next_tag(bytes)? {
                VALUE => wire.value = reader.read_bytes(bytes)?.to_vec(),
                SIGNATURE_V1 => wire.signature_v1 = reader.read_bytes(bytes)?.to_vec(),
                VALIDITY_TYPE => wire.validity_type = Some(reader.read_uint64(bytes)?),
                VALIDITY => wire.validity = reader.read_bytes(bytes)?.to_vec(),
                SEQUENCE => wire.sequence = Some(reader.read_uint64(bytes)?),
                TTL => wire.ttl_nanos = Some(reader.read_uint64(bytes)?),
                PUBLIC_KEY => wire.public_key = reader.read_bytes(bytes)?.to_vec(),
                SIGNATURE_V2 => wire.signature_v2 = reader.read_bytes(bytes)?.to_vec(),
                DATA => wire.data = reader.read_bytes(bytes)?.to_vec(),
                tag => reader.read_unknown(bytes, tag)?,
            }
        }
        Ok(wire)
    }

    /// Writes the message. Empty bytes are left out; numbers that are there are written even if they are 0.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.len() + self.value.len() + 384);
        put_bytes(&mut out, VALUE, &self.value);
        put_bytes(&mut out, SIGNATURE_V1, &self.signature_v1);
        put_number(&mut out, VALIDITY_TYPE, self.validity_type);
        put_bytes(&mut out, VALIDITY, &self.validity);
        put_number(&mut out, SEQUENCE, self.sequence);
        put_number(&mut out, TTL, self.ttl_nanos);
        put_bytes(&mut out, PUBLIC_KEY, &self.public_key);
        put_bytes(&mut out, SIGNATURE_V2, &self.signature_v2);
        put_bytes(&mut out, DATA, &self.data);
        out
    }

    /// Whether the record says something to readers of the first version.
    pub(super) fn has_v1(&self) -> bool {
        !self.signature_v1.is_empty() || !self.value.is_empty()
    }
}

fn put_bytes(out: &mut Vec<u8>, tag: u32, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_varint(out, u64::from(tag));
        put_varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

fn put_number(out: &mut Vec<u8>, tag: u32, number: Option<u64>) {
    if let Some(number) = number {
        put_varint(out, u64::from(tag));
        put_varint(out, number);
    }
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
