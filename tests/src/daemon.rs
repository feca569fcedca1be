//! A running daemon, driven from outside: its lines, its address, its pid, its end.
//!
//! It listens where its config says; the `test` profile says port 0 of the loopback address. However a test ends, the
//! daemon that it started is gone: it is killed by its pid when the guard is dropped.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::run::{Answer, Node};
use crate::wait::wait_until;

/// How long a daemon may take to say that it is ready, or to end, before it counts as hanging.
pub const DAEMON_TIME_MAX: Duration = Duration::from_secs(60);

/// How much of a daemon's log a failed test shows.
const LOG_SHOWN_CHARS: usize = 3000;

/// What a daemon says when it takes requests.
pub const READY: &str = "Daemon is ready";

/// A daemon that runs.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    line: String,
    out: Lines,
    err: Lines,
}

impl Daemon {
    /// Starts `daemon` with these arguments on the node's repo, and waits until it is ready.
    ///
    /// # Panics
    /// When it ends or hangs before.
    #[track_caller]
    pub fn start(node: &Node, args: &[&str]) -> Self {
        let words = std::iter::once("daemon").chain(args.iter().copied());
        Self::spawn(node.command(words)).ready()
    }

    /// The same, without a network: what is not here is told at once to be missing.
    ///
    /// # Panics
    /// When it does not start or is not ready in time.
    #[track_caller]
    pub fn alone(node: &Node, args: &[&str]) -> Self {
        Self::start(node, &[&["--offline"][..], args].concat())
    }

    /// Starts a command that is a daemon, and waits for nothing.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with(command, Stdio::null())
    }

    /// The same, with this as its standard input.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn spawn_with(mut command: Command, stdin: Stdio) -> Self {
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let line = format!("{command:?}");
        let mut child = command.spawn().unwrap_or_else(|error| panic!("`{line}`: {error}"));
        let out = Lines::of(child.stdout.take().unwrap());
        let err = Lines::of(child.stderr.take().unwrap());
        Self { child, line, out, err }
    }

    /// Itself, once it has said that it is ready.
    ///
    /// # Panics
    /// When it ends or hangs before.
    #[track_caller]
    #[must_use]
    pub fn ready(self) -> Self {
        self.wait_for(READY);
        self
    }

    /// Waits for a line of standard output that begins so, and returns it.
    ///
    /// # Panics
    /// When the daemon ends or hangs before.
    #[track_caller]
    pub fn wait_for(&self, beginning: &str) -> String {
        self.out.wait_for(beginning).unwrap_or_else(|| {
            panic!(
                "`{}` did not say {beginning:?}\nstdout: {}\nstderr: {}",
                self.line,
                self.out.text(),
                self.err.text()
            )
        })
    }

    /// What it has printed so far, line by line.
    pub fn lines(&self) -> Vec<String> {
        self.out.all()
    }

    /// What it has complained of so far.
    pub fn stderr(&self) -> String {
        self.err.text()
    }

    /// Waits until it has complained in these words, and returns all that it has complained of. What it says on standard output
    /// may be read before.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait_for_complaint(&self, words: &str) -> String {
        wait_until("a complaint", || {
            let said = self.err.text();
            if said.contains(words) { Ok(said) } else { Err(said) }
        })
    }

    /// Its process number.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The multiaddrs that it says its RPC API listens on.
    pub fn api_multiaddrs(&self) -> Vec<String> {
        let said = "RPC API server listening on ";
        self.lines().iter().filter_map(|line| line.strip_prefix(said)).map(str::to_owned).collect()
    }

    /// The first of its TCP addresses for RPC.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn api(&self) -> SocketAddr {
        first_tcp(&self.api_multiaddrs())
    }

    /// The multiaddrs that it says its gateway listens on.
    pub fn gateway_multiaddrs(&self) -> Vec<String> {
        let said = "Gateway server listening on ";
        self.lines().iter().filter_map(|line| line.strip_prefix(said)).map(str::to_owned).collect()
    }

    /// The first of its TCP addresses for the gateway.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn gateway(&self) -> SocketAddr {
        first_tcp(&self.gateway_multiaddrs())
    }

    /// The base of its RPC: `http://127.0.0.1:PORT`.
    #[track_caller]
    pub fn url(&self) -> String {
        format!("http://{}", self.api())
    }

    /// Posts nothing to a path with its query (`/api/v0/id`), and reads the answer to its end.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn post(&self, path: &str) -> RawAnswer {
        let mut connection = TcpStream::connect(self.api()).unwrap();
        connection.set_read_timeout(Some(DAEMON_TIME_MAX)).unwrap();
        let host = self.api();
        write!(
            connection,
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).unwrap();
        RawAnswer::parse(&bytes)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Stops it with SIGTERM, and says how it ended.
    ///
    /// # Panics
    /// When it hangs.
    #[track_caller]
    pub fn stop(self) -> Answer {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for its end, and says how it was.
    ///
    /// # Panics
    /// When it does not end: it is killed first.
    #[track_caller]
    pub fn wait(mut self) -> Answer {
        let status = self.end();
        let (stdout, stderr) = (self.out.bytes(), self.err.bytes());
        let status = status.unwrap_or_else(|| {
            panic!("`{}` did not end\nstdout: {}\nstderr: {}", self.line, self.out.text(), self.err.text())
        });
        Answer { line: self.line.clone(), code: status.code(), signal: status.signal(), stdout, stderr }
    }

    /// How it ended; `None` if it had to be killed.
    fn end(&mut self) -> Option<std::process::ExitStatus> {
        let until = Instant::now() + DAEMON_TIME_MAX;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        None
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What the test cannot know of why it failed.
            let ended = self.child.try_wait().ok().flatten();
            let said = self.err.text();
            let shown = said.char_indices().rev().nth(LOG_SHOWN_CHARS).map_or(0, |(at, _)| at);
            eprintln!("`{}` had ended: {ended:?}; the end of what it said:\n{}", self.line, &said[shown..]);
        }
        // It may have ended: that is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[track_caller]
fn first_tcp(addresses: &[String]) -> SocketAddr {
    let tcp = addresses.iter().find_map(|address| {
        let mut parts = address.split('/').skip(1);
        let (Some("ip4" | "ip6"), Some(ip), Some("tcp"), Some(port)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    });
    tcp.unwrap_or_else(|| panic!("no TCP address among {addresses:?}"))
}

/// An HTTP answer, taken apart by hand.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// The status.
    pub status: u16,
    /// The head as it came, without the empty line at its end.
    pub head: String,
    /// The body, without its chunks' sizes.
    pub body: Vec<u8>,
    /// The lines behind the last chunk.
    pub trailers: String,
    /// Whether a chunked body had its last chunk.
    pub complete: bool,
}

impl RawAnswer {
    /// Takes an answer apart that was read to the end of its connection.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Self {
        let at = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status");
        let mut rest = &bytes[at + 4..];
        if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            return Self { status, head, body: rest.to_vec(), trailers: String::new(), complete: true };
        }
        let mut body = Vec::new();
        loop {
            let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
                return Self { status, head, body, trailers: String::new(), complete: false };
            };
            let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
            rest = &rest[end + 2..];
            if size == 0 {
                let trailers = String::from_utf8_lossy(rest).trim_end().to_owned();
                return Self { status, head, body, trailers, complete: true };
            }
            if rest.len() < size + 2 {
                body.extend_from_slice(&rest[..rest.len().min(size)]);
                return Self { status, head, body, trailers: String::new(), complete: false };
            }
            body.extend_from_slice(&rest[..size]);
            rest = &rest[size + 2..];
        }
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as one JSON value.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// The lines of a pipe, gathered beside.
#[derive(Debug, Clone)]
struct Lines(Arc<(Mutex<Gathered>, Condvar)>);

