//! The key store: named private keys, one file each, as Kubo lays them out.
//!
//! A key lies in `keystore/key_<name in base32, lower case, no padding>` as its libp2p protobuf, readable by the owner only.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use libp2p_identity::PeerId;

use super::private::ENCODED_BYTES_MAX;
use super::{DecodeError, GenerateError, KeySpec, KeyType, PrivateKey, SELF, pkcs8};
use crate::fsutil::{create_atomic, sync_folder};

/// Name of the folder in a repo.
pub const FOLDER_NAME: &str = "keystore";

/// Longest name of a key, in bytes: in base32 behind `key_` it fills a file name of 255.
pub const NAME_BYTES_MAX: usize = 156;

/// Why a key command failed. The text is Kubo's where Kubo has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// `self` cannot be made, imported, exported or removed.
    #[error("cannot {0} key with name 'self'")]
    Reserved(&'static str),
    /// There is a key of that name (words of `key gen` and `key import`).
    #[error("key with name '{0}' already exists")]
    Exists(String),
    /// There is a key of that name (words of `key rename`).
    #[error("key by that name already exists, refusing to overwrite")]
    RefusingToOverwrite,
    /// There is no key of that name.
    #[error("no key named {0} was found")]
    NotFound(String),
    /// There is no key of that name (words of `key export`).
    #[error("key with name '{0}' doesn't exist")]
    NotThere(String),
    /// Keys have names.
    #[error("key name must be at least one character")]
    EmptyName,
    /// The name does not fit into a file name.
    #[error("key name is too long: {0} bytes (max {NAME_BYTES_MAX} bytes)")]
    LongName(usize),
    /// The key cannot be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// No format has this name.
    #[error("unrecognized {direction} format: {format}")]
    Format {
        /// `import` or `export`.
        direction: &'static str,
        /// The name.
        format: String,
    },
    /// PEM was given where a libp2p key was expected.
    #[error(
        "unexpected PEM block for format=libp2p-protobuf-cleartext: try again with format=pem-pkcs8-cleartext"
    )]
    UnexpectedPem,
    /// The bytes are no libp2p key.
    #[error("unable to unmarshall format=libp2p-protobuf-cleartext: {0}")]
    Unmarshal(DecodeError),
    /// The text is no PKCS#8 key, or the key cannot be written as one.
    #[error(transparent)]
    Pem(DecodeError),
    /// A type of key that is not imported unasked.
    #[error(
        "key type {0:?} is not allowed to be imported, only RSA, Ed25519, or Secp256k1; \
         use flag --allow-any-key-type if you are sure of what you're doing"
    )]
    TypeNotAllowed(KeyType),
    /// A key file does not hold a key.
    #[error("the key file {} is damaged ({reason}): move it out of the folder, or restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: DecodeError,
    },
    /// The operating system refused.
    #[error("cannot use the key store at {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The exported key was not written.
    #[error("cannot write the exported key to {}: {source}", path.display())]
    Export {
        /// Where it was to go.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// A key's name and peer ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its name.
    pub name: String,
    /// The peer ID of its public key; see [`super::IpnsBase`] for its text.
    pub peer_id: PeerId,
}

/// What a rename did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renamed {
    /// The key under its new name.
    pub key: KeyInfo,
    /// Whether another key of that name was replaced.
    pub overwrite: bool,
}

/// Formats that keys leave and enter the store in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExportFormat {
    /// `libp2p-protobuf-cleartext`: libp2p's message, the default.
    #[default]
    Libp2p,
    /// `pem-pkcs8-cleartext`: what openssl reads.
    Pem,
}

impl ExportFormat {
    fn parse(direction: &'static str, format: &str) -> Result<Self, KeyError> {
        match format {
            "libp2p-protobuf-cleartext" => Ok(Self::Libp2p),
            "pem-pkcs8-cleartext" => Ok(Self::Pem),
            _ => Err(KeyError::Format { direction, format: format.to_owned() }),
        }
    }

