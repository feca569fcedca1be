//! The lock of a repo folder: held by the kernel for as long as the process lives, so that none is ever stale.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use rustix::fs::FlockOperation;

use super::RepoError;

/// A held lock. The file stays when it is released; its content is only the holder's process number, for messages.
#[derive(Debug)]
pub struct RepoLock {
    _file: File,
}

impl RepoLock {
    /// Takes the lock without waiting, and writes this process's number into the file.
    pub fn take(path: &Path) -> Result<Self, RepoError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = open.map_err(RepoError::io("open", path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // Only for the message: without it there is no number in it.
                drop(file.read_to_string(&mut text));
                return Err(RepoError::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
            }
            Err(error) => {
                return Err(RepoError::Io { action: "lock", path: path.to_owned(), source: error.into() });
            }
        }
        let text = format!("{}\n", std::process::id());
        let noted = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(text.as_bytes()));
        if let Err(error) = noted {
            // A full disk must not keep anyone from opening, reading and removing.
            tracing::debug!("could not note the process number in {}: {error}", path.display());
        }
        Ok(Self { _file: file })
    }
}

/// Whether somebody holds the lock. Without the file nobody does.
pub(super) fn is_held(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    // Shared, so that those who only look do not see each other.
    let taken = rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared);
    taken == Err(rustix::io::Errno::WOULDBLOCK)
}