#[derive(Debug, Default)]
struct Gathered {
    bytes: Vec<u8>,
    ended: bool,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Self(Arc::default());
        let gathered = lines.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(pipe);
            loop {
                let mut line = Vec::new();
                let ended = !matches!(reader.read_until(b'\n', &mut line), Ok(1..));
                let mut inner = gathered.0.0.lock().unwrap_or_else(PoisonError::into_inner);
                inner.bytes.append(&mut line);
                inner.ended = ended;
                gathered.0.1.notify_all();
                if ended {
                    return;
                }
            }
        });
        lines
    }

    fn wait_for(&self, beginning: &str) -> Option<String> {
        let until = Instant::now() + DAEMON_TIME_MAX;
        let mut inner = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let text = String::from_utf8_lossy(&inner.bytes);
            // The last line may not be complete.
            let found =
                text.split_inclusive('\n').find(|line| line.starts_with(beginning) && line.ends_with('\n'));
            if let Some(line) = found {
                return Some(line.trim_end().to_owned());
            }
            let left = until.saturating_duration_since(Instant::now());
            if inner.ended || left.is_zero() {
                return None;
            }
            inner = self.0.1.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        // The process has ended, the pipe's last bytes may not have been read yet.
        let until = Instant::now() + Duration::from_secs(5);
        let mut inner = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !inner.ended && Instant::now() < until {
            let left = until.saturating_duration_since(Instant::now());
            inner = self.0.1.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.bytes.clone()
    }

    fn text(&self) -> String {
        let inner = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&inner.bytes).into_owned()
    }

    fn all(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }
}
