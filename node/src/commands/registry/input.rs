//! Files that come with a call: the same for paths on the command line and for multipart parts.
//!
//! Reading is blocking and in order: commands read on the node's pool, and a door whose source is asynchronous feeds
//! it through a bounded channel.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{CommandError, errno_text};
use crate::services::unixfs::add::{Body, Entry, Found, Source, SourceError};

/// What comes with a call: entries in depth-first order, each directory before what it holds. It is itself a
/// [`Source`], so that it can be added as it is.
pub struct Input {
    source: Box<dyn Source>,
    bytes_hint: Option<u64>,
}

/// A file of an upload, open.
pub struct InputFile {
    /// Its path in the upload; empty for input without a name.
    pub path: Vec<u8>,
    /// Its bytes.
    pub reader: Box<dyn Read + Send>,
    /// How many bytes there are likely to be. A hint.
    pub size_hint: Option<u64>,
}

impl Input {
    /// What a source gives.
    pub fn new(source: impl Source + 'static) -> Self {
        Self { source: Box::new(source), bytes_hint: None }
    }

    /// Nothing.
    pub fn none() -> Self {
        Self::new(std::iter::empty().fuse())
    }

    /// One file without a name, from bytes in memory.
    pub fn from_bytes(data: impl Into<Vec<u8>>) -> Self {
        let data: Vec<u8> = data.into();
        let size = Some(data.len() as u64);
        let body = Body::Reader { reader: Box::new(std::io::Cursor::new(data)), size };
        Self::new(std::iter::once(Entry::new(Vec::new(), body)).fuse()).with_bytes_hint(size)
    }

    /// Tells how many bytes of file data there are likely to be in all: for progress, never for allocation.
    #[must_use]
    pub fn with_bytes_hint(mut self, bytes: Option<u64>) -> Self {
        self.bytes_hint = bytes;
        self
    }

    /// How many bytes of file data there are likely to be in all.
    pub fn bytes_hint(&self) -> Option<u64> {
        self.bytes_hint
    }

    /// The next file, past directories and symbolic links. Blocking.
    pub fn next_file(&mut self) -> Result<Option<InputFile>, CommandError> {
        while let Some(found) = Source::next(self) {
            let entry = match found.map_err(CommandError::from_error)? {
                Found::Entry(entry) => entry,
                Found::Unreadable(unreadable) => return Err(CommandError::new(unreadable.error)),
            };
            let (reader, size_hint): (Box<dyn Read + Send>, _) = match entry.body {
                Body::Directory | Body::Symlink(_) => continue,
                Body::Reader { reader, size } => (reader, size),
                Body::File(path) => {
                    let file = open(&path)?;
                    let size = file.metadata().ok().map(|metadata| metadata.len());
                    (Box::new(file), size)
                }
            };
            return Ok(Some(InputFile { path: entry.path, reader, size_hint }));
        }
        Ok(None)
    }

    /// Reads the next file as a whole, up to `bytes_max`. `argument` is named where there is none. Blocking.
    pub fn read_file(&mut self, argument: &str, bytes_max: u64) -> Result<Vec<u8>, CommandError> {
        self.read_optional_file(bytes_max)?
            .ok_or_else(|| CommandError::client(format!("file argument '{argument}' is required")))
    }

    /// As [`Input::read_file`], and `None` where there is no file. Blocking.
    pub fn read_optional_file(&mut self, bytes_max: u64) -> Result<Option<Vec<u8>>, CommandError> {
        let Some(file) = self.next_file()? else { return Ok(None) };
        let mut data = Vec::new();
        file.reader.take(bytes_max.saturating_add(1)).read_to_end(&mut data)?;
        if data.len() as u64 > bytes_max {
            return Err(CommandError::new(format!("input is larger than {bytes_max} bytes")));
        }
        Ok(Some(data))
    }
}

fn open(path: &Path) -> Result<File, CommandError> {
    let path: PathBuf = path.to_owned();
    File::open(&path)
        .map_err(|error| CommandError::new(format!("open {}: {}", path.display(), errno_text(&error))))
}

impl Source for Input {
    fn next(&mut self) -> Option<Result<Found, SourceError>> {
        self.source.next()
    }

    fn depth_first(&self) -> bool {
        self.source.depth_first()
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("bytes_hint", &self.bytes_hint).finish_non_exhaustive()
    }
}
