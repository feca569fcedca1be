//! Files and standard input of a command line.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Metadata};
use std::io::{self, IsTerminal as _, Read};
use std::path::{Component, Path, PathBuf};

use crate::commands::registry::{Arg, Call, CommandError, Entry, EntryKind, Input, InputError, ModeAndTime};

use super::ignore::IgnoreRules;
use super::walk::{self, Skipped, Walk, WalkOptions};

/// Most bytes of arguments that are read from standard input: they are held in memory.
const ARGUMENT_BYTES_MAX: u64 = 64 << 20;
/// Most bytes of a file of ignore rules.
const RULES_BYTES_MAX: u64 = 1 << 20;

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
/// `measure` asks for the total size also where that means a walk of its own. What cannot be read is noted in
/// `skipped` while the entries are taken.
pub(super) fn open(
    argument: &Arg,
    words: Vec<OsString>,
    mut stdin: Option<Stdin>,
    call: &Call,
    measure: bool,
    skipped: &Skipped,
) -> Result<Input, CommandError> {
    let options = walk_options(call)?;
    let mut sources: Vec<Source> = Vec::new();
    let mut total = Some(0_u64);
    let words = if words.is_empty() && stdin.is_some() { vec![OsString::from("-")] } else { words };
    for word in words {
        if word == "-" {
            let stdin = stdin.take().ok_or_else(|| CommandError::client("standard input was given twice"))?;
            total = None;
            sources.push(Box::new(std::iter::once(Ok(stdin_entry(stdin, call)))));
            continue;
        }
        let (name, disk_path, metadata) = look_at(&word, argument, call)?;
        let walk =
            |skipped| Walk::new(name.clone(), disk_path.clone(), metadata.clone(), options.clone(), skipped);
        let size = match metadata.is_dir() {
            true if measure => Some(walk(Skipped::default()).total_bytes()),
            true => None,
            false => Some(metadata.len()),
        };
        total = total.zip(size).map(|(total, size)| total.saturating_add(size));
        sources.push(Box::new(walk(skipped.clone())));
    }
    Ok(Input::new(sources.into_iter().flatten()).with_size_hint(total))
}

type Source = Box<dyn Iterator<Item = Result<Entry, InputError>> + Send>;

fn stdin_entry(stdin: Stdin, call: &Call) -> Entry {
    let path = call.text("stdin-name").as_bytes().to_vec();
    let kind = EntryKind::File { reader: stdin.into_reader(), size_hint: None };
    Entry { path, kind, meta: ModeAndTime::default(), disk_path: None }
}

/// The name in the upload, the path on disk, and what lies there.
fn look_at(word: &OsStr, argument: &Arg, call: &Call) -> Result<(Vec<u8>, PathBuf, Metadata), CommandError> {
    let shown = clean(Path::new(word));
    let mut disk_path = shown.clone();
    // `.` and `..` have no name of their own: take that of the directory they stand for.
    if !matches!(shown.components().next_back(), Some(Component::Normal(_) | Component::RootDir)) {
        disk_path = fs::canonicalize(&shown).map_err(|error| walk::io_error("lstat", &shown, error))?;
    }
    let name = disk_path.file_name().unwrap_or_default().as_encoded_bytes().to_vec();
    let mut metadata =
        fs::symlink_metadata(&disk_path).map_err(|error| walk::io_error("lstat", &shown, error))?;
    if metadata.is_symlink() && (call.bool("dereference-args") || call.bool("dereference-symlinks")) {
        metadata = fs::metadata(&disk_path).map_err(|error| walk::io_error("stat", &shown, error))?;
    }
    let shown = shown.display();
    if metadata.is_dir() && !argument.recursive {
        let name = argument.name;
        let text = format!("Invalid path '{shown}', argument '{name}' does not support directories");
        return Err(CommandError::new(text));
    }
    if metadata.is_dir() && !call.bool("recursive") {
        let text = format!("'{shown}' is a directory, use the '-r' flag to specify directories");
        return Err(CommandError::new(text));
    }
    Ok((name, disk_path, metadata))
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

/// What the call's options say about walking. Commands without such options walk plainly.
fn walk_options(call: &Call) -> Result<WalkOptions, CommandError> {
    let mut ignore = IgnoreRules::default();
    let rules_path = call.text("ignore-rules-path");
    if !rules_path.is_empty() {
        let path = Path::new(rules_path);
        let file = fs::File::open(path).map_err(|error| walk::io_error("open", path, error))?;
        let mut text = String::new();
        file.take(RULES_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| walk::io_error("read", path, error))?;
        text.lines().for_each(|line| ignore.add_line(line));
    }
    call.list("ignore").iter().for_each(|line| ignore.add_line(line));
    Ok(WalkOptions { hidden: call.bool("hidden"), follow_links: call.bool("dereference-symlinks"), ignore })
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
