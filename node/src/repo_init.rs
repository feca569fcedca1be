//! `init`: a new repo's folder, identity, config and key store. The block store is laid out by its own crate.
//!
//! The config is written last ([`NewRepo::finish`]): a folder without one is no repo, so an `init` that was cut off is
//! simply run again.

use std::io;
use std::path::{Path, PathBuf};

use crate::config::{self, Config, ProfileError, SaveError, ValueError};
use crate::keys::{DecodeError, GenerateError, KeyError, KeySpec, Keystore, PrivateKey};

/// What `init` was asked for.
#[derive(Debug, Clone, Default)]
pub struct InitParams {
    /// The repo folder; made if it is absent.
    pub repo: PathBuf,
    /// The config file, where it is not `config` in the repo folder.
    pub config_file: Option<PathBuf>,
    /// `--algorithm`: `ed25519` (default), `rsa` or `secp256k1`.
    pub algorithm: Option<String>,
    /// `--bits`.
    pub bits: Option<i64>,
    /// `--profile`: names with commas between.
    pub profiles: String,
    /// The argument `default-config`: a config with an identity, used instead of a new one.
    pub given_config: Option<String>,
}

/// Why a repo was not made. The text is Kubo's where Kubo has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// There is a config in the folder.
    #[error("ipfs configuration file already exists!\nReinitializing would overwrite your keys\n")]
    Exists,
    /// The identity cannot be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// The given config is not JSON.
    #[error("{0}")]
    GivenConfig(String),
    /// The given config has no identity.
    #[error(transparent)]
    Identity(#[from] ValueError),
    /// The private key in the given config is not one, or not of the peer that the config names.
    #[error("the private key in the given config cannot be used: {0}")]
    PrivateKey(String),
    /// A profile was not applied.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The folder cannot be written to.
    #[error("{} is not writeable by the current user", .0.display())]
    NotWritable(PathBuf),
    /// The operating system refused.
    #[error("cannot make the repo folder {}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The key store was not made.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The config was not written.
    #[error(transparent)]
    Save(#[from] SaveError),
}

/// A repo folder that has everything but its block store and, until [`finish`](Self::finish), its config.
#[derive(Debug)]
#[must_use = "without `finish` there is no repo"]
pub struct NewRepo {
    /// The config, complete with its identity.
    pub config: Config,
    /// The repo folder.
    pub repo: PathBuf,
    config_file: PathBuf,
}

/// Makes identity, folder and key store. `print` gets what Kubo prints, piece by piece, also before an error.
pub fn begin(params: &InitParams, print: &mut dyn FnMut(&str)) -> Result<NewRepo, InitError> {
    let mut config = match &params.given_config {
        Some(text) => check_given(Config::parse(text).map_err(InitError::GivenConfig)?)?,
        None => new_config(params, print)?,
    };
    let repo = &params.repo;
    print(&format!("initializing IPFS node at {}\n", repo.display()));
    make_folder(repo)?;
    let config_file = params.config_file.clone().unwrap_or_else(|| repo.join(config::FILE_NAME));
    if std::fs::symlink_metadata(&config_file).is_ok() {
        return Err(InitError::Exists);
    }
    config.apply_profiles(&params.profiles)?;
    Keystore::open(repo)?;
    Ok(NewRepo { config, repo: repo.clone(), config_file })
}

impl NewRepo {
    /// Writes the config: from now on the folder is a repo.
    pub fn finish(self) -> Result<Config, InitError> {
        self.config.save(&self.config_file)?;
        Ok(self.config)
    }
}

/// Kubo's last lines of `init --empty-repo=false`, where `folder` is the CID of the documents added.
pub fn get_started(program: &str, folder: &str) -> String {
    format!("to get started, enter:\n\n\t{program} cat /ipfs/{folder}/readme\n\n")
}

/// The default config with a new identity.
fn new_config(params: &InitParams, print: &mut dyn FnMut(&str)) -> Result<Config, InitError> {
    let spec = KeySpec::parse(params.algorithm.as_deref().unwrap_or("ed25519"), params.bits)?;
    print(&spec.announcement());
    let key = PrivateKey::generate(spec)?;
    print("done\n");
    print(&format!("peer identity: {}\n", key.peer_id()));
    let mut config = Config::defaults();
    config.set_identity(&key);
    Ok(config)
}

/// A given config must bring a usable identity, or nothing could be signed with it later.
fn check_given(config: Config) -> Result<Config, InitError> {
    let identity = config.identity()?;
    let key = PrivateKey::from_base64(&identity.private_key)
        .map_err(|error: DecodeError| InitError::PrivateKey(error.to_string()))?;
    if key.peer_id().to_string() != identity.peer_id {
        return Err(InitError::PrivateKey(format!(
            "it belongs to {}, not to {}",
            key.peer_id(),
            identity.peer_id
        )));
    }
    Ok(config)
}

/// Makes the folder, and sees that files can be made in it.
fn make_folder(repo: &Path) -> Result<(), InitError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::PermissionDenied => InitError::NotWritable(repo.to_owned()),
        _ => InitError::Io { path: repo.to_owned(), source },
    };
    std::fs::create_dir_all(repo).map_err(refused)?;
    tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(repo).map(drop).map_err(refused)
}

