//! CIDs that Kubo gives. The few that stand here need no data; the recorded ones are read where they are.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::hash::HashKind;
use crate::testdata::{drand, recorded};
use crate::unixfs::Mtime;

/// Parameters from the flags of `add`, by its rules.
fn params(profile: Option<&str>, flags: &[&str]) -> (ImportParams, FileMeta) {
    let mut params = profile.map_or_else(ImportParams::default, |name| ImportParams::profile(name).unwrap());
    let (mut meta, mut raw_leaves) = (FileMeta::default(), None);
    for flag in flags {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        match name {
            "--cid-version" if value == "1" => params.cid.version = crate::cid::Version::V1,
            "--hash" => {
                params.cid.hash = HashKind::from_name(value).unwrap();
                params.cid.version = crate::cid::Version::V1;
            }
            "--raw-leaves" => raw_leaves = Some(value != "false"),
            "--chunker" => params.chunker = value.parse().unwrap(),
            "--trickle" => params.layout = Layout::Trickle,
            "--max-file-links" => params.file_links_max = value.parse().unwrap(),
            "--inline" => params.inline_bytes_max = Some(32),
            "--mode" => meta.mode = Some(u32::from_str_radix(value, 8).unwrap()),
            "--mtime" => meta.mtime = Some(Mtime { seconds: value.parse().unwrap(), nanos: None }),
            other => panic!("flag {other}"),
        }
    }
    let v1 = params.cid.version == crate::cid::Version::V1;
    params.raw_leaves = raw_leaves.unwrap_or(v1 && meta == FileMeta::default());
    (params, meta)
}

/// The concatenated SHA-256 of salt and counter: the file `big` of the recorded answers.
fn big() -> Vec<u8> {
    (0..40_000).flat_map(|counter| Sha256::digest(format!("holdfast{counter}"))).collect()
}

#[test]
fn files_as_kubo_makes_them() {
    let hello = b"hello holdfast\n";
    for (flags, cid) in [
        (&[][..], "QmQjsrcABHkLkuuD7yzDVTBkVRJZJ8bMFTsNxrDxde2RDi"),
        (&["--cid-version=1"], "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm"),
        (&["--hash=blake3"], "bafkr4ifmcmavg7jl7jxpraie6yxqzklx35cdiggsgjhdxvs7gj5q4kezr4"),
        (&["--inline"], "bafyaafykcueaeeqpnbswy3dpebug63demzqxg5akdahq"),
        (&["--mode=0644", "--mtime=1700000000"], "QmW3yngo8tYkahUbdf4mwFs1awZaKEbPoBVnXUaVPiwq7b"),
    ] {
        let (params, meta) = params(None, flags);
        assert_eq!(import(&params, meta, hello, &Memory::default()).cid.to_string(), cid, "{flags:?}");
    }
    let big = big();
    for (profile, flag, cid) in [
        (None, None, "QmXKUT32BLMWnNxFvZR63SCid6V2uefDQLJ32jMM1nLZws"),
        (None, Some("--raw-leaves"), "QmdVEL48UEoTyceMkzECkRvfVbErsxdxzugBsUtMdZKiYx"),
        (None, Some("--trickle"), "QmPus8ZfRZcDGVRAqg9mYvfSVfsryCBY2BscRgCabZaDVg"),
        (None, Some("--chunker=size-1000"), "QmWerUkusLTa8Daj7ESoktznJQfs7Vt2PwNTLfxe2M7oC9"),
        (None, Some("--chunker=rabin-16384-65536-131072"), "Qma3vEQXmwKKNJpQJ2Azkj8va9Hw8Q7Uj6sRYgFiChFXPr"),
        (None, Some("--chunker=buzhash"), "QmSSiZFKQ1urtKFckv2fKzaBS7fVauqLgqow6dFQat72A5"),
        (None, Some("--max-file-links=4"), "QmPy3cBxzWHuB2UfV78Pv4LyeMdzHJfNccqtKkTXDeV3AC"),
        (
            Some("unixfs-v1-2025"),
            Some("--cid-version=1"),
            "bafybeihjlyorzob6mvasx43273amf3s2myntgldos5exmt377pdecneqvq",
        ),
    ] {
        assert_eq!(cid_of(&params(profile, flag.as_slice()).0, &big), cid, "{flag:?}");
    }
}

/// The names of IPIP-499's directories.
fn names(seed: &str, count: usize, length: usize, last: usize) -> Vec<String> {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
    let stream = drand(seed, 1 << 20);
    let name =
        |bytes: &[u8]| bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % 39])).collect();
    (0..count).map(|at| name(&stream[at * length..][..if at + 1 == count { last } else { length }])).collect()
}

