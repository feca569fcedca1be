//! Raw git objects: what they link to.
//!
//! A block is an object as git hashes it: `<type> <length>\0<content>`. Links are git-raw CIDs with SHA-1.

use super::DecodeError;
use crate::cid::{Cid, Multihash, codec};
use crate::hash::HashKind;

/// Bytes of an object's name in a tree.
const NAME_BYTES: usize = 20;

/// The children of an object: entries of a tree, tree and parents of a commit, target of a tag; none for a blob.
pub fn links(block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    let malformed = || DecodeError::malformed("invalid git object");
    let header = block.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
    let (header, content) = block.split_at_checked(header).ok_or_else(malformed)?;
    let content = content.get(1..).ok_or_else(malformed)?;
    let header = std::str::from_utf8(header).map_err(|_| malformed())?;
    let (kind, length) = header.split_once(' ').ok_or_else(malformed)?;
    if length.parse() != Ok(content.len()) {
        return Err(malformed());
    }
    match kind {
        "blob" => Ok(Vec::new()),
        "tree" => tree_links(content),
        "commit" => header_links(content, &["tree", "parent"]),
        "tag" => header_links(content, &["object"]),
        _ => Err(malformed()),
    }
}

/// Entries of a tree: `<mode> <name>\0<20 bytes>`, one after the other.
fn tree_links(mut content: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    let malformed = || DecodeError::malformed("invalid git tree");
    let mut links = Vec::new();
    while !content.is_empty() {
        let end = content.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let rest = content.get(end + 1..).ok_or_else(malformed)?;
        let (name, rest) = rest.split_first_chunk::<NAME_BYTES>().ok_or_else(malformed)?;
        links.push(object_cid(*name));
        content = rest;
    }
    Ok(links)
}

/// Lines `<field> <40 hex digits>` up to the first empty line.
fn header_links(content: &[u8], fields: &[&str]) -> Result<Vec<Cid>, DecodeError> {
    let malformed = || DecodeError::malformed("invalid git object header");
    let mut links = Vec::new();
    for line in content.split(|byte| *byte == b'\n').take_while(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        if let Some((field, digits)) = line.split_once(' ')
            && fields.contains(&field)
        {
            let bytes = multibase::Base::Base16Lower.decode(digits).map_err(|_| malformed())?;
            links.push(object_cid(bytes.try_into().map_err(|_| malformed())?));
        }
    }
    Ok(links)
}

fn object_cid(name: [u8; NAME_BYTES]) -> Cid {
    let hash = Multihash::wrap(HashKind::Sha1.code(), &name).expect("invariant: 20 bytes fit a multihash");
    Cid::new_v1(codec::GIT_RAW, hash)
}
