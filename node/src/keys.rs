//! The key store: named private keys.
