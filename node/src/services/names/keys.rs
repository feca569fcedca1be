//! The key that a command means.

use std::path::Path;

use libp2p_identity::PeerId;

use crate::config::{Config, ValueError};
use crate::keys::{KeyError, Keystore, PrivateKey, SELF, parse_peer_id};

/// Why no key is meant. The words are Kubo's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLookupError {
    /// No key is called so, and it is no peer ID either.
    #[error("no key by the given name was found")]
    NoName,
    /// No key is called so, and none has this peer ID.
    #[error("no key by the given name or PeerID was found")]
    NoPeerId,
    /// The node's own key cannot be read.
    #[error(transparent)]
    Identity(#[from] ValueError),
    /// The key store cannot be read.
    #[error(transparent)]
    Store(#[from] KeyError),
}

/// The key of this name in the repo (`self` is the node's own), or the one with this peer ID. Blocks.
pub fn find_key(config: &Config, repo: &Path, name: &str) -> Result<PrivateKey, KeyLookupError> {
    if name == SELF {
        return Ok(config.private_key()?);
    }
    let keystore = Keystore::at(repo);
    match keystore.get(name) {
        Ok(key) => return Ok(key),
        Err(KeyError::NotFound(_) | KeyError::EmptyName | KeyError::LongName(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let peer_id: PeerId = parse_peer_id(name).map_err(|_| KeyLookupError::NoName)?;
    let own = config.private_key()?;
    if own.peer_id() == peer_id {
        return Ok(own);
    }
    for name in keystore.names()? {
        let key = keystore.get(&name)?;
        if key.peer_id() == peer_id {
            return Ok(key);
        }
    }
    Err(KeyLookupError::NoPeerId)
}
