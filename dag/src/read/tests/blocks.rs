//! Blocks in memory, and builders that can also lie.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

use crate::cid::{Cid, CidBuilder, Version, codec};
use crate::hamt::{name_hash, place};
use crate::hash::HashKind;
use crate::pb::{self, PbLinkRef, PbNodeRef};
use crate::unixfs::{NodeType, UnixFs};

/// A child: CID, name, and its size as a link or a blocksize claims it.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) cid: Cid,
    pub(super) name: Vec<u8>,
    pub(super) size: u64,
}

impl Child {
    pub(super) fn named(name: impl AsRef<[u8]>, cid: Cid) -> Self {
        Self { cid, name: name.as_ref().to_vec(), size: 0 }
    }

    pub(super) fn part(cid: Cid, size: u64) -> Self {
        Self { cid, name: Vec::new(), size }
    }
}

#[derive(Debug, Default)]
pub(super) struct Blocks {
    pub(super) by_cid: HashMap<Cid, Bytes>,
    pub(super) v0: bool,
}

impl Blocks {
    pub(super) fn put(&mut self, codec: u64, block: Vec<u8>) -> Cid {
        let version = if self.v0 { Version::V0 } else { Version::V1 };
        let cid = CidBuilder { version, hash: HashKind::Sha2_256 }.cid_of(codec, &[&block]);
        self.by_cid.insert(cid, block.into());
        cid
    }

    pub(super) fn get(&self, cid: &Cid) -> Bytes {
        self.by_cid.get(cid).unwrap_or_else(|| panic!("no block {cid}")).clone()
    }

    pub(super) fn raw(&mut self, data: &[u8]) -> Cid {
        self.put(codec::RAW, data.to_vec())
    }

    /// A dag-pb block with UnixFS data.
    pub(super) fn pb(&mut self, fs: &UnixFs<'_>, children: &[Child]) -> Cid {
        let data = fs.encode();
        self.put(codec::DAG_PB, pb_block(Some(&data), children))
    }

    /// A file in one dag-pb block.
    pub(super) fn leaf(&mut self, data: &[u8]) -> Cid {
        let fs =
            UnixFs { data: Some(data), filesize: Some(data.len() as u64), ..UnixFs::new(NodeType::File) };
        self.pb(&fs, &[])
    }

    /// An inner node of a file, with data of its own.
    pub(super) fn inner(&mut self, data: &[u8], children: &[Child]) -> Cid {
        let sizes: Vec<u64> = children.iter().map(|child| child.size).collect();
        let filesize = data.len() as u64 + sizes.iter().sum::<u64>();
        let data = (!data.is_empty()).then_some(data);
        let fs = UnixFs { data, filesize: Some(filesize), blocksizes: sizes, ..UnixFs::new(NodeType::File) };
        self.pb(&fs, children)
    }

    pub(super) fn symlink(&mut self, target: &[u8]) -> Cid {
        self.pb(&UnixFs { data: Some(target), ..UnixFs::new(NodeType::Symlink) }, &[])
    }

    pub(super) fn dir(&mut self, children: &[Child]) -> Cid {
        self.pb(&UnixFs::new(NodeType::Directory), children)
    }

    /// A shard from positions and link names as they are.
    pub(super) fn shard(&mut self, fanout: u64, bitfield: &[u8], children: &[Child]) -> Cid {
        let fs = UnixFs {
            data: Some(bitfield),
            hash_type: Some(0x22),
            fanout: Some(fanout),
            ..UnixFs::new(NodeType::HamtShard)
        };
        self.pb(&fs, children)
    }

    /// A sharded directory of these entries.
    pub(super) fn hamt(&mut self, fanout: u64, entries: &BTreeMap<Vec<u8>, Cid>, depth: u32) -> Cid {
        let digits = format!("{:X}", fanout - 1).len();
        let mut slots: BTreeMap<u16, BTreeMap<Vec<u8>, Cid>> = BTreeMap::new();
        for (name, cid) in entries {
            let position = place(name_hash(name), depth, fanout as u16).unwrap();
            slots.entry(position).or_default().insert(name.clone(), *cid);
        }
        let mut bitfield = vec![0_u8; fanout as usize / 8];
        let mut children = Vec::new();
        for (position, slot) in slots {
            let at = bitfield.len() - 1 - position as usize / 8;
            bitfield[at] |= 1 << (position % 8);
            let prefix = format!("{position:0digits$X}").into_bytes();
            children.push(match slot.first_key_value() {
                Some((name, cid)) if slot.len() == 1 => Child::named([prefix, name.clone()].concat(), *cid),
                _ => Child::named(prefix, self.hamt(fanout, &slot, depth + 1)),
            });
        }
        let leading_zeros = bitfield.iter().take_while(|byte| **byte == 0).count();
        self.shard(fanout, &bitfield[leading_zeros..], &children)
    }
}

/// A dag-pb block with any data and links.
pub(super) fn pb_block(data: Option<&[u8]>, children: &[Child]) -> Vec<u8> {
    let links = children
        .iter()
        .map(|child| PbLinkRef { cid: child.cid, name: Some(&child.name), tsize: Some(child.size) })
        .collect();
    pb::encode(&PbNodeRef { links, data })
}

/// An identity CID around a block.
pub(super) fn identity(codec: u64, block: &[u8]) -> Cid {
    CidBuilder { version: Version::V1, hash: HashKind::Identity }.cid_of(codec, &[block])
}
