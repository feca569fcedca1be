//! A progress line on standard error: bytes, rate, time left, files done.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// How long a command runs before its progress is shown, unless it moved this much before: short ones show nothing.
const QUIET_FOR: Duration = Duration::from_millis(300);
/// How much is moved before progress is shown in any case: 4 MiB.
const QUIET_BYTES: u64 = 4 << 20;
/// How often the line is drawn again.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// A progress line. It erases itself when it is finished or dropped.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total_bytes: Option<u64>,
    bytes: u64,
    files: u64,
    started: Instant,
    drawn: Option<Instant>,
    shown: bool,
}

impl Progress {
    /// A line that is drawn only if `shown`. `total_bytes` makes a percentage and the time left possible.
    pub fn new(label: &str, total_bytes: Option<u64>, shown: bool) -> Self {
        let label = label.to_owned();
        Self { label, total_bytes, bytes: 0, files: 0, started: Instant::now(), drawn: None, shown }
    }

    /// Adds bytes done.
    pub fn add_bytes(&mut self, bytes: u64) {
        self.set_bytes(self.bytes.saturating_add(bytes));
    }

    /// Sets the bytes done.
    pub fn set_bytes(&mut self, bytes: u64) {
        self.bytes = bytes;
        self.redraw();
    }

    /// Counts a finished file.
    pub fn file_done(&mut self) {
        self.files = self.files.saturating_add(1);
        self.redraw();
    }

    /// Sets how many bytes there are to do, once that is known.
    pub fn set_total(&mut self, bytes: Option<u64>) {
        self.total_bytes = bytes;
    }

    /// Erases the line, so that something else can be printed. The next change draws it again.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            eprint!("\r\x1b[2K");
            let _ = std::io::stderr().flush();
        }
    }

    fn redraw(&mut self) {
        if !self.shown {
            return;
        }
        let now = Instant::now();
        let due = match self.drawn {
            None => self.bytes >= QUIET_BYTES || now.duration_since(self.started) >= QUIET_FOR,
            Some(drawn) => now.duration_since(drawn) >= REDRAW_EVERY,
        };
        if due {
            self.drawn = Some(now);
            eprint!("\r\x1b[2K{}", self.line(now.duration_since(self.started)));
            let _ = std::io::stderr().flush();
        }
    }

    /// The text of the line after this much time.
    fn line(&self, elapsed: Duration) -> String {
        let mut line = format!("{} {}", self.label, decimal_bytes(self.bytes));
        let total = self.total_bytes.filter(|total| *total >= self.bytes && *total > 0);
        if let Some(total) = total {
            let percent = u128::from(self.bytes) * 100 / u128::from(total);
            let _ = write!(line, " / {} {percent}%", decimal_bytes(total));
        }
        let millis = elapsed.as_millis().max(1);
        let rate = u64::try_from(u128::from(self.bytes) * 1000 / millis).unwrap_or(u64::MAX);
        let _ = write!(line, " {}/s", decimal_bytes(rate));
        if let (Some(total), true) = (total, rate > 0) {
            let left = (total - self.bytes) / rate;
            let _ = write!(line, " {:02}:{:02} left", left / 60, left % 60);
        }
        match self.files {
            0 => {}
            1 => line.push_str(", 1 file"),
            files => {
                let _ = write!(line, ", {files} files");
            }
        }
        line
    }
}

/// A line of text on standard error that changes while something runs. It erases itself when it is dropped.
#[derive(Debug)]
pub struct StatusLine {
    started: Instant,
    drawn: Option<Instant>,
    shown: bool,
}

impl StatusLine {
    /// A line that is drawn only if `shown`.
    pub fn new(shown: bool) -> Self {
        Self { started: Instant::now(), drawn: None, shown }
    }

    /// Shows a text, unless what runs is still short or the line was just drawn.
    pub fn set(&mut self, text: &str) {
        let now = Instant::now();
        let due = match self.drawn {
            None => now.duration_since(self.started) >= QUIET_FOR,
            Some(drawn) => now.duration_since(drawn) >= REDRAW_EVERY,
        };
        if self.shown && due {
            self.drawn = Some(now);
            eprint!("\r\x1b[2K{text}");
            let _ = std::io::stderr().flush();
        }
    }

    /// Erases the line, so that something else can be printed.
    pub fn clear(&mut self) {
        if self.drawn.take().is_some() {
            eprint!("\r\x1b[2K");
            let _ = std::io::stderr().flush();
        }
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A size in powers of 1,000 with at most one digit after the point: `5.5 kB`.
fn decimal_bytes(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    let mut tenths = u128::from(bytes) * 10;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut name = "B";
    for unit in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths = (tenths + 500) / 1000;
        name = unit;
    }
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal() {
        assert_eq!(decimal_bytes(0), "0 B");
        assert_eq!(decimal_bytes(999), "999 B");
        assert_eq!(decimal_bytes(5480), "5.5 kB");
        assert_eq!(decimal_bytes(1_000_000), "1.0 MB");
        assert_eq!(decimal_bytes(u64::MAX), "18.4 EB");
    }

    #[test]
    fn a_line_tells_rate_and_time_left() {
        let mut progress = Progress::new("adding", Some(10_000_000), false);
        progress.set_bytes(2_500_000);
        progress.file_done();
        progress.file_done();
        let line = progress.line(Duration::from_secs(1));
        assert_eq!(line, "adding 2.5 MB / 10.0 MB 25% 2.5 MB/s 00:03 left, 2 files");
        progress.set_total(None);
        assert_eq!(progress.line(Duration::from_secs(2)), "adding 2.5 MB 1.3 MB/s, 2 files");
    }
}