impl Config {
    /// Makes `key` the node's identity.
    pub fn set_identity(&mut self, key: &PrivateKey) {
        let identity = serde_json::json!({ "PeerID": key.peer_id().to_string(), "PrivKey": key.to_base64() });
        self.put_identity(identity);
    }

    /// The node's private key.
    pub fn private_key(&self) -> Result<PrivateKey, ValueError> {
        let identity = self.identity()?;
        PrivateKey::from_base64(&identity.private_key)
            .map_err(|error| ValueError { key: "Identity.PrivKey".to_owned(), reason: error.to_string() })
    }
}

/// Replaces the node's identity and keeps the old key in the key store as `old_name`: `key rotate`.
///
/// The old key is stored before the config is changed, so that no failure loses it.
pub fn rotate(
    config: &mut Config,
    config_file: &Path,
    keystore: &Keystore,
    old_name: &str,
    spec: KeySpec,
    print: &mut dyn FnMut(&str),
) -> Result<(), RotateError> {
    if old_name.is_empty() {
        return Err(RotateError::NoName);
    }
    if old_name == crate::keys::SELF {
        return Err(RotateError::NamedSelf);
    }
    print(&spec.announcement());
    let key = PrivateKey::generate(spec)?;
    print("done\n");
    print(&format!("peer identity: {}\n", key.peer_id()));
    let old_key = config.private_key()?;
    keystore.put(old_name, &old_key)?;
    let mut changed = config.clone();
    changed.set_identity(&key);
    changed.save(config_file)?;
    *config = changed;
    Ok(())
}

