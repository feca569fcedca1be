//! The few lines of dag-pb, CID and CARv1 that hostile and generated DAGs need, and that read an archive back.
//!
//! Written apart from the node's own codecs on purpose, and able to write what those would refuse.

use sha2::{Digest, Sha256};

const RAW: u64 = 0x55;
const DAG_PB: u64 = 0x70;
const DAG_CBOR: u64 = 0x71;

/// UnixFS node types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Directory = 1,
    /// A file, or a part of one.
    File = 2,
    /// A symbolic link.
    Symlink = 4,
}

/// A block with its CID.
#[derive(Debug, Clone)]
pub struct Block {
    cid: Vec<u8>,
    data: Vec<u8>,
    /// The size of this block and all below it, as links state it.
    tsize: u64,
    /// The file bytes in and below it.
    filesize: u64,
}

impl Block {
    fn new(codec: u64, data: Vec<u8>, below: u64, filesize: u64) -> Self {
        let mut cid = varint(1);
        cid.extend(varint(codec));
        cid.extend([0x12, 0x20]);
        cid.extend(Sha256::digest(&data));
        let tsize = data.len() as u64 + below;
        Self { cid, data, tsize, filesize }
    }

    /// A raw block.
    pub fn raw(data: Vec<u8>) -> Self {
        let len = data.len() as u64;
        Self::new(RAW, data, 0, len)
    }

    /// A file over these parts, in this order.
    pub fn file(parts: &[Self]) -> Self {
        let links: Vec<(&[u8], &Self)> = parts.iter().map(|part| (&b""[..], part)).collect();
        let filesize = parts.iter().map(|part| part.filesize).sum();
        let sizes: Vec<u64> = parts.iter().map(|part| part.filesize).collect();
        Self::node(Kind::File, b"", &links, Some((filesize, &sizes)))
    }

    /// A folder with these entries; names are taken as they are, hostile ones too.
    pub fn directory(entries: &[(&[u8], &Self)]) -> Self {
        Self::node(Kind::Directory, b"", entries, None)
    }

    /// A symbolic link.
    pub fn symlink(target: &[u8]) -> Self {
        Self::node(Kind::Symlink, target, &[], None)
    }

    /// A dag-cbor node of a chain: `{"n": number, "next": the node before or null}`.
    pub fn link_of_chain(number: u16, next: Option<&Self>) -> Self {
        let mut data = vec![0xa2, 0x61, b'n', 0x19];
        // Numbers below 256 have a shorter form, which is the only one allowed.
        match u8::try_from(number) {
            Ok(small @ 0..24) => *data.last_mut().unwrap() = small,
            Ok(byte) => {
                *data.last_mut().unwrap() = 0x18;
                data.push(byte);
            }
            Err(_) => data.extend(number.to_be_bytes()),
        }
        data.push(0x64);
        data.extend(b"next");
        match next {
            Some(next) => {
                data.extend([0xd8, 0x2a, 0x58, u8::try_from(next.cid.len() + 1).unwrap(), 0x00]);
                data.extend(&next.cid);
            }
            None => data.push(0xf6),
        }
        Self::new(DAG_CBOR, data, next.map_or(0, |next| next.tsize), 0)
    }

    fn node(kind: Kind, payload: &[u8], links: &[(&[u8], &Self)], sizes: Option<(u64, &[u64])>) -> Self {
        let mut unixfs = vec![0x08, kind as u8];
        if !payload.is_empty() {
            unixfs.extend(field(0x12, payload));
        }
        if let Some((filesize, parts)) = sizes {
            unixfs.push(0x18);
            unixfs.extend(varint(filesize));
            for part in parts {
                unixfs.push(0x20);
                unixfs.extend(varint(*part));
            }
        }
        let mut data = Vec::new();
        for (name, child) in links {
            let mut link = field(0x0a, &child.cid);
            link.extend(field(0x12, name));
            link.push(0x18);
            link.extend(varint(child.tsize));
            data.extend(field(0x12, &link));
        }
        data.extend(field(0x0a, &unixfs));
        let below = links.iter().map(|(_, child)| child.tsize).sum();
        Self::new(DAG_PB, data, below, sizes.map_or(0, |(filesize, _)| filesize))
    }

    /// The CID as text (base32, version 1).
    pub fn cid(&self) -> String {
        base32(&self.cid)
    }

    /// The block's bytes.
    pub fn data(&self) -> &[u8] {
        &self.data
    }
}

