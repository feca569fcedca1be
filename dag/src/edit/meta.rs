//! Mode, modification time, and the kind of CID of a node.

use super::EditError;
use super::file_node::FileNode;
use super::overlay::{Link, Overlay, builder_of};
use crate::chunker::CHUNK_BYTES_MAX;
use crate::cid::{Cid, CidBuilder, Version, codec};
use crate::hash::HashKind;
use crate::pb::{put_bytes, put_link};
use crate::read::{ReadError, UnixFsNode};
use crate::unixfs::{Mtime, UnixFs};

/// What new metadata says of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Field<T> {
    /// Leave it as it is.
    #[default]
    Keep,
    /// Remove it.
    Clear,
    /// Set it.
    Set(T),
}

impl<T> Field<T> {
    fn apply(self, old: Option<T>) -> Option<T> {
        match self {
            Self::Keep => old,
            Self::Clear => None,
            Self::Set(new) => Some(new),
        }
    }
}

/// Sets or clears mode and modification time of a file, directory or symbolic link.
///
/// Of a mode the low 12 bits are stored; higher bits that are stored already stay, and a mode of zero clears it (boxo). A
/// raw block has no place for metadata: it becomes a dag-pb file node with the bytes in it, named by CIDv0, as in
/// Kubo; one that is too large for that is linked from such a node.
pub fn set(
    overlay: &mut Overlay<'_>,
    cid: &Cid,
    mode: Field<u32>,
    mtime: Field<Mtime>,
) -> Result<Link, EditError> {
    let block = overlay.get(cid)?;
    if cid.codec() == codec::RAW {
        let builder = CidBuilder { version: Version::V0, hash: HashKind::Sha2_256 };
        let mut node = if block.len() <= CHUNK_BYTES_MAX {
            FileNode::with_data(builder, block)
        } else {
            let tsize = block.len() as u64;
            FileNode::with_child(builder, Link { cid: *cid, tsize }, tsize)
        };
        node.mode = new_mode(mode, None);
        node.mtime = mtime.apply(None);
        return Ok(node.write(overlay));
    }
    if cid.codec() != codec::DAG_PB {
        return Err(ReadError::NotUnixFs { cid: Box::new(*cid) }.into());
    }
    let UnixFsNode { pb, fs } = UnixFsNode::decode(cid, &block)?;
    let message = UnixFs { mode: new_mode(mode, fs.mode), mtime: mtime.apply(fs.mtime), ..fs };
    let (mut out, mut tsize) = (Vec::with_capacity(block.len() + 24), 0_u64);
    for link in &pb.links {
        put_link(&mut out, &link.cid, link.name, link.tsize);
        tsize = tsize.saturating_add(link.tsize.unwrap_or(0));
    }
    put_bytes(&mut out, 1, &message.encode());
    tsize = tsize.saturating_add(out.len() as u64);
    Ok(Link { cid: overlay.add(builder_of(cid)?, codec::DAG_PB, out), tsize })
}

fn new_mode(mode: Field<u32>, old: Option<u32>) -> Option<u32> {
    let extended = old.unwrap_or(0) & !0xfff;
    match mode {
        Field::Keep => old,
        Field::Clear => Some(extended),
        Field::Set(mode) => Some(extended | (mode & 0xfff)),
    }
    .filter(|mode| *mode != 0)
}

/// Names a node by another version or hash function. What is below it keeps its names.
pub fn rename_cid(overlay: &mut Overlay<'_>, cid: &Cid, builder: CidBuilder) -> Result<Link, EditError> {
    let link = super::dir::link_to(overlay, cid)?;
    let block = overlay.get(cid)?;
    Ok(Link { cid: overlay.add(builder, cid.codec(), block), tsize: link.tsize })
}
