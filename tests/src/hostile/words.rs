//! What a hostile peer says: messages of Bitswap, made by hand, and frames that are none.

use sha2::{Digest as _, Sha256};

/// The identity of a raw block: CIDv1, codec raw, SHA-256.
pub fn raw_cid(data: &[u8]) -> Vec<u8> {
    let mut cid = RAW_PREFIX.to_vec();
    cid.extend_from_slice(&Sha256::digest(data));
    cid
}

/// What stands before the digest of such a CID, and is all that a message says of one.
pub const RAW_PREFIX: [u8; 4] = [0x01, 0x55, 0x12, 0x20];

/// A binary CIDv1 as text, in base32.
pub fn text(cid: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let (mut out, mut bits, mut count) = (String::from("b"), 0_u32, 0);
    for byte in cid {
        bits = bits << 8 | u32::from(*byte);
        count += 8;
        while count >= 5 {
            count -= 5;
            out.push(char::from(LETTERS[(bits >> count & 31) as usize]));
        }
    }
    if count > 0 {
        out.push(char::from(LETTERS[(bits << (5 - count) & 31) as usize]));
    }
    out
}

/// A CIDv1 in base32 as bytes.
///
/// # Panics
/// When it is another kind of text.
pub fn binary(cid: &str) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in cid.strip_prefix('b').expect("base32").bytes() {
        let value = match letter {
            b'a'..=b'z' => letter - b'a',
            b'2'..=b'7' => letter - b'2' + 26,
            other => panic!("{other} is no letter of base32"),
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    out
}

/// A number as protobuf and multiformats write it.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A field that holds bytes, or a message.
pub fn bytes_field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A field that holds a number.
pub fn number_field(out: &mut Vec<u8>, number: u64, value: u64) {
    varint(out, number << 3);
    varint(out, value);
}

/// A message with its length before it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 5);
    varint(&mut out, message.len() as u64);
    out.extend_from_slice(message);
    out
}

/// The highest priority that a want may have.
pub const PRIORITY_MAX: u64 = 0x7fff_ffff;

/// A message of Bitswap that wants these blocks, all with the same priority.
pub fn wants(cids: &[Vec<u8>], priority: u64) -> Vec<u8> {
    wantlist(cids, priority, 0)
}

/// A message of Bitswap that asks whether these are there.
pub fn questions(cids: &[Vec<u8>]) -> Vec<u8> {
    wantlist(cids, 1, 1)
}

fn wantlist(cids: &[Vec<u8>], priority: u64, kind: u64) -> Vec<u8> {
    let mut list = Vec::new();
    for cid in cids {
        let mut entry = Vec::new();
        bytes_field(&mut entry, 1, cid);
        number_field(&mut entry, 2, priority);
        number_field(&mut entry, 4, kind);
        number_field(&mut entry, 5, 1);
        bytes_field(&mut list, 1, &entry);
    }
    let mut message = Vec::new();
    bytes_field(&mut message, 1, &list);
    message
}

/// A message of Bitswap 1.1 and 1.2 with blocks, each said to have the prefix of a raw one.
pub fn blocks(data: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    for data in data {
        let mut block = Vec::new();
        bytes_field(&mut block, 1, &RAW_PREFIX);
        bytes_field(&mut block, 2, data);
        bytes_field(&mut message, 3, &block);
    }
    message
}

/// A message of Bitswap 1.0 with blocks.
pub fn old_blocks(data: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    for data in data {
        bytes_field(&mut message, 2, data);
    }
    message
}

/// A message that says HAVE of these.
pub fn haves(cids: &[Vec<u8>]) -> Vec<u8> {
    let mut message = Vec::new();
    for cid in cids {
        let mut presence = Vec::new();
        bytes_field(&mut presence, 1, cid);
        number_field(&mut presence, 2, 0);
        bytes_field(&mut message, 4, &presence);
    }
    message
}

/// What a line of a wantlist asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// The block.
    Block,
    /// Whether it is there.
    Have,
    /// Nothing any more.
    Cancel,
}

/// The lines of the wantlist that a message of Bitswap carries: what is asked, and of which CID.
pub fn lines(message: &[u8]) -> Vec<(Ask, Vec<u8>)> {
    let lists = fields(message).into_iter().filter(|(number, _)| *number == 1);
    let entries = lists.flat_map(|(_, list)| fields(list)).filter(|(number, _)| *number == 1);
    let line = |entry: &[u8]| {
        let all = values(entry);
        let is_set = |number| all.contains(&(number, Value::Number(1)));
        let cid = all.iter().find_map(|(number, value)| match value {
            Value::Bytes(bytes) if *number == 1 => Some(bytes.to_vec()),
            _ => None,
        })?;
        let ask = if is_set(3) {
            Ask::Cancel
        } else if is_set(4) {
            Ask::Have
        } else {
            Ask::Block
        };
        Some((ask, cid))
    };
    entries.filter_map(|(_, entry)| line(entry)).collect()
}

