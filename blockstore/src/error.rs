//! One error enum an operation. All are cheap to clone: a failed sync is told to everyone who waited for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_dag::cid::Cid;
use holdfast_dag::hash::HashPolicyError;

use crate::rows::hex;

/// Why the index could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// RocksDB reports an error.
    #[error("index: {0}{advice}", advice = advice(.0))]
    Rocks(#[from] rocksdb::Error),
    /// A row does not have the format that `docs/disk-format.md` gives it.
    #[error(
        "index: malformed row{} in family {family}: {reason}; 'holdfast repo rebuild' makes a new index",
        named(key.as_deref())
    )]
    Row {
        /// Column family.
        family: &'static str,
        /// What is wrong.
        reason: &'static str,
        /// Its key in hexadecimal digits, where it is known.
        key: Option<Box<str>>,
    },
    /// A file of the index is damaged in a way that RocksDB does not notice: reading it would not end.
    #[error(
        "index: the record at byte {at} of {} is damaged; 'holdfast repo rebuild' makes a new index from the stored \
         blocks and keeps what it can read of the pins",
        file.display()
    )]
    Record {
        /// Log or manifest.
        file: PathBuf,
        /// Where the record begins.
        at: usize,
    },
    /// The files of the index could not be read before opening it.
    #[error("index: cannot read {}: {source}", path.display())]
    Unread {
        /// Folder of the index.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The index failed and could not be opened again yet. It is tried with the next write.
    #[error("the index is closed after a failed write and could not be opened again: {0}")]
    Closed(String),
}

impl IndexError {
    /// Whether the index itself may well be whole, and what is around it is not as it should be.
    pub(crate) fn is_of_surroundings(&self) -> bool {
        match self {
            Self::Rocks(error) => is_of_surroundings(error),
            Self::Unread { .. } => true,
            Self::Row { .. } | Self::Record { .. } | Self::Closed(_) => false,
        }
    }

    /// The same, with the key of the row.
    pub(crate) fn at(self, row: &[u8]) -> Self {
        match self {
            Self::Row { family, reason, .. } => Self::Row { family, reason, key: Some(hex(row).into()) },
            other => other,
        }
    }
}

fn named(key: Option<&str>) -> String {
    key.map_or_else(String::new, |key| format!(" {key}"))
}

/// What helps where RocksDB finds its files damaged.
fn advice(error: &rocksdb::Error) -> &'static str {
    if is_of_surroundings(error) {
        ""
    } else {
        "; if the index is damaged, 'holdfast repo rebuild' makes a new one from the stored blocks and keeps what it can \
         read of the pins"
    }
}

/// RocksDB has no kinds for what is around the index; its texts carry the operating system's words.
fn is_of_surroundings(error: &rocksdb::Error) -> bool {
    const WORDS: [&str; 6] = [
        "No space left",
        "quota exceeded",
        "Permission denied",
        "Too many open files",
        "Read-only file system",
        "Resource temporarily unavailable",
    ];
    WORDS.iter().any(|words| error.as_ref().contains(words))
}

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system refused something.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// RocksDB does not open or reads wrong.
    #[error("cannot open the index in {path}: {source}")]
    Index {
        /// Folder of the index.
        path: PathBuf,
        /// Why.
        source: IndexError,
    },
    /// Segments are there, but the index knows none of them.
    #[error(
        "the index in {path} is empty, but there are segments: it was lost; 'holdfast repo rebuild' makes a new one \
         from them"
    )]
    IndexLost {
        /// Folder of the index.
        path: PathBuf,
    },
    /// A later program wrote this store.
    #[error(
        "the store has format {found}, this program knows up to {known}: use a newer holdfast; nothing was changed"
    )]
    NewerFormat {
        /// Format on disk.
        found: u32,
        /// Newest format that this program knows.
        known: u32,
    },
}

impl OpenError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Why a block could not be read. "Not there" is not an error but `None`.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The stored bytes are not the block. Putting the block again heals it.
    #[error("block {cid} is damaged on disk: its bytes do not match its hash; adding it again repairs it")]
    Damaged {
        /// The block.
        cid: Box<Cid>,
    },
    /// The hash function is not allowed.
    #[error(transparent)]
    Policy(#[from] HashPolicyError),
    /// The index could not answer.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The segment could not be read.
    #[error("read block {cid}: {source}")]
    Io {
        /// The block.
        cid: Box<Cid>,
        /// Why.
        source: Arc<io::Error>,
    },
    /// Links were asked for under a codec that this node cannot decode.
    #[error("no decoder registered for multicodec code {codec} (0x{codec:x})")]
    NoDecoder {
        /// Multicodec code.
        codec: u64,
    },
    /// The block does not decode under the codec of its CID.
    #[error("block {cid}: {reason}")]
    Malformed {
        /// The block.
        cid: Box<Cid>,
        /// What the decoder says.
        reason: String,
    },
}

