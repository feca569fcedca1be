//! Writing a tar stream to disk, for `get` from a daemon: the same rules as for a DAG ([`super::extract`]).
//!
//! The stream may come from anyone. Every entry is made by its name alone in a directory that is held open, below the
//! target and never elsewhere; no symbolic link is followed on the way.

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::extract::{
    DEPTH_MAX, ExtractError, NULL_DEVICE, Stamp, disk, in_the_way_of_leaf, make_directory, open_directory,
    open_target, safe_name, sink_at, stamp, stamp_link,
};
use super::new_entry::{NewEntry, make_way};
use super::tar_stream::{Entry, Kind, TarStream};

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 256 << 10;

/// A directory being written.
struct Level {
    name: Vec<u8>,
    dir: OwnedFd,
    path: PathBuf,
    stamp: Stamp,
}

/// Writes the entries of a tar stream: the first is the root, and all others lie below it. A root that is a directory
/// becomes `target`; another goes to `target`, or into it under its own name if that is a directory. `progress` is told
/// of bytes as they are written. Blocking.
pub(crate) fn untar(
    stream: impl Read,
    target: &Path,
    mut progress: impl FnMut(u64),
) -> Result<(), ExtractError> {
    let mut stream = TarStream::new(stream);
    let mut levels: Vec<Level> = Vec::new();
    let failed = |error: std::io::Error| disk("read", target, &error);
    if let Some(root) = stream.next().map_err(failed)? {
        if target == Path::new(NULL_DEVICE) {
            return Ok(());
        }
        if root.kind == Kind::Directory {
            let stamp = stamp_of(&root);
            levels.push(Level {
                name: Vec::new(),
                dir: open_target(target)?,
                path: target.to_owned(),
                stamp,
            });
        } else {
            root_leaf(&root, &mut stream, target, &mut progress)?;
        }
    }
    while let Some(entry) = stream.next().map_err(failed)? {
        let (folders, name) = below_root(&entry.path, target)?;
        enter(&mut levels, &folders)?;
        let Some(level) = levels.last() else { return Err(outside(&entry.path, target)) };
        let (place, file_name) = (level.path.join(OsStr::from_bytes(&name)), safe_name(&name, &level.path)?);
        if entry.kind != Kind::Directory {
            leaf(&entry, &mut stream, &level.dir, file_name, &place, &mut progress)?;
            continue;
        }
        let dir = make_directory(&level.dir, file_name, &place)?;
        push(&mut levels, Level { name, dir, path: place, stamp: stamp_of(&entry) })?;
    }
    leave(&mut levels, 0)
}

/// Writes a root that is no directory.
fn root_leaf<R: Read>(
    root: &Entry,
    stream: &mut TarStream<R>,
    target: &Path,
    progress: &mut impl FnMut(u64),
) -> Result<(), ExtractError> {
    if root.kind != Kind::Symlink
        && let Some(mut sink) = sink_at(target)?
    {
        return copy(stream, &mut sink, target, progress);
    }
    let name = root.path.rsplit(|byte| *byte == b'/').find(|part| !part.is_empty()).unwrap_or_default();
    let place = if target.is_dir() { target.join(safe_name(name, target)?) } else { target.to_owned() };
    let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = open_directory(parent.unwrap_or(Path::new(".")))?;
    let name = place.file_name().ok_or_else(|| disk("open", &place, &rustix::io::Errno::INVAL.into()))?;
    leaf(root, stream, &dir, name, &place, progress)
}

fn push(levels: &mut Vec<Level>, level: Level) -> Result<(), ExtractError> {
    if levels.len() >= DEPTH_MAX {
        return Err(ExtractError::TooDeep { path: level.path });
    }
    levels.push(level);
    Ok(())
}

fn outside(path: &[u8], target: &Path) -> ExtractError {
    let path = target.join(String::from_utf8_lossy(path).escape_debug().to_string());
    ExtractError::Disk { action: "open", path, reason: "unsafe name".to_owned() }
}

