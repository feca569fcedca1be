//! Making the index again from the segments, when it is lost or lost a part.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_dag::cid::{Cid, codec};
use holdfast_dag::hash;
use rocksdb::WriteBatch;
use rustix::fs::{CWD, RenameFlags};

use crate::committer::{Deltas, put_row};
use crate::config::{Durability, StoreConfig};
use crate::error::{IndexError, OpenError};
use crate::format;
use crate::index::Index;
use crate::links::children;
use crate::options::Tuning;
use crate::pending::{NewValue, Row};
use crate::rows::{encode_links, family, stats_key};
use crate::salvage::{self, Salvage};
use crate::segment::{
    MULTIHASH_BYTES_MAX, Place, RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER_BYTES,
    multihash_from, record_header, record_is_sound,
};
use crate::segments::{SegmentDir, sync_dir};
use crate::store::{db_path, segments_path};
use crate::witness::Witness;

/// Rows written to the index at a time.
const BATCH_ROWS: usize = 4096;
/// Bytes read at a time when looking for the next record behind damage or a hole.
const WINDOW_BYTES: usize = 256 << 10;

/// What a rebuild found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Blocks put into the index.
    pub blocks: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Records whose bytes do not match their hash; they are left out.
    pub damaged: u64,
    /// Pins taken over from the old index.
    pub pins: u64,
    /// What could not be read of the old index, one sentence each.
    pub unread: Vec<String>,
    /// Folder that the old index was moved to, if a part of it could not be read.
    pub old_index: Option<PathBuf>,
}

/// Why a rebuild stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl OpenError {
    pub(crate) fn from_rebuild(segments: &SegmentDir) -> impl FnOnce(RebuildError) -> Self {
        let path = segments.path().to_owned();
        move |error| match error {
            RebuildError::Io(source) => Self::Io { action: "read the segments in", path, source },
            RebuildError::Index(source) => Self::Index { path, source },
        }
    }
}

/// Makes the index of a closed store again from its segments: every sound record is read and hashed once.
///
/// What is in no segment (pins, the files root, the families of other parts of the program) is taken over from the old
/// index as far as it can be read. The new index is made beside the old one and takes its place at the end; an old one
/// that could not be read to the end is kept, and the report says where. If this is interrupted, it is simply run again.
pub fn rebuild_index(repo: &Path, config: &StoreConfig) -> Result<RebuildReport, OpenError> {
    let tuning = Tuning::new(config.budget());
    let (db, fresh) = (db_path(repo), repo.join("db.rebuilding"));
    salvage::refuse_newer(&db, &tuning)?;
    let segments = SegmentDir::new(segments_path(repo));
    fs::create_dir_all(segments.path()).map_err(OpenError::io("create", segments.path()))?;
    for path in [&fresh, &salvage::scratch_path(repo)].into_iter().filter(|path| path.exists()) {
        fs::remove_dir_all(path).map_err(OpenError::io("remove", path))?;
    }
    let witnessed = Witness::of(&db).round();
    let run = || -> Result<RebuildReport, RebuildError> {
        let mut report = RebuildReport::default();
        let mut index =
            Index::open(&fresh, &tuning, Arc::new(Witness::silent(witnessed)), Durability::Power)?;
        format::mark(&index)?;
        for (segment, _) in segments.list()? {
            index_segment(&index, &segments, segment, 0, &mut report)?;
        }
        let mut old = Salvage::default();
        if db.join("CURRENT").exists() || db.join("IDENTITY").exists() {
            old = salvage::take_over(&db, &salvage::scratch_path(repo), &tuning, &mut index)?;
        }
        let lost = witnessed.saturating_sub(old.round).max(u64::from(!old.unread.is_empty()));
        format::remember_loss(&index, lost)?;
        report.unread = old.unread;
        report.pins = index.count(family::PINS)?;
        index.sync_log()?;
        Ok(report)
    };
    let mut report = run().map_err(OpenError::from_rebuild(&segments))?;
    let old = put_in_place(repo, &fresh, &db)?;
    if let Some(old) = old.filter(|old| old.exists()) {
        if report.unread.is_empty() {
            fs::remove_dir_all(&old).map_err(OpenError::io("remove", &old))?;
        } else {
            let aside = aside_path(repo);
            fs::rename(&old, &aside).map_err(OpenError::io("move aside", &old))?;
            report.old_index = Some(aside);
        }
    }
    sync_dir(repo).map_err(OpenError::io("sync", repo))?;
    Ok(report)
}

