//! What a command sees of the terminal: two outputs, what they are, and progress.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use futures_util::{FutureExt as _, Stream, StreamExt as _};

use super::registry::{CommandError, SizeHint};
use super::{Progress, StatusLine};

/// Bytes that are gathered before they are written: large enough for `cat` at disk speed.
const BUFFER_BYTES: usize = 256 * 1024;

/// Standard output and standard error, and what they are connected to.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Terminal {
    out: BufWriter<Box<dyn Write + Send>>,
    err: Box<dyn Write + Send>,
    /// Whether a person reads standard output.
    pub out_is_terminal: bool,
    /// Whether a person reads standard error.
    pub err_is_terminal: bool,
    /// Whether standard error is a terminal of any kind, also one that cannot move its cursor.
    shows_errors: bool,
    /// Whether colours are wanted: on a terminal, unless `NO_COLOR` is set or the terminal cannot.
    pub color: bool,
    /// How many bytes the files of the command line hold, once that is known.
    pub upload: SizeHint,
}

impl Terminal {
    /// The outputs of this process.
    pub fn of_process() -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let mut terminal = Self::new(io::stdout(), io::stderr());
        terminal.out_is_terminal = out_is_terminal;
        terminal.shows_errors = io::stderr().is_terminal();
        terminal.err_is_terminal = terminal.shows_errors && !dumb;
        terminal.color = out_is_terminal && !no_color && !dumb;
        terminal
    }

    /// Two writers that are no terminals.
    pub fn new(out: impl Write + Send + 'static, err: impl Write + Send + 'static) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, Box::new(out)),
            err: Box::new(err),
            out_is_terminal: false,
            err_is_terminal: false,
            shows_errors: false,
            color: false,
            upload: SizeHint::default(),
        }
    }

    /// Writes to standard output. It may stay in a buffer until [`Terminal::flush`].
    pub fn print(&mut self, data: impl AsRef<[u8]>) -> Result<(), CommandError> {
        self.out.write_all(data.as_ref()).map_err(write_error)
    }

    /// Prints a line of text from elsewhere: see [`Terminal::safe`].
    pub fn print_line(&mut self, text: &str) -> Result<(), CommandError> {
        let text = self.safe(text);
        self.out.write_all(text.as_bytes()).and_then(|()| self.out.write_all(b"\n")).map_err(write_error)
    }

    /// A text from elsewhere, without control characters if a person reads either output.
    pub fn safe<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.out_is_terminal || self.err_is_terminal { escape(text) } else { Cow::Borrowed(text) }
    }

    /// Writes what [`Terminal::print`] gathered.
    pub fn flush(&mut self) -> Result<(), CommandError> {
        self.out.flush().map_err(write_error)
    }

    /// Writes to standard error, after what was printed before. Failures are ignored: there is no place to tell.
    pub fn eprint(&mut self, text: impl AsRef<str>) {
        let _ = self.out.flush();
        let _ = self.err.write_all(text.as_ref().as_bytes());
        let _ = self.err.flush();
    }

    /// Tells what went wrong: a line on standard error, in which names from elsewhere drive no terminal. Breaks between
    /// lines and columns are the text's own.
    pub fn complain(&mut self, text: &str) {
        let is_shown = self.shows_errors || self.err_is_terminal || self.out_is_terminal;
        let text = if is_shown { escape_but(text, &['\n', '\t']) } else { Cow::Borrowed(text) };
        self.eprint(format!("{text}\n"));
    }

    /// A progress line on standard error, silent unless that is a terminal. `total` is in bytes.
    pub fn progress(&self, label: &str, total: Option<u64>) -> Progress {
        Progress::new(label, total, self.err_is_terminal)
    }

    /// A line that says what goes on, on standard error, silent unless that is a terminal.
    pub fn status(&self) -> StatusLine {
        StatusLine::new(self.err_is_terminal)
    }

    /// The next item of a stream. What was printed is flushed before waiting, so that a reader sees it in time.
    pub async fn next<S: Stream + Unpin>(&mut self, stream: &mut S) -> Result<Option<S::Item>, CommandError> {
        if let Some(item) = stream.next().now_or_never() {
            return Ok(item);
        }
        self.flush()?;
        Ok(stream.next().await)
    }
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("out_is_terminal", &self.out_is_terminal).finish_non_exhaustive()
    }
}

// By value, so that it can be given to `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn write_error(error: io::Error) -> CommandError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return CommandError::closed_pipe();
    }
    CommandError::new(format!("write /dev/stdout: {}", super::registry::errno_text(&error)))
}

/// A text with its control characters as escapes: `\n`, `\x1b`, `\u{9b}`.
pub fn escape(text: &str) -> Cow<'_, str> {
    escape_but(text, &[])
}

/// The same, where these are left as they are.
fn escape_but<'t>(text: &'t str, left: &[char]) -> Cow<'t, str> {
    if !text.contains(|c: char| c.is_control() && !left.contains(&c)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            c if left.contains(&c) => out.push(c),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_ascii_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}
