//! Bytes of one file: overwriting, appending, cutting.
//!
//! What lies in leaves already is overwritten there, each leaf keeping its length and kind. What goes beyond the end
//! is cut by the chunker and appended in the trickle layout; a gap before it is filled with zeros. The last leaf is
//! never filled up. Input is streamed: memory is the nodes on the way to one leaf, one chunk, and the new blocks
//! until they are handed out.

use std::io::Read;

use bytes::{Bytes, BytesMut};

use super::EditError;
use super::file_node::{FileNode, Part};
use super::input::Input;
use super::overlay::{Link, Overlay, builder_of};
use super::trickle::{Child, Trickle};
use crate::block::Block;
use crate::chunker::ChunkerSpec;
use crate::cid::{Cid, CidBuilder, codec};
use crate::import::{ImportParams, LeafFormat, SinkError};
use crate::read::{FILE_DEPTH_MAX, ReadError};
use crate::unixfs::Mtime;

/// Most links of a node to which leaves are appended (boxo `DefaultLinksPerBlock`). It is not configurable there.
pub const LINKS_MAX: usize = 174;

/// Length of the leaves that fill a gap with zeros: 4 KiB (boxo `expandSparse`).
pub const SPARSE_CHUNK_BYTES: u64 = 4 << 10;

/// Bytes of new blocks that are kept before they are handed out.
const FRESH_BYTES_MAX: usize = 4 << 20;

/// How a file is edited.
#[derive(Debug, Clone, Copy)]
pub struct FileRules {
    /// How appended bytes are cut.
    pub chunker: ChunkerSpec,
    /// Whether appended leaves are raw; `None` is: if the file has a CIDv1.
    pub raw_leaves: Option<bool>,
    /// What the modification time becomes with the content, where the file has one.
    pub now: Mtime,
}

/// Takes new blocks while a file is edited. From then on the source of the overlay has to have them.
pub type Drain<'a> = &'a mut dyn FnMut(Vec<Block>) -> Result<(), SinkError>;

/// A file that is being edited. Its root is in memory until [`FileEdit::finish`].
pub struct FileEdit<'o, 's> {
    overlay: &'o mut Overlay<'s>,
    rules: FileRules,
    raw_leaves: bool,
    cid: Cid,
    /// How new nodes are named: as the file was.
    builder: CidBuilder,
    root: Part,
    changed: bool,
}

impl<'o, 's> FileEdit<'o, 's> {
    /// An empty file node, as `files write --create` makes it.
    pub fn create(overlay: &mut Overlay<'_>, builder: CidBuilder) -> Link {
        FileNode::new(builder).write(overlay)
    }

    /// Opens a file.
    pub fn open(overlay: &'o mut Overlay<'s>, rules: FileRules, cid: Cid) -> Result<Self, EditError> {
        let builder = builder_of(&cid)?;
        let root = Part::load(overlay, &cid)?;
        let raw_leaves = rules.raw_leaves.unwrap_or(cid.version() != crate::cid::Version::V0);
        Ok(Self { overlay, rules, raw_leaves, cid, builder, root, changed: false })
    }

    /// Length of the file in bytes.
    pub fn size(&self) -> u64 {
        self.root.size()
    }