/// Why the identity was not replaced. The text is Kubo's where Kubo has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// No name for the old key was given.
    #[error("keystore name for backing up old key must be provided")]
    NoName,
    /// The old key cannot be kept under this name.
    #[error("keystore name for back up cannot be named 'self'")]
    NamedSelf,
    /// The new key cannot be made.
    #[error("creating identity ({0})")]
    Generate(#[from] GenerateError),
    /// The old key cannot be read.
    #[error("decoding old private key ({0})")]
    OldKey(#[from] ValueError),
    /// The old key cannot be stored.
    #[error("saving old key in keystore ({0})")]
    Store(#[from] KeyError),
    /// The config cannot be written.
    #[error("saving new key to config ({0})")]
    Save(#[from] SaveError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(params: &InitParams) -> (String, Result<NewRepo, InitError>) {
        let mut printed = String::new();
        let result = begin(params, &mut |text| printed.push_str(text));
        (printed, result)
    }

    #[test]
    fn makes_a_repo_once() {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("a/b");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        let (printed, new) = run(&params);
        let config = new.unwrap().finish().unwrap();
        let id = config.identity().unwrap().peer_id;
        assert_eq!(
            printed,
            format!(
                "generating ED25519 keypair...done\npeer identity: {id}\ninitializing IPFS node at {}\n",
                repo.display()
            )
        );
        assert_eq!(Config::load(&repo.join("config")).unwrap(), config);
        assert_eq!(config.private_key().unwrap().peer_id().to_string(), id);
        assert_eq!(config.addresses().unwrap().swarm, ["/ip4/127.0.0.1/tcp/0"]);
        assert_eq!(config.show()["Identity"], serde_json::json!({ "PeerID": id }));
        assert!(repo.join("keystore").is_dir());
        let before = std::fs::read(repo.join("config")).unwrap();

        let (printed, again) = run(&params);
        assert!(printed.ends_with(&format!("initializing IPFS node at {}\n", repo.display())), "{printed}");
        assert_eq!(
            again.unwrap_err().to_string(),
            "ipfs configuration file already exists!\nReinitializing would overwrite your keys\n"
        );
        assert_eq!(std::fs::read(repo.join("config")).unwrap(), before);
    }

    #[test]
    fn an_init_that_was_cut_off_is_run_again() {
        let folder = tempfile::tempdir().unwrap();
        let params = InitParams { repo: folder.path().to_owned(), ..InitParams::default() };
        drop(run(&params).1.unwrap());
        let (_, again) = run(&params);
        again.unwrap().finish().unwrap();
    }

    #[test]
    fn wrong_options_make_no_config() {
        let folder = tempfile::tempdir().unwrap();
        let params = |algorithm: &str, bits, profiles: &str| InitParams {
            repo: folder.path().to_owned(),
            algorithm: Some(algorithm.to_owned()),
            bits,
            profiles: profiles.to_owned(),
            ..InitParams::default()
        };
        for (params, words) in [
            (params("foo", None, ""), "unrecognized key type: foo"),
            (params("ed25519", Some(2048), ""), "invalid key size 2048: ed25519 keys are always 256 bits"),
            (
                params("ed25519", None, "nosuch"),
                "invalid configuration profile: nosuch\n'init --help' lists the profiles that there are",
            ),
        ] {
            assert_eq!(run(&params).1.unwrap_err().to_string(), words);
        }
        assert!(run(&params("ed25519", None, "flatfs")).1.unwrap_err().to_string().contains("RocksDB"));
        assert!(!folder.path().join("config").exists());
    }

    #[test]
    fn a_given_config_brings_its_identity() {
        let folder = tempfile::tempdir().unwrap();
        let mut given = Config::defaults();
        let params = |given: &Config| InitParams {
            repo: folder.path().to_owned(),
            given_config: Some(given.document().to_string()),
            ..InitParams::default()
        };
        assert!(matches!(run(&params(&given)).1, Err(InitError::Identity(_))));
        let key = PrivateKey::generate(KeySpec::parse("secp256k1", None).unwrap()).unwrap();
        given.set_identity(&key);
        let config = run(&params(&given)).1.unwrap().finish().unwrap();
        assert_eq!(config.private_key().unwrap(), key);
        let other = PrivateKey::generate(KeySpec::parse("ed25519", None).unwrap()).unwrap();
        given.put_identity(
            serde_json::json!({ "PeerID": other.peer_id().to_string(), "PrivKey": key.to_base64() }),
        );
        assert!(matches!(run(&params(&given)).1, Err(InitError::PrivateKey(_))));
    }

    #[test]
    fn rotating_keeps_the_old_key() {
        let folder = tempfile::tempdir().unwrap();
        let params = InitParams { repo: folder.path().to_owned(), ..InitParams::default() };
        let mut config = run(&params).1.unwrap().finish().unwrap();
        let old = config.private_key().unwrap();
        let keystore = Keystore::open(folder.path()).unwrap();
        let file = folder.path().join("config");
        let spec = KeySpec::parse("ed25519", None).unwrap();
        for (name, words) in [
            ("", "keystore name for backing up old key must be provided"),
            ("self", "keystore name for back up cannot be named 'self'"),
        ] {
            let error = rotate(&mut config, &file, &keystore, name, spec, &mut |_| {}).unwrap_err();
            assert_eq!(error.to_string(), words);
        }
        rotate(&mut config, &file, &keystore, "old", spec, &mut |_| {}).unwrap();
        assert_eq!(keystore.get("old").unwrap(), old);
        assert_ne!(config.private_key().unwrap(), old);
        assert_eq!(Config::load(&file).unwrap(), config);
    }
}