/// Puts the new index where the old one is, in one step where the file system can, and says where the old one is now.
fn put_in_place(repo: &Path, fresh: &Path, db: &Path) -> Result<Option<PathBuf>, OpenError> {
    sync_dir(fresh).and_then(|()| sync_dir(repo)).map_err(OpenError::io("sync", repo))?;
    if !db.exists() {
        fs::rename(fresh, db).map_err(OpenError::io("put in place", fresh))?;
        return Ok(None);
    }
    if rustix::fs::renameat_with(CWD, fresh, CWD, db, RenameFlags::EXCHANGE).is_ok() {
        return Ok(Some(fresh.to_owned()));
    }
    let aside = aside_path(repo);
    fs::rename(db, &aside).map_err(OpenError::io("move aside", db))?;
    fs::rename(fresh, db).map_err(OpenError::io("put in place", fresh))?;
    Ok(Some(aside))
}

/// A name for an index that is kept although it is out of use.
fn aside_path(repo: &Path) -> PathBuf {
    let free = (1..=u16::MAX).map(|n| repo.join(format!("db.damaged-{n}"))).find(|path| !path.exists());
    free.unwrap_or_else(|| repo.join("db.damaged"))
}

/// Puts the records of a segment from `from` on into the index, and its length, and cuts off what is no record.
pub(crate) fn index_segment(
    index: &Index,
    segments: &SegmentDir,
    segment: u32,
    from: u64,
    report: &mut RebuildReport,
) -> Result<(), RebuildError> {
    let file = segments.file(segment)?;
    let end = file.metadata()?.len();
    if end < SEGMENT_HEADER_BYTES as u64 {
        return Ok(segments.remove(segment)?);
    }
    let mut scan = Scan { end, file, segment, at: from.max(SEGMENT_HEADER_BYTES as u64) };
    let mut rows: Vec<Row> = Vec::new();
    let mut sound_end = scan.at;
    let mut more = true;
    while more {
        match scan.next()? {
            None => more = false,
            Some(record) if record.header.deleted => sound_end = record.end(),
            Some(record) => {
                sound_end = record.end();
                match record.row() {
                    Some(row) => rows.push(row),
                    None => report.damaged += 1,
                }
            }
        }
        if rows.len() >= BATCH_ROWS || !more {
            scan.file.sync_data()?;
            write_rows(index, &std::mem::take(&mut rows), (segment, sound_end), report)?;
        }
    }
    if scan.end > sound_end {
        scan.file.set_len(sound_end)?;
    }
    Ok(())
}

fn write_rows(
    index: &Index,
    rows: &[Row],
    (segment, end): (u32, u64),
    report: &mut RebuildReport,
) -> Result<(), IndexError> {
    let mut batch = WriteBatch::default();
    let mut deltas = Deltas::default();
    let mut seen = std::collections::HashSet::new();
    for row in rows {
        // A block may have two records, when a damaged one was healed: one that is sound is enough.
        if !seen.insert(Arc::clone(&row.key)) {
            continue;
        }
        let mark = stats_key::of_damaged(&row.key);
        match index.meta(&row.key)? {
            None => put_row(&mut batch, index, row, &mut deltas),
            Some(old) if index.contains(family::STATS, &mark)? => {
                let value = row.value.map(|value| NewValue { replaces: Some(old.place), ..value });
                let healed = Row { key: Arc::clone(&row.key), value, links: row.links.clone() };
                put_row(&mut batch, index, &healed, &mut deltas);
                batch.delete_cf(index.family(family::STATS), mark);
            }
            Some(_) => {}
        }
    }
    deltas.put(&mut batch, index);
    let key = stats_key::of_segment(stats_key::COMMITTED, segment);
    batch.put_cf(index.family(family::STATS), key, end.to_le_bytes());
    report.blocks += deltas.blocks.unsigned_abs();
    report.value_bytes += deltas.value_bytes.unsigned_abs();
    index.write(batch, false)
}

