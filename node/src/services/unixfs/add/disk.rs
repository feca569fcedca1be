//! Walking the disk: names sorted by bytes, depth first, as Kubo does.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType, Metadata};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};

use holdfast_dag::unixfs::Mtime;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::source::{Body, Entry, Found, Source, SourceError, Unreadable, go_error};

/// A top-level entry to add.
pub enum Root {
    /// A file, symlink or directory, called by the last component of its path.
    Path(PathBuf),
    /// Bytes from elsewhere: standard input.
    Reader {
        /// Its name; empty to call it by its CID.
        name: String,
        /// Where the bytes come from.
        reader: Box<dyn Read + Send>,
    },
}

/// What of a directory is added, and how.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct WalkOptions {
    /// Directories may be given at all. Default: no.
    pub recursive: bool,
    /// Entries whose name begins with a dot are added too. Those given by name always are. Default: no.
    pub hidden: bool,
    /// Patterns in the syntax of `.gitignore`, relative to each top-level directory. Default: none.
    pub ignore: Vec<String>,
    /// A file with such patterns. Default: none.
    pub ignore_rules_path: Option<PathBuf>,
    /// What a symlink points to is added instead of the symlink. Default: no.
    pub dereference_symlinks: bool,
    /// The same for the top-level entries alone. Default: no.
    pub dereference_roots: bool,
    /// Mode and modification time are read, which costs a system call an entry. Default: no.
    pub metadata: bool,
}

/// The source that walks the disk.
pub struct DiskSource {
    roots: VecDeque<(Vec<u8>, Root, Option<Metadata>)>,
    open: Vec<Listing>,
    options: WalkOptions,
    ignore: Gitignore,
}

/// A directory being walked.
struct Listing {
    disk: PathBuf,
    path: Vec<u8>,
    names: Names,
    next: usize,
    /// Device and inode, where symlinks are followed: a directory inside itself has no end.
    identity: Option<(u64, u64)>,
}

/// The sorted names of a directory in one allocation: a directory may hold millions.
#[derive(Default)]
struct Names {
    bytes: Vec<u8>,
    spans: Vec<(usize, u16, Kind)>,
}

/// What a directory entry is, as far as the walk cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

impl Kind {
    fn of(kind: FileType) -> Self {
        match kind {
            kind if kind.is_file() => Self::File,
            kind if kind.is_dir() => Self::Directory,
            kind if kind.is_symlink() => Self::Symlink,
            _ => Self::Other,
        }
    }
}

impl Names {
    fn read(path: &Path) -> std::io::Result<Self> {
        let mut names = Self::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            // No file system allows names over 65,535 bytes (Linux: 255).
            let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
            names.spans.push((names.bytes.len(), len, Kind::of(entry.file_type()?)));
            names.bytes.extend_from_slice(name.as_bytes());
        }
        let Self { bytes, spans } = &mut names;
        spans.sort_unstable_by(|a, b| span(bytes, a).cmp(span(bytes, b)));
        Ok(names)
    }

    fn get(&self, index: usize) -> Option<(&[u8], Kind)> {
        let at = self.spans.get(index)?;
        Some((span(&self.bytes, at), at.2))
    }
}

fn span<'a>(bytes: &'a [u8], &(start, len, _): &(usize, u16, Kind)) -> &'a [u8] {
    bytes.get(start..start + usize::from(len)).unwrap_or_default()
}

impl DiskSource {
    /// Looks at every root before anything is added: one that does not exist, or a directory without
    /// [`WalkOptions::recursive`], refuses them all.
    pub fn new(roots: Vec<Root>, options: WalkOptions) -> Result<Self, SourceError> {
        let ignore = ignore_rules(&options)?;
        let mut checked = VecDeque::with_capacity(roots.len());
        for root in roots {
            checked.push_back(match root {
                Root::Reader { name, reader } => {
                    (name.clone().into_bytes(), Root::Reader { name, reader }, None)
                }
                Root::Path(path) => {
                    let path = clean(&path);
                    let mut metadata = fs::symlink_metadata(&path)
                        .map_err(|error| SourceError(go_error("lstat", &path, &error)))?;
                    if metadata.is_symlink() && (options.dereference_roots || options.dereference_symlinks) {
                        metadata = fs::metadata(&path)
                            .map_err(|error| SourceError(go_error("stat", &path, &error)))?;
                    }
                    if metadata.is_dir() && !options.recursive {
                        let path = path.display();
                        return Err(SourceError(format!(
                            "'{path}' is a directory, use the '-r' flag to specify directories"
                        )));
                    }
                    (base_name(&path)?, Root::Path(path), Some(metadata))
                }
            });
        }
        Ok(Self { roots: checked, open: Vec::new(), options, ignore })
    }

