//! What commands run in: the repo folder, and what is opened from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_blockstore::repo::RepoError;
use tokio::sync::Mutex;

use super::registry::CommandError;
use crate::config::Config;
use crate::node::Node;

/// Where a context finds its repo.
#[derive(Debug, Clone)]
pub struct ContextParams {
    /// The repo folder.
    pub repo_dir: PathBuf,
    /// The config file, where it is not `config` in the repo folder.
    pub config_file: Option<PathBuf>,
    /// The name that texts call the program by.
    pub program: String,
}

/// What commands run in. It is cheap to clone; everything in it is opened when first asked for.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    params: ContextParams,
    node: Mutex<Option<Node>>,
}

impl Context {
    /// A context on a repo folder that need not exist.
    pub fn new(params: ContextParams) -> Self {
        Self { inner: Arc::new(Inner { params, node: Mutex::new(None) }) }
    }

    /// A context on a node that is open already: for doors that live as long as a node does.
    pub fn with_node(params: ContextParams, node: Node) -> Self {
        Self { inner: Arc::new(Inner { params, node: Mutex::new(Some(node)) }) }
    }

    /// The repo folder.
    pub fn repo_dir(&self) -> &Path {
        &self.inner.params.repo_dir
    }

    /// The name that texts call the program by.
    pub fn program(&self) -> &str {
        &self.inner.params.program
    }

    /// The config file that was named by `--config-file`, if any.
    pub fn config_file(&self) -> Option<&Path> {
        self.inner.params.config_file.as_deref()
    }

    /// The config file.
    pub fn config_path(&self) -> PathBuf {
        self.inner.params.config_file.clone().unwrap_or_else(|| self.repo_dir().join("config"))
    }

    /// Checks that there is a repo, in Kubo's words if there is none.
    pub fn require_repo(&self) -> Result<(), CommandError> {
        if self.config_path().is_file() {
            return Ok(());
        }
        Err(CommandError::from_error(RepoError::NotFound { path: self.repo_dir().to_owned() }))
    }

    /// The config as it stands in the file. Blocking.
    pub fn read_config(&self) -> Result<Config, CommandError> {
        self.require_repo()?;
        Config::load(&self.config_path()).map_err(CommandError::from_error)
    }

    /// The node: opened, and its repo locked, when it is first asked for.
    pub async fn node(&self) -> Result<Node, CommandError> {
        let mut node = self.inner.node.lock().await;
        if let Some(node) = &*node {
            return Ok(node.clone());
        }
        let mut builder = Node::builder().repo(self.repo_dir());
        if self.inner.params.config_file.is_some() {
            builder = builder.config(self.read_config()?);
        }
        let opened = builder.open().await.map_err(CommandError::from_error)?;
        *node = Some(opened.clone());
        Ok(opened)
    }

    /// Closes the node, if it was opened: what was written is durable afterwards.
    pub async fn close(&self) -> Result<(), CommandError> {
        match self.inner.node.lock().await.take() {
            Some(node) => node.close().await.map_err(CommandError::from_error),
            None => Ok(()),
        }
    }
}
