//! The binary, its repo, and one run of one command.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::netns::Place;

/// How long any single command may take before it counts as hanging.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(300);

/// The binary under test: `HOLDFAST_BIN`, else `holdfast` two folders above the test executable's.
///
/// # Panics
/// When there is none: a suite without its subject proves nothing.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("HOLDFAST_BIN").map_or_else(
        || {
            let exe = std::env::current_exe().unwrap();
            exe.ancestors().nth(2).expect("target/PROFILE/deps/test").join("holdfast")
        },
        PathBuf::from,
    );
    assert!(
        path.is_file(),
        "{} is not there: build it with the tests' profile, or set HOLDFAST_BIN",
        path.display()
    );
    path.canonicalize().unwrap()
}

/// What a command answered.
#[derive(Debug)]
pub struct Answer {
    /// The command line, for reports.
    pub line: String,
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Answer {
    /// Itself, when the command succeeded.
    ///
    /// # Panics
    /// With the command line and what it said, when it did not.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert!(
            self.code == Some(0),
            "`{}` ended with {:?} (signal {:?})\nstderr: {}\nstdout: {}",
            self.line,
            self.code,
            self.signal,
            self.err(),
            self.out().chars().take(2000).collect::<String>()
        );
        self
    }

    /// Itself, when the command failed with exit code 1 (not by a signal or a panic).
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn failed(self) -> Self {
        assert!(
            self.code == Some(1),
            "`{}` should fail with exit code 1, and ended with {:?} (signal {:?})\nstderr: {}",
            self.line,
            self.code,
            self.signal,
            self.err()
        );
        self
    }

    /// Standard output as text; bytes that are not UTF-8 read `\xNN`.
    pub fn out(&self) -> String {
        readable(&self.stdout)
    }

    /// Standard error as text.
    pub fn err(&self) -> String {
        readable(&self.stderr)
    }

    /// The first line of standard error that begins with Error, ipfs or Usage; empty without one.
    pub fn error_line(&self) -> String {
        let text = self.err();
        let begins = |line: &&str| ["Error", "ipfs", "Usage"].iter().any(|word| line.starts_with(word));
        text.lines().find(begins).unwrap_or_default().to_owned()
    }

    /// The CID it printed last: the second word of a last line that says `added`, else the first.
    ///
    /// # Panics
    /// When it printed nothing.
    #[track_caller]
    pub fn cid(&self) -> String {
        last_cid(&self.out()).unwrap_or_else(|| panic!("`{}` printed no CID", self.line))
    }
}

/// The CID in the last line of a command's output, if there is one.
pub fn last_cid(out: &str) -> Option<String> {
    let line = out.lines().rev().find(|line| !line.trim().is_empty())?;
    let mut words = line.split_whitespace();
    let first = words.next()?;
    Some(if first == "added" { words.next()? } else { first }.to_owned())
}

/// Bytes as text, where bytes that are not UTF-8 read `\xNN`.
pub fn readable(bytes: &[u8]) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a String does not fail");
        }
    }
    text
}

/// The binary with one repo and an environment that holds nothing else of the machine's.
#[derive(Debug, Clone)]
pub struct Node {
    binary: PathBuf,
    repo: PathBuf,
    home: PathBuf,
    time_max: Duration,
    prefix: Vec<String>,
    variables: Vec<(String, OsString)>,
}

impl Node {
    /// A node whose repo is `repo`; nothing is made yet. `HOME` is the repo's folder's parent.
    pub fn at(repo: &Path) -> Self {
        let home = repo.parent().expect("a repo is a folder in a folder").to_path_buf();
        Self {
            binary: binary(),
            repo: repo.to_path_buf(),
            home,
            time_max: COMMAND_TIME_MAX,
            prefix: Vec::new(),
            variables: Vec::new(),
        }
    }

    /// A node with a repo of the `test` profile at `repo`.
    ///
    /// # Panics
    /// When `init` fails.
    pub fn init(repo: &Path) -> Self {
        let node = Self::at(repo);
        node.run(["init", "--profile", "test"]).ok();
        node
    }

    /// The same repo through another name of the binary (a symlink, for the multi-call name).
    pub fn called_as(&self, binary: &Path) -> Self {
        Self { binary: binary.to_path_buf(), ..self.clone() }
    }

    /// The same, where a command that takes longer than `time_max` counts as hanging.
    pub fn within(&self, time_max: Duration) -> Self {
        Self { time_max, ..self.clone() }
    }

    /// The same, where every command runs in a network of the test's own.
    pub fn inside(&self, place: &Place) -> Self {
        Self { prefix: place.prefix(), ..self.clone() }
    }

    /// The same, with one more variable in the environment of every command.
    pub fn variable(&self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut node = self.clone();
        node.variables.push((name.to_owned(), value.as_ref().to_owned()));
        node
    }

    /// The repo's folder.
    pub fn repo(&self) -> &Path {
        &self.repo
    }

    /// A command ready to start, with the clean environment and an empty pipe as input.
    pub fn command<I, S>(&self, args: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut words = self.prefix.iter().map(OsStr::new).chain([self.binary.as_os_str()]);
        let mut command = Command::new(words.next().expect("the binary at least"));
        command.args(words).args(args).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.home).env("IPFS_PATH", &self.repo);
        command.env("LANG", "C.UTF-8").env("EDITOR", "true").env("RUST_BACKTRACE", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it cannot be started or hangs.
    #[track_caller]
    pub fn run<I, S>(&self, args: I) -> Answer
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.run_with(args, &[])
    }

    /// Runs a command to its end with `input` as its standard input.
    ///
    /// # Panics
    /// When it cannot be started or hangs.
    #[track_caller]
    pub fn run_with<I, S>(&self, args: I, input: &[u8]) -> Answer
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let args: Vec<OsString> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let line = line_of(&self.binary, &args);
        let child = self.command(&args).spawn().unwrap_or_else(|error| panic!("`{line}`: {error}"));
        finish(child, line, input, self.time_max)
    }
}

fn line_of(binary: &Path, args: &[OsString]) -> String {
    let name = binary.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// Feeds a started command, reads it to its end, and says how it ended.
///
/// # Panics
/// When it takes longer than `time_max`: it is killed first.
#[track_caller]
pub fn finish(mut child: Child, line: String, input: &[u8], time_max: Duration) -> Answer {
    let stdin = child.stdin.take();
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let pid = Pid::from_child(&child);
    let (done, ended) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hangs = ended.recv_timeout(time_max) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            // An error means that it has ended after all.
            let _ = kill_process(pid, Signal::KILL);
        }
        hangs
    });
    let (out, err) = std::thread::scope(|scope| {
        let out = scope.spawn(move || read_all(stdout));
        let err = scope.spawn(move || read_all(stderr));
        // A command that does not read its input closes the pipe: that is its right.
        drop(stdin.map(|mut pipe| pipe.write_all(input)));
        (out.join().unwrap(), err.join().unwrap())
    });
    let status = child.wait().unwrap();
    drop(done);
    let hung = watchdog.join().unwrap();
    assert!(!hung, "`{line}` did not end within {time_max:?}; stderr so far: {}", readable(&err));
    Answer { line, code: status.code(), signal: status.signal(), stdout: out, stderr: err }
}

fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What was read before a failure is still worth showing.
        drop(pipe.read_to_end(&mut bytes));
    }
    bytes
}
