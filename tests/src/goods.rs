//! What peers exchange in the interop suites: blocks, files, a sharded folder, a deep chain.

use std::fmt::Write;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::car::{Block, car};
use crate::inputs::noise;

/// The large file of the suites, in bytes.
pub const FILE_BYTES: u64 = 200 << 20;

/// The entries of a large sharded folder: shards three levels deep.
pub const MANY_ENTRIES: usize = 20_000;

/// The entries of a folder that every importer shards, and that a peer can read which takes 15 ms a shard.
pub const SHARDED_ENTRIES: usize = 5000;

/// The nodes of the deep chain.
pub const CHAIN_NODES: u16 = 1000;

/// Different contents in the sharded folder: its shards are what is to be fetched.
const FOLDER_CONTENTS: usize = 16;

/// A file of noise with the hash of its bytes.
#[derive(Debug)]
pub struct NoiseFile {
    /// Where it is.
    pub path: PathBuf,
    /// The SHA-256 of its bytes, in hex.
    pub sha256: String,
}

impl NoiseFile {
    /// Writes `dir/noise-SEED` with `len` bytes.
    pub fn lay(dir: &Path, seed: u64, len: u64) -> Self {
        let path = dir.join(format!("noise-{seed}"));
        let bytes = noise(seed, len);
        fs::write(&path, &bytes).unwrap();
        Self { path, sha256: hex(&Sha256::digest(&bytes)) }
    }

    /// Checks that a file holds the same bytes.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn check(&self, path: &Path) {
        assert_eq!(sha256_of(path), self.sha256, "{} and {}", self.path.display(), path.display());
    }
}

/// The SHA-256 of a file, in hex.
pub fn sha256_of(path: &Path) -> String {
    let mut hash = Sha256::new();
    let mut file = fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece).unwrap() {
            0 => break,
            len => hash.update(&piece[..len]),
        }
    }
    hex(&hash.finalize())
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String does not fail");
        text
    })
}

/// Makes `dir/NAME`, a folder of small files.
///
/// # Panics
/// When it cannot be written.
pub fn wide_folder(dir: &Path, name: &str, entries: usize) -> PathBuf {
    let folder = dir.join(name);
    fs::create_dir(&folder).unwrap();
    for number in 0..entries {
        let content = format!("{name} {}\n", number % FOLDER_CONTENTS);
        fs::write(folder.join(format!("{name}-entry-{number:05}")), content).unwrap();
    }
    folder
}

/// Makes `dir/chain.car` with a chain of [`CHAIN_NODES`] dag-cbor nodes; its root is the returned CID.
///
/// # Panics
/// When it cannot be written.
pub fn chain_car(dir: &Path) -> (PathBuf, String) {
    chain_car_of(dir, "chain", CHAIN_NODES)
}

/// The same, `dir/NAME.car`, with so many nodes.
///
/// # Panics
/// When it cannot be written.
pub fn chain_car_of(dir: &Path, name: &str, nodes: u16) -> (PathBuf, String) {
    let mut chain: Vec<Block> = Vec::new();
    for number in 0..nodes {
        chain.push(Block::link_of_chain(number, chain.last()));
    }
    write_car(dir, name, &chain)
}

/// Makes `dir/NAME.car` with a file that is a chain: each of its nodes holds a line, and all the lines after it.
/// Returns its CID and the file, too.
///
/// # Panics
/// When it cannot be written.
pub fn deep_file_car(dir: &Path, name: &str, nodes: u16) -> (PathBuf, String, String) {
    let (mut chain, mut lines): (Vec<Block>, Vec<String>) = (Vec::new(), Vec::new());
    for number in 0..nodes {
        let line = format!("{name}: line {number}\n");
        let leaf = Block::raw(line.clone().into_bytes());
        // The leaf first, and then the file so far.
        let parts: Vec<Block> = std::iter::once(leaf.clone()).chain(chain.last().cloned()).collect();
        chain.extend([leaf, Block::file(&parts)]);
        lines.push(line);
    }
    lines.reverse();
    let (path, root) = write_car(dir, name, &chain);
    (path, root, lines.concat())
}

/// The last of the blocks is the root.
fn write_car(dir: &Path, name: &str, blocks: &[Block]) -> (PathBuf, String) {
    let root = blocks.last().expect("a chain has nodes");
    let path = dir.join(format!("{name}.car"));
    fs::write(&path, car(root, &blocks.iter().collect::<Vec<_>>())).unwrap();
    (path, root.cid())
}
