//! What is on disk: the block store of the Holdfast IPFS node, its pins, and the repo folder.
//!
//! Values lie in append-only segment files, in the order in which they were put; RocksDB is their index and holds no
//! value. So a block is written once, a file's leaves are read back in sequence, compaction never touches data, and
//! damage to a value can never stop a write. `docs/disk-format.md` gives both formats to the byte.
//!
//! # What it promises
//! - What [`Writer::commit`] acknowledged survives a power cut ([`Durability::Power`], the default). The index never
//!   names bytes that were not synced before; a pin is never there without what it holds.
//! - Bytes that come out match their hash. A damaged block is [`ReadError::Damaged`], never wrong bytes, and putting
//!   it again repairs it.
//! - A block that an operation in flight has found or written is not deleted under it ([`Writer::find`]).
//! - A full disk or a failed sync acknowledges nothing and loses nothing acknowledged; reading goes on, and writing
//!   resumes in process.
//!
//! # What it is not
//! It knows no network, no tokio and no UnixFS. All calls block: an async caller runs them on a bounded pool.
//!
//! # Limits
//! A value holds at most 1 GiB; a pin's name 255 bytes; a segment number 32 bits. Memory: one budget,
//! [`StoreConfig::memory_bytes_max`].
//!
//! # Example
//! ```
//! use holdfast_blockstore::{Pin, PinKind, Store, StoreConfig};
//! use holdfast_dag::block::Block;
//! use holdfast_dag::cid::{CidBuilder, Version, codec};
//! use holdfast_dag::hash::HashKind;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let repo = folder.path();
//! let store = Store::open(repo, StoreConfig::default())?;
//! let cid = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 }.cid_of(codec::RAW, &[b"hello"]);
//! let writer = store.writer();
//! writer.put([Block::trusted(cid, b"hello".to_vec())])?;
//! writer.commit(&[Pin::new(cid, PinKind::Recursive, "").into()])?;
//! assert_eq!(store.get(&cid)?.as_deref(), Some(&b"hello"[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! [`repo`] is the folder, its lock and its version. `segment`, `segments`, `tail`: values. `rows`, `index`,
//! `options`: the index. `writer`, `committer`, `changes`, `pending`: the way in. `read`, `links`: the way out.
//! `side`: what other parts keep here. `protect`,
//! `roots`, `holder`, `delete`, `gc`, `compact`: the way of all flesh. `witness`, `recover`, `rebuild`, `salvage`, `wal`,
//! `table`, `verify`, `dropped`, `scrub`, `check`, `space`, `reserve`, `quota`: when things go wrong.

mod batch;
mod buffers;
mod changes;
mod check;
mod committer;
mod compact;
mod config;
mod counters;
mod delete;
mod dropped;
mod error;
mod format;
mod gc;
mod holder;
mod index;
mod links;
mod names;
mod options;
mod pages;
mod pending;
mod pins;
mod protect;
mod quota;
mod read;
mod rebuild;
mod recover;
mod reserve;
mod roots;
mod rows;
mod salvage;
mod scrub;
mod segment;
mod segments;
mod side;
mod space;
mod stat;
mod store;
mod sync;
mod table;
mod tail;
mod tally;
mod through;
mod verify;
mod wal;
mod witness;
mod writer;

pub mod repo;

pub use batch::Links;
pub use changes::{Change, FilesRoots};
pub use compact::CompactReport;
pub use config::{Durability, StoreConfig};
pub use delete::Deletion;
pub use error::{DeleteError, IndexError, OpenError, QuotaAdvice, ReadError, WriteError};
pub use format::FORMAT;
pub use gc::{GRACE, GcBroken, GcError, GcEvent, GcOptions, GcPhase, GcReport, UnpinnedReport, Unprovable};
pub use names::{NAME_RECORD_BYTES_MAX, NameEntry, NameRecord};
pub use pins::{PIN_NAME_BYTES_MAX, Pin, PinIter, PinKind, PinnedBy, Pins, PinsOf};
pub use rebuild::{RebuildReport, rebuild_index};
pub use recover::OpenReport;
pub use roots::Held;
pub use scrub::{ScrubFigures, ScrubState};
pub use segment::VALUE_BYTES_MAX;
pub use side::{SIDE_KEY_BYTES_MAX, SIDE_VALUE_BYTES_MAX, SideChange, SideRows, SideTable};
pub use stat::{Blocks, StoreStat};
pub use store::{Happened, Store, Watch};
pub use tally::StoreTally;
pub use through::{ANCESTORS_MAX, Standing, Through};
pub use verify::{VerifyError, VerifyEvent, VerifyOptions};
pub use witness::Loss;
pub use writer::Writer;
