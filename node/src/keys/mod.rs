//! Private keys: the node's identity and the named keys of the key store.
//!
//! Keys are kept as the libp2p protobuf they came in, so that what is exported is what was imported, byte by byte. RSA keys
//! are made by the `rsa` crate; whatever a key does later (signing) is done by `libp2p-identity`.

mod pkcs8;
mod private;
mod store;

pub use holdfast_dht::peer_id::{IpnsBase, IpnsBaseError, PeerIdError, parse_peer_id};
pub use private::{
    DecodeError, ENCODED_BYTES_MAX, GenerateError, KeySpec, KeyType, PrivateKey, RSA_BITS_MIN,
};
pub use store::{ExportFormat, FOLDER_NAME, KeyError, KeyInfo, Keystore, NAME_BYTES_MAX, Renamed};

/// Reserved name of the node's own identity, which lies in the config.
pub const SELF: &str = "self";