/// Goes through the records of a segment.
pub(crate) struct Scan {
    file: Arc<File>,
    segment: u32,
    at: u64,
    end: u64,
}

/// A record with a sound head.
pub(crate) struct Record {
    pub(crate) place: Place,
    pub(crate) header: RecordHeader,
    pub(crate) multihash: Vec<u8>,
    /// Nothing if it is deleted.
    pub(crate) data: Vec<u8>,
}

impl Record {
    fn end(&self) -> u64 {
        self.place.offset + self.place.record_len(self.multihash.len())
    }

    /// The index row of the record, if its data is what its multihash says.
    fn row(&self) -> Option<Row> {
        let cid = Cid::new_v1(codec::RAW, multihash_from(&self.multihash)?);
        hash::verify(&cid, &[&self.data]).ok()?;
        let value = NewValue { place: self.place, epoch: self.header.epoch, replaces: None };
        let codec = self.header.codec;
        let links = (codec != codec::RAW).then(|| children(codec, &self.data)).flatten();
        let links = links.map(|links| (codec, encode_links(&links)));
        Some(Row { key: self.multihash.as_slice().into(), value: Some(value), links })
    }
}

impl Scan {
    /// All records of a segment.
    pub(crate) fn open(segments: &SegmentDir, segment: u32) -> io::Result<Self> {
        let file = segments.file(segment)?;
        let end = file.metadata()?.len();
        Ok(Self { file, segment, at: SEGMENT_HEADER_BYTES as u64, end })
    }

    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        while self.at < self.end {
            if let Some(record) = self.record_at(self.at)? {
                self.at = record.end();
                return Ok(Some(record));
            }
            self.at = self.next_magic(self.at + 1)?;
        }
        Ok(None)
    }

    fn record_at(&self, offset: u64) -> io::Result<Option<Record>> {
        let mut head = [0; RECORD_HEADER_BYTES + MULTIHASH_BYTES_MAX];
        let head = read_up_to(&self.file, &mut head, offset)?;
        let Some(header) =
            record_header(head).filter(|header| record_is_sound(self.segment, offset, head, header))
        else {
            return Ok(None);
        };
        let place = Place { segment: self.segment, offset, size: header.size };
        let multihash = head.get(RECORD_HEADER_BYTES..).unwrap_or_default();
        let multihash = multihash.get(..usize::from(header.multihash_len)).unwrap_or_default().to_vec();
        if offset + place.record_len(multihash.len()) > self.end {
            return Ok(None);
        }
        let mut data = vec![0; if header.deleted { 0 } else { header.size as usize }];
        self.file.read_exact_at(&mut data, place.data_offset(multihash.len()))?;
        Ok(Some(Record { place, header, multihash, data }))
    }

    /// Where the next bytes are that look like a record, or the end.
    fn next_magic(&self, from: u64) -> io::Result<u64> {
        let mut window = vec![0; WINDOW_BYTES];
        let mut at = from;
        while at < self.end {
            // Holes are skipped, not read.
            match rustix::fs::seek(&*self.file, rustix::fs::SeekFrom::Data(at)) {
                Ok(data) => at = data,
                Err(rustix::io::Errno::NXIO) => break,
                Err(error) => return Err(error.into()),
            }
            let bytes = read_up_to(&self.file, &mut window, at)?;
            if let Some(found) = bytes.windows(RECORD_MAGIC.len()).position(|bytes| bytes == RECORD_MAGIC) {
                return Ok(at + found as u64);
            }
            if bytes.len() < RECORD_MAGIC.len() {
                break;
            }
            at += (bytes.len() - (RECORD_MAGIC.len() - 1)) as u64;
        }
        Ok(self.end)
    }
}

/// Reads as much as there is.
fn read_up_to<'a>(file: &File, buffer: &'a mut [u8], offset: u64) -> io::Result<&'a [u8]> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer.get(..filled).unwrap_or_default())
}