    /// Cuts the file to `size` bytes, or fills it up with zeros.
    pub fn truncate(&mut self, size: u64) -> Result<(), EditError> {
        match self.size() {
            now if size > now => self.fill(size - now)?,
            now if size < now => {
                self.changed = true;
                cut(self.overlay, &mut self.root, size, 0)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Writes all of `reader` from `offset` on. Of the blocks that exist only those that change are read.
    pub fn write_at(
        &mut self,
        offset: u64,
        reader: &mut dyn Read,
        drain: Drain<'_>,
    ) -> Result<(), EditError> {
        let size = self.size();
        if offset > size {
            self.fill(offset - size)?;
        }
        let mut input = Input::new(reader);
        if offset < size && !input.is_done()? {
            self.changed = true;
            let mut work = Overwrite { overlay: self.overlay, input: &mut input, drain };
            work.part(&mut self.root, offset, 0)?;
        }
        if !input.is_done()? {
            self.append(&mut input, drain)?;
        }
        Ok(())
    }

    /// Ends the edit: writes the root, and gives it with the length of the file.
    pub fn finish(mut self) -> Result<(Link, u64), EditError> {
        let size = self.size();
        if let Part::Node(node) = &mut self.root {
            if self.changed && node.mtime.is_some() {
                node.mtime = Some(self.rules.now);
            }
            // A file that fits one raw leaf is that leaf, as an import makes it.
            if let [only] = node.links.as_slice()
                && self.raw_leaves
                && node.own_bytes() == 0
                && node.mode.is_none_or(|mode| mode.trailing_zeros() >= 12)
                && node.mtime.is_none()
                && only.link.cid.codec() == codec::RAW
            {
                return Ok((only.link, size));
            }
        }
        Ok((self.root.write(self.overlay, &self.cid)?, size))
    }

    /// Appends what is left of the input.
    fn append(&mut self, input: &mut Input<'_>, drain: Drain<'_>) -> Result<(), EditError> {
        let format = self.leaves();
        let mut trickle = self.open_end()?;
        while let Some(chunk) = input.chunk(&self.rules.chunker)? {
            let leaf = leaf(self.overlay, self.builder, format, chunk);
            trickle.add(self.overlay, leaf);
            if self.overlay.fresh_bytes() > FRESH_BYTES_MAX {
                drain(self.overlay.drain()).map_err(EditError::Sink)?;
            }
        }
        self.close_end(trickle)
    }

    /// Appends zeros.
    fn fill(&mut self, bytes: u64) -> Result<(), EditError> {
        let limit = i64::MAX.cast_unsigned();
        self.size().checked_add(bytes).filter(|size| *size <= limit).ok_or(EditError::TooLarge)?;
        let format = self.leaves();
        let mut trickle = self.open_end()?;
        let zeros = Bytes::from_static(&[0; SPARSE_CHUNK_BYTES as usize]);
        if bytes >= SPARSE_CHUNK_BYTES {
            let leaf = leaf(self.overlay, self.builder, format, zeros.clone());
            trickle.add_repeated(self.overlay, leaf, bytes / SPARSE_CHUNK_BYTES);
        }
        let rest = zeros.slice(..(bytes % SPARSE_CHUNK_BYTES) as usize);
        if !rest.is_empty() {
            let leaf = leaf(self.overlay, self.builder, format, rest);
            trickle.add(self.overlay, leaf);
        }
        self.close_end(trickle)
    }

    /// How appended leaves look. Beside a raw one they are raw, whatever was asked for (boxo).
    fn leaves(&self) -> LeafFormat {
        let raw_leaves = self.raw_leaves || matches!(self.root, Part::Raw(_));
        LeafFormat::of(&ImportParams {
            raw_leaves,
            layout: crate::import::Layout::Trickle,
            ..ImportParams::default()
        })
    }

    fn open_end(&mut self) -> Result<Trickle, EditError> {
        self.changed = true;
        let root = match &mut self.root {
            Part::Node(node) => std::mem::replace(node, FileNode::new(self.builder)),
            Part::Raw(data) => {
                let size = data.len() as u64;
                let link = self.root.write(self.overlay, &self.cid)?;
                FileNode::with_child(self.builder, link, size)
            }
        };
        Trickle::open(self.overlay, root, self.builder, LINKS_MAX)
    }

    fn close_end(&mut self, trickle: Trickle) -> Result<(), EditError> {
        let root = trickle.close(self.overlay);
        let fits = root.size() <= i64::MAX.cast_unsigned();
        self.root = Part::Node(root);
        if fits { Ok(()) } else { Err(EditError::TooLarge) }
    }
}

/// Writes a leaf of the trickle layout.
fn leaf(overlay: &mut Overlay<'_>, builder: CidBuilder, format: LeafFormat, chunk: Bytes) -> Child {
    let size = chunk.len() as u64;
    let block = format.frame(chunk, None);
    let tsize = block.len() as u64;
    Child { link: Link { cid: overlay.add(builder, format.codec(), block), tsize }, size }
}

/// Overwrites what exists.
struct Overwrite<'w, 'o, 's, 'r> {
    overlay: &'w mut Overlay<'s>,
    input: &'w mut Input<'r>,
    drain: Drain<'o>,
}

impl Overwrite<'_, '_, '_, '_> {
    /// Overwrites a part from `offset` in it on, to its end or that of the input.
    fn part(&mut self, part: &mut Part, offset: u64, depth: usize) -> Result<(), EditError> {
        let node = match part {
            Part::Raw(data) => {
                *data = self.bytes(data, offset)?;
                return Ok(());
            }
            Part::Node(node) => node,
        };
        let own = node.own_bytes();
        if let Some(data) = node.data.as_ref().filter(|_| offset < own) {
            node.data = Some(self.bytes(data, offset)?);
        }
        let (mut offset, mut end) = (offset.max(own), own);
        for child in &mut node.links {
            let start = end;
            end = end.saturating_add(child.size);
            if end <= offset {
                continue;
            }
            if self.input.is_done()? {
                break;
            }
            if depth >= FILE_DEPTH_MAX {
                let cid = Box::new(child.link.cid);
                return Err(ReadError::TooDeep { cid, limit: FILE_DEPTH_MAX }.into());
            }
            let mut below = Part::load(self.overlay, &child.link.cid)?;
            if below.size() != child.size {
                let wrong = ReadError::inconsistent(&child.link.cid, "size differs from its parent's");
                return Err(wrong.into());
            }
            self.part(&mut below, offset - start, depth + 1)?;
            child.link = below.write(self.overlay, &child.link.cid)?;
            offset = end;
            if self.overlay.fresh_bytes() > FRESH_BYTES_MAX {
                (self.drain)(self.overlay.drain()).map_err(EditError::Sink)?;
            }
        }
        Ok(())
    }

    fn bytes(&mut self, old: &Bytes, offset: u64) -> Result<Bytes, EditError> {
        let mut new = BytesMut::from(&old[..]);
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if let Some(target) = new.get_mut(at..) {
            self.input.overwrite(target)?;
        }
        Ok(new.freeze())
    }
}

/// Cuts a part to `size` bytes, which are fewer than it has. The leaf in which the cut lies stays, even if it has no
/// bytes left (boxo).
fn cut(overlay: &mut Overlay<'_>, part: &mut Part, size: u64, depth: usize) -> Result<(), EditError> {
    let node = match part {
        Part::Raw(data) => {
            data.truncate(usize::try_from(size).unwrap_or(usize::MAX));
            return Ok(());
        }
        Part::Node(node) => node,
    };
    let own = node.own_bytes();
    if size < own || node.links.is_empty() {
        node.links.clear();
        if let Some(data) = &mut node.data {
            data.truncate(usize::try_from(size).unwrap_or(usize::MAX));
        }
        return Ok(());
    }
    let mut start = own;
    let kept = node.links.iter().take_while(|child| {
        let whole = size >= start.saturating_add(child.size);
        if whole {
            start = start.saturating_add(child.size);
        }
        whole
    });
    let kept = kept.count();
    let Some(child) = node.links.get(kept).copied() else { return Ok(()) };
    if depth >= FILE_DEPTH_MAX {
        let cid = Box::new(child.link.cid);
        return Err(ReadError::TooDeep { cid, limit: FILE_DEPTH_MAX }.into());
    }
    node.links.truncate(kept);
    if size == start && own > 0 && kept == 0 {
        return Ok(());
    }
    let mut below = Part::load(overlay, &child.link.cid)?;
    cut(overlay, &mut below, size - start, depth + 1)?;
    let link = below.write(overlay, &child.link.cid)?;
    node.push(link, size - start);
    Ok(())
}