    fn excluded(&self, path: &[u8], name: &[u8], kind: Kind) -> bool {
        if !self.options.hidden && name.starts_with(b".") {
            return true;
        }
        // Patterns are relative to the top-level directory, whose own name they do not see.
        let inner = path.iter().position(|byte| *byte == b'/').and_then(|at| path.get(at + 1..));
        let inner = Path::new(OsStr::from_bytes(inner.unwrap_or(path)));
        !self.ignore.is_empty() && self.ignore.matched(inner, kind == Kind::Directory).is_ignore()
    }

    fn found(&mut self, disk: &Path, path: Vec<u8>, kind: Kind, known: Option<Metadata>) -> Found {
        match self.entry(disk, &path, kind, known) {
            Ok((body, metadata)) => {
                let mode = metadata.as_ref().map(|metadata| metadata.mode() & 0o7777);
                let mtime = metadata.as_ref().and_then(mtime_of);
                Found::Entry(Entry { path, body, mode, mtime })
            }
            Err(error) => Found::Unreadable(Unreadable { path: disk.display().to_string(), error }),
        }
    }

    /// Body and, where wanted, metadata of what lies at `disk`; opens it for the walk if it is a directory.
    fn entry(
        &mut self,
        disk: &Path,
        path: &[u8],
        mut kind: Kind,
        known: Option<Metadata>,
    ) -> Result<(Body, Option<Metadata>), String> {
        let mut metadata = known;
        if kind == Kind::Symlink && self.options.dereference_symlinks {
            let target = fs::metadata(disk).map_err(|error| go_error("stat", disk, &error))?;
            kind = Kind::of(target.file_type());
            metadata = Some(target);
        }
        if metadata.is_none() && self.options.metadata {
            metadata = Some(fs::symlink_metadata(disk).map_err(|error| go_error("lstat", disk, &error))?);
        }
        let body = match kind {
            Kind::File => Body::File(disk.to_owned()),
            Kind::Symlink => {
                let target = fs::read_link(disk).map_err(|error| go_error("readlink", disk, &error))?;
                Body::Symlink(target.into_os_string().into_vec())
            }
            Kind::Directory => {
                self.open_directory(disk, path)?;
                Body::Directory
            }
            Kind::Other => return Err(special_file(disk)),
        };
        Ok((body, metadata.filter(|_| self.options.metadata)))
    }

    fn open_directory(&mut self, disk: &Path, path: &[u8]) -> Result<(), String> {
        let mut identity = None;
        if self.options.dereference_symlinks {
            let metadata = fs::metadata(disk).map_err(|error| go_error("stat", disk, &error))?;
            identity = Some((metadata.dev(), metadata.ino()));
            if self.open.iter().any(|listing| listing.identity == identity) {
                return Err(format!("{}: symlink leads back into its own directory", disk.display()));
            }
        }
        let names = Names::read(disk).map_err(|error| go_error("open", disk, &error))?;
        self.open.push(Listing { disk: disk.to_owned(), path: path.to_owned(), names, next: 0, identity });
        Ok(())
    }
}

impl Source for DiskSource {
    fn next(&mut self) -> Option<Result<Found, SourceError>> {
        loop {
            let Some(listing) = self.open.last_mut() else {
                return self.next_root().map(Ok);
            };
            let Some((name, kind)) = listing.names.get(listing.next) else {
                self.open.pop();
                continue;
            };
            listing.next += 1;
            let (name, disk) = (name.to_owned(), listing.disk.join(OsStr::from_bytes(name)));
            let path = [&listing.path, &b"/"[..], &name].concat();
            if !self.excluded(&path, &name, kind) {
                return Some(Ok(self.found(&disk, path, kind, None)));
            }
        }
    }
}