    /// The ending of the file that `key export` writes unless told otherwise.
    pub fn file_ending(self) -> &'static str {
        match self {
            Self::Libp2p => "key",
            Self::Pem => "pem",
        }
    }

    /// Reads the option of `key export`.
    pub fn for_export(format: &str) -> Result<Self, KeyError> {
        Self::parse("export", format)
    }

    /// Reads the option of `key import`.
    pub fn for_import(format: &str) -> Result<Self, KeyError> {
        Self::parse("import", format)
    }
}

/// The key store of a repo. Every change is durable when the call returns.
#[derive(Debug, Clone)]
pub struct Keystore {
    folder: PathBuf,
}

impl Keystore {
    /// Opens the key store in `repo`, and makes its folder where there is none.
    pub fn open(repo: &Path) -> Result<Self, KeyError> {
        let folder = repo.join(FOLDER_NAME);
        let io_error = |source| KeyError::Io { path: folder.clone(), source };
        if !folder.is_dir() {
            DirBuilder::new().mode(0o700).create(&folder).map_err(io_error)?;
            sync_folder(repo).map_err(io_error)?;
        }
        Ok(Self { folder })
    }

    /// The key store in `repo`, for reading: nothing is made, and where there is no folder there are no keys.
    pub fn at(repo: &Path) -> Self {
        Self { folder: repo.join(FOLDER_NAME) }
    }

    /// Makes a key: `key gen`. `kind` and `bits` as in [`KeySpec::parse`].
    pub fn generate(&self, name: &str, kind: &str, bits: Option<i64>) -> Result<KeyInfo, KeyError> {
        self.check_new("create", name)?;
        let key = PrivateKey::generate(KeySpec::parse(kind, bits)?)?;
        self.put(name, &key)
    }

    /// The node's own key as `self`, then all keys by name: `key list`.
    pub fn list(&self, own: PeerId) -> Result<Vec<KeyInfo>, KeyError> {
        let mut list = vec![KeyInfo { name: SELF.to_owned(), peer_id: own }];
        for name in self.names()? {
            let peer_id = self.get(&name)?.peer_id();
            list.push(KeyInfo { name, peer_id });
        }
        Ok(list)
    }