/// Why something was not written. Nothing that failed is acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// Less than the reserve would be left. Reading and removing go on; adding resumes by itself once there is space.
    #[error(
        "no space left on device: {path} has {free_bytes} bytes free, {needed_bytes} are needed (what is written and \
         the reserve); remove data or unpin and collect garbage"
    )]
    DiskFull {
        /// Folder of the segments.
        path: PathBuf,
        /// Free bytes there.
        free_bytes: u64,
        /// Bytes to be written and the reserve.
        needed_bytes: u64,
    },
    /// The store would take more than it may. Removing goes on; adding resumes once there is room.
    #[error(
        "storage limit reached: {used_bytes} of {bytes_max} bytes are used and {needed_bytes} more are needed; {advice}"
    )]
    Quota {
        /// Bytes that the store takes on disk.
        used_bytes: u64,
        /// The limit.
        bytes_max: u64,
        /// Bytes to be written.
        needed_bytes: u64,
        /// What can be done about it.
        advice: QuotaAdvice,
    },
    /// A write of someone else failed while this operation ran, and took with it what this one relied on.
    #[error(
        "the store recovered from a failed write while this operation ran: nothing of it is kept, run it again"
    )]
    Generation,
    /// The file system refused something.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: Arc<io::Error>,
    },
    /// The index could not be read or written.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A row of a side table is larger than rows may be.
    #[error(
        "a row with a key of {key_bytes} bytes and a value of {value_bytes} bytes is too large to be kept"
    )]
    SideRow {
        /// Size of its key.
        key_bytes: usize,
        /// Size of its value.
        value_bytes: usize,
    },
    /// The block is larger than a record may be.
    #[error("block {cid} has {bytes} bytes, the store takes at most {}", crate::VALUE_BYTES_MAX)]
    TooLarge {
        /// The block.
        cid: Box<Cid>,
        /// Its size.
        bytes: usize,
    },
    /// The pin's name is too long.
    #[error("pin name has {bytes} bytes, at most {} are allowed", crate::PIN_NAME_BYTES_MAX)]
    PinName {
        /// Length of the name.
        bytes: usize,
    },
    /// The name is no multihash, or its record is too long.
    #[error(
        "the record of a name has {bytes} bytes, at most {} are allowed, and its name has {name_bytes} bytes and is to be \
         a multihash",
        crate::NAME_RECORD_BYTES_MAX
    )]
    NameRecord {
        /// Length of the name.
        name_bytes: usize,
        /// Length of the record.
        bytes: usize,
    },
    /// Something that the commit expects is not so (any more). Nothing of it was written: look again and decide anew.
    #[error("a pin or the files root was changed meanwhile: run it again")]
    Changed,
    /// The store is shutting down.
    #[error("the store is closing")]
    Closed,
}

impl WriteError {
    pub(crate) fn io(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { action, path: path.to_owned(), source: Arc::new(source.into()) }
    }
}

/// What can be done where the storage limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuotaAdvice {
    /// Nobody has looked for garbage lately.
    #[error("`repo gc` removes what is not pinned, `config Datastore.StorageMax 100GB` raises the limit")]
    Collect,
    /// A collection spared what was just written.
    #[error(
        "{young_bytes} bytes are not pinned but were written within the last hour: `repo gc` removes them, `config \
         Datastore.StorageMax 100GB` raises the limit"
    )]
    Young {
        /// Bytes that it spared.
        young_bytes: u64,
    },
    /// A collection found too little to remove.
    #[error(
        "all that is stored is pinned, in `files` or in use: `pin rm` and then `repo gc` make room, `config \
         Datastore.StorageMax 100GB` raises the limit"
    )]
    AllHeld,
}

/// Why a block was not deleted. The words are Kubo's where Kubo has words.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum DeleteError {
    /// It is not stored.
    #[error("ipld: could not find {0}")]
    NotFound(Box<Cid>),
    /// A pin holds it.
    #[error("{0}")]
    Pinned(crate::PinnedBy),
    /// An operation in flight has found or written it, and may be about to pin it.
    #[error("block is in use by a running operation")]
    InUse,
}
