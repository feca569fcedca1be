//! Walking the files of a command line, in the order in which they are uploaded.

use std::fs::{self, File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::commands::registry::{Entry, EntryKind, InputError, ModeAndTime};

use super::ignore::IgnoreRules;

/// Deepest nesting that is followed: dereferenced links may form circles.
const DEPTH_MAX: usize = 1024;
/// How many unreadable files are named; further ones are only counted.
const NAMED_MAX: usize = 1000;

/// What is walked, and what is left out.
#[derive(Debug, Clone, Default)]
pub(super) struct WalkOptions {
    /// Include names that begin with a dot.
    pub(super) hidden: bool,
    /// Follow symbolic links inside of directories.
    pub(super) follow_links: bool,
    /// What to leave out.
    pub(super) ignore: IgnoreRules,
}

/// Entries that could not be read, to be named when the command is done.
#[derive(Debug, Clone, Default)]
pub(super) struct Skipped {
    inner: Arc<Mutex<(u64, Vec<String>)>>,
}

impl Skipped {
    fn add(&self, error: &InputError) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        if inner.1.len() < NAMED_MAX {
            inner.1.push(error.to_string());
        }
    }

    /// How many there are, and why, for as many as are named.
    pub(super) fn take(&self) -> (u64, Vec<String>) {
        std::mem::take(&mut *self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Something that the walk came across.
#[derive(Debug)]
struct Found {
    name: Vec<u8>,
    disk_path: PathBuf,
    metadata: Metadata,
    depth: usize,
}

/// A depth-first walk below one argument. Unreadable entries below the argument are noted and skipped; an unreadable
/// argument is an error.
pub(super) struct Walk {
    options: WalkOptions,
    skipped: Skipped,
    /// What is still to come, the next last.
    stack: Vec<Found>,
}

impl Walk {
    /// A walk of `disk_path`, which is called `name` in the upload.
    pub(super) fn new(
        name: Vec<u8>,
        disk_path: PathBuf,
        metadata: Metadata,
        options: WalkOptions,
        skipped: Skipped,
    ) -> Self {
        Self { options, skipped, stack: vec![Found { name, disk_path, metadata, depth: 0 }] }
    }

    /// How many bytes of file data there are. It looks at every entry, and opens none.
    pub(super) fn total_bytes(mut self) -> u64 {
        let mut total: u64 = 0;
        while let Some(found) = self.stack.pop() {
            if found.metadata.is_dir() {
                let _ = self.push_children(&found);
            } else if found.metadata.is_file() {
                total = total.saturating_add(found.metadata.len());
            }
        }
        total
    }

    /// Puts what a directory holds on the stack, so that it comes off in the order of names.
    fn push_children(&mut self, parent: &Found) -> Result<(), InputError> {
        if parent.depth >= DEPTH_MAX {
            let path = parent.disk_path.display();
            return Err(InputError::Other(format!("{path}: nested deeper than {DEPTH_MAX} directories")));
        }
        let failed = |error| io_error("open", &parent.disk_path, error);
        let mut children = Vec::new();
        for item in fs::read_dir(&parent.disk_path).map_err(failed)? {
            let item = item.map_err(failed)?;
            let disk_path = item.path();
            let metadata = if self.options.follow_links { fs::metadata(&disk_path) } else { item.metadata() };
            match metadata {
                Ok(metadata) => {
                    let file_name = item.file_name();
                    if self.leave_out(parent, file_name.as_encoded_bytes(), &metadata) {
                        continue;
                    }
                    let name = [parent.name.as_slice(), file_name.as_encoded_bytes()].join(&b'/');
                    children.push(Found { name, disk_path, metadata, depth: parent.depth + 1 });
                }
                Err(error) => self.skipped.add(&io_error("lstat", &disk_path, error)),
            }
        }
        children.sort_unstable_by(|a, b| b.name.cmp(&a.name));
        self.stack.append(&mut children);
        Ok(())
    }

    fn leave_out(&self, parent: &Found, name: &[u8], metadata: &Metadata) -> bool {
        if !self.options.hidden && name.starts_with(b".") {
            return true;
        }
        // The rules know the path below the argument, not the argument's own name.
        let above = parent.name.iter().position(|byte| *byte == b'/').map(|slash| slash + 1);
        let below = match above.and_then(|start| parent.name.get(start..)) {
            Some(folder) => [folder, name].join(&b'/'),
            None => name.to_vec(),
        };
        self.options.ignore.leave_out(&below, metadata.is_dir())
    }

    fn open(&mut self, found: Found) -> Result<Entry, InputError> {
        let kind = if found.metadata.is_dir() {
            self.push_children(&found)?;
            EntryKind::Directory
        } else if found.metadata.is_symlink() {
            let target = fs::read_link(&found.disk_path)
                .map_err(|error| io_error("readlink", &found.disk_path, error))?;
            EntryKind::Symlink(target.into_os_string().into_encoded_bytes())
        } else if found.metadata.is_file() {
            let file =
                File::open(&found.disk_path).map_err(|error| io_error("open", &found.disk_path, error))?;
            EntryKind::File { reader: Box::new(file), size_hint: Some(found.metadata.len()) }
        } else {
            let path = found.disk_path.display();
            return Err(InputError::Other(format!(
                "{path}: neither a file, a directory nor a symbolic link"
            )));
        };
        let meta = mode_and_time(&found.metadata);
        Ok(Entry { path: found.name, kind, meta, disk_path: Some(found.disk_path) })
    }
}

impl Iterator for Walk {
    type Item = Result<Entry, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let found = self.stack.pop()?;
            let is_argument = found.depth == 0;
            match self.open(found) {
                Err(error) if !is_argument => self.skipped.add(&error),
                outcome => return Some(outcome),
            }
        }
    }
}

/// The system's answer to an operation on a path.
pub(super) fn io_error(operation: &'static str, path: &Path, error: std::io::Error) -> InputError {
    InputError::Io { operation, path: path.display().to_string(), error }
}

/// Mode and modification time, as far as the platform has them.
pub(super) fn mode_and_time(metadata: &Metadata) -> ModeAndTime {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        ModeAndTime {
            mode: Some(metadata.mode()),
            mtime: Some(metadata.mtime()),
            mtime_nanos: u32::try_from(metadata.mtime_nsec()).ok(),
        }
    }
    #[cfg(not(unix))]
    {
        let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        ModeAndTime {
            mode: None,
            mtime: since.and_then(|time| i64::try_from(time.as_secs()).ok()),
            mtime_nanos: since.map(|time| time.subsec_nanos()),
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    fn walk(root: &Path, options: WalkOptions) -> (Vec<String>, u64) {
        let skipped = Skipped::default();
        let metadata = fs::symlink_metadata(root).unwrap();
        let walk = Walk::new(b"d".to_vec(), root.to_owned(), metadata, options, skipped.clone());
        let names = walk.map(|entry| String::from_utf8(entry.unwrap().path).unwrap()).collect();
        (names, skipped.take().0)
    }

    #[test]
    fn the_walk_is_depth_first_by_name_and_leaves_out_what_it_should() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        fs::create_dir(root.join(".git")).unwrap();
        for file in ["b", "a.txt", ".hidden", "sub/x", "sub/deep/y", "sub.z"] {
            fs::write(root.join(file), file).unwrap();
        }
        std::os::unix::fs::symlink("a.txt", root.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.join("broken")).unwrap();

        let plain = WalkOptions::default();
        let all =
            ["d", "d/a.txt", "d/b", "d/broken", "d/link", "d/sub", "d/sub/deep", "d/sub/deep/y", "d/sub/x"];
        let (names, skipped) = walk(root, plain.clone());
        assert_eq!(names, [&all[..], &["d/sub.z"]].concat());
        assert_eq!(skipped, 0);

        let (names, skipped) = walk(root, WalkOptions { follow_links: true, ..plain.clone() });
        assert!(!names.contains(&"d/broken".to_owned()));
        assert_eq!(skipped, 1);

        let mut ignore = IgnoreRules::default();
        ignore.add_line("sub/x");
        ignore.add_line("*.txt");
        let (names, _) = walk(root, WalkOptions { hidden: true, ignore, ..plain.clone() });
        assert!(names.contains(&"d/.hidden".to_owned()) && names.contains(&"d/.git".to_owned()));
        assert!(!names.contains(&"d/sub/x".to_owned()) && !names.contains(&"d/a.txt".to_owned()));

        let metadata = fs::symlink_metadata(root).unwrap();
        let total =
            Walk::new(b"d".to_vec(), root.to_owned(), metadata, plain, Skipped::default()).total_bytes();
        assert_eq!(
            total,
            ["b", "a.txt", "sub/x", "sub/deep/y", "sub.z"].map(str::len).iter().sum::<usize>() as u64
        );
    }
}
