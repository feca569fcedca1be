//! Files and standard input of a command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Component, Path, PathBuf};
use std::{fs, thread};

use crate::commands::registry::{
    Arg, Call, CommandError, Entry, EntryKind, Input, InputError, ModeAndTime, SizeHint,
};
use crate::services::unixfs::add::{self, Body, DiskSource, Found, Root, Source as _, WalkOptions};

/// Most bytes of arguments that are read from standard input: they are held in memory.
const ARGUMENT_BYTES_MAX: u64 = 64 << 20;

/// Standard input, and the name of the program for the note to whoever sits at it.
pub(super) struct Stdin {
    reader: Box<dyn Read + Send>,
    is_terminal: bool,
    program: String,
}

impl Stdin {
    /// That of the process.
    pub(super) fn of_process(program: &str) -> Self {
        let is_terminal = io::stdin().is_terminal();
        Self { reader: Box::new(io::stdin()), is_terminal, program: program.to_owned() }
    }

    /// Whether a person sits at it.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Its bytes. If a person sits at it, they are told so when it is first read.
    fn into_reader(self) -> Box<dyn Read + Send> {
        if !self.is_terminal {
            return self.reader;
        }
        let note = format!("{}: Reading from /dev/stdin; send Ctrl-d to stop.", self.program);
        Box::new(NotedReader { reader: self.reader, note: Some(note) })
    }

    /// Its lines, as arguments: without white space around them, and without empty ones. Blocking.
    pub(super) fn arguments(self) -> Result<Vec<String>, CommandError> {
        let mut text = String::new();
        let mut reader = self.into_reader().take(ARGUMENT_BYTES_MAX + 1);
        reader.read_to_string(&mut text)?;
        if text.len() as u64 > ARGUMENT_BYTES_MAX {
            return Err(InputError::TooLarge { bytes_max: ARGUMENT_BYTES_MAX }.into());
        }
        Ok(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
    }
}

struct NotedReader {
    reader: Box<dyn Read + Send>,
    note: Option<String>,
}

impl Read for NotedReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(note) = self.note.take() {
            eprintln!("{note}");
        }
        self.reader.read(buffer)
    }
}

/// Opens the files named by `words` (`-` is standard input) or, without any, standard input if it is given.
///
/// `measure` has the total size worked out beside, also where that means a walk of its own.
pub(super) fn open(
    argument: &Arg,
    words: Vec<OsString>,
    mut stdin: Option<Stdin>,
    call: &Call,
    measure: bool,
) -> Result<Input, CommandError> {
    let hint = SizeHint::default();
    let words = if words.is_empty() && stdin.is_some() { vec![OsString::from("-")] } else { words };
    let (mut roots, mut paths) = (Vec::with_capacity(words.len()), Some(Vec::new()));
    for word in words {
        if word == "-" {
            let stdin = stdin.take().ok_or_else(|| CommandError::client("standard input was given twice"))?;
            roots.push(Root::Reader { name: stdin_name(call)?, reader: stdin.into_reader() });
            paths = None;
            continue;
        }
        let path = clean(Path::new(&word));
        check(&path, argument)?;
        paths = paths.map(|mut paths| {
            paths.push(path.clone());
            paths
        });
        roots.push(Root::Path(path));
    }
    let options = walk_options(call, argument);
    if let Some(paths) = paths.filter(|paths| measure && !paths.is_empty()) {
        let (hint, options) = (hint.clone(), options.clone());
        // Nobody waits for it: it only adds a percentage to a progress line.
        let _ = thread::Builder::new().name("measure".to_owned()).spawn(move || {
            if let Ok((_, bytes)) = add::measure(paths, options) {
                hint.set(bytes);
            }
        });
    }
    let source = DiskSource::new(roots, options).map_err(CommandError::from_error)?;
    Ok(Input::new(Entries(source)).with_size_hint(hint))
}

