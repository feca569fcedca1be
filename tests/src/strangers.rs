//! Programs that nobody here wrote, run against a daemon: their environments, inputs and scripts.
//!
//! `tests/interop/setup.sh` installs the programs; the scripts that drive them lie in
//! `tests/interop/strangers`. A script takes its settings as one JSON argument, prints one line a
//! check and a line of totals, and ends with 0 only when every check passed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::inputs::{Random, drand, lay_tree};
use crate::need::{json as json_file, program, say, skip, workspace};
use crate::oracle;
use crate::run::{Node, binary, finish};

/// How long one script may take in all: the longest spawns more than a hundred daemons.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(900);

/// A set of programs that are installed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Programs {
    /// kubo-rpc-client and ipfsd-ctl, for node.
    Clients,
    /// interface-ipfs-core with ipfs-http-client, for node.
    Core,
    /// ipfshttpclient 0.8.0a2, aioipfs, ipfsspec and basic-ipfs, for Python.
    Python,
    /// The same, with ipfshttpclient 0.7.0 before 0.8.0a2.
    OldPython,
}

impl Programs {
    fn folder(self) -> PathBuf {
        oracle::dir().join(if self == Self::Core { "core" } else { "clients" })
    }

    fn python() -> PathBuf {
        Self::Python.folder().join("venv/bin/python")
    }

    fn old_client() -> PathBuf {
        Self::OldPython.folder().join("ipfshttpclient-0.7.0")
    }

    /// Whether they are there; if not, that is said, and `check` is skipped.
    pub fn present(self, check: &str) -> bool {
        let node = matches!(self, Self::Clients | Self::Core);
        let missing = if node && !program("node") {
            Some("there is no program `node`")
        } else if node && !self.folder().join("node_modules").is_dir() {
            Some("their packages are not there")
        } else if self == Self::Core && !self.folder().join("fixtures.stamp").is_file() {
            Some("the suite's fixtures are not there")
        } else if !node && !Self::python().exists() {
            Some("their Python environment is not there")
        } else if self == Self::OldPython && !Self::old_client().is_dir() {
            Some("ipfshttpclient 0.7.0 is not there")
        } else {
            None
        };
        if let Some(why) = missing {
            skip(check, &format!("{why}; tests/interop/setup.sh makes it ({})", self.folder().display()));
        }
        missing.is_none()
    }

    fn command(self, script: &str) -> Command {
        let scripts = scripts();
        if matches!(self, Self::Clients | Self::Core) {
            let mut command = Command::new("node");
            command.arg("--import").arg(scripts.join("from.mjs")).arg(scripts.join(script));
            command.env("HOLDFAST_MODULES", self.folder());
            return command;
        }
        let mut command = Command::new(Self::python());
        command.arg(scripts.join(script)).env("PYTHONDONTWRITEBYTECODE", "1");
        if self == Self::OldPython {
            command.env("PYTHONPATH", Self::old_client());
        }
        command
    }

    /// Runs a script with its settings in an environment of its own, whose `HOME` is `scratch`, and
    /// says its line of totals.
    ///
    /// # Panics
    /// With all that it printed, when a check failed, or when it hangs.
    #[track_caller]
    pub fn run(self, script: &str, settings: &Value, scratch: &Path) {
        let mut command = self.command(script);
        command.arg(settings.to_string());
        command.env("HOME", scratch).env("TMPDIR", scratch).env_remove("IPFS_PATH");
        command.env_remove("XDG_DATA_HOME").env_remove("XDG_CONFIG_HOME");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(scratch.join("bin")).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(path).unwrap());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap_or_else(|error| panic!("{script}: {error}"));
        let answer = finish(child, script.to_owned(), &[], SCRIPT_TIME_MAX);
        let out = answer.out();
        assert!(
            answer.code == Some(0),
            "{script} ended with {:?} (signal {:?})\n{out}\n{}",
            answer.code,
            answer.signal,
            answer.err()
        );
        let totals = out.lines().rev().find(|line| line.contains(" passed, "));
        say(&format!(
            "strangers: {}",
            totals.unwrap_or_else(|| panic!("{script} printed no totals:\n{out}"))
        ));
    }
}

fn scripts() -> PathBuf {
    workspace().join("tests/interop/strangers")
}

/// Puts our binary under the name `ipfs` into `scratch/bin`, which scripts have first on their path.
pub fn name_it_ipfs(scratch: &Path) -> PathBuf {
    let bin = scratch.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let ipfs = bin.join("ipfs");
    std::os::unix::fs::symlink(binary(), &ipfs).unwrap();
    ipfs
}

/// The files that scripts add, whose CIDs `known.json` holds, and a tree with names of many kinds.
#[derive(Debug)]
pub struct Inputs {
    /// The folder.
    pub dir: PathBuf,
    /// The tree's root, by our importer, which the interop suite holds against three others.
    pub tree_cid: String,
}

impl Inputs {
    /// Lays them under `dir`.
    pub fn lay(dir: &Path, node: &Node) -> Self {
        let known = json_file(&scripts().join("known.json"));
        std::fs::create_dir_all(dir).unwrap();
        for entry in known.as_object().unwrap().values() {
            let Some(name) = entry["file"].as_str() else { continue };
            let path = dir.join(name);
            if let Some(files) = entry["files"].as_object() {
                std::fs::create_dir(&path).unwrap();
                for (name, text) in files {
                    std::fs::write(path.join(name), text.as_str().unwrap()).unwrap();
                }
            } else if let Some(seed) = entry["seed"].as_str() {
                let len = usize::try_from(entry["bytes"].as_u64().unwrap()).unwrap();
                std::fs::write(path, drand(seed, len)).unwrap();
            }
        }
        let tree = dir.join(known["tree"]["file"].as_str().unwrap());
        lay_tree(&mut Random::for_test("a tree for strangers"), &tree, 60, 400_000);
        drop_what_clients_leave_out(&tree);
        let tree_cid = node.run(["add", "-n", "-Q", "-r", "-H", tree.to_str().unwrap()]).ok().cid();
        Self { dir: dir.to_path_buf(), tree_cid }
    }
}

/// Several clients send neither symlinks nor empty folders: their trees get none.
fn drop_what_clients_leave_out(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            std::fs::remove_file(&path).unwrap();
        } else if path.is_dir() {
            drop_what_clients_leave_out(&path);
            // Fails when something is left in it, which is meant.
            drop(std::fs::remove_dir(&path));
        }
    }
}

/// Who may do what at a daemon that asks for authorization: the scripts know these secrets.
pub fn authorizations() -> Value {
    json!({
        "alice": {"AuthSecret": "bearer:alice-token", "AllowedPaths": ["/api/v0"]},
        "bob": {"AuthSecret": "basic:bob:bob-secret", "AllowedPaths": ["/api/v0/id"]},
    })
}

/// A node of the `test` profile under `dir` with config keys set, and its daemon.
///
/// # Panics
/// When the config is refused or the daemon does not start.
#[track_caller]
pub fn daemon(dir: &Path, name: &str, config: &[(&str, Value)]) -> (Node, Daemon) {
    let node = Node::init(&dir.join(name));
    for (key, value) in config {
        node.run(["config", "--json", key, &value.to_string()]).ok();
    }
    let daemon = Daemon::alone(&node, &[]);
    (node, daemon)
}