/// The folders below the root and the name that a path leads to. `..` climbs, but never out of the root.
fn below_root(path: &[u8], target: &Path) -> Result<(Vec<Vec<u8>>, Vec<u8>), ExtractError> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    // The first component is the root's own name.
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).skip(1) {
        match part {
            b".." => drop(parts.pop().ok_or_else(|| outside(path, target))?),
            b"." => {}
            part => parts.push(part.to_vec()),
        }
    }
    let name = parts.pop().ok_or_else(|| outside(path, target))?;
    Ok((parts, name))
}

/// Goes to a folder below the root: leaves those that are not on the way, makes those that are missing.
fn enter(levels: &mut Vec<Level>, folders: &[Vec<u8>]) -> Result<(), ExtractError> {
    let inside = levels.iter().skip(1);
    let common = inside.zip(folders).take_while(|(level, folder)| level.name == **folder).count();
    leave(levels, common + 1)?;
    for folder in folders.iter().skip(common) {
        let Some(level) = levels.last() else { return Ok(()) };
        let path = level.path.join(OsStr::from_bytes(folder));
        let dir = make_directory(&level.dir, safe_name(folder, &level.path)?, &path)?;
        push(levels, Level { name: folder.clone(), dir, path, stamp: Stamp::default() })?;
    }
    Ok(())
}

/// Leaves all levels but the first `kept`. A directory gets its mode and time when all in it is written.
fn leave(levels: &mut Vec<Level>, kept: usize) -> Result<(), ExtractError> {
    while levels.len() > kept {
        if let Some(done) = levels.pop() {
            stamp(&done.dir, &done.path, done.stamp)?;
        }
    }
    Ok(())
}

/// Writes a file or symlink, replacing what has its name.
fn leaf<R: Read>(
    entry: &Entry,
    stream: &mut TarStream<R>,
    dir: &OwnedFd,
    name: &OsStr,
    path: &Path,
    progress: &mut impl FnMut(u64),
) -> Result<(), ExtractError> {
    make_way(dir, name).map_err(|obstacle| in_the_way_of_leaf(path, obstacle))?;
    match entry.kind {
        Kind::File => {
            let (mut file, new) =
                NewEntry::file(dir, name).map_err(|errno| disk("open", path, &errno.into()))?;
            copy(stream, &mut file, path, progress)?;
            stamp(&file, path, stamp_of(entry))?;
            new.rename().map_err(|errno| disk("rename", path, &errno.into()))
        }
        Kind::Symlink => {
            let failed = |errno: rustix::io::Errno| disk("symlink", path, &errno.into());
            let new = NewEntry::symlink(dir, name, OsStr::from_bytes(&entry.link)).map_err(failed)?;
            stamp_link(dir, new.temporary(), path, stamp_of(entry))?;
            new.rename().map_err(failed)
        }
        Kind::Directory | Kind::Other => Err(ExtractError::UnknownNode),
    }
}

fn copy(
    from: &mut impl Read,
    to: &mut std::fs::File,
    path: &Path,
    progress: &mut impl FnMut(u64),
) -> Result<(), ExtractError> {
    let mut room = vec![0; COPY_BYTES];
    loop {
        let count = match from.read(&mut room) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(disk("read", path, &error)),
        };
        let bytes = room.get(..count).unwrap_or_default();
        to.write_all(bytes).map_err(|error| disk("write", path, &error))?;
        progress(count as u64);
    }
}

