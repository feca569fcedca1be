//! What tests share: deterministic bytes, and the folder of recorded vectors.

use std::path::PathBuf;

use chacha20::cipher::{KeyIvInit as _, StreamCipher as _};
use sha2::{Digest as _, Sha256};

/// The first `length` bytes of the ChaCha20 keystream whose key is the SHA-256 of `seed` (Kubo's test generator).
pub(crate) fn drand(seed: &str, length: usize) -> Vec<u8> {
    let mut data = vec![0; length];
    chacha20::ChaCha20::new(&Sha256::digest(seed), &[0; 12].into()).apply_keystream(&mut data);
    data
}

/// A recorded file of test data, read at run time from `HOLDFAST_TEST_DATA` or from beside the checkout.
///
/// Where it is absent this says so loudly, and fails if `REQUIRE_ALL=1`.
pub(crate) fn recorded(name: &str) -> Option<String> {
    recorded_bytes(name).map(|bytes| String::from_utf8(bytes).unwrap())
}

/// Bytes of a recorded file; where it is absent this behaves as [`recorded`] does.
pub(crate) fn recorded_bytes(name: &str) -> Option<Vec<u8>> {
    let path = folder().join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            let message = format!("SKIPPED: no {}: {error}", path.display());
            assert!(std::env::var_os("REQUIRE_ALL").is_none_or(|value| value != "1"), "{message}");
            eprintln!("{message}");
            None
        }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn folder() -> PathBuf {
    std::env::var_os("HOLDFAST_TEST_DATA").map_or_else(PathBuf::new, PathBuf::from)
}
