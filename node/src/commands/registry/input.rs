//! Files that come with a call: the same for paths on the command line and for multipart parts.
//!
//! Reading is blocking and in order: commands read on the blocking pool, and a door whose source is asynchronous
//! feeds it through a bounded channel.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    /// One entry cannot be read, in full words; those behind it can.
    #[error("{0}")]
    Entry(String),
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

/// How many bytes there are likely to be in all, as soon as somebody knows: for progress, never for allocation.
#[derive(Debug, Clone, Default)]
pub struct SizeHint(Arc<OnceLock<u64>>);

impl SizeHint {
    /// The number, if it is known by now.
    pub fn get(&self) -> Option<u64> {
        self.0.get().copied()
    }

    /// Tells the number. The first one stands.
    pub fn set(&self, bytes: u64) {
        let _ = self.0.set(bytes);
    }
}

type Entries = Box<dyn Iterator<Item = Result<Entry, InputError>> + Send>;

/// An upload: entries, each directory before what it holds. Everything in a directory comes together, unless
/// [`Input::is_depth_first`] says otherwise.
///
/// [`InputError::Entry`] is about one entry, and others follow; any other error ends the upload.
pub struct Input {
    /// In a lock that is never taken: it lets a call be looked at from several threads.
    entries: Mutex<Entries>,
    size_hint: SizeHint,
    depth_first: bool,
}

impl Input {
    /// An upload from its entries.
    pub fn new(entries: impl Iterator<Item = Result<Entry, InputError>> + Send + 'static) -> Self {
        Self { entries: Mutex::new(Box::new(entries)), size_hint: SizeHint::default(), depth_first: true }
    }

    /// Says that the entries of a directory need not come together.
    #[must_use]
    pub fn in_any_order(mut self) -> Self {
        self.depth_first = false;
        self
    }

    /// Whether the entries of a directory come together.
    pub fn is_depth_first(&self) -> bool {
        self.depth_first
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
        Self::new(std::iter::once(Ok(entry)))
    }

    /// Shares how many bytes of file data there are likely to be in all.
    #[must_use]
    pub fn with_size_hint(mut self, hint: SizeHint) -> Self {
        self.size_hint = hint;
        self
    }

    /// How many bytes of file data there are likely to be in all.
    pub fn size_hint(&self) -> SizeHint {
        self.size_hint.clone()
    }

    /// The next file, to be read by the caller. Blocking.
    pub fn next_file(&mut self) -> Result<Option<Box<dyn Read + Send>>, InputError> {
        for entry in self.by_ref() {
            if let EntryKind::File { reader, .. } = entry?.kind {
                return Ok(Some(reader));
            }
        }
        Ok(None)
    }

    /// The next file as a whole, if there is one, up to `bytes_max`. `argument` is named in errors. Blocking.
    pub fn read_optional_file(
        &mut self,
        argument: &'static str,
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, InputError> {
        let Some(reader) = self.next_file()? else { return Ok(None) };
        let mut data = Vec::new();
        reader.take(bytes_max.saturating_add(1)).read_to_end(&mut data).map_err(|error| InputError::Io {
            operation: "read",
            path: argument.to_owned(),
            error,
        })?;
        if data.len() as u64 > bytes_max { Err(InputError::TooLarge { bytes_max }) } else { Ok(Some(data)) }
    }

    /// The next file as a whole, up to `bytes_max`; an error that names `argument` where there is none. Blocking.
    pub fn read_file(&mut self, argument: &'static str, bytes_max: u64) -> Result<Vec<u8>, InputError> {
        self.read_optional_file(argument, bytes_max)?.ok_or(InputError::Missing(argument))
    }
}

impl Iterator for Input {
    type Item = Result<Entry, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.entries.get_mut().unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("size_hint", &self.size_hint).finish_non_exhaustive()
    }
}