/// Mode and time of an entry. The modes that archives give to what records none are left to the system.
fn stamp_of(entry: &Entry) -> Stamp {
    let unrecorded = if entry.kind == Kind::Directory { 0o755 } else { 0o644 };
    Stamp { mode: Some(entry.mode).filter(|mode| *mode != unrecorded), mtime: entry.mtime }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use tar::EntryType;
    use tar::EntryType::{Directory, Regular, Symlink};

    use super::*;

    /// An archive of entries: path, kind, mode, and content or link target.
    fn archive(entries: &[(&str, EntryType, u32, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, mode, content) in entries {
            let mut header = tar::Header::new_ustar();
            header.set_entry_type(*kind);
            header.set_mode(*mode);
            header.set_mtime(1_000_000_000);
            // As an archive that means ill has it: no builder would write such a path.
            let name = &mut header.as_ustar_mut().unwrap().name;
            name[..path.len()].copy_from_slice(path.as_bytes());
            if kind.is_symlink() {
                header.set_link_name_literal(content).unwrap();
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, std::io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                builder.append(&header, content.as_bytes()).unwrap();
            }
        }
        builder.into_inner().unwrap()
    }

    fn unpack(entries: &[(&str, EntryType, u32, &str)], target: &Path) -> Result<u64, String> {
        let mut bytes = 0;
        untar(archive(entries).as_slice(), target, |count| bytes += count)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    #[test]
    fn a_tree_is_written_with_its_modes_times_and_links() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let entries = [
            ("root", Directory, 0o755, ""),
            ("root/a", Directory, 0o700, ""),
            ("root/a/file", Regular, 0o640, "hello"),
            ("root/b", Regular, 0o644, "x"),
            ("root/link", Symlink, 0o777, "../nowhere"),
            ("root/implied/deep/c", Regular, 0o644, "c"),
        ];
        assert_eq!(unpack(&entries, &target), Ok(7));
        assert_eq!(fs::read(target.join("a/file")).unwrap(), b"hello");
        assert_eq!(fs::metadata(target.join("a/file")).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::metadata(target.join("a")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(target.join("a")).unwrap().mtime(), 1_000_000_000);
        assert_eq!(fs::symlink_metadata(target.join("link")).unwrap().mtime(), 1_000_000_000);
        assert_eq!(fs::read_link(target.join("link")).unwrap(), Path::new("../nowhere"));
        assert_eq!(fs::read(target.join("implied/deep/c")).unwrap(), b"c");
    }

    #[test]
    fn a_file_goes_to_the_target_or_into_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = [("name", Regular, 0o644, "hello")];
        unpack(&file, &folder.path().join("new")).unwrap();
        assert_eq!(fs::read(folder.path().join("new")).unwrap(), b"hello");
        unpack(&file, folder.path()).unwrap();
        assert_eq!(fs::read(folder.path().join("name")).unwrap(), b"hello");
        unpack(&file, Path::new(NULL_DEVICE)).unwrap();
    }

    #[test]
    fn nothing_is_written_outside_the_target() {
        let folder = tempfile::tempdir().unwrap();
        let (target, outside) = (folder.path().join("out"), folder.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        let link = outside.to_str().unwrap();
        for entries in [
            &[("r", Directory, 0o755, ""), ("r/../../outside/evil", Regular, 0o644, "x")][..],
            &[("r", Directory, 0o755, ""), ("r/..", Regular, 0o644, "x")],
            &[("r", Directory, 0o755, ""), ("r/l", Symlink, 0o777, link), ("r/l/evil", Regular, 0o644, "x")],
            &[("r", Directory, 0o755, ""), ("r/l", Symlink, 0o777, link), ("r/l", Directory, 0o755, "")],
            &[("r", Directory, 0o755, ""), ("r/h", EntryType::Link, 0o644, "")],
            &[("r", Directory, 0o755, ""), ("r/d", EntryType::Char, 0o644, "")],
            &[("r", Regular, 0o644, "x"), ("r/more", Regular, 0o644, "x")],
        ] {
            let _ = fs::remove_dir_all(&target);
            let _ = fs::remove_file(&target);
            assert!(unpack(entries, &target).is_err(), "{entries:?}");
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{entries:?}");
        }
        // What climbs inside is where it says.
        let _ = fs::remove_file(&target);
        let climbs = [("r", Directory, 0o755, ""), ("r/a/../b", Regular, 0o644, "x")];
        unpack(&climbs, &target).unwrap();
        assert_eq!(fs::read(target.join("b")).unwrap(), b"x");
    }
}
