//! Writing a DAG to disk, for `get`.
//!
//! The DAG may come from anyone. Every file is made by its name alone in a directory that is held open; no symbolic
//! link is followed below the target, neither one of the DAG nor one that lies there already, and names that could
//! lead elsewhere (`..`, slashes) are refused. Set-user-id, set-group-id and sticky bits are not taken over.
//!
//! A file or symlink replaces the file, symlink or empty directory that has its name, when it is complete and not
//! before. Directories merge. Nothing else is removed: a file or symlink where a directory goes, and a pipe, socket
//! or device where anything goes, end the extraction. Only what the user names as the target may be a pipe or device: it is
//! written into.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;
use holdfast_dag::read::{DirEntry, DirReader, FileReader, NodeInfo, NodeKind, ReadError};
use holdfast_dag::unixfs::Mtime;
use holdfast_dag::walk::Walker as _;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::Unixfs;
use super::new_entry::{NewEntry, Obstacle, make_way};
use crate::fetch::{Blocks, Fetch, FetchError, WalkBlocking, WalkError};
use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, Output, PoolError, Task, wait_for};
use crate::services::resolve::ResolveError;

/// Root blocks of entries are read in jobs of about this many bytes ...
const JOB_BYTES: u64 = 4 << 20;
/// ... and at most this many entries.
const JOB_ENTRIES: usize = 512;
/// What the root block of an entry counts at most: what an inner node takes.
const ROOT_BYTES_MAX: u64 = 256 << 10;

/// Progress is told in steps of at least so many bytes.
const PROGRESS_BYTES: u64 = 1 << 20;

/// A target that takes nothing, and that Kubo knows by this name.
pub(super) const NULL_DEVICE: &str = "/dev/null";

/// Deepest directories that are written; each holds a descriptor.
pub(super) const DEPTH_MAX: usize = 512;

/// How a DAG is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtractOptions {
    /// Where to. A directory that exists takes the entries of a directory; a file is put into it under `name`. A pipe
    /// or device takes the bytes of a file; nothing is written to `/dev/null`.
    pub target: PathBuf,
    /// What a file or symlink is called inside a target that is a directory.
    pub name: String,
}

/// Why a DAG could not be written.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// The path leads nowhere.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// A block could not be had, or is not sound.
    #[error(transparent)]
    Walk(#[from] WalkError<ReadError>),
    /// It is no UnixFS.
    #[error("unknown node type")]
    UnknownNode,
    /// Directories nest too deep.
    #[error("{path}: directories are nested deeper than {DEPTH_MAX}")]
    TooDeep {
        /// The deepest directory written.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{action} {path}: {reason}")]
    Disk {
        /// System call.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Its error.
        reason: String,
    },
    /// The consumer of the progress went away.
    #[error("get was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<FetchError> for ExtractError {
    fn from(error: FetchError) -> Self {
        Self::Walk(error.into())
    }
}

impl From<ReadError> for ExtractError {
    fn from(error: ReadError) -> Self {
        Self::Walk(WalkError::Walker(error))
    }
}

impl From<Cancelled> for ExtractError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// Bytes written, step by step; all is written when it ends without an error.
pub type ExtractStream = OperationStream<u64, ExtractError>;

impl Unixfs {
    /// Writes the file or tree at `path` to disk.
    pub fn extract(&self, path: &ContentPath, options: ExtractOptions) -> ExtractStream {
        let (node, path) = (self.node.together(), path.clone());
        self.node.pool().stream(64, move |progress| {
            let root = wait_for(node.resolve_block(&path), None).map_err(|_| ExtractError::Cancelled)??;
            Extraction { node: &node, progress, untold: 0 }.run(&root, &options)
        })
    }

    /// Writes the file or tree with this root to disk.
    pub fn extract_cid(&self, root: Cid, options: ExtractOptions) -> ExtractStream {
        let node = self.node.together();
        self.node
            .pool()
            .stream(64, move |progress| Extraction { node: &node, progress, untold: 0 }.run(&root, &options))
    }
}

struct Extraction<'a> {
    node: &'a Node,
    progress: &'a Output<u64>,
    /// Bytes written and not told yet.
    untold: u64,
}

