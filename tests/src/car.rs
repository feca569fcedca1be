//! The few lines of dag-pb, CID and CARv1 that hostile and generated DAGs need.
//!
//! Written apart from the node's own codecs on purpose, and able to write what those would refuse.

use sha2::{Digest, Sha256};

const RAW: u64 = 0x55;
const DAG_PB: u64 = 0x70;

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
    }
}
