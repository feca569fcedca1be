//! The folder of segment files: naming, creating, opening, and a bounded set of open files.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use crate::segment::{SEGMENT_HEADER_BYTES, is_segment_header, segment_header};
use crate::sync::lock;

/// Files take whole pages.
const PAGE_BYTES: u64 = 4096;
/// Segment files held open at once.
const OPEN_MAX: usize = 128;

pub(crate) struct SegmentDir {
    path: PathBuf,
    open: Mutex<HashMap<u32, Arc<File>>>,
}

impl SegmentDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, open: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Name of a segment's file.
    pub(crate) fn file_path(&self, segment: u32) -> PathBuf {
        self.path.join(format!("{segment:08}.seg"))
    }

    /// Every segment there, with its length, in order.
    pub(crate) fn list(&self) -> io::Result<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number =
                name.to_str().and_then(|name| name.strip_suffix(".seg")).and_then(|name| name.parse().ok());
            if let Some(segment) = number {
                found.push((segment, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Bytes that the segments take on disk; holes do not count.
    pub(crate) fn disk_bytes(&self) -> io::Result<u64> {
        dir_disk_bytes(&self.path)
    }

    /// The file of a segment, opened if it is not yet.
    pub(crate) fn file(&self, segment: u32) -> io::Result<Arc<File>> {
        if let Some(file) = lock(&self.open).get(&segment) {
            return Ok(Arc::clone(file));
        }
        let file = OpenOptions::new().read(true).write(true).open(self.file_path(segment))?;
        Ok(self.keep(segment, file))
    }

    /// Creates a segment and writes its header. Nothing is synced.
    pub(crate) fn create(&self, segment: u32) -> io::Result<Arc<File>> {
        let path = self.file_path(segment);
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        if let Err(error) = file.write_all(&segment_header(segment)) {
            // An empty segment is of no use to anyone; if it stays, opening removes it.
            drop(fs::remove_file(&path));
            return Err(error);
        }
        Ok(self.keep(segment, file))
    }

    fn keep(&self, segment: u32, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut open = lock(&self.open);
        if open.len() >= OPEN_MAX
            && let Some(any) = open.keys().next().copied()
        {
            open.remove(&any);
        }
        open.insert(segment, Arc::clone(&file));
        file
    }

    /// Removes a segment. Readers that hold it read on.
    pub(crate) fn remove(&self, segment: u32) -> io::Result<()> {
        lock(&self.open).remove(&segment);
        fs::remove_file(self.file_path(segment))
    }

    /// Makes the names in the folder durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }

    /// Whether a file begins with the header of this segment.
    pub(crate) fn has_header(file: &File, segment: u32) -> bool {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).is_ok() && is_segment_header(&bytes, segment)
    }
}

/// Syncs a folder, so that files created in it keep their names through a power cut.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Bytes that the files directly in a folder take on disk: neither holes nor what is only laid aside beyond their ends, as
/// RocksDB does for its log while it is open.
pub(crate) fn dir_disk_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        // A file may vanish between the listing and the look at it: compaction runs beside.
        if let Ok(meta) = entry?.metadata() {
            bytes += taken(&meta);
        }
    }
    Ok(bytes)
}

/// Bytes that a file takes on disk.
pub(crate) fn disk_bytes_of(path: &Path) -> io::Result<u64> {
    Ok(taken(&fs::metadata(path)?))
}

fn taken(meta: &fs::Metadata) -> u64 {
    (meta.blocks() * 512).min(meta.len().next_multiple_of(PAGE_BYTES))
}
