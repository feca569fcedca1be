//! What decides the shape of a DAG, and the named profiles.

use crate::chunker::{CHUNK_BYTES_DEFAULT, ChunkerSpec};
use crate::cid::{CidBuilder, DIGEST_BYTES_MAX, Version};
use crate::hash::HashKind;
use crate::pb::{link_encoded_len, varint_len};
use crate::unixfs::{Mtime, NodeType, UnixFs};

use super::ImportError;

/// How the leaves of a file are gathered under its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// All leaves at the same depth.
    #[default]
    Balanced,
    /// Early leaves near the root, for reading from the start; appending is cheap.
    Trickle,
}

/// How the size of a directory is estimated when it is decided whether to shard it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SizeEstimation {
    /// Sum of name and CID lengths.
    #[default]
    Links,
    /// Exact length of the dag-pb block.
    Block,
    /// By [`ImportParams::directory_links_max`] alone.
    Disabled,
}

/// What is kept of a file besides its content. `Default` is nothing, as in Kubo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct FileMeta {
    /// Unix mode; the low 12 bits are stored, and zero is not.
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Mtime>,
}

impl FileMeta {
    /// The mode as it is stored.
    pub(crate) fn mode_bits(self) -> Option<u32> {
        self.mode.map(|mode| mode & 0xfff).filter(|mode| *mode != 0)
    }
}

/// Parameters of an import. Equal parameters and content give equal CIDs; the defaults are those of Kubo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportParams {
    /// Version and hash function of CIDs. With v0 the root and inner nodes are v0, and raw leaves v1.
    pub cid: CidBuilder,
    /// Whether leaves are raw blocks (codec raw) instead of dag-pb ones.
    pub raw_leaves: bool,
    /// How files are cut.
    pub chunker: ChunkerSpec,
    /// How leaves are gathered.
    pub layout: Layout,
    /// Most links of a file node; at least 2.
    pub file_links_max: usize,
    /// Most links of an unsharded directory; 0 is no limit.
    pub directory_links_max: usize,
    /// Width of HAMT nodes: a power of two from 8 to 1,024.
    pub hamt_fanout: u16,
    /// Directories whose estimated size in bytes is greater than this are sharded; 0 is no limit.
    pub hamt_threshold_bytes: u64,
    /// How that size is estimated.
    pub hamt_estimation: SizeEstimation,
    /// Blocks of at most this many bytes become identity CIDs and are not stored; at most 128.
    pub inline_bytes_max: Option<usize>,
}

/// Widest HAMT node that is built or read (boxo).
pub const HAMT_FANOUT_MAX: u16 = 1024;

impl ImportParams {
    /// Profile `unixfs-v0-2015` (alias `legacy-cid-v0`), the default: CIDv0, 256 KiB in dag-pb leaves, 174 links.
    pub fn unixfs_v0_2015() -> Self {
        Self {
            cid: CidBuilder { version: Version::V0, hash: HashKind::Sha2_256 },
            raw_leaves: false,
            chunker: ChunkerSpec::size(CHUNK_BYTES_DEFAULT).unwrap_or_default(),
            layout: Layout::Balanced,
            file_links_max: 174,
            directory_links_max: 0,
            hamt_fanout: 256,
            hamt_threshold_bytes: 256 << 10,
            hamt_estimation: SizeEstimation::Links,
            inline_bytes_max: None,
        }
    }

    /// Profile `unixfs-v1-2025` (IPIP-499): CIDv1, 1 MiB in raw leaves, 1,024 links, directories sized by block.
    pub fn unixfs_v1_2025() -> Self {
        Self {
            cid: CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 },
            raw_leaves: true,
            chunker: ChunkerSpec::size(1 << 20).unwrap_or_default(),
            file_links_max: 1024,
            hamt_estimation: SizeEstimation::Block,
            ..Self::unixfs_v0_2015()
        }
    }

    /// The profile of this name, aliases included.
    pub fn profile(name: &str) -> Option<Self> {
        match name {
            "unixfs-v0-2015" | "legacy-cid-v0" => Some(Self::unixfs_v0_2015()),
            "unixfs-v1-2025" => Some(Self::unixfs_v1_2025()),
            _ => None,
        }
    }

    /// Refuses values that make no DAG.
    pub fn check(&self) -> Result<(), ImportError> {
        if self.file_links_max < 2 {
            return Err(ImportError::Params("file nodes need a maximum of at least 2 links".to_owned()));
        }
        if !self.hamt_fanout.is_power_of_two() || !(8..=HAMT_FANOUT_MAX).contains(&self.hamt_fanout) {
            return Err(ImportError::Params(format!(
                "HAMT fanout must be a positive power of 2 and multiple of 8, at most {HAMT_FANOUT_MAX}: {}",
                self.hamt_fanout
            )));
        }
        match self.inline_bytes_max {
            Some(limit) if limit > DIGEST_BYTES_MAX => Err(ImportError::Params(format!(
                "inline-limit {limit} exceeds maximum allowed size of {DIGEST_BYTES_MAX} bytes"
            ))),
            _ => Ok(()),
        }
    }
}

/// When a directory is sharded.
impl ImportParams {
    /// What a directory without entries counts for.
    pub(crate) fn directory_base_bytes(&self, meta: FileMeta) -> u64 {
        if self.hamt_estimation != SizeEstimation::Block {
            return 0;
        }
        let message =
            UnixFs { mode: meta.mode_bits(), mtime: meta.mtime, ..UnixFs::new(NodeType::Directory) };
        let len = message.encode().len();
        (1 + varint_len(len as u64) + len) as u64
    }

    /// What an entry counts for.
    pub(crate) fn entry_bytes(&self, name_len: usize, cid_len: usize, tsize: u64) -> u64 {
        match self.hamt_estimation {
            SizeEstimation::Links => (name_len + cid_len) as u64,
            SizeEstimation::Block => link_encoded_len(cid_len, name_len, tsize) as u64,
            SizeEstimation::Disabled => 0,
        }
    }

    /// Whether a directory with so many entries, which count for so much, is sharded.
    pub(crate) fn is_sharded(&self, entries: usize, estimate: u64) -> bool {
        if self.directory_links_max > 0 && entries > self.directory_links_max {
            return true;
        }
        self.hamt_threshold_bytes > 0 && estimate > self.hamt_threshold_bytes
    }

    /// Whether sharded directories ever go back into one block. Without any limit they stay what they are (boxo).
    pub(crate) fn may_unshard(&self) -> bool {
        let by_size = self.hamt_threshold_bytes > 0 && self.hamt_estimation != SizeEstimation::Disabled;
        by_size || self.directory_links_max > 0
    }
}

impl Default for ImportParams {
    fn default() -> Self {
        Self::unixfs_v0_2015()
    }
}