/// A directory being written.
struct Level {
    dir: OwnedFd,
    path: PathBuf,
    info: NodeInfo,
    entries: WalkBlocking<DirReader>,
    /// Entries whose root blocks are being read.
    reading: VecDeque<(Vec<DirEntry>, Task<Blocks>)>,
    /// Entries whose root blocks are here.
    ready: VecDeque<(DirEntry, Bytes)>,
}

impl Level {
    fn new(fetch: &Fetch, dir: OwnedFd, path: PathBuf, cid: &Cid, info: NodeInfo) -> Self {
        let entries = fetch.walk_blocking(DirReader::new(*cid));
        Self { dir, path, info, entries, reading: VecDeque::new(), ready: VecDeque::new() }
    }

    fn next_batch(&mut self) -> Result<Vec<DirEntry>, ExtractError> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < JOB_BYTES && batch.len() < JOB_ENTRIES {
            let Some(entry) = self.entries.next().transpose()? else { break };
            bytes += entry.tsize.min(ROOT_BYTES_MAX);
            batch.push(entry);
        }
        Ok(batch)
    }

    /// The next entry and its root block. The blocks of those behind it are read meanwhile.
    fn next(&mut self, fetch: &Fetch) -> Result<Option<(DirEntry, Bytes)>, ExtractError> {
        loop {
            while self.reading.len() < 2 {
                let batch = self.next_batch()?;
                if batch.is_empty() {
                    break;
                }
                let task = fetch.start_many(batch.iter().map(|entry| entry.cid).collect());
                self.reading.push_back((batch, task));
            }
            if let Some(ready) = self.ready.pop_front() {
                return Ok(Some(ready));
            }
            let Some((batch, task)) = self.reading.pop_front() else { return Ok(None) };
            let blocks = wait_for(async { fetch.fill(task.await?).await }, None);
            for (entry, (_, block)) in batch.into_iter().zip(blocks.map_err(FetchError::from)??) {
                self.ready.push_back((entry, block?));
            }
        }
    }
}

