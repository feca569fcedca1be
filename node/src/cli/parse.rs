//! From the words of a command line to a command, its options and its arguments.

use std::ffi::{OsStr, OsString};

use crate::commands::registry::{OptKind, OptionError, Path, RawOption, Registry};

use super::suggest;

/// A command line, taken apart.
#[derive(Debug, Clone)]
pub struct Line<'r> {
    /// The command.
    pub path: Path<'r>,
    /// Its options, as they were given.
    pub options: Vec<RawOption>,
    /// Its positional arguments, as they were given.
    pub words: Vec<OsString>,
}

/// Why a command line means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// An option does not fit.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The first word is no command.
    #[error("Unknown Command \"{word}\"\n{}", suggest::text(.similar))]
    UnknownCommand {
        /// The word.
        word: String,
        /// Commands that look like it.
        similar: Vec<String>,
    },
    /// An option is not UTF-8.
    #[error("option {0} is not valid UTF-8")]
    NotText(String),
}

impl Line<'_> {
    /// Whether a flag was given, and not as `=false`. For options that decide before anything is typed.
    pub fn has_flag(&self, name: &str) -> bool {
        let named = |given: &str| self.path.option(given).is_some_and(|option| option.name() == name);
        let off = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "0" | "f" | "false");
        self.options.iter().any(|raw| named(&raw.name) && !raw.value.as_deref().is_some_and(off))
    }
}

/// Takes a command line apart.
///
/// Words walk down the tree of commands until one names no command: it is the first argument, and the rest are
/// arguments too. Options may stand anywhere after the command that has them; `--` ends them.
pub fn parse<'r>(registry: &'r Registry, words: &[OsString]) -> Result<Line<'r>, ParseError> {
    let words = customary_forms(words);
    let mut line = Line { path: registry.root(), options: Vec::new(), words: Vec::new() };
    let mut rest = words.into_iter();
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some("--") => {
                line.words.extend(rest);
                break;
            }
            Some(text) if text.starts_with("--") => {
                let option = text.strip_prefix("--").unwrap_or_default();
                let raw = long_option(&line.path, option, &mut rest)?;
                line.options.push(raw);
            }
            Some(text) if text.starts_with('-') && text != "-" => {
                let flags = text.strip_prefix('-').unwrap_or_default();
                short_options(&line.path, flags, &mut rest, &mut line.options)?;
            }
            None if word.as_encoded_bytes().starts_with(b"-") => {
                return Err(ParseError::NotText(word.to_string_lossy().into_owned()));
            }
            text => match text.and_then(|text| line.path.child(text)) {
                Some(child) if line.words.is_empty() => line.path = child,
                _ => line.words.push(word),
            },
        }
    }
    match line.words.first() {
        Some(word) if line.path.words().is_empty() => {
            let word = word.to_string_lossy().into_owned();
            let similar = suggest::similar(&word, registry.root().command());
            Err(ParseError::UnknownCommand { word, similar })
        }
        _ => Ok(line),
    }
}

/// `--version`, `help` and `help <command>` as they are customary.
fn customary_forms(words: &[OsString]) -> Vec<OsString> {
    let mut words = words.to_vec();
    match words.first().and_then(|word| word.to_str()) {
        Some("--version") => {
            if let Some(first) = words.first_mut() {
                *first = "version".into();
            }
        }
        Some("help") => {
            words.remove(0);
            if words.first().map(OsString::as_os_str) != Some(OsStr::new("--help")) {
                words.push("--help".into());
            }
        }
        _ => {}
    }
    words
}

/// `--name`, `--name=value` or, where the option takes one, `--name value`.
fn long_option(
    path: &Path<'_>,
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<RawOption, ParseError> {
    if let Some((name, value)) = text.split_once('=') {
        return known(path, name).map(|_| RawOption::new(name, value));
    }
    match known(path, text)? {
        OptKind::Bool => Ok(RawOption { name: text.to_owned(), value: None }),
        _ => next_word(text, text, rest),
    }
}

/// `-r`, `-rQ`, `-n5`, `-n 5` or `-n=5`.
fn short_options(
    path: &Path<'_>,
    text: &str,
    rest: &mut impl Iterator<Item = OsString>,
    options: &mut Vec<RawOption>,
) -> Result<(), ParseError> {
    if let Some((name, value)) = text.split_once('=') {
        known(path, name)?;
        options.push(RawOption::new(name, value));
        return Ok(());
    }
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let name = letter.to_string();
        // The whole word is named, as Kubo does: `-nope` is one mistake, not four.
        let Ok(kind) = known(path, &name) else { return Err(OptionError::Unknown(text.to_owned()).into()) };
        if kind == OptKind::Bool {
            options.push(RawOption { name, value: None });
            continue;
        }
        let attached = letters.as_str();
        options.push(if attached.is_empty() {
            next_word(&name, text, rest)?
        } else {
            RawOption::new(name, attached)
        });
        break;
    }
    Ok(())
}

fn known(path: &Path<'_>, name: &str) -> Result<OptKind, ParseError> {
    path.option(name).map(|option| option.kind).ok_or_else(|| OptionError::Unknown(name.to_owned()).into())
}

/// The next word as an option's value, whatever it looks like.
fn next_word(
    name: &str,
    given: &str,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<RawOption, ParseError> {
    let word = rest.next().ok_or_else(|| OptionError::MissingValue(given.to_owned()))?;
    let value =
        word.into_string().map_err(|word| ParseError::NotText(word.to_string_lossy().into_owned()))?;
    Ok(RawOption::new(name, value))
}
