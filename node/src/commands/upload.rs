//! The files of a call as what an `add` is fed with.

use holdfast_dag::unixfs::Mtime;

use super::registry::{Entry, EntryKind, Input, InputError};
use crate::services::unixfs::add::{self, Body, Found, Source, SourceError, Unreadable};

/// The files of a call. Those on this machine's disk are opened by their paths, several at once.
pub(super) struct Upload(pub(super) Input);

impl Source for Upload {
    fn next(&mut self) -> Option<Result<Found, SourceError>> {
        Some(match self.0.next()? {
            Ok(entry) => Ok(Found::Entry(convert(entry))),
            Err(InputError::Entry(error)) => Ok(Found::Unreadable(Unreadable { path: String::new(), error })),
            Err(error) => Err(SourceError(error.to_string())),
        })
    }

    fn depth_first(&self) -> bool {
        self.0.is_depth_first()
    }
}

fn convert(entry: Entry) -> add::Entry {
    let Entry { path, kind, meta, disk_path } = entry;
    let body = match (kind, disk_path) {
        (EntryKind::Directory, _) => Body::Directory,
        (EntryKind::Symlink(target), _) => Body::Symlink(target),
        (EntryKind::File { .. }, Some(path)) => Body::File(path),
        (EntryKind::File { reader, size_hint }, None) => Body::Reader { reader, size: size_hint },
    };
    let mtime =
        meta.mtime.map(|seconds| Mtime { seconds, nanos: meta.mtime_nanos.filter(|nanos| *nanos > 0) });
    add::Entry { path, body, mode: meta.mode, mtime }
}
