//! What commands run in: the repo folder, and what is opened from it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_blockstore::repo::Repo;
use serde_json::Value;
use tokio::sync::OnceCell;

use super::calls::{self, Calls, OfCall};
use super::registry::{Call, CommandError};
use crate::config::Config;
use crate::node::{Node, NodeError};
use crate::runtime::Runtime;
use crate::swarm::SwarmHandle;

/// What is said when there is no more time; clients match on it.
const TIMED_OUT: &str = "context deadline exceeded";

/// Where a context finds its repo.
#[derive(Debug, Clone)]
pub struct ContextParams {
    /// The repo folder; empty where nothing names one.
    pub repo_dir: PathBuf,
    /// The config file, where it is not `config` in the repo folder.
    pub config_file: Option<PathBuf>,
    /// The name that texts call the program by.
    pub program: String,
}

/// Why there is no repo to work on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// Nothing says where the repo is.
    #[error(
        "nothing says where the repo is: neither IPFS_PATH nor HOME is set. Set one of them, or name the folder with \
         --repo-dir"
    )]
    Nowhere,
    /// Nobody ran `init` there.
    #[error("no IPFS repo found in {repo_dir}.\nplease run: 'ipfs init'")]
    NotInitialized {
        /// The folder.
        repo_dir: String,
    },
    /// The config file that was named is not there.
    #[error(
        "open {path}: no such file or directory: --config-file names it. Without that option the config is {repo_dir}/config"
    )]
    NoConfigFile {
        /// The file.
        path: String,
        /// The folder of the repo.
        repo_dir: String,
    },
}

impl From<RepoError> for CommandError {
    fn from(error: RepoError) -> Self {
        Self::new(error.to_string())
    }
}

/// What commands run in. It is cheap to clone; everything in it is opened when first asked for.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<ContextParams>,
    node: Arc<OnceCell<Node>>,
    /// The one call that this context is for, if it is for one.
    call: Option<Arc<OfCall>>,
    calls: Calls,
    runtime: Option<Runtime>,
    at_terminal: bool,
    /// Taken for a change of the repo's small files by whoever holds the repo's own lock all the time.
    turns: Arc<Mutex<()>>,
}

/// A turn at changing the repo's small files (config, keys), so that no two changes start from the same content.
#[derive(Debug)]
pub(super) struct Turn {
    repo_dir: PathBuf,
    /// Between the calls of a process that has the repo open; others take the lock of the repo.
    within: Option<Arc<Mutex<()>>>,
}

/// A turn that was taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Taken<'t> {
    _within: Option<MutexGuard<'t, ()>>,
    _repo: Option<Repo>,
}

impl Turn {
    /// Waits for the turn, a few seconds at most where another process has the repo. Blocking. A repo that this program
    /// must not write to is refused, untouched.
    pub(super) fn take(&self) -> Result<Taken<'_>, CommandError> {
        let within = self.within.as_ref().map(|turns| turns.lock().unwrap_or_else(PoisonError::into_inner));
        let repo = match within {
            Some(_) => None,
            None => Some(super::config::lock(&self.repo_dir)?),
        };
        Ok(Taken { _within: within, _repo: repo })
    }
}

impl Context {
    /// A context on a repo folder that need not exist.
    pub fn new(params: ContextParams) -> Self {
        Self {
            inner: Arc::new(params),
            node: Arc::default(),
            call: None,
            calls: Calls::default(),
            runtime: None,
            at_terminal: false,
            turns: Arc::default(),
        }
    }

    /// A context on a node that is open already.
    pub fn of_node(params: ContextParams, node: Node) -> Self {
        Self { node: Arc::new(OnceCell::new_with(Some(node))), ..Self::new(params) }
    }

    /// Says what the long-running process shares that this context is part of.
    #[must_use]
    pub fn with_runtime(mut self, runtime: Runtime) -> Self {
        self.runtime = Some(runtime);
        self
    }

    /// What the surfaces of this process share; nothing where a command is all that runs in it.
    pub fn runtime(&self) -> Option<&Runtime> {
        self.runtime.as_ref()
    }

    /// Says that whoever calls sits at this machine, with this process's rights: `get` may write files there.
    #[must_use]
    pub fn at_terminal(mut self) -> Self {
        self.at_terminal = true;
        self
    }

    /// Whether whoever calls sits at this machine.
    pub fn is_at_terminal(&self) -> bool {
        self.at_terminal
    }

    /// The same for one call: what it fetches goes through one session, and can be asked about. `mark`: what the caller
    /// will ask by.
    #[must_use]
    pub fn for_call(&self, call: &Call, mark: Option<&str>) -> Self {
        Self { call: Some(self.calls.begin(call, mark)), ..self.clone() }
    }

    /// The node on this repo: opened when it is first asked for, the same from then on.
    pub async fn node(&self) -> Result<&Node, CommandError> {
        let node = self.node.get_or_try_init(|| self.open()).await?;
        match &self.call {
            None => Ok(node),
            Some(call) => {
                let of_call = || std::future::ready(node.for_request(call.offline));
                Ok(call.node.get_or_init(of_call).await)
            }
        }
    }

