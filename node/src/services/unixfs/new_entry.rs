//! Entries of a directory that appear whole: they are made under a temporary name, and renamed when they are complete.
//!
//! Until then, what had the name stays as it was; if it never comes to that, the temporary entry is removed. (Only
//! a process that is killed leaves one, `.get-PID-N.tmp`.) Every call names one component in a directory that is held
//! open, so no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Names that are tried: as many could be taken only by design.
const NAMES_MAX: u32 = 1000;

/// A file or symlink that has no name of its own yet.
pub(super) struct NewEntry<'d> {
    dir: BorrowedFd<'d>,
    temporary: OsString,
    renamed: bool,
}

impl<'d> NewEntry<'d> {
    /// An empty file.
    pub(super) fn file(dir: &'d OwnedFd) -> Result<(Self, File), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (entry, file) =
            Self::new(dir, |name| rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o666)))?;
        Ok((entry, File::from(file)))
    }

    /// A symlink.
    pub(super) fn symlink(dir: &'d OwnedFd, target: &OsStr) -> Result<Self, Errno> {
        Self::new(dir, |name| rustix::fs::symlinkat(target, dir, name)).map(|(entry, ())| entry)
    }

    fn new<T>(dir: &'d OwnedFd, make: impl Fn(&OsStr) -> Result<T, Errno>) -> Result<(Self, T), Errno> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        for _ in 0..NAMES_MAX {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let temporary = OsString::from(format!(".get-{}-{number}.tmp", std::process::id()));
            match make(&temporary) {
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
                Ok(made) => return Ok((Self { dir: dir.as_fd(), temporary, renamed: false }, made)),
            }
        }
        Err(Errno::EXIST)
    }

    /// The name that it has for now.
    pub(super) fn temporary(&self) -> &OsStr {
        &self.temporary
    }

    /// Gives it its name, in place of the file or symlink that had it.
    pub(super) fn rename(mut self, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::renameat(self.dir, &self.temporary, self.dir, name)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for NewEntry<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // There is an error to tell already.
            let _ = rustix::fs::unlinkat(self.dir, &self.temporary, AtFlags::empty());
        }
    }
}

/// What stands in the way of a new file or symlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// A pipe, socket or device: never removed for the sake of a file.
    Special,
    /// A directory that could not be removed, as a rule because it is not empty.
    Directory(Errno),
    /// It could not be found out.
    Unknown(Errno),
}

/// Whether a file or symlink may take this name. As in Kubo, an empty directory makes way at once.
pub(super) fn make_way(dir: &OwnedFd, name: &OsStr) -> Result<(), Obstacle> {
    let stat = match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(Obstacle::Unknown(errno)),
        Ok(stat) => stat,
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile | FileType::Symlink => Ok(()),
        FileType::Directory => {
            rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(Obstacle::Directory)
        }
        _ => Err(Obstacle::Special),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty()).unwrap()
    }

    fn names(path: &Path) -> Vec<OsString> {
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, path) = (open(folder.path()), folder.path().join("name"));
        fs::write(&path, "old").unwrap();
        let (entry, mut file) = NewEntry::file(&dir).unwrap();
        file.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(entry);
        assert_eq!(names(folder.path()), ["name"], "a file that was given up is gone");
        let (entry, mut file) = NewEntry::file(&dir).unwrap();
        file.write_all(b"new").unwrap();
        entry.rename(OsStr::new("name")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        NewEntry::symlink(&dir, OsStr::new("elsewhere")).unwrap().rename(OsStr::new("name")).unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
        assert_eq!(names(folder.path()), ["name"]);
    }

    #[test]
    fn pipes_and_full_directories_do_not_make_way() {
        let folder = tempfile::tempdir().unwrap();
        let dir = open(folder.path());
        let way = |name: &str| make_way(&dir, OsStr::new(name));
        rustix::fs::mknodat(&dir, "pipe", FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        fs::create_dir_all(folder.path().join("full/inner")).unwrap();
        fs::create_dir(folder.path().join("empty")).unwrap();
        assert_eq!(way("pipe"), Err(Obstacle::Special));
        assert_eq!(way("full"), Err(Obstacle::Directory(Errno::NOTEMPTY)));
        assert_eq!(way("empty"), Ok(()));
        assert_eq!(way("nothing"), Ok(()));
        assert!(!folder.path().join("empty").exists());
        assert!(folder.path().join("pipe").exists());
    }
}