    /// Names of all keys, sorted. Files that are no key's are passed over.
    pub fn names(&self) -> Result<Vec<String>, KeyError> {
        let io_error = |source| KeyError::Io { path: self.folder.clone(), source };
        let mut names = Vec::new();
        let entries = match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(names),
            entries => entries.map_err(io_error)?,
        };
        for entry in entries {
            let file_name = entry.map_err(io_error)?.file_name();
            names.extend(file_name.to_str().and_then(decode_name));
        }
        names.sort();
        Ok(names)
    }

    /// A key by its name.
    pub fn get(&self, name: &str) -> Result<PrivateKey, KeyError> {
        let path = self.path(name)?;
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::NotFound => KeyError::NotFound(name.to_owned()),
            _ => KeyError::Io { path: path.clone(), source },
        };
        let damaged = |reason| KeyError::Damaged { path: path.clone(), reason };
        let bytes = std::fs::metadata(&path).map_err(io_error)?.len();
        if bytes > ENCODED_BYTES_MAX as u64 {
            return Err(damaged(DecodeError(format!("{bytes} bytes, the limit is {ENCODED_BYTES_MAX}"))));
        }
        PrivateKey::from_protobuf(&std::fs::read(&path).map_err(io_error)?).map_err(damaged)
    }

    /// Gives a key another name: `key rename`. With `force` a key of that name is replaced, in one step.
    pub fn rename(&self, name: &str, new_name: &str, force: bool) -> Result<Renamed, KeyError> {
        if name == SELF {
            return Err(KeyError::Reserved("rename"));
        }
        if new_name == SELF {
            return Err(KeyError::Reserved("overwrite"));
        }
        let peer_id = self.get(name)?.peer_id();
        let (path, new_path) = (self.path(name)?, self.path(new_name)?);
        let key = KeyInfo { name: new_name.to_owned(), peer_id };
        if path == new_path {
            return Ok(Renamed { key, overwrite: false });
        }
        let io_error = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::RefusingToOverwrite,
            _ => KeyError::Io { path: new_path.clone(), source },
        };
        let overwrite = force && new_path.exists();
        if overwrite {
            std::fs::rename(&path, &new_path).map_err(io_error)?;
        } else {
            // A link fails where there is a file: nothing can come in between, as after a look.
            std::fs::hard_link(&path, &new_path).map_err(io_error)?;
            std::fs::remove_file(&path).map_err(io_error)?;
        }
        sync_folder(&self.folder).map_err(io_error)?;
        Ok(Renamed { key, overwrite })
    }

    /// Removes a key for good: `key rm`.
    pub fn remove(&self, name: &str) -> Result<KeyInfo, KeyError> {
        if name == SELF {
            return Err(KeyError::Reserved("remove"));
        }
        let peer_id = self.get(name)?.peer_id();
        let path = self.path(name)?;
        std::fs::remove_file(&path)
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|source| KeyError::Io { path, source })?;
        Ok(KeyInfo { name: name.to_owned(), peer_id })
    }

    /// The bytes of a key's file in another format: `key export`. See [`write_exported`](Self::write_exported).
    pub fn export(&self, name: &str, format: ExportFormat) -> Result<Vec<u8>, KeyError> {
        if name == SELF {
            return Err(KeyError::Reserved("export"));
        }
        let key = self.get(name).map_err(|error| match error {
            KeyError::NotFound(name) => KeyError::NotThere(name),
            other => other,
        })?;
        match format {
            ExportFormat::Libp2p => Ok(key.to_protobuf()),
            ExportFormat::Pem => Ok(pkcs8::to_pem(&key).map_err(KeyError::Pem)?.into_bytes()),
        }
    }

    /// Writes an exported key to `path`. A file that is made for it is readable by its owner only; what is there already
    /// (a file, a link to one, a device, a pipe) is written to, and keeps its kind and its permissions.
    pub fn write_exported(path: &Path, key: &[u8]) -> Result<(), KeyError> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(true).write(true).mode(0o600).open(path);
        file.and_then(|mut file| file.write_all(key))
            .map_err(|source| KeyError::Export { path: path.to_owned(), source })
    }

    /// Takes a key in: `key import`. Types that `key gen` does not make are refused unless `any_type`.
    pub fn import(
        &self,
        name: &str,
        key: &[u8],
        format: ExportFormat,
        any_type: bool,
    ) -> Result<KeyInfo, KeyError> {
        if name == SELF {
            return Err(KeyError::Reserved("import"));
        }
        let text = || String::from_utf8_lossy(key);
        let key = match format {
            ExportFormat::Pem => pkcs8::from_pem(&text()).map_err(KeyError::Pem)?,
            ExportFormat::Libp2p => PrivateKey::from_protobuf(key).map_err(|error| {
                if pkcs8::find_pem(&text()).is_some() {
                    KeyError::UnexpectedPem
                } else {
                    KeyError::Unmarshal(error)
                }
            })?,
        };
        if key.kind() == KeyType::Ecdsa && !any_type {
            return Err(KeyError::TypeNotAllowed(key.kind()));
        }
        self.check_new("import", name)?;
        self.put(name, &key)
    }

    /// Stores a key under a new name.
    pub fn put(&self, name: &str, key: &PrivateKey) -> Result<KeyInfo, KeyError> {
        let path = self.path(name)?;
        create_atomic(&path, &key.to_protobuf(), 0o400).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists(name.to_owned()),
            _ => KeyError::Io { path, source },
        })?;
        Ok(KeyInfo { name: name.to_owned(), peer_id: key.peer_id() })
    }

    /// Refuses reserved and taken names before any work is done.
    fn check_new(&self, doing: &'static str, name: &str) -> Result<(), KeyError> {
        if name == SELF {
            return Err(KeyError::Reserved(doing));
        }
        if self.path(name)?.exists() { Err(KeyError::Exists(name.to_owned())) } else { Ok(()) }
    }

    fn path(&self, name: &str) -> Result<PathBuf, KeyError> {
        match name.len() {
            0 => Err(KeyError::EmptyName),
            1..=NAME_BYTES_MAX => {
                let encoded = BASE32_NOPAD.encode(name.as_bytes()).to_lowercase();
                Ok(self.folder.join(format!("key_{encoded}")))
            }
            bytes => Err(KeyError::LongName(bytes)),
        }
    }

    /// Sets the permissions of every key file again: for repos that were copied without them.
    pub fn protect(&self) -> Result<(), KeyError> {
        let io_error = |source| KeyError::Io { path: self.folder.clone(), source };
        std::fs::set_permissions(&self.folder, Permissions::from_mode(0o700)).map_err(io_error)?;
        for name in self.names()? {
            std::fs::set_permissions(self.path(&name)?, Permissions::from_mode(0o400)).map_err(io_error)?;
        }
        Ok(())
    }
}

