//! Runs every fuzz target over its corpus, and over mutations of it: no coverage, but every run of the tests.
#![cfg(test)]

use std::path::{Path, PathBuf};

use holdfast_fuzz::{TARGETS, Target};

/// A seed is mutated at this many places, or at every byte if it is shorter.
const MUTATED_PLACES: usize = 128;

fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut seeds: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("no corpus {}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    seeds.sort();
    assert!(!seeds.is_empty(), "{} is empty", folder.display());
    seeds
}

/// Runs a target so that a failure names the input.
fn run(target: Target, from: &Path, what: &str, data: &[u8]) {
    let outcome = std::panic::catch_unwind(|| target(data));
    assert!(outcome.is_ok(), "{} {what}: {data:02x?}", from.display());
}

fn replay(name: &str) {
    let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
    run(*target, Path::new(name), "without input", b"");
    for (path, seed) in corpus(name) {
        run(*target, &path, "as it is", &seed);
        for place in (0..seed.len()).step_by(seed.len().div_ceil(MUTATED_PLACES).max(1)) {
            run(*target, &path, "cut short", &seed[..place]);
            for change in [0x01, 0x80, 0xff] {
                let mut mutated = seed.clone();
                mutated[place] ^= change;
                run(*target, &path, "with a byte changed", &mutated);
            }
        }
    }
}

#[test]
fn every_corpus_has_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert!(found.iter().map(String::as_str).eq(TARGETS.iter().map(|(name, _)| *name)), "{found:?}");
}

macro_rules! replays {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*
    };
}

replays!(
    bitswap,
    car,
    cid,
    dag_cbor,
    dag_json,
    dag_pb,
    edit,
    hamt,
    ipns,
    kad,
    mdns,
    multipart,
    path,
    record_fetch,
    unixfs
);