/// Checks a path for commands that take files alone. What the walk itself refuses is left to it.
fn check(path: &Path, argument: &Arg) -> Result<(), CommandError> {
    if argument.recursive {
        return Ok(());
    }
    let failed =
        |operation| move |error| InputError::Io { operation, path: path.display().to_string(), error };
    fs::symlink_metadata(path).map_err(failed("lstat"))?;
    if fs::metadata(path).map_err(failed("stat"))?.is_dir() {
        let (shown, name) = (path.display(), argument.name);
        let text = format!("Invalid path '{shown}', argument '{name}' does not support directories");
        return Err(CommandError::new(text));
    }
    fs::File::open(path).map_err(failed("open"))?;
    Ok(())
}

/// What the call's options say about walking. Commands without such options walk plainly.
fn walk_options(call: &Call, argument: &Arg) -> WalkOptions {
    WalkOptions {
        recursive: argument.recursive && call.bool("recursive"),
        hidden: call.bool("hidden"),
        ignore: call.list("ignore").to_vec(),
        ignore_rules_path: call
            .text_opt("ignore-rules-path")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from),
        dereference_symlinks: call.bool("dereference-symlinks"),
        dereference_roots: !argument.recursive || call.bool("dereference-args"),
        metadata: call.bool("preserve-mode") || call.bool("preserve-mtime"),
    }
}

/// What lies on the disk, as the entries of an upload.
struct Entries(DiskSource);

impl Iterator for Entries {
    type Item = Result<Entry, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.0.next()? {
            Ok(Found::Entry(entry)) => Ok(upload(entry)),
            Ok(Found::Unreadable(unreadable)) => Err(InputError::Entry(unreadable.error)),
            Err(error) => Err(InputError::Other(error.to_string())),
        })
    }
}

fn upload(entry: add::Entry) -> Entry {
    let add::Entry { path, body, mode, mtime } = entry;
    let (kind, disk_path) = match body {
        Body::Directory => (EntryKind::Directory, None),
        Body::Symlink(target) => (EntryKind::Symlink(target), None),
        Body::Reader { reader, size } => (EntryKind::File { reader, size_hint: size }, None),
        Body::File(path) => {
            let reader = Box::new(FileOnDisk { path: path.clone(), file: None });
            (EntryKind::File { reader, size_hint: None }, Some(path))
        }
    };
    let meta = ModeAndTime {
        mode,
        mtime: mtime.map(|mtime| mtime.seconds),
        mtime_nanos: mtime.and_then(|mtime| mtime.nanos),
    };
    Entry { path, kind, meta, disk_path }
}

/// A file that is opened when it is first read: `add` opens many at once by their paths instead.
struct FileOnDisk {
    path: PathBuf,
    file: Option<fs::File>,
}

impl Read for FileOnDisk {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.file {
            Some(file) => file.read(buffer),
            None => self.file.insert(fs::File::open(&self.path)?).read(buffer),
        }
    }
}

/// A path without `.`, double separators and `x/..`, by its text alone.
fn clean(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match out.components().next_back() {
                Some(Component::Normal(_)) => {
                    out.pop();
                }
                Some(Component::RootDir) => {}
                _ => out.push(component),
            },
            other => out.push(other),
        }
    }
    if out.as_os_str().is_empty() { PathBuf::from(".") } else { out }
}

/// The name of what standard input holds: nothing, or a path that stays where it begins.
fn stdin_name(call: &Call) -> Result<String, CommandError> {
    let name = call.text("stdin-name");
    if name.split('/').any(|part| matches!(part, "." | "..")) {
        let why = format!(
            "the name {name:?} leads out of the folder: give --stdin-name a name without '.' and '..' parts"
        );
        return Err(CommandError::client(why));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_by_their_text() {
        for (given, cleaned) in [
            ("a//b/./c/", "a/b/c"),
            ("./a", "a"),
            (".", "."),
            ("a/..", "."),
            ("../x", "../x"),
            ("/../x", "/x"),
        ] {
            assert_eq!(clean(Path::new(given)), Path::new(cleaned), "{given}");
        }
    }

    #[test]
    fn lines_become_arguments() {
        let stdin = Stdin {
            reader: Box::new(io::Cursor::new(b" a \r\n\nb".to_vec())),
            is_terminal: false,
            program: String::new(),
        };
        assert_eq!(stdin.arguments().unwrap(), ["a", "b"]);
    }
}
