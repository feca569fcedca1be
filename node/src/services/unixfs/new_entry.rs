//! Entries of a directory that appear whole: they are made under a temporary name, and renamed when they are complete.
//!
//! Until then, what had the name stays as it was; if it never comes to that, the temporary entry is removed. A process that
//! is killed leaves its temporary file, `.get-HASH-N.tmp`, where the hash is that of the name to be. The next one that makes
//! an entry of that name takes it away: a file that is being written is locked (`flock`), so that one which nobody holds is
//! stale. Every call names one component in a directory that is held open, so no link is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use data_encoding::HEXLOWER;
use holdfast_dag::hash::HashKind;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Names that are tried: so many would have to write an entry of one name at once.
const NAMES_MAX: u32 = 1000;
/// Bytes of the hash of a name that stand in the temporary one.
const HASH_BYTES: usize = 8;

/// A file or symlink that has no name of its own yet, in a directory that `D` holds open.
pub(crate) struct NewEntry<D: AsFd> {
    dir: D,
    name: OsString,
    temporary: OsString,
    renamed: bool,
}

impl<D: AsFd> NewEntry<D> {
    /// An empty file that will have this name. While it is open it is locked, so it is to be closed after the entry is dropped.
    pub(crate) fn file(dir: D, name: &OsStr) -> Result<(File, Self), Errno> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Self::new(dir, name, |dir, temporary| {
            let file = rustix::fs::openat(dir, temporary, flags, Mode::from_raw_mode(0o666))?;
            // Whoever took it for a stale one in this moment holds the lock until it is gone. A file system without locks
            // has no stale files either: they are left.
            let _ = rustix::fs::flock(&file, FlockOperation::LockExclusive);
            if rustix::fs::fstat(&file)?.st_nlink == 0 { Err(Errno::EXIST) } else { Ok(File::from(file)) }
        })
    }

    /// A symlink that will have this name.
    pub(crate) fn symlink(dir: D, name: &OsStr, target: &OsStr) -> Result<Self, Errno> {
        let make = |dir: &D, temporary: &OsStr| rustix::fs::symlinkat(target, dir, temporary);
        Self::new(dir, name, make).map(|((), entry)| entry)
    }

    fn new<T>(
        dir: D,
        name: &OsStr,
        make: impl Fn(&D, &OsStr) -> Result<T, Errno>,
    ) -> Result<(T, Self), Errno> {
        let hash = HashKind::Sha2_256.digest(&[name.as_bytes()]);
        let hash = HEXLOWER.encode(hash.digest().get(..HASH_BYTES).unwrap_or_default());
        for number in 0..NAMES_MAX {
            let temporary = OsString::from(format!(".get-{hash}-{number}.tmp"));
            // Once more where a stale one was in the way.
            for _ in 0..2 {
                match make(&dir, &temporary) {
                    Err(Errno::EXIST) if remove_stale(&dir, &temporary) => {}
                    Err(Errno::EXIST) => break,
                    Err(errno) => return Err(errno),
                    Ok(made) => {
                        return Ok((made, Self { dir, name: name.to_owned(), temporary, renamed: false }));
                    }
                }
            }
        }
        Err(Errno::EXIST)
    }

    /// The name that it has for now.
    pub(crate) fn temporary(&self) -> &OsStr {
        &self.temporary
    }

    /// Gives it its name, in place of the file or symlink that had it.
    pub(crate) fn rename(mut self) -> Result<(), Errno> {
        rustix::fs::renameat(&self.dir, &self.temporary, &self.dir, &self.name)?;
        self.renamed = true;
        Ok(())
    }
}

impl<D: AsFd> Drop for NewEntry<D> {
    fn drop(&mut self) {
        if !self.renamed {
            // There is an error to tell already.
            let _ = rustix::fs::unlinkat(&self.dir, &self.temporary, AtFlags::empty());
        }
    }
}

/// Removes a temporary file that nobody is writing any more; whether it was one.
fn remove_stale(dir: &impl AsFd, temporary: &OsStr) -> bool {
    // Not blocking: it might be a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(dir, temporary, flags, Mode::empty()) else { return false };
    let is_file = |stat: &rustix::fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    let Ok(found) = rustix::fs::fstat(&file) else { return false };
    if !is_file(&found) || rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return false;
    }
    // What was locked may have got its name meanwhile, and another one lie here.
    let now = rustix::fs::statat(dir, temporary, AtFlags::SYMLINK_NOFOLLOW);
    now.is_ok_and(|now| (now.st_dev, now.st_ino) == (found.st_dev, found.st_ino))
        && rustix::fs::unlinkat(dir, temporary, AtFlags::empty()).is_ok()
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
    use std::os::unix::fs::symlink;
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
        let (dir, path, name) = (open(folder.path()), folder.path().join("name"), OsStr::new("name"));
        fs::write(&path, "old").unwrap();
        let (mut file, entry) = NewEntry::file(&dir, name).unwrap();
        file.write_all(b"ne").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        drop(entry);
        assert_eq!(names(folder.path()), ["name"], "a file that was given up is gone");
        let (mut file, entry) = NewEntry::file(&dir, name).unwrap();
        file.write_all(b"new").unwrap();
        entry.rename().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        NewEntry::symlink(&dir, name, OsStr::new("elsewhere")).unwrap().rename().unwrap();
        assert_eq!(fs::read_link(&path).unwrap(), Path::new("elsewhere"));
        assert_eq!(names(folder.path()), ["name"]);
    }

    /// What a killed process left goes with the next entry of that name; what somebody is writing does not, nor what
    /// belongs to another name, nor what is no file.
    #[test]
    fn only_what_nobody_writes_any_more_is_taken_away() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, name) = (open(folder.path()), OsStr::new("name"));
        let (_, stale) = NewEntry::file(&dir, name).unwrap();
        let left = stale.temporary().to_owned();
        let (_, other) = NewEntry::file(&dir, OsStr::new("other")).unwrap();
        let others = other.temporary().to_owned();
        for entry in [stale, other] {
            // As a killed process does: the file is closed, and lies there.
            std::mem::forget(entry);
        }
        let (mut first_file, first) = NewEntry::file(&dir, name).unwrap();
        assert_eq!(first.temporary(), left, "it lies in the place of the stale one");
        let (mut second_file, second) = NewEntry::file(&dir, name).unwrap();
        assert_ne!(second.temporary(), left, "the first is being written");
        first_file.write_all(b"first").unwrap();
        second_file.write_all(b"second").unwrap();
        second.rename().unwrap();
        assert_eq!(fs::read(folder.path().join("name")).unwrap(), b"second");
        first.rename().unwrap();
        assert_eq!(fs::read(folder.path().join("name")).unwrap(), b"first");
        let mut found = names(folder.path());
        found.sort();
        assert_eq!(found, [others, OsString::from("name")]);

        symlink("nowhere", folder.path().join(&left)).unwrap();
        let (_, entry) = NewEntry::file(&dir, name).unwrap();
        assert_ne!(entry.temporary(), left);
        assert!(folder.path().join(&left).is_symlink());
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
