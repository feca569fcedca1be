//! What the process was started with.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// What the process was started with: taken once, so that nothing else reads the environment.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The name that texts call the program by: `ipfs` if it was started as that, else `holdfast`.
    pub program: String,
    /// The words of the command line, without the program.
    pub words: Vec<OsString>,
    /// `IPFS_PATH`, if it is set and not empty.
    pub ipfs_path: Option<PathBuf>,
    /// The user's home directory, if it is known.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let mut words = std::env::args_os();
        let program = words.next().unwrap_or_default();
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            program: program_name(&program).to_owned(),
            words: words.collect(),
            ipfs_path: set("IPFS_PATH"),
            home: set("HOME"),
        }
    }

    /// The repo folder where the line names none: `IPFS_PATH`, else `.holdfast` or, called as `ipfs`, `.ipfs` in the
    /// user's home; none where no home is known.
    pub fn default_repo_dir(&self) -> Option<PathBuf> {
        if let Some(path) = &self.ipfs_path {
            return Some(self.expand_home(path));
        }
        let name = if self.program == "ipfs" { ".ipfs" } else { ".holdfast" };
        self.home.as_ref().map(|home| home.join(name))
    }

    /// A path in which a leading `~` stands for the user's home.
    pub fn expand_home(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(rest), Some(home)) if rest.as_os_str().is_empty() => home.clone(),
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path.to_owned(),
        }
    }
}

/// The name that texts call a program of this path by.
fn program_name(program: &OsStr) -> &'static str {
    let stem = Path::new(program).file_stem().unwrap_or_default();
    if stem == "ipfs" { "ipfs" } else { "holdfast" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_decides_the_default_repo() {
        let repo = |program: &str, ipfs_path: Option<&str>| {
            Environment {
                program: program_name(OsStr::new(program)).to_owned(),
                ipfs_path: ipfs_path.map(PathBuf::from),
                home: Some(PathBuf::from("/home/u")),
                ..Environment::default()
            }
            .default_repo_dir()
            .unwrap()
        };
        assert_eq!(Environment::default().default_repo_dir(), None, "never the working directory");
        assert_eq!(repo("/usr/bin/ipfs", None), Path::new("/home/u/.ipfs"));
        assert_eq!(repo("ipfs.exe", None), Path::new("/home/u/.ipfs"));
        assert_eq!(repo("target/release/holdfast", None), Path::new("/home/u/.holdfast"));
        assert_eq!(repo("ipfs", Some("/data")), Path::new("/data"));
        assert_eq!(repo("ipfs", Some("~/x")), Path::new("/home/u/x"));
    }
}