/// The CIDs that a message of Bitswap wants, whichever way.
pub fn wanted(message: &[u8]) -> Vec<Vec<u8>> {
    lines(message).into_iter().filter(|(ask, _)| *ask != Ask::Cancel).map(|(_, cid)| cid).collect()
}

/// The blocks that a message of Bitswap 1.1 or 1.2 carries.
pub fn blocks_in(message: &[u8]) -> Vec<Vec<u8>> {
    let carried = fields(message).into_iter().filter(|(number, _)| *number == 3);
    let data = carried.filter_map(|(_, block)| fields(block).into_iter().find(|(number, _)| *number == 2));
    data.map(|(_, data)| data.to_vec()).collect()
}

/// The CIDs that a message of Bitswap 1.2 says are there, and those that are not.
pub fn presences_in(message: &[u8]) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for (_, presence) in fields(message).into_iter().filter(|(number, _)| *number == 4) {
        let is_missing = values(presence).contains(&(2, Value::Number(1)));
        let cid = fields(presence).into_iter().find(|(number, _)| *number == 1);
        let list = if is_missing { &mut missing } else { &mut there };
        list.extend(cid.map(|(_, cid)| cid.to_vec()));
    }
    (there, missing)
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'m> {
    /// A number.
    Number(u64),
    /// Bytes, or a message.
    Bytes(&'m [u8]),
}

/// The fields of a message that hold bytes, as far as it can be read.
pub fn fields(message: &[u8]) -> Vec<(u64, &[u8])> {
    let bytes = |(number, value)| match value {
        Value::Bytes(bytes) => Some((number, bytes)),
        Value::Number(_) => None,
    };
    values(message).into_iter().filter_map(bytes).collect()
}

/// The fields of a message with their numbers, as far as it can be read.
pub fn values(mut message: &[u8]) -> Vec<(u64, Value<'_>)> {
    fn number(message: &mut &[u8]) -> Option<u64> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let (byte, rest) = message.split_first()?;
            *message = rest;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
    }
    let mut found = Vec::new();
    while let Some(key) = number(&mut message) {
        let value = match (key & 7, number(&mut message)) {
            (0, Some(value)) => Value::Number(value),
            (2, Some(length)) if length as usize <= message.len() => {
                let (bytes, rest) = message.split_at(length as usize);
                message = rest;
                Value::Bytes(bytes)
            }
            _ => break,
        };
        found.push((key >> 3, value));
    }
    found
}

/// Frames that are malformed in every way that a length and a protobuf message can be, and `noise`, which is none at all.
pub fn malformed(noise: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let cut = |message: &[u8]| framed(message)[..message.len() / 2].to_vec();
    let nested = (0..1000).fold(Vec::new(), |inner, _| {
        let mut outer = Vec::new();
        bytes_field(&mut outer, 1, &inner);
        outer
    });
    let mut long_field = Vec::new();
    varint(&mut long_field, 1 << 3 | 2);
    varint(&mut long_field, u64::MAX >> 1);
    vec![
        ("nothing", Vec::new()),
        ("noise", noise.to_vec()),
        ("a frame of noise", framed(noise)),
        ("an empty frame", framed(&[])),
        ("a length without an end", vec![0xff; 64]),
        ("a length of 2^63", [framed(&[]), vec![0xff; 9], vec![0x01]].concat()),
        ("a length of 1 GiB, and a little", [vec![0x80, 0x80, 0x80, 0x80, 0x04], noise.to_vec()].concat()),
        ("a frame that is cut", cut(noise)),
        ("a message in a message, a thousand deep", framed(&nested)),
        ("a field that is longer than all", framed(&long_field)),
        ("wire types that there are none of", framed(&[0x0f; 100])),
        ("a thousand empty fields", framed(&[0x0a, 0x00].repeat(1000))),
        ("text", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_can_be_read() {
        let cids: Vec<Vec<u8>> = [&b"a"[..], b"b"].map(raw_cid).into();
        assert_eq!(wanted(&wants(&cids, PRIORITY_MAX)), cids);
        assert_eq!(lines(&wants(&cids, 1))[1], (Ask::Block, cids[1].clone()));
        assert_eq!(blocks_in(&blocks(&[vec![1], vec![2]])), [[1], [2]]);
        assert_eq!(binary(&text(&cids[1])), cids[1]);
        assert!(text(&cids[0]).starts_with("bafkrei"), "as every raw block with SHA-256");
        assert_eq!(framed(&[7; 200])[..2], [0xc8, 0x01]);
    }
}
