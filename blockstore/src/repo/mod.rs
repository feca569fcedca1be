//! The repo folder: what lies where in it, who may open it, and which version it has.
//!
//! Config and identity belong to the node; this module only knows their places.

mod lock;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::format::FORMAT;
use crate::segments::sync_dir;

pub use lock::RepoLock;

/// How often a lock that somebody else holds is looked at.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// What the file `version` says: the repo version of the Kubo level that this program matches.
pub const KUBO_REPO_VERSION: u32 = 18;

/// Names inside the folder.
mod name {
    pub(super) const CONFIG: &str = "config";
    pub(super) const KUBO_VERSION: &str = "version";
    pub(super) const OWN_VERSION: &str = "holdfast-version";
    pub(super) const LOCK: &str = "repo.lock";
    pub(super) const KEYSTORE: &str = "keystore";
    pub(super) const API: &str = "api";
    pub(super) const GATEWAY: &str = "gateway";
    pub(super) const SWARM_KEY: &str = "swarm.key";
    /// What only a Kubo repo has.
    pub(super) const KUBO: [&str; 3] = ["datastore_spec", "blocks", "datastore"];
    /// Ending of files that are written and then renamed into place.
    pub(super) const TEMPORARY: &str = ".tmp";
    /// Beginning of such files as earlier builds named them.
    pub(super) const TEMPORARY_BEFORE: &str = ".tmp-";
}

/// Why a repo folder was not opened or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// There is no repo.
    #[error("no IPFS repo found in {path}.\nplease run: 'ipfs init'")]
    NotFound {
        /// The folder.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("lock {path}: someone else has the lock{}", holder(*pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Process that holds it, where it has written its number already.
        pid: Option<u32>,
    },
    /// A Kubo repo lies there. Nothing was touched.
    #[error(
        "{path} is a Kubo repo (it has {found}); holdfast does not write into it. Choose another folder with IPFS_PATH, \
         and bring its content over with 'ipfs dag export' and 'holdfast dag import' ('holdfast migrate' comes later)"
    )]
    KuboRepo {
        /// The folder.
        path: PathBuf,
        /// What gave it away.
        found: &'static str,
    },
    /// A later program made it. Nothing was touched.
    #[error(
        "the repo in {path} has format {found}, this program knows up to {known}: use a newer holdfast; nothing was \
         changed"
    )]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Format found.
        found: u32,
        /// Newest format known.
        known: u32,
    },
    /// The file system refused something.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

impl RepoError {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// Where things lie in a repo folder. It needs no lock and opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoPaths {
    root: PathBuf,
}

impl RepoPaths {
    /// Paths inside this folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Kubo's JSON config.
    pub fn config(&self) -> PathBuf {
        self.root.join(name::CONFIG)
    }

    /// Kubo's repo version, for programs that look at it.
    pub fn version(&self) -> PathBuf {
        self.root.join(name::KUBO_VERSION)
    }

    /// The lock file.
    pub fn lock(&self) -> PathBuf {
        self.root.join(name::LOCK)
    }

    /// Folder of keys.
    pub fn keystore(&self) -> PathBuf {
        self.root.join(name::KEYSTORE)
    }

    /// Address of the running daemon's RPC.
    pub fn api(&self) -> PathBuf {
        self.root.join(name::API)
    }

    /// Address of the running daemon's gateway.
    pub fn gateway(&self) -> PathBuf {
        self.root.join(name::GATEWAY)
    }

    /// Key of a private network.
    pub fn swarm_key(&self) -> PathBuf {
        self.root.join(name::SWARM_KEY)
    }

    /// Whether there is a repo of ours with a config: what `init` refuses to overwrite.
    pub fn is_initialized(&self) -> bool {
        let filled = |path: PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() > 0);
        filled(self.config()) && (self.own_version().exists() || self.root.join("db").exists())
    }

    /// Whether a process has the repo open right now. It may change right after: only taking the lock is sure.
    pub fn is_locked(&self) -> bool {
        lock::is_held(&self.lock())
    }

    /// Checks that what lies here is a repo that this program may write to, without touching anything: not Kubo's, and not of a
    /// later format. It may change right after: [`Repo::open`] checks again under the lock.
    pub fn check(&self) -> Result<(), RepoError> {
        self.refuse_kubo()?;
        if !self.own_version().exists() && !self.root.join("db").exists() {
            return Err(RepoError::NotFound { path: self.root.clone() });
        }
        check_own_version(self)
    }

    fn own_version(&self) -> PathBuf {
        self.root.join(name::OWN_VERSION)
    }

    /// Refuses a Kubo repo. A folder with a version of ours is ours, whatever else lies in it.
    fn refuse_kubo(&self) -> Result<(), RepoError> {
        if self.own_version().exists() || self.root.join("db").join("CURRENT").exists() {
            return Ok(());
        }
        match name::KUBO.into_iter().find(|name| self.root.join(name).exists()) {
            Some(found) => Err(RepoError::KuboRepo { path: self.root.clone(), found }),
            None => Ok(()),
        }
    }
}