/// The key's name that a file name stands for.
fn decode_name(file_name: &str) -> Option<String> {
    let encoded = file_name.strip_prefix("key_")?.to_uppercase();
    String::from_utf8(BASE32_NOPAD.decode(encoded.as_bytes()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::IpnsBase;
    use super::*;

    fn store() -> (tempfile::TempDir, Keystore) {
        let repo = tempfile::tempdir().unwrap();
        let store = Keystore::open(repo.path()).unwrap();
        (repo, store)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_are_named_and_protected_as_kubos() {
        let (repo, store) = store();
        for (name, file) in [("k1", "key_nmyq"), ("my/key.", "key_nv4s623fpexa"), ("foo", "key_mzxw6")] {
            let made = store.generate(name, "ed25519", None).unwrap();
            let path = repo.path().join("keystore").join(file);
            assert_eq!(mode(&path), 0o400);
            assert_eq!(store.get(name).unwrap().peer_id(), made.peer_id);
        }
        assert_eq!(mode(&repo.path().join("keystore")), 0o700);
        std::fs::write(repo.path().join("keystore/README"), "no key").unwrap();
        assert_eq!(store.names().unwrap(), ["foo", "k1", "my/key."]);
        std::fs::set_permissions(repo.path().join("keystore/key_nmyq"), Permissions::from_mode(0o644))
            .unwrap();
        store.protect().unwrap();
        assert_eq!(mode(&repo.path().join("keystore/key_nmyq")), 0o400);
    }

    #[test]
    fn lists_self_first() {
        let (_repo, store) = store();
        let own = PrivateKey::generate(KeySpec::parse("ed25519", None).unwrap()).unwrap().peer_id();
        store.generate("b", "ed25519", None).unwrap();
        store.generate("a", "secp256k1", None).unwrap();
        let list = store.list(own).unwrap();
        assert_eq!(list.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["self", "a", "b"]);
        assert_eq!(list[0].peer_id, own);
        assert!(IpnsBase::default().format(&list[2].peer_id).starts_with("k51"));
    }

    #[test]
    fn renames() {
        let (_repo, store) = store();
        let one = store.generate("one", "ed25519", None).unwrap();
        let two = store.generate("two", "ed25519", None).unwrap();
        let renamed = store.rename("one", "new", false).unwrap();
        assert_eq!(
            renamed,
            Renamed { key: KeyInfo { name: "new".to_owned(), ..one.clone() }, overwrite: false }
        );
        let words = |result: Result<Renamed, KeyError>| result.unwrap_err().to_string();
        assert_eq!(
            words(store.rename("new", "two", false)),
            "key by that name already exists, refusing to overwrite"
        );
        assert_eq!(store.get("two").unwrap().peer_id(), two.peer_id);
        assert!(store.rename("new", "two", true).unwrap().overwrite);
        assert_eq!(store.get("two").unwrap().peer_id(), one.peer_id);
        assert_eq!(store.names().unwrap(), ["two"]);
        assert!(!store.rename("two", "two", true).unwrap().overwrite);
        assert_eq!(words(store.rename("self", "x", false)), "cannot rename key with name 'self'");
        assert_eq!(words(store.rename("two", "self", true)), "cannot overwrite key with name 'self'");
        assert_eq!(words(store.rename("nosuch", "x", false)), "no key named nosuch was found");
    }

    #[test]
    fn exports_and_imports() {
        let (repo, store) = store();
        for kind in ["ed25519", "secp256k1", "rsa"] {
            let made = store.generate(kind, kind, None).unwrap();
            for format in ["libp2p-protobuf-cleartext", "pem-pkcs8-cleartext"] {
                let bytes = store.export(kind, ExportFormat::for_export(format).unwrap()).unwrap();
                let name = format!("{kind}-{format}");
                let back =
                    store.import(&name, &bytes, ExportFormat::for_import(format).unwrap(), false).unwrap();
                assert_eq!(back.peer_id, made.peer_id, "{name}");
                assert_eq!(store.get(&name).unwrap(), store.get(kind).unwrap(), "{name}");
            }
        }
        let pem = store.export("ed25519", ExportFormat::Pem).unwrap();
        let file = repo.path().join("exported");
        Keystore::write_exported(&file, &pem).unwrap();
        assert_eq!((mode(&file), std::fs::read(&file).unwrap()), (0o600, pem.clone()));
        let link = repo.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        Keystore::write_exported(&link, b"short").unwrap();
        assert!(link.is_symlink(), "what is there is written to, not replaced");
        assert_eq!(std::fs::read(&file).unwrap(), b"short");
        let words = |result: Result<KeyInfo, KeyError>| result.unwrap_err().to_string();
        assert_eq!(
            words(store.import("ed25519", &pem, ExportFormat::Pem, false)),
            "key with name 'ed25519' already exists"
        );
        assert_eq!(
            words(store.import("x", &pem, ExportFormat::Libp2p, false)),
            "unexpected PEM block for format=libp2p-protobuf-cleartext: try again with format=pem-pkcs8-cleartext"
        );
        assert!(
            words(store.import("x", b"junk", ExportFormat::Libp2p, false))
                .starts_with("unable to unmarshall format=libp2p-protobuf-cleartext: ")
        );
        assert_eq!(
            ExportFormat::for_export("foo").unwrap_err().to_string(),
            "unrecognized export format: foo"
        );
        assert_eq!(
            store.export("nosuch", ExportFormat::Pem).unwrap_err().to_string(),
            "key with name 'nosuch' doesn't exist"
        );
    }

    #[test]
    fn p256_is_imported_only_when_asked() {
        let (_repo, store) = store();
        let key = libp2p_identity::Keypair::generate_ecdsa().to_protobuf_encoding().unwrap();
        let error = store.import("k", &key, ExportFormat::Libp2p, false).unwrap_err();
        assert!(error.to_string().contains("only RSA, Ed25519, or Secp256k1"), "{error}");
        store.import("k", &key, ExportFormat::Libp2p, true).unwrap();
        assert_eq!(store.get("k").unwrap().to_protobuf(), key);
    }

    #[test]
    fn refusals_use_kubos_words() {
        let (_repo, store) = store();
        store.generate("there", "ed25519", None).unwrap();
        for (name, kind, words) in [
            ("self", "ed25519", "cannot create key with name 'self'"),
            ("k", "foo", "unrecognized key type: foo"),
            ("there", "ed25519", "key with name 'there' already exists"),
            ("", "ed25519", "key name must be at least one character"),
        ] {
            assert_eq!(store.generate(name, kind, None).unwrap_err().to_string(), words);
        }
        assert!(matches!(store.generate(&"n".repeat(157), "ed25519", None), Err(KeyError::LongName(157))));
        store.generate(&"n".repeat(156), "ed25519", None).unwrap();
        assert_eq!(store.remove("self").unwrap_err().to_string(), "cannot remove key with name 'self'");
        assert_eq!(store.remove("nosuch").unwrap_err().to_string(), "no key named nosuch was found");
        assert_eq!(
            store.export("self", ExportFormat::Pem).unwrap_err().to_string(),
            "cannot export key with name 'self'"
        );
        store.remove("there").unwrap();
        assert!(matches!(store.get("there"), Err(KeyError::NotFound(_))));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let (repo, store) = store();
        std::fs::write(repo.path().join("keystore/key_mzxw6"), b"").unwrap();
        assert!(matches!(store.get("foo"), Err(KeyError::Damaged { .. })));
        assert!(matches!(store.generate("foo", "ed25519", None), Err(KeyError::Exists(_))));
    }
}
