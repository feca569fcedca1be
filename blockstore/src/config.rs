//! What a store can be told: durability, memory, sizes.

use std::time::Duration;

/// What an acknowledgement survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut. Costs one `fdatasync` of values and one of the log, shared by all who wait at the same time.
    #[default]
    Power,
    /// The death of the process, not of the machine: nothing is synced, the kernel writes when it likes.
    Process,
}

/// Settings of a [`Store`](crate::Store).
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// What an acknowledgement survives. Default: [`Durability::Power`].
    pub durability: Durability,
    /// Bytes of memory for the index cache, memtables, pending rows and read buffers together. Default: 96 MiB;
    /// below 16 MiB it counts as 16 MiB. What a caller holds (blocks handed over, bytes read) comes on top.
    pub memory_bytes_max: usize,
    /// Whether values are hashed when read. Default: on. Off trusts the disk.
    pub verify_on_read: bool,
    /// Threads that one [`get_many`](crate::Store::get_many) or verify may use, its caller included. Default: the
    /// machine's cores, at most 4.
    pub read_threads: usize,
    /// Appended bytes after which values are synced although nobody waits. Default: 64 MiB.
    pub sync_bytes: u64,
    /// Appended bytes that may wait for their sync; writers wait beyond it. Default: 256 MiB.
    pub unsynced_bytes_max: u64,
    /// Size at which a segment file is closed and the next begun, in bytes. Default: 256 MiB.
    pub segment_bytes_max: u64,
    /// Free space that adding never touches, in bytes: `pin rm` and deletion need it. Default: `None`, which is the
    /// larger of 64 MiB and what the index may have in flight (memtables twice and the log).
    pub reserve_bytes: Option<u64>,
    /// Size in bytes of the file `reserve`, which is given up for removing when others have filled the disk. Default:
    /// `None`, as much as `reserve_bytes`; 0 for no such file.
    pub reserve_file_bytes: Option<u64>,
    /// Bytes that the store may take on disk, index included: adding beyond is refused
    /// ([`WriteError::Quota`](crate::WriteError::Quota)). Removing, pins and the files root never are. Default: `None`,
    /// no limit.
    pub bytes_max: Option<u64>,
    /// Whether an add that meets the limit collects garbage first, and is refused only if that is not enough. Default:
    /// off.
    pub collect_at_limit: bool,
    /// How long such a collection spares what was written. Default: [`GRACE`](crate::GRACE).
    pub grace: Duration,
    /// How long rows may wait in memory when nobody waits for them. Default: 500 ms.
    pub idle_flush: Duration,
    /// How long a reopening of the index waits for readers. Default: 5 s.
    pub reopen_wait: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            durability: Durability::Power,
            memory_bytes_max: 96 << 20,
            verify_on_read: true,
            read_threads: cores.min(4),
            sync_bytes: 64 << 20,
            unsynced_bytes_max: 256 << 20,
            segment_bytes_max: 256 << 20,
            reserve_bytes: None,
            reserve_file_bytes: None,
            bytes_max: None,
            collect_at_limit: false,
            grace: crate::gc::GRACE,
            idle_flush: Duration::from_millis(500),
            reopen_wait: Duration::from_secs(5),
        }
    }
}

/// How the one memory budget is divided; all in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// RocksDB's cache: index and filter blocks, and the memtables, which are charged to it.
    pub(crate) cache: usize,
    /// Memtables of all families together.
    pub(crate) memtables: usize,
    /// Rows of appended blocks that are not in RocksDB yet.
    pub(crate) pending_rows: usize,
    /// Read buffers kept for reuse.
    pub(crate) read_buffers: usize,
}

/// RocksDB's log may grow to this many bytes before families are flushed so that it can be dropped: it bounds the
/// time to open, nearly all of which is reading the log and writing its rows to tables. 8 MiB are the rows of 10 GiB added
/// in blocks of 256 KiB, so that flushing this often costs nothing.
pub(crate) const WAL_BYTES_MAX: u64 = 8 << 20;

impl StoreConfig {
    pub(crate) fn budget(&self) -> Budget {
        let all = self.memory_bytes_max.max(16 << 20);
        Budget { cache: all / 8 * 5, memtables: all / 4, pending_rows: all / 8, read_buffers: all / 4 }
    }

    /// Free bytes that must be left after an append.
    pub(crate) fn reserve(&self) -> u64 {
        let in_flight = 2 * self.budget().memtables as u64 + WAL_BYTES_MAX;
        self.reserve_bytes.unwrap_or_else(|| in_flight.max(64 << 20))
    }

    /// Size of the file that is given up when the disk is full.
    pub(crate) fn reserve_file(&self) -> u64 {
        self.reserve_file_bytes.unwrap_or_else(|| self.reserve())
    }
}