impl Extraction<'_> {
    fn run(&mut self, root: &Cid, options: &ExtractOptions) -> Result<(), ExtractError> {
        let fetch = self.node.fetch();
        let block = fetch.get_blocking(root)?;
        let info = NodeInfo::of(root, &block)?;
        let target = &options.target;
        if target == Path::new(NULL_DEVICE) {
            return Ok(());
        }
        let mut levels = Vec::new();
        if info.kind.is_directory() {
            let dir = open_target(target)?;
            levels.push(Level::new(fetch, dir, target.clone(), root, info));
        } else if let Some(mut sink) = sink_at(target)?.filter(|_| info.kind != NodeKind::Symlink) {
            self.content(&mut sink, target, root, block)?;
        } else {
            let path = if target.is_dir() { target.join(&options.name) } else { target.clone() };
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let dir = open_directory(parent.unwrap_or(Path::new(".")))?;
            let name = path.file_name().ok_or_else(|| disk("open", &path, &Errno::INVAL.into()))?;
            self.leaf(&dir, name, &path, root, &info, block)?;
        }
        while let Some(level) = levels.last_mut() {
            if self.progress.is_cancelled() {
                return Err(ExtractError::Cancelled);
            }
            let Some((entry, block)) = level.next(fetch)? else {
                if let Some(done) = levels.pop() {
                    stamp(&done.dir, &done.path, Stamp::of(&done.info))?;
                }
                continue;
            };
            let (level, name) = place_of(&levels, &entry.name)?;
            let path = level.path.join(name);
            let info = NodeInfo::of(&entry.cid, &block)?;
            if !info.kind.is_directory() {
                self.leaf(&level.dir, name, &path, &entry.cid, &info, block)?;
                continue;
            }
            let dir = make_directory(&level.dir, name, &path)?;
            if levels.len() >= DEPTH_MAX {
                return Err(ExtractError::TooDeep { path });
            }
            levels.push(Level::new(fetch, dir, path, &entry.cid, info));
        }
        Ok(self.progress.send(self.untold)?)
    }

    /// Writes a file or symlink, replacing what has its name.
    fn leaf(
        &mut self,
        dir: &OwnedFd,
        name: &OsStr,
        path: &Path,
        cid: &Cid,
        info: &NodeInfo,
        block: Bytes,
    ) -> Result<(), ExtractError> {
        make_way(dir, name).map_err(|obstacle| in_the_way_of_leaf(path, obstacle))?;
        match info.kind {
            NodeKind::File | NodeKind::Raw => {
                let (mut file, entry) =
                    NewEntry::file(dir, name).map_err(|errno| disk("open", path, &errno.into()))?;
                self.content(&mut file, path, cid, block)?;
                stamp(&file, path, Stamp::of(info))?;
                entry.rename().map_err(|errno| disk("rename", path, &errno.into()))
            }
            NodeKind::Symlink => {
                let failed = |errno: Errno| disk("symlink", path, &errno.into());
                let target = OsStr::from_bytes(info.target.as_deref().unwrap_or_default());
                let entry = NewEntry::symlink(dir, name, target).map_err(failed)?;
                stamp_link(dir, entry.temporary(), path, Stamp::of(info))?;
                entry.rename().map_err(failed)
            }
            _ => Err(ExtractError::UnknownNode),
        }
    }

    /// Writes the bytes of a file.
    fn content(&mut self, file: &mut File, path: &Path, cid: &Cid, block: Bytes) -> Result<(), ExtractError> {
        let mut content = FileReader::new(*cid, 0, None);
        content.wants(1, &mut Vec::new());
        content.supply(cid, block);
        for bytes in self.node.fetch().walk_blocking(content) {
            let bytes = bytes?;
            file.write_all(&bytes).map_err(|error| disk("write", path, &error))?;
            self.untold += bytes.len() as u64;
            if self.untold >= PROGRESS_BYTES {
                self.progress.send(std::mem::take(&mut self.untold))?;
            }
        }
        // What the consumer gave up is not given its name.
        if self.progress.is_cancelled() { Err(ExtractError::Cancelled) } else { Ok(()) }
    }
}

/// The pipe or device at a path that the user named, open for writing.
pub(super) fn sink_at(path: &Path) -> Result<Option<File>, ExtractError> {
    let Ok(metadata) = std::fs::metadata(path) else { return Ok(None) };
    let kind = metadata.file_type();
    let is_special = kind.is_char_device() || kind.is_block_device() || kind.is_fifo();
    // Such as /dev/stdout: the link itself is the system's.
    let is_system_link = path.is_symlink() && (path.starts_with("/dev") || path.starts_with("/proc"));
    if kind.is_dir() || !(is_special || is_system_link) {
        return Ok(None);
    }
    let mut how = File::options();
    how.write(true).append(kind.is_file()).open(path).map(Some).map_err(|error| disk("open", path, &error))
}

pub(super) fn in_the_way_of_leaf(path: &Path, obstacle: Obstacle) -> ExtractError {
    match obstacle {
        Obstacle::Special => ExtractError::Disk {
            action: "open",
            path: path.to_owned(),
            reason: "a pipe, socket or device has this name, and is not replaced".to_owned(),
        },
        Obstacle::Directory(errno) => disk("remove", path, &errno.into()),
        Obstacle::Unknown(errno) => disk("open", path, &errno.into()),
    }
}

