//! Positional arguments: their definitions, and how the words of a line are dealt out to them.

use super::go;

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ArgKind {
    /// A text.
    Text,
    /// A file: a path at the terminal, a multipart part over HTTP.
    File,
}

/// The definition of a positional argument.
// Independent properties, each as Kubo has it.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone)]
pub struct Arg {
    /// Its name in help and errors.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// One sentence.
    pub description: &'static str,
    /// Whether a call without it is an error.
    pub required: bool,
    /// Whether it takes any number of values. Only the last argument may.
    pub variadic: bool,
    /// Whether it is read from standard input where the line does not give it: texts one a line, a file as a whole.
    pub stdin: bool,
    /// The bool option that makes standard input needless.
    pub stdin_unless: Option<&'static str>,
    /// For files: whether directories are accepted (with the option `recursive`).
    pub recursive: bool,
}

impl Arg {
    /// A text argument, optional until said otherwise.
    pub fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(ArgKind::Text, name, description)
    }

    /// A file argument, optional until said otherwise.
    pub fn file(name: &'static str, description: &'static str) -> Self {
        Self::new(ArgKind::File, name, description)
    }

    fn new(kind: ArgKind, name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            description,
            required: false,
            variadic: false,
            stdin: false,
            stdin_unless: None,
            recursive: false,
        }
    }

    /// Makes it required.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Lets it take any number of values.
    #[must_use]
    pub fn variadic(mut self) -> Self {
        self.variadic = true;
        self
    }

    /// Lets it come from standard input.
    #[must_use]
    pub fn stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Lets it come from standard input, unless a bool option is on.
    #[must_use]
    pub fn stdin_unless(mut self, option: &'static str) -> Self {
        self.stdin_unless = Some(option);
        self.stdin()
    }

    /// Lets directories be given for it.
    #[must_use]
    pub fn recursive(mut self) -> Self {
        self.recursive = true;
        self
    }
}

/// Why the arguments of a call are not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgError {
    /// More words than the command has arguments.
    #[error("expected {expected} argument(s), got {got}")]
    TooMany {
        /// How many the command takes.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// A required text argument is missing.
    #[error("argument {} is required", go::quote(.0))]
    Missing(&'static str),
    /// A text argument is not UTF-8.
    #[error("argument {} is not valid UTF-8", go::quote(.0))]
    NotText(&'static str),
}

/// The words of a command line, dealt out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitArgs<T> {
    /// The text arguments, in order.
    pub texts: Vec<T>,
    /// The paths of file arguments, in order.
    pub files: Vec<T>,
    /// The definition (by index) that is to be read from standard input.
    pub stdin: Option<usize>,
}

/// Deals the words of a command line out to the arguments of a command.
///
/// Optional arguments are skipped where there are only words enough for the required ones. With `stdin_allowed`, an
/// argument that the line does not give is read from standard input if it may be, and if it is required or a list.
pub fn split_args<T>(
    definitions: &[Arg],
    words: Vec<T>,
    stdin_allowed: bool,
) -> Result<SplitArgs<T>, ArgError> {
    let last = definitions.last();
    if !last.is_some_and(|arg| arg.variadic) && words.len() > definitions.len() {
        return Err(ArgError::TooMany { expected: definitions.len(), got: words.len() });
    }
    let mut split = SplitArgs { texts: Vec::new(), files: Vec::new(), stdin: None };
    let mut required_left = definitions.iter().filter(|arg| arg.required).count();
    let mut words = words.into_iter().peekable();
    for (index, arg) in definitions.iter().enumerate() {
        let required_before = required_left;
        let from_stdin = arg.stdin && stdin_allowed;
        if arg.required {
            required_left -= 1;
        } else if words.len() <= required_before {
            if from_stdin && arg.variadic && arg.kind == ArgKind::Text && words.len() == 0 {
                split.stdin = Some(index);
            }
            continue;
        }
        let target = match arg.kind {
            ArgKind::Text => &mut split.texts,
            ArgKind::File => &mut split.files,
        };
        if words.peek().is_some() {
            let count = if arg.variadic { words.len() } else { 1 };
            target.extend(words.by_ref().take(count));
        } else if from_stdin {
            split.stdin = Some(index);
        } else if arg.required {
            return Err(ArgError::Missing(arg.name));
        }
    }
    Ok(split)
}

/// Checks that every required text argument is there. It is the last check, after standard input was read.
pub fn check_args(definitions: &[Arg], texts: &[String]) -> Result<(), ArgError> {
    let of_text = || definitions.iter().filter(|arg| arg.kind == ArgKind::Text);
    let variadic = of_text().any(|arg| arg.variadic);
    if !variadic && texts.len() > of_text().count() {
        return Err(ArgError::TooMany { expected: of_text().count(), got: texts.len() });
    }
    match of_text().filter(|arg| arg.required).nth(texts.len()) {
        Some(arg) => Err(ArgError::Missing(arg.name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(
        definitions: &[Arg],
        words: &[&'static str],
        stdin: bool,
    ) -> Result<SplitArgs<&'static str>, ArgError> {
        split_args(definitions, words.to_vec(), stdin)
    }

    #[test]
    fn words_are_dealt_out_like_kubo_does() {
        let config = [Arg::text("key", "").required(), Arg::text("value", "")];
        assert_eq!(split(&config, &["a"], true).unwrap().texts, ["a"]);
        assert_eq!(split(&config, &["a", "b"], true).unwrap().texts, ["a", "b"]);
        assert_eq!(split(&config, &[], false).unwrap_err(), ArgError::Missing("key"));
        assert_eq!(
            split(&config, &["a", "b", "c"], true).unwrap_err(),
            ArgError::TooMany { expected: 2, got: 3 }
        );
        assert_eq!(split(&[], &["x"], true).unwrap_err().to_string(), "expected 0 argument(s), got 1");

        let write = [Arg::text("path", "").required(), Arg::file("data", "").required().stdin()];
        let got = split(&write, &["/a"], true).unwrap();
        assert_eq!((got.texts, got.files, got.stdin), (vec!["/a"], vec![], Some(1)));
        let got = split(&write, &["/a", "f"], true).unwrap();
        assert_eq!((got.texts, got.files, got.stdin), (vec!["/a"], vec!["f"], None));
        assert_eq!(split(&write, &["/a"], false).unwrap_err(), ArgError::Missing("data"));

        let cat = [Arg::text("ipfs-path", "").required().variadic().stdin()];
        assert_eq!(split(&cat, &[], true).unwrap().stdin, Some(0));
        assert_eq!(split(&cat, &["a", "b"], true).unwrap().stdin, None);
        assert_eq!(check_args(&cat, &[]).unwrap_err().to_string(), "argument \"ipfs-path\" is required");

        let optional_first = [Arg::text("a", ""), Arg::text("b", "").required()];
        assert_eq!(split(&optional_first, &["x"], false).unwrap().texts, ["x"]);
    }
}
