//! What commands run in: the repo folder, and what is opened from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::registry::CommandError;

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

/// Why there is no repo to work on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RepoError {
    /// Nobody ran `init` there.
    #[error("no IPFS repo found in {repo_dir}.\nplease run: 'ipfs init'")]
    NotInitialized {
        /// The folder.
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
}

impl Context {
    /// A context on a repo folder that need not exist.
    pub fn new(params: ContextParams) -> Self {
        Self { inner: Arc::new(params) }
    }

    /// The repo folder.
    pub fn repo_dir(&self) -> &Path {
        &self.inner.repo_dir
    }

    /// The name that texts call the program by.
    pub fn program(&self) -> &str {
        &self.inner.program
    }

    /// The config file.
    pub fn config_path(&self) -> PathBuf {
        self.inner.config_file.clone().unwrap_or_else(|| self.inner.repo_dir.join("config"))
    }

    /// Checks that there is a repo, in Kubo's words if there is none.
    pub fn require_repo(&self) -> Result<(), RepoError> {
        if self.config_path().is_file() {
            return Ok(());
        }
        let repo_dir = self.inner.repo_dir.display().to_string();
        Err(RepoError::NotInitialized { repo_dir })
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
