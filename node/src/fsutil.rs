//! Files that are replaced whole: a reader, or the next start after a power cut, sees the old or the new one, never a part.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Replaces `path` by `bytes` with permission bits `mode`: temporary file, fsync, rename, fsync of the folder.
///
/// A symbolic link is followed, so that a config kept elsewhere stays where it is.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = folder_of(&target);
    let file = temporary(&folder, bytes, mode)?;
    file.persist(&target).map_err(|error| error.error)?;
    sync_folder(&folder)
}

/// Creates `path` with `bytes` as [`write_atomic`] does, but fails with `AlreadyExists` rather than replace a file.
pub(crate) fn create_atomic(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(path);
    let file = temporary(&folder, bytes, mode)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(&folder)
}

/// Makes names that were made, renamed or removed in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The folder that `path` lies in.
fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A synced file beside the target, which removes itself unless it is persisted. Its name ends as those that opening the
/// repo removes, for when the process is killed before.
fn temporary(folder: &Path, bytes: &[u8], mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_refuses_to_replace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create_atomic(&path, b"three", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_a_killed_writer_leaves_is_named_as_what_opening_a_repo_removes() {
        let folder = tempfile::tempdir().unwrap();
        let file = temporary(folder.path(), b"secret", 0o600).unwrap();
        assert_eq!(file.path().extension(), Some("tmp".as_ref()), "{}", file.path().display());
    }

    #[test]
    fn follows_a_link_to_the_real_file() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let link = folder.path().join("link");
        std::fs::write(&real, b"one").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        write_atomic(&link, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&real).unwrap(), b"two");
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