/// The directory that an entry of the last level goes into, and its name there.
///
/// Names that begin with `../` climb, as published fixtures have them, but never out of the first level. The way up is
/// the directories that are open already: no path is looked up, so no link can be followed.
fn place_of<'a, 'b>(levels: &'a [Level], name: &'b [u8]) -> Result<(&'a Level, &'b OsStr), ExtractError> {
    let (mut rest, mut depth) = (name, levels.len());
    while let Some(above) = rest.strip_prefix(b"../") {
        (rest, depth) = (above, depth.saturating_sub(1));
    }
    let parent = levels.last().map_or(Path::new(""), |level| &level.path);
    match depth.checked_sub(1).and_then(|index| levels.get(index)) {
        Some(level) => Ok((level, safe_name(rest, parent)?)),
        None => Err(refused(name, parent)),
    }
}

/// The name of an entry, if it is one component and nothing else.
pub(super) fn safe_name<'a>(name: &'a [u8], parent: &Path) -> Result<&'a OsStr, ExtractError> {
    let unsafe_name = matches!(name, b"" | b"." | b"..") || name.contains(&b'/') || name.contains(&0);
    if unsafe_name { Err(refused(name, parent)) } else { Ok(OsStr::from_bytes(name)) }
}

fn refused(name: &[u8], parent: &Path) -> ExtractError {
    let path = parent.join(String::from_utf8_lossy(name).escape_debug().to_string());
    ExtractError::Disk { action: "open", path, reason: "unsafe name".to_owned() }
}

pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, ExtractError> {
    rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| disk("open", path, &errno.into()))
}

/// A directory of this name, made if there is none. Anything else of that name stays, and is an error.
pub(super) fn make_directory(parent: &OwnedFd, name: &OsStr, path: &Path) -> Result<OwnedFd, ExtractError> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
        Err(Errno::EXIST) | Ok(()) => open(),
        Err(errno) => Err(errno),
    }
    .map_err(|errno| {
        let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_link = found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if is_link {
            let reason = "cannot extract to symlink".to_owned();
            return ExtractError::Disk { action: "mkdir", path: path.to_owned(), reason };
        }
        disk("mkdir", path, &errno.into())
    })
}

/// Mode and time of an entry, as far as they are recorded.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Stamp {
    pub(super) mode: Option<u32>,
    pub(super) mtime: Option<Mtime>,
}

impl Stamp {
    fn of(info: &NodeInfo) -> Self {
        Self { mode: info.mode, mtime: info.mtime }
    }
}

/// Gives a file or directory its mode and time.
pub(super) fn stamp(file: impl AsFd, path: &Path, stamp: Stamp) -> Result<(), ExtractError> {
    if let Some(mode) = stamp.mode {
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))
            .map_err(|errno| disk("chmod", path, &errno.into()))?;
    }
    if let Some(mtime) = stamp.mtime {
        rustix::fs::futimens(&file, &times(mtime)).map_err(|errno| disk("chtimes", path, &errno.into()))?;
    }
    Ok(())
}

/// Gives a symbolic link its time; it has no mode of its own.
pub(super) fn stamp_link(dir: &OwnedFd, name: &OsStr, path: &Path, stamp: Stamp) -> Result<(), ExtractError> {
    let Some(mtime) = stamp.mtime else { return Ok(()) };
    rustix::fs::utimensat(dir, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|errno| disk("utimensat", path, &errno.into()))
}

/// The directory that becomes the root: made if it is missing. It is the user's own word: links in it are followed.
pub(super) fn open_target(target: &Path) -> Result<OwnedFd, ExtractError> {
    if let Err(error) = std::fs::create_dir_all(target) {
        let in_the_way = std::fs::metadata(target).is_ok_and(|found| !found.is_dir());
        let error = if in_the_way { Errno::NOTDIR.into() } else { error };
        return Err(disk("mkdir", target, &error));
    }
    open_directory(target)
}

fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.unwrap_or(0).into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn disk(action: &'static str, path: &Path, error: &std::io::Error) -> ExtractError {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    ExtractError::Disk { action, path: path.to_owned(), reason }
}