impl DiskSource {
    fn next_root(&mut self) -> Option<Found> {
        let (name, root, metadata) = self.roots.pop_front()?;
        Some(match root {
            Root::Reader { reader, .. } => {
                Found::Entry(Entry::new(name, Body::Reader { reader, size: None }))
            }
            Root::Path(disk) => {
                let kind = metadata.as_ref().map_or(Kind::Other, |metadata| Kind::of(metadata.file_type()));
                self.found(&disk, name, kind, metadata)
            }
        })
    }
}

/// Number of files and their bytes below `roots`, as [`DiskSource`] would give them: for progress bars.
///
/// What cannot be read is left out; readers count as nothing.
pub fn measure(roots: Vec<PathBuf>, options: WalkOptions) -> Result<(u64, u64), SourceError> {
    let roots = roots.into_iter().map(Root::Path).collect();
    let mut source = DiskSource::new(roots, options)?;
    let (mut files, mut bytes) = (0, 0);
    while let Some(found) = source.next() {
        if let Found::Entry(Entry { body: Body::File(path), .. }) = found?
            && let Ok(metadata) = fs::metadata(path)
        {
            files += 1;
            bytes += metadata.len();
        }
    }
    Ok((files, bytes))
}

fn ignore_rules(options: &WalkOptions) -> Result<Gitignore, SourceError> {
    let mut builder = GitignoreBuilder::new("");
    if let Some(path) = &options.ignore_rules_path {
        let rules = fs::read_to_string(path).map_err(|error| SourceError(go_error("open", path, &error)))?;
        for line in rules.lines() {
            add_rule(&mut builder, line)?;
        }
    }
    for line in &options.ignore {
        add_rule(&mut builder, line)?;
    }
    builder.build().map_err(|error| SourceError(error.to_string()))
}

fn add_rule(builder: &mut GitignoreBuilder, line: &str) -> Result<(), SourceError> {
    builder
        .add_line(None, line)
        .map(drop)
        .map_err(|error| SourceError(format!("ignore rule {line:?}: {error}")))
}

/// A path without `.` and doubled slashes; `..` is kept, since symlinks give it a meaning of its own.
fn clean(path: &Path) -> PathBuf {
    let clean: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    if clean.as_os_str().is_empty() { PathBuf::from(".") } else { clean }
}

/// What a top-level entry is called. `.` and `..` have the name of the directory they lead to.
fn base_name(path: &Path) -> Result<Vec<u8>, SourceError> {
    if let Some(Component::Normal(name)) = path.components().next_back() {
        return Ok(name.as_bytes().to_owned());
    }
    let real = fs::canonicalize(path).map_err(|error| SourceError(go_error("lstat", path, &error)))?;
    Ok(real.file_name().map_or_else(|| OsString::from("/"), OsStr::to_os_string).into_vec())
}

fn mtime_of(metadata: &Metadata) -> Option<Mtime> {
    let nanos = u32::try_from(metadata.mtime_nsec()).ok()?;
    Some(Mtime { seconds: metadata.mtime(), nanos: (nanos > 0).then_some(nanos) })
}

/// What Kubo says of devices, pipes and sockets: their kind and permissions as Go writes them.
fn special_file(path: &Path) -> String {
    let mode = fs::symlink_metadata(path).map_or_else(|_| "?".to_owned(), |metadata| go_mode(&metadata));
    format!("unrecognized file type for {}: {mode}", path.display())
}

/// `FileMode.String()` of Go: letters for the kind and the special bits, then nine for the permissions.
fn go_mode(metadata: &Metadata) -> String {
    let (kind, mode) = (metadata.file_type(), metadata.mode());
    let special = [
        (kind.is_block_device() || kind.is_char_device(), 'D'),
        (kind.is_fifo(), 'p'),
        (kind.is_socket(), 'S'),
        (mode & 0o4000 != 0, 'u'),
        (mode & 0o2000 != 0, 'g'),
        (kind.is_char_device(), 'c'),
        (mode & 0o1000 != 0, 't'),
    ];
    let mut text: String = special.iter().filter(|(is_set, _)| *is_set).map(|(_, letter)| letter).collect();
    if text.is_empty() {
        text.push('-');
    }
    let permissions = "rwxrwxrwx".chars().enumerate();
    text.extend(permissions.map(|(index, letter)| if mode & (0o400 >> index) == 0 { '-' } else { letter }));
    text
}
