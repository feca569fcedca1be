//! Files and standard input of a command line.

use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};

use crate::commands::registry::{Arg, Call, CommandError, Input};
use crate::services::unixfs::add::{DiskSource, Root, WalkOptions, measure};

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
            let words = format!("standard input holds more than {ARGUMENT_BYTES_MAX} bytes of arguments");
            return Err(CommandError::new(words));
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

/// The files named by `words` (`-` is standard input) or, without any, standard input if it is given.
///
/// Every word is looked at before anything is read. `measured` asks for the total size for progress, also where that
/// means a walk of its own. Blocking.
pub(super) fn open(
    argument: &Arg,
    words: Vec<OsString>,
    mut stdin: Option<Stdin>,
    call: &Call,
    measured: bool,
) -> Result<Input, CommandError> {
    let words = if words.is_empty() && stdin.is_some() { vec![OsString::from("-")] } else { words };
    let options = walk_options(call);
    let (mut roots, mut paths) = (Vec::new(), Vec::new());
    for word in words {
        if word == "-" {
            let reader =
                stdin.take().ok_or_else(|| CommandError::client("standard input was given twice"))?;
            roots.push(Root::Reader {
                name: call.text("stdin-name").to_owned(),
                reader: reader.into_reader(),
            });
            continue;
        }
        let path = PathBuf::from(word);
        if !argument.recursive && path.is_dir() {
            let (path, name) = (path.display(), argument.name);
            let words = format!("Invalid path '{path}', argument '{name}' does not support directories");
            return Err(CommandError::new(words));
        }
        paths.push(path.clone());
        roots.push(Root::Path(path));
    }
    // What comes from standard input has no size, and makes the total worthless.
    let all_paths = paths.len() == roots.len();
    let source = DiskSource::new(roots, options.clone()).map_err(CommandError::from_error)?;
    let bytes = if measured && all_paths {
        Some(measure(paths, options).map_err(CommandError::from_error)?.1)
    } else {
        None
    };
    Ok(Input::new(source).with_bytes_hint(bytes))
}

/// What the call's options say about walking. Commands without such options walk plainly.
fn walk_options(call: &Call) -> WalkOptions {
    WalkOptions {
        recursive: call.bool("recursive"),
        hidden: call.bool("hidden"),
        ignore: call.list("ignore").to_vec(),
        ignore_rules_path: call
            .text_opt("ignore-rules-path")
            .filter(|path| !path.is_empty())
            .map(|path| Path::new(path).to_owned()),
        dereference_args: call.bool("dereference-args"),
        dereference_symlinks: call.bool("dereference-symlinks"),
        metadata: call.bool("preserve-mode") || call.bool("preserve-mtime"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_arguments() {
        let reader = Box::new(io::Cursor::new(b" a \r\n\nb".to_vec()));
        let stdin = Stdin { reader, is_terminal: false, program: String::new() };
        assert_eq!(stdin.arguments().unwrap(), ["a", "b"]);
    }
}