/// A repo folder that this process has locked. Dropping it releases the lock: drop the store first.
#[derive(Debug)]
pub struct Repo {
    paths: RepoPaths,
    _lock: RepoLock,
}

impl Repo {
    /// Makes a repo folder, or completes one whose making was interrupted, and locks it.
    pub fn create(root: impl Into<PathBuf>) -> Result<Self, RepoError> {
        let paths = RepoPaths::new(root);
        fs::create_dir_all(paths.root()).map_err(RepoError::io("create", paths.root()))?;
        paths.refuse_kubo()?;
        Self::locked(paths)
    }

    /// Locks and checks an existing repo folder. What a power cut left half written is put right: nothing in the folder that this
    /// crate writes needs a hand.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, RepoError> {
        let paths = RepoPaths::new(root);
        paths.check()?;
        Self::locked(paths)
    }

    /// Like [`Repo::open`], but waits at most `wait` for another process to let go. For changes of single files, which
    /// take moments each.
    pub fn open_within(root: impl Into<PathBuf>, wait: Duration) -> Result<Self, RepoError> {
        let (root, until) = (root.into(), Instant::now() + wait);
        loop {
            match Self::open(&root) {
                Err(RepoError::Locked { .. }) if Instant::now() < until => thread::sleep(LOCK_POLL),
                other => return other,
            }
        }
    }

    /// Where things lie.
    pub fn paths(&self) -> &RepoPaths {
        &self.paths
    }

    fn locked(paths: RepoPaths) -> Result<Self, RepoError> {
        let lock = RepoLock::take(&paths.lock())?;
        check_own_version(&paths)?;
        tidy(&paths)?;
        let keystore = paths.keystore();
        if !keystore.exists() {
            fs::create_dir(&keystore).map_err(RepoError::io("create", &keystore))?;
            private(&keystore, 0o700)?;
        }
        write_if_differs(&paths.version(), &format!("{KUBO_REPO_VERSION}\n"))?;
        write_if_differs(&paths.own_version(), &format!("{FORMAT}\n"))?;
        Ok(Self { paths, _lock: lock })
    }
}

/// Refuses a later format. An empty or half-written file says nothing: the store's own mark decides when it opens.
fn check_own_version(paths: &RepoPaths) -> Result<(), RepoError> {
    let path = paths.own_version();
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(RepoError::io("read", &path))?,
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => {
            Err(RepoError::NewerFormat { path: paths.root.clone(), found, known: FORMAT })
        }
        _ => Ok(()),
    }
}

/// Removes what a killed process left: no daemon runs while we hold the lock, so its addresses are stale.
fn tidy(paths: &RepoPaths) -> Result<(), RepoError> {
    for path in [paths.api(), paths.gateway()] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(RepoError::Io { action: "remove", path, source: error });
            }
            _ => {}
        }
    }
    remove_temporary(paths.root())?;
    // They hold private keys, as those of the config do.
    if paths.keystore().is_dir() { remove_temporary(&paths.keystore()) } else { Ok(()) }
}

/// Removes the files of a folder that were on their way into place.
fn remove_temporary(folder: &Path) -> Result<(), RepoError> {
    for entry in fs::read_dir(folder).map_err(RepoError::io("list", folder))? {
        let entry = entry.map_err(RepoError::io("list", folder))?;
        let temporary = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(name::TEMPORARY) || name.starts_with(name::TEMPORARY_BEFORE));
        if temporary && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::remove_file(entry.path()).map_err(RepoError::io("remove", entry.path()))?;
        }
    }
    Ok(())
}

fn private(path: &Path, mode: u32) -> Result<(), RepoError> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(RepoError::io("set the mode of", path))
}

fn write_if_differs(path: &Path, text: &str) -> Result<(), RepoError> {
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    write_durably(path, text.as_bytes(), 0o644).map_err(RepoError::io("write", path))
}

/// Replaces a file so that after a power cut there is the old or the new content, never half of it and never nothing:
/// written beside, synced, renamed, and the folder synced. `mode` is its permissions, for example 0o600.
pub fn write_durably(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file_name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut beside = file_name.to_owned();
    beside.push(format!(".{}{}", std::process::id(), name::TEMPORARY));
    let beside = folder.join(beside);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    let written =
        file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if let Err(error) = written {
        drop(fs::remove_file(&beside));
        return Err(error);
    }
    sync_dir(folder)
}

#[cfg(test)]
mod tests;
