//! What an `add` is fed with: entries in Kubo's order, from the disk, from readers, or from an upload.

use std::io::Read;
use std::path::PathBuf;

use holdfast_dag::unixfs::Mtime;

/// A file, directory or symlink to add.
pub struct Entry {
    /// Where it belongs: components separated by `/`, the name of the top-level entry first. An entry without a
    /// name has an empty path and is called by its CID. Bytes, because file names need not be UTF-8.
    pub path: Vec<u8>,
    /// What it is.
    pub body: Body,
    /// Unix mode bits of the original; stored only where the options ask for it.
    pub mode: Option<u32>,
    /// Modification time of the original; stored only where the options ask for it.
    pub mtime: Option<Mtime>,
}

impl Entry {
    /// An entry without mode and modification time.
    pub fn new(path: impl Into<Vec<u8>>, body: Body) -> Self {
        Self { path: path.into(), body, mode: None, mtime: None }
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.body {
            Body::Directory => "directory",
            Body::Symlink(_) => "symlink",
            Body::File(_) => "file",
            Body::Reader { .. } => "reader",
        };
        write!(f, "Entry({kind} {})", String::from_utf8_lossy(&self.path))
    }
}

/// The content of an entry.
pub enum Body {
    /// A directory. Its entries follow; one that is nowhere announced is made for the entries that need it.
    Directory,
    /// A symlink with its target.
    Symlink(Vec<u8>),
    /// A regular file on disk. It is opened when its turn comes, several at once.
    File(PathBuf),
    /// Bytes from anywhere. Read to its end before the source is asked for the next entry.
    Reader {
        /// Where the bytes come from.
        reader: Box<dyn Read + Send>,
        /// Their number, where it is known: a hint.
        size: Option<u64>,
    },
}

/// Something that could not be read. It is named and counted, and the rest is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Path on disk, or in the upload.
    pub path: String,
    /// What went wrong, as Go's `os` package puts it: `open <path>: permission denied`.
    pub error: String,
}

/// What a source gives.
#[derive(Debug)]
pub enum Found {
    /// Something to add.
    Entry(Entry),
    /// Something that cannot be added.
    Unreadable(Unreadable),
}

/// A source failed, or what it was asked to read is refused as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Gives entries, directories before what is in them.
pub trait Source: Send {
    /// The next entry, or `None` at the end. May block.
    fn next(&mut self) -> Option<Result<Found, SourceError>>;

    /// Whether all entries of a directory come together. A directory is then closed, and its memory freed, as soon
    /// as an entry outside of it comes; otherwise all directories stay open to the end.
    fn depth_first(&self) -> bool {
        true
    }
}

/// Entries from memory, for what is already a list: several readers, a single file.
impl<I: Iterator<Item = Entry> + Send> Source for std::iter::Fuse<I> {
    fn next(&mut self) -> Option<Result<Found, SourceError>> {
        Iterator::next(self).map(|entry| Ok(Found::Entry(entry)))
    }

    fn depth_first(&self) -> bool {
        false
    }
}

/// An I/O error in the words of Go's `os` package.
pub(crate) fn go_error(call: &str, path: &std::path::Path, error: &std::io::Error) -> String {
    let text = error.to_string();
    let reason = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
    format!("{call} {}: {reason}", path.display())
}