fn directory(params: &ImportParams, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> String {
    let sink = Memory::default();
    let mut builder = DirectoryBuilder::new(params, FileMeta::default());
    for (name, content) in files {
        let file = import(params, FileMeta::default(), &content, &sink);
        builder.add(name.as_bytes(), &file.cid, file.tsize);
    }
    builder.finish(&sink).unwrap().cid.to_string()
}

/// Files called file1 to file`count`, each with its number.
fn numbered(count: u64) -> impl Iterator<Item = (String, Vec<u8>)> {
    (1..=count).map(|number| (format!("file{number}"), format!("{number}\n").into_bytes()))
}

#[test]
fn directories_as_kubo_makes_them() {
    let (v0, _) = params(None, &[]);
    assert_eq!(directory(&v0, []), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    let basic = ImportParams { hamt_threshold_bytes: 1 << 30, ..v0.clone() };
    assert_eq!(directory(&basic, numbered(2000)), "QmavrTrQG4VhoJmantURAYuw3bowq3E2WcvP36NRQDAC1N");
    let sharded = ImportParams { hamt_threshold_bytes: 1, ..v0.clone() };
    assert_eq!(directory(&sharded, numbered(2000)), "QmSCJD1KYLhVVHqBK3YyXuoEqHt7vggyJhzoFYbT8v1XYL");

    // Exactly at the threshold: not sharded. One byte over it: sharded.
    let with_x = |name| (name, b"x".to_vec());
    let at = names("hamt-unixfs-v0-2015", 4096, 30, 30).into_iter().map(with_x);
    assert_eq!(directory(&v0, at), "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN");
    let over = names("hamt-unixfs-v1-2025", 4766, 11, 22).into_iter().map(with_x);
    let (v1, _) = params(Some("unixfs-v1-2025"), &["--cid-version=1"]);
    assert_eq!(directory(&v1, over), "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu");
}

#[test]
fn symbolic_links_as_kubo_makes_them() {
    let (params, sink) = (ImportParams::default(), Memory::default());
    let link = import_symlink(&params, b"files/foo/baz", FileMeta::default(), &sink).unwrap();
    assert_eq!(link.cid.to_string(), "QmdocmZeF7qwPT9Z8SiVhMSyKA2KKoA2J7jToW6z6WBmxR");
    assert_eq!(sink.block(&link.cid).len() as u64, link.tsize);
}

/// Every vector of the recorded file.
#[test]
fn all_recorded_vectors() {
    let Some(text) = recorded("cid-vectors.json") else { return };
    let file: Value = serde_json::from_str(&text).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() >= 31);
    for vector in vectors {
        assert_eq!(build(vector), vector["cid"].as_str().unwrap(), "{}", vector["name"]);
    }
    for vector in file["chunk_lengths"].as_array().unwrap() {
        let chunker: crate::chunker::ChunkerSpec = vector["chunker"].as_str().unwrap().parse().unwrap();
        let data = drand_of(&vector["drand"]);
        let (mut rest, mut lengths) = (&data[..], Vec::new());
        while let Some(cut) = chunker.cut(rest, true) {
            lengths.push(cut as u64);
            rest = &rest[cut..];
        }
        let numbers = |value: &Value| -> Option<Vec<u64>> {
            value.as_array().map(|list| list.iter().map(|number| number.as_u64().unwrap()).collect())
        };
        if let Some(chunks) = numbers(&vector["chunks"]) {
            assert_eq!(lengths, chunks);
        } else {
            let start = numbers(&vector["chunks_start"]).unwrap();
            assert_eq!(lengths[..start.len()], start);
            assert_eq!(Some(lengths.len() as u64), vector["chunk_count"].as_u64());
            assert_eq!(lengths.last().copied(), vector["last"].as_u64());
        }
    }
}

fn drand_of(value: &Value) -> Vec<u8> {
    drand(value[0].as_str().unwrap(), value[1].as_u64().unwrap() as usize)
}

fn build(vector: &Value) -> String {
    let none = Vec::new();
    let flags: Vec<&str> =
        vector["flags"].as_array().unwrap_or(&none).iter().map(|flag| flag.as_str().unwrap()).collect();
    let profile = vector["profile"].as_str();
    let (mut params, meta) = params(profile, &flags);
    params.raw_leaves |= profile == Some("unixfs-v1-2025");
    match vector["config"]["Import.UnixFSHAMTDirectorySizeThreshold"].as_str() {
        Some("1G") => params.hamt_threshold_bytes = 1 << 30,
        Some("1B") => params.hamt_threshold_bytes = 1,
        Some(other) => panic!("threshold {other}"),
        None => {}
    }
    if let Some(text) = vector["text"].as_str() {
        return import(&params, meta, text.as_bytes(), &Memory::default()).cid.to_string();
    }
    if vector["drand"].is_array() {
        return import(&params, meta, &drand_of(&vector["drand"]), &Memory::default()).cid.to_string();
    }
    if let Some(target) = vector["symlink"].as_str() {
        return import_symlink(&params, target.as_bytes(), meta, &Memory::default()).unwrap().cid.to_string();
    }
    if let Some(count) = vector["numbered_dir"].as_u64() {
        return directory(&params, numbered(count));
    }
    if let Some([seed, count, length, last]) = vector["names"].as_array().map(Vec::as_slice) {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let names = names(seed.as_str().unwrap(), number(count), number(length), number(last));
        return directory(&params, names.into_iter().map(|name| (name, b"x".to_vec())));
    }
    let files = vector["dir"].as_object().unwrap();
    directory(
        &params,
        files.iter().map(|(name, text)| (name.clone(), text.as_str().unwrap().as_bytes().to_vec())),
    )
}
