//! The UnixFS message inside a dag-pb node's Data field.
//!
//! Fields: 1 Type, 2 Data, 3 filesize, 4 blocksizes (unpacked when written, both forms read), 5 hashType, 6 fanout,
//! 7 mode, 8 mtime { 1 seconds, 2 nanoseconds as fixed32 }. Unknown fields are skipped, as protobuf asks.

use quick_protobuf::BytesReader;

use crate::pb::{put_bytes, put_uint, put_varint};

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NodeType {
    /// Leaf bytes of a file, as the trickle layout and very old writers use.
    Raw = 0,
    /// A directory whose entries are the links of this one block.
    Directory = 1,
    /// A file, or a part of one.
    File = 2,
    /// Obsolete; kept so that it can be named in an error.
    Metadata = 3,
    /// A symbolic link; Data is its target.
    Symlink = 4,
    /// A node of a sharded directory (HAMT).
    HamtShard = 5,
}

impl NodeType {
    fn from_code(code: u64) -> Option<Self> {
        [Self::Raw, Self::Directory, Self::File, Self::Metadata, Self::Symlink, Self::HamtShard]
            .into_iter()
            .find(|kind| *kind as u64 == code)
    }
}

/// A modification time: seconds since 1970, which may be negative, and nanoseconds below 1e9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mtime {
    /// Seconds since the Unix epoch.
    pub seconds: i64,
    /// Nanoseconds, below 1,000,000,000; `None` where the field is absent.
    pub nanos: Option<u32>,
}

/// A decoded UnixFS message that borrows from its block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixFs<'a> {
    /// What the node is.
    pub kind: NodeType,
    /// File bytes, link target, or HAMT bitfield.
    pub data: Option<&'a [u8]>,
    /// Bytes of the file below this node, its own data included.
    pub filesize: Option<u64>,
    /// File bytes below each link, in order.
    pub blocksizes: Vec<u64>,
    /// HAMT hash function (0x22 = murmur3-x64-64).
    pub hash_type: Option<u64>,
    /// HAMT width.
    pub fanout: Option<u64>,
    /// Unix mode bits (the low 12).
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Mtime>,
}

/// Why bytes are not a UnixFS message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnixFsError {
    /// Not protobuf, or cut short.
    #[error("invalid unixfs: {0}")]
    Malformed(&'static str),
    /// A Type that does not exist.
    #[error("invalid unixfs: unrecognized node type {0}")]
    UnknownType(u64),
}

impl<'a> UnixFs<'a> {
    /// An empty message of a type.
    pub fn new(kind: NodeType) -> Self {
        let (data, filesize, hash_type, fanout, mode, mtime) = (None, None, None, None, None, None);
        Self { kind, data, filesize, blocksizes: Vec::new(), hash_type, fanout, mode, mtime }
    }

    /// Decodes a Data field. Memory is bounded by its length: 8 bytes a block size, which takes at least one.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, UnixFsError> {
        let cut = |_| UnixFsError::Malformed("truncated");
        let mut reader = BytesReader::from_bytes(bytes);
        let mut kind = None;
        let mut message = Self::new(NodeType::Raw);
        while !reader.is_eof() {
            let tag = reader.next_tag(bytes).map_err(cut)?;
            match (tag >> 3, tag & 7) {
                (1, 0) => kind = Some(reader.read_uint64(bytes).map_err(cut)?),
                (2, 2) => message.data = Some(reader.read_bytes(bytes).map_err(cut)?),
                (3, 0) => message.filesize = Some(reader.read_uint64(bytes).map_err(cut)?),
                (4, 0) => message.blocksizes.push(reader.read_uint64(bytes).map_err(cut)?),
                (4, 2) => {
                    let packed = reader.read_bytes(bytes).map_err(cut)?;
                    let mut inner = BytesReader::from_bytes(packed);
                    while !inner.is_eof() {
                        message.blocksizes.push(inner.read_uint64(packed).map_err(cut)?);
                    }
                }
                (5, 0) => message.hash_type = Some(reader.read_uint64(bytes).map_err(cut)?),
                (6, 0) => message.fanout = Some(reader.read_uint64(bytes).map_err(cut)?),
                (7, 0) => message.mode = Some(reader.read_uint32(bytes).map_err(cut)?),
                (8, 2) => message.mtime = Some(decode_mtime(reader.read_bytes(bytes).map_err(cut)?)?),
                (1..=8, _) => return Err(UnixFsError::Malformed("wrong wire type")),
                _ => reader.read_unknown(bytes, tag).map_err(cut)?,
            }
        }
        let code = kind.ok_or(UnixFsError::Malformed("no type"))?;
        message.kind = NodeType::from_code(code).ok_or(UnixFsError::UnknownType(code))?;
        Ok(message)
    }

    /// Encodes canonically: fields in order, absent ones left out, block sizes unpacked.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.data.map_or(0, <[u8]>::len) + 10 * self.blocksizes.len() + 48);
        put_uint(&mut out, 1, self.kind as u64);
        if let Some(data) = self.data {
            put_bytes(&mut out, 2, data);
        }
        if let Some(filesize) = self.filesize {
            put_uint(&mut out, 3, filesize);
        }
        for size in &self.blocksizes {
            put_uint(&mut out, 4, *size);
        }
        if let Some(hash_type) = self.hash_type {
            put_uint(&mut out, 5, hash_type);
        }
        if let Some(fanout) = self.fanout {
            put_uint(&mut out, 6, fanout);
        }
        if let Some(mode) = self.mode {
            put_uint(&mut out, 7, u64::from(mode));
        }
        if let Some(mtime) = self.mtime {
            put_bytes(&mut out, 8, &encode_mtime(mtime));
        }
        out
    }
}

fn decode_mtime(bytes: &[u8]) -> Result<Mtime, UnixFsError> {
    let cut = |_| UnixFsError::Malformed("truncated mtime");
    let mut reader = BytesReader::from_bytes(bytes);
    let (mut seconds, mut nanos) = (None, None);
    while !reader.is_eof() {
        let tag = reader.next_tag(bytes).map_err(cut)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => seconds = Some(reader.read_int64(bytes).map_err(cut)?),
            (2, 5) => nanos = Some(reader.read_fixed32(bytes).map_err(cut)?),
            (1 | 2, _) => return Err(UnixFsError::Malformed("wrong wire type in mtime")),
            _ => reader.read_unknown(bytes, tag).map_err(cut)?,
        }
    }
    match (seconds, nanos) {
        (None, _) => Err(UnixFsError::Malformed("mtime without seconds")),
        (_, Some(nanos)) if nanos > 999_999_999 => {
            Err(UnixFsError::Malformed("mtime nanoseconds over 999999999"))
        }
        (Some(seconds), nanos) => Ok(Mtime { seconds, nanos }),
    }
}

fn encode_mtime(mtime: Mtime) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    put_uint(&mut out, 1, mtime.seconds.cast_unsigned());
    if let Some(nanos) = mtime.nanos.filter(|nanos| *nanos > 0) {
        put_varint(&mut out, 2 << 3 | 5);
        out.extend_from_slice(&nanos.to_le_bytes());
    }
    out
}
