//! Files that come with a call: the same for paths on the command line and for multipart parts.
//!
//! Reading is blocking and in order: commands read on the blocking pool, and a door whose source is asynchronous
//! feeds it through a bounded channel.

use std::io::{self, Read};
use std::path::PathBuf;

/// Mode and modification time of an entry, as far as the source gives them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ModeAndTime {
    /// Unix mode bits.
    pub mode: Option<u32>,
    /// Modification time in seconds since 1970.
    pub mtime: Option<i64>,
    /// Nanoseconds of the modification time.
    pub mtime_nanos: Option<u32>,
}

/// What an entry is.
#[non_exhaustive]
pub enum EntryKind {
    /// A file: its bytes, to be read once, and how many there are likely to be.
    File {
        /// The bytes.
        reader: Box<dyn Read + Send>,
        /// How many bytes there are likely to be. A hint.
        size_hint: Option<u64>,
    },
    /// A directory. What it holds follows as entries of their own.
    Directory,
    /// A symbolic link, and what it points at.
    Symlink(Vec<u8>),
}

/// One entry of an upload.
pub struct Entry {
    /// Where it belongs: `/`-separated, relative, without `.` and `..`. The first component is the name of the
    /// argument; it is empty for input without a name.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: EntryKind,
    /// Mode and modification time.
    pub meta: ModeAndTime,
    /// Where it lies on the caller's disk, if the door knows.
    pub disk_path: Option<PathBuf>,
}

/// Why an upload cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The operating system says so: what was done (`lstat`, `open`, ...), where, and why.
    #[error("{operation} {path}: {}", super::go::errno_text(.error))]
    Io {
        /// The call that failed.
        operation: &'static str,
        /// On which path.
        path: String,
        /// The system's answer.
        error: io::Error,
    },
    /// Anything else, in full words.
    #[error("{0}")]
    Other(String),
    /// Nothing was uploaded although a file is needed: the argument's name.
    #[error("file argument '{0}' is required")]
    Missing(&'static str),
    /// More bytes than the command takes in one piece.
    #[error("input is larger than {bytes_max} bytes")]
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
}

impl From<InputError> for super::CommandError {
    fn from(error: InputError) -> Self {
        Self::new(error.to_string())
    }
}

/// An upload: entries in depth-first order, each directory before what it holds.
pub struct Input {
    entries: Box<dyn Iterator<Item = Result<Entry, InputError>> + Send>,
    size_hint: Option<u64>,
}

impl Input {
    /// An upload from its entries.
    pub fn new(entries: impl Iterator<Item = Result<Entry, InputError>> + Send + 'static) -> Self {
        Self { entries: Box::new(entries), size_hint: None }
    }

    /// Nothing.
    pub fn none() -> Self {
        Self::new(std::iter::empty())
    }

    /// One file without a name, from bytes in memory.
    pub fn from_bytes(data: impl Into<Vec<u8>>) -> Self {
        let data: Vec<u8> = data.into();
        let size_hint = Some(data.len() as u64);
        let kind = EntryKind::File { reader: Box::new(io::Cursor::new(data)), size_hint };
        let entry = Entry { path: Vec::new(), kind, meta: ModeAndTime::default(), disk_path: None };
        Self { entries: Box::new(std::iter::once(Ok(entry))), size_hint }
    }

    /// Tells how many bytes of file data there are likely to be in all: for progress, never for allocation.
    #[must_use]
    pub fn with_size_hint(mut self, bytes: Option<u64>) -> Self {
        self.size_hint = bytes;
        self
    }

    /// How many bytes of file data there are likely to be in all.
    pub fn bytes_hint(&self) -> Option<u64> {
        self.size_hint
    }

    /// Reads the next file as a whole, up to `bytes_max`. `argument` is named where there is none. Blocking.
    pub fn read_file(&mut self, argument: &'static str, bytes_max: u64) -> Result<Vec<u8>, InputError> {
        for entry in self.by_ref() {
            if let EntryKind::File { reader, .. } = entry?.kind {
                let mut data = Vec::new();
                let limit = bytes_max.saturating_add(1);
                reader.take(limit).read_to_end(&mut data).map_err(|error| InputError::Io {
                    operation: "read",
                    path: argument.to_owned(),
                    error,
                })?;
                if data.len() as u64 > bytes_max {
                    return Err(InputError::TooLarge { bytes_max });
                }
                return Ok(data);
            }
        }
        Err(InputError::Missing(argument))
    }
}

impl Iterator for Input {
    type Item = Result<Entry, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.next()
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("size_hint", &self.size_hint).finish_non_exhaustive()
    }
}
