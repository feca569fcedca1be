//! The one error that commands answer with.

use std::fmt;

/// What kind of failure it is: the `Code` of Kubo's error object, and what a door makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// It went wrong (code 0, HTTP 500).
    Normal,
    /// The caller asked for something impossible (code 1, HTTP 400).
    Client,
    /// The node itself is at fault (code 2, HTTP 500).
    Implementation,
    /// Too many requests (code 3, HTTP 500).
    RateLimited,
    /// The caller may not do that (code 4, HTTP 500).
    Forbidden,
    /// Whoever read the answer went away: nothing is reported, as there is nobody to report to.
    ClosedPipe,
}

impl ErrorKind {
    /// The number that Kubo's error object carries.
    pub fn code(self) -> u8 {
        match self {
            Self::Normal | Self::ClosedPipe => 0,
            Self::Client => 1,
            Self::Implementation => 2,
            Self::RateLimited => 3,
            Self::Forbidden => 4,
        }
    }
}

/// A command's failure: one message in Kubo's words, and its kind.
///
/// Messages are part of the interface (clients match on them): they begin in lower case and name the CID, path or
/// key at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// What went wrong.
    pub message: String,
    /// What kind of failure it is.
    pub kind: ErrorKind,
}

impl CommandError {
    /// A failure of the normal kind.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: ErrorKind::Normal }
    }

    /// A failure that is the caller's: the terminal adds where to find help, HTTP answers 400.
    pub fn client(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: ErrorKind::Client }
    }

    /// The reader of the answer went away.
    pub fn closed_pipe() -> Self {
        Self { message: "the reader of the output went away".to_owned(), kind: ErrorKind::ClosedPipe }
    }

    /// A failure of the normal kind, in the words of another error.
    // By value, so that it can be given to `map_err`.
    #[allow(clippy::needless_pass_by_value)]
    pub fn from_error(error: impl fmt::Display) -> Self {
        Self::new(error.to_string())
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CommandError {}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::closed_pipe();
        }
        Self::new(super::go::errno_text(&error))
    }
}