    /// What this call waits for that others have.
    pub(crate) fn own_wait(&self) -> Option<Value> {
        Some(calls::wait_value(&self.call.as_ref()?.wait()?))
    }

    /// What the calls that run wait for: all of them, or the one with this mark.
    pub(super) fn waits(&self, mark: Option<&str>) -> Vec<Value> {
        self.calls.waits(mark)
    }

    /// What is said when a call has no more time: Kubo's words, which clients match on, and what it waited for.
    pub(crate) fn timed_out(&self) -> CommandError {
        match self.call.as_ref().and_then(|call| call.wait()) {
            None => CommandError::new(TIMED_OUT),
            Some(wait) => CommandError::new(format!("{TIMED_OUT}: waited for {wait}")),
        }
    }

    /// The node, where one is open here. It opens nothing.
    pub(super) fn open_node(&self) -> Option<&Node> {
        self.node.get()
    }

    /// The swarm, where a node is open here and online. It opens nothing: beside a terminal's node there is none.
    pub fn swarm(&self) -> Option<&SwarmHandle> {
        self.online_node()?.swarm()
    }

    /// The node itself, in the same case.
    pub fn online_node(&self) -> Option<&Node> {
        self.node.get().filter(|node| node.swarm().is_some())
    }

    async fn open(&self) -> Result<Node, CommandError> {
        self.require_repo()?;
        // A command ends before there is anything to look after.
        let mut builder = Node::builder().repo(self.repo_dir()).maintenance(false);
        if let Some(path) = self.inner.config_file.clone() {
            let config = tokio::task::spawn_blocking(move || Config::load(&path)).await;
            builder =
                builder.config(config.map_err(CommandError::from_error)?.map_err(CommandError::from_error)?);
        }
        builder.open().await.map_err(CommandError::from_error)
    }

    /// Makes everything that was written durable, if a node was opened. For the end of a process; the repo is let go
    /// of when the last context and stream are dropped.
    pub async fn close(&self) -> Result<(), NodeError> {
        match self.node.get() {
            Some(node) => node.clone().close().await,
            None => Ok(()),
        }
    }

    /// What whoever opened the repo should know, if it was opened: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let Some(node) = self.node.get() else { return Vec::new() };
        let report = node.store().open_report();
        let mut warnings = report.bad_rows.clone();
        if report.lost_rounds > 0 {
            let restored = report.restored_blocks;
            warnings.push(format!(
                "the index lost {} acknowledged changes, and {restored} blocks were put back into it; pins and the \
                 files root may lack what was changed last. 'holdfast repo verify' says more",
                report.lost_rounds
            ));
        }
        if !report.short_segments.is_empty() {
            warnings.push(format!(
                "the segments {:?} lost a part: blocks in them are damaged. 'holdfast repo verify' names them",
                report.short_segments
            ));
        }
        warnings.extend(node.files_state().fault());
        warnings
    }

    /// Waits until the operations that were cancelled have stopped, if a node was opened.
    pub async fn stopped(&self) {
        if let Some(node) = self.node.get() {
            node.pool().idle().await;
        }
    }

    /// A turn at changing the repo's small files, to be taken where blocking is allowed.
    pub(super) fn turn(&self) -> Turn {
        let within = self.node.initialized().then(|| Arc::clone(&self.turns));
        Turn { repo_dir: self.repo_dir().to_owned(), within }
    }

    /// The repo folder.
    pub fn repo_dir(&self) -> &Path {
        &self.inner.repo_dir
    }

    /// The name that texts call the program by.
    pub fn program(&self) -> &str {
        &self.inner.program
    }

    /// The config file that was named by `--config-file`, if any.
    pub fn config_file(&self) -> Option<&Path> {
        self.inner.config_file.as_deref()
    }

    /// The config file.
    pub fn config_path(&self) -> PathBuf {
        self.inner.config_file.clone().unwrap_or_else(|| self.inner.repo_dir.join("config"))
    }

    /// Checks that there is a repo, in Kubo's words if there is none.
    pub fn require_repo(&self) -> Result<(), RepoError> {
        self.require_repo_dir()?;
        if self.config_path().is_file() {
            return Ok(());
        }
        let repo_dir = self.inner.repo_dir.display().to_string();
        Err(match &self.inner.config_file {
            // Where there is no repo either, that comes first.
            Some(path) if self.inner.repo_dir.join("config").is_file() => {
                RepoError::NoConfigFile { path: path.display().to_string(), repo_dir }
            }
            _ => RepoError::NotInitialized { repo_dir },
        })
    }

    /// Checks that it is known where the repo is, or is to be.
    pub fn require_repo_dir(&self) -> Result<(), RepoError> {
        if self.inner.repo_dir.as_os_str().is_empty() { Err(RepoError::Nowhere) } else { Ok(()) }
    }

    /// The config as it stands in the file. Blocking.
    pub fn read_config(&self) -> Result<Value, CommandError> {
        self.require_repo()?;
        let path = self.config_path();
        let text = std::fs::read(&path).map_err(|error| {
            CommandError::new(format!("open {}: {}", path.display(), super::registry::errno_text(&error)))
        })?;
        serde_json::from_slice(&text).map_err(|error| {
            CommandError::new(format!("failure to decode config {}: {error}", path.display()))
        })
    }
}
