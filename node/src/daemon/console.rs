//! What a daemon says to whoever started it.

use std::io::{self, Stderr, Stdout, Write as _};

/// Standard output for what programs read, standard error for what people should know.
///
/// Each line is written at once. A reader that went away is no reason to end: programs start daemons and close the pipe.
pub(super) struct Console {
    out: Stdout,
    err: Stderr,
}

impl Console {
    /// That of the process.
    pub(super) fn of_process() -> Self {
        Self { out: io::stdout(), err: io::stderr() }
    }

    /// A line of standard output.
    // By value, so that both texts and formatted ones can be given.
    #[allow(clippy::needless_pass_by_value)]
    pub(super) fn say(&self, line: impl AsRef<str>) {
        let mut out = self.out.lock();
        let _ = out.write_all(format!("{}\n", line.as_ref()).as_bytes()).and_then(|()| out.flush());
    }

    /// A piece of standard output that brings its own ends of lines.
    pub(super) fn say_piece(&self, text: &str) {
        let mut out = self.out.lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A warning on standard error.
    #[allow(clippy::needless_pass_by_value)]
    pub(super) fn warn(&self, text: impl AsRef<str>) {
        let mut out = self.err.lock();
        let _ = out.write_all(format!("Warning: {}\n", text.as_ref()).as_bytes());
    }
}