/// A CARv1 with one root.
pub fn car(root: &Block, blocks: &[&Block]) -> Vec<u8> {
    // dag-cbor of {"roots": [root], "version": 1}: the link is tag 42 over 0x00 and the CID.
    let mut header = vec![0xa2, 0x65];
    header.extend(b"roots");
    header.extend([0x81, 0xd8, 0x2a, 0x58, u8::try_from(root.cid.len() + 1).unwrap(), 0x00]);
    header.extend(&root.cid);
    header.push(0x67);
    header.extend(b"version");
    header.push(0x01);
    let mut out = varint(header.len() as u64);
    out.extend(header);
    for block in blocks {
        out.extend(varint((block.cid.len() + block.data.len()) as u64));
        out.extend(&block.cid);
        out.extend(&block.data);
    }
    out
}

/// The roots and the blocks of a CARv1, as CIDs in text with their bytes.
///
/// # Panics
/// When the bytes are none, or end early.
#[track_caller]
pub fn read_car(car: &[u8]) -> (Vec<String>, Vec<(String, Vec<u8>)>) {
    let mut at = 0;
    let header_len = usize::try_from(read_varint(car, &mut at)).unwrap();
    let header = &car[at..at + header_len];
    at += header_len;
    // Links are tag 42 over a byte string of less than 256 bytes that begins with 0.
    let mut roots = Vec::new();
    for place in header.windows(3).enumerate().filter(|(_, window)| *window == [0xd8, 0x2a, 0x58]) {
        let start = place.0 + 5;
        roots.push(cid_text(&header[start..start + usize::from(header[place.0 + 3]) - 1]));
    }
    // A short link has its length in the head of the string.
    for place in header.windows(2).enumerate().filter(|(_, window)| *window == [0xd8, 0x2a]) {
        let head = header[place.0 + 2];
        if (0x41..0x58).contains(&head) {
            let start = place.0 + 4;
            roots.push(cid_text(&header[start..start + usize::from(head - 0x40) - 1]));
        }
    }
    let mut blocks = Vec::new();
    while at < car.len() {
        let len = usize::try_from(read_varint(car, &mut at)).unwrap();
        let section = &car[at..at + len];
        let cid_len = cid_len(section);
        blocks.push((cid_text(&section[..cid_len]), section[cid_len..].to_vec()));
        at += len;
    }
    (roots, blocks)
}

fn read_varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut number = 0;
    for place in 0.. {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn cid_len(bytes: &[u8]) -> usize {
    if bytes.starts_with(&[0x12, 0x20]) {
        return 34;
    }
    let mut at = 0;
    for _ in 0..3 {
        read_varint(bytes, &mut at);
    }
    let digest = usize::try_from(read_varint(bytes, &mut at)).unwrap();
    at + digest
}

/// A binary CID as text: base58 for version 0, base32 for version 1.
pub fn cid_text(cid: &[u8]) -> String {
    if cid.starts_with(&[0x12, 0x20]) { base58(cid) } else { base32(cid) }
}

fn base58(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    // Digits, the last first.
    let mut digits: Vec<u32> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += *digit << 8;
            *digit = carry % 58;
            carry /= 58;
        }
        while carry > 0 {
            digits.push(carry % 58);
            carry /= 58;
        }
    }
    digits.iter().rev().map(|digit| char::from(ALPHABET[usize::try_from(*digit).unwrap()])).collect()
}

fn field(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(varint(bytes.len() as u64));
    out.extend(bytes);
    out
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap();
        number >>= 7;
        if number == 0 {
            out.push(low);
            return out;
        }
        out.push(low | 0x80);
    }
}

fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut out = String::from("b");
    for five in bytes.chunks(5) {
        let mut word = [0_u8; 8];
        word[3..3 + five.len()].copy_from_slice(five);
        let word = u64::from_be_bytes(word);
        for place in 0..(five.len() * 8).div_ceil(5) {
            let digit = (word >> (35 - 5 * place)) & 31;
            out.push(char::from(ALPHABET[usize::try_from(digit).unwrap()]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_blocks_have_their_known_cids() {
        let hello = Block::raw(b"hello world".to_vec());
        assert_eq!(hello.cid(), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
        let empty = Block::directory(&[]);
        assert_eq!(empty.cid(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
        let mars = Block::raw(b"Hello Mars!\n".to_vec());
        let venus = Block::raw(b"Hello Venus!\n".to_vec());
        let planets = Block::directory(&[(b"mars.txt", &mars), (b"venus.txt", &venus)]);
        assert_eq!(planets.cid(), "bafybeih7e5dmkyk25up5vxug4q3hrg2fxbzf23dfrac2fns5h7z4aa7ioi");
        let (roots, blocks) = read_car(&car(&planets, &[&planets, &mars]));
        assert_eq!(roots, [planets.cid()]);
        assert_eq!(blocks, [(planets.cid(), planets.data.clone()), (mars.cid(), mars.data.clone())]);
        let v0: Vec<u8> = [vec![0x12, 0x20], Sha256::digest(&empty.data).to_vec()].concat();
        assert_eq!(cid_text(&v0), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    }
}
