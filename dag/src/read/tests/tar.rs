//! Archives, read back by a program that is not ours.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use super::blocks::{Blocks, Child};
use super::{error_of, joined, walk, walk_until};
use crate::cid::Cid;
use crate::read::{ReadError, TarOptions, TarReader};
use crate::unixfs::{Mtime, NodeType, UnixFs};

/// What the independent reader finds in an archive: path -> (type, mode, mtime, link target, content).
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    kind: u8,
    mode: u32,
    mtime: u64,
    link: Option<PathBuf>,
    content: Vec<u8>,
}

fn archive(blocks: &Blocks, root: Cid) -> Vec<u8> {
    joined(&walk(blocks, &mut TarReader::new(root, "root", TarOptions::default()), 1 << 20).items)
}

fn unpack(bytes: &[u8]) -> Vec<(String, Entry)> {
    assert_eq!(bytes.len() % 512, 0);
    assert_eq!(bytes[bytes.len() - 1024..], [0; 1024]);
    let mut archive = tar::Archive::new(bytes);
    archive
        .entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let header = entry.header();
            let (kind, mode, mtime) =
                (header.entry_type().as_byte(), header.mode().unwrap(), header.mtime().unwrap());
            let link = entry.link_name().unwrap().map(std::borrow::Cow::into_owned);
            (path, Entry { kind, mode, mtime, link, content })
        })
        .collect()
}

fn names(entries: &[(String, Entry)]) -> Vec<&str> {
    entries.iter().map(|(name, _)| name.as_str()).collect()
}

fn refusal(blocks: &mut Blocks, name: &[u8], depth: usize) -> Option<ReadError> {
    let file = blocks.raw(b"x");
    let bottom = blocks.dir(&[Child::named(name, file)]);
    let root = (0..depth).fold(bottom, |cid, _| blocks.dir(&[Child::named("d", cid)]));
    let mut reader = TarReader::new(root, "root", TarOptions::default());
    walk_until(blocks, &mut reader, 1 << 20, |_| false).1
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let mut blocks = Blocks::default();
    let parts: Vec<Child> = (0..5_u8).map(|byte| Child::part(blocks.raw(&[byte; 300]), 300)).collect();
    let big = blocks.inner(&[], &parts);
    let (small, empty, link) = (blocks.leaf(b"small"), blocks.leaf(b""), blocks.symlink(b"../small"));
    let exact = blocks.raw(&[9; 512]);
    let many = (0..300_u32).map(|number| (format!("n{number}").into_bytes(), small));
    let sharded = blocks.hamt(16, &many.collect(), 0);
    let sub = blocks.dir(&[Child::named("link", link), Child::named("empty", empty)]);
    let root = blocks.dir(&[
        Child::named("big", big),
        Child::named("exact", exact),
        Child::named("sharded", sharded),
        Child::named("sub", sub),
    ]);
    let entries = unpack(&archive(&blocks, root));
    assert_eq!(entries.len(), 7 + 300);
    assert_eq!(names(&entries)[..4], ["root", "root/big", "root/exact", "root/sharded"]);
    assert_eq!(names(&entries)[304..], ["root/sub", "root/sub/link", "root/sub/empty"]);
    let by_name: BTreeMap<String, Entry> = entries.into_iter().collect();
    let big = (0..5_u8).flat_map(|byte| [byte; 300]).collect::<Vec<_>>();
    let entry = |kind, mode, link: Option<&str>, content: &[u8]| Entry {
        kind,
        mode,
        mtime: 0,
        link: link.map(PathBuf::from),
        content: content.to_vec(),
    };
    assert_eq!(by_name["root"], entry(b'5', 0o755, None, b""));
    assert_eq!(by_name["root/big"], entry(b'0', 0o644, None, &big));
    assert_eq!(by_name["root/exact"].content, [9; 512]);
    assert_eq!(by_name["root/sharded/n299"].content, b"small");
    assert_eq!(by_name["root/sub/link"], entry(b'2', 0o777, Some("../small"), b""));
}

#[test]
fn single_files_and_links_are_archives_too() {
    let mut blocks = Blocks::default();
    let (file, raw, link) = (blocks.leaf(b"file"), blocks.raw(b"raw"), blocks.symlink(b"target"));
    let content = |root| unpack(&archive(&blocks, root)).remove(0).1.content;
    assert_eq!((content(file), content(raw)), (b"file".to_vec(), b"raw".to_vec()));
    assert_eq!(unpack(&archive(&blocks, link))[0].1.link, Some(PathBuf::from("target")));
}

#[test]
fn modes_times_and_long_names_survive() {
    let mut blocks = Blocks::default();
    let mtime = Some(Mtime { seconds: 1_700_000_000, nanos: Some(250_000_000) });
    let fs = UnixFs { data: Some(b"x"), mode: Some(0o10_4751), mtime, ..UnixFs::new(NodeType::File) };
    let file = blocks.pb(&fs, &[]);
    let long = "n".repeat(180);
    let names_of = [long.as_str(), "\u{105}\u{119}", "4096", "plain"];
    let longest = "p".repeat(4096);
    let children: Vec<Child> = names_of
        .iter()
        .map(|name| Child::named(if *name == "4096" { longest.as_str() } else { name }, file))
        .collect();
    let root = blocks.dir(&children);
    let bytes = archive(&blocks, root);
    let entries = unpack(&bytes);
    let expected = [
        "root".to_owned(),
        format!("root/{long}"),
        "root/\u{105}\u{119}".to_owned(),
        format!("root/{longest}"),
        "root/plain".to_owned(),
    ];
    assert_eq!(names(&entries), expected);
    assert!(entries[1..].iter().all(|(_, entry)| (entry.mode, entry.mtime) == (0o4751, 1_700_000_000)));
    let text = String::from_utf8_lossy(&bytes);
    assert_eq!(text.matches("mtime=1700000000.25\n").count(), 4, "fractions are in PAX records");
}

#[test]
fn names_that_lead_outside_are_refused() {
    let mut blocks = Blocks::default();
    let bad: [&[u8]; 12] = [
        b"",
        b".",
        b"..",
        b"/",
        b"a/b",
        b"/etc/passwd",
        b"a\0b",
        b"../..",
        b"../x",
        b"../../x",
        b"./x",
        b"x/",
    ];
    for name in bad {
        let error = refusal(&mut blocks, name, 0);
        assert!(matches!(error, Some(ReadError::UnsafeName { .. })), "{name:?}: {error:?}");
    }
    // As far as it stays below the root entry, a name may climb; Kubo allows it.
    assert_eq!(refusal(&mut blocks, b"../x", 1), None);
    assert_eq!(refusal(&mut blocks, b"../../x", 2), None);
    for (name, depth) in [(&b"../../x"[..], 1), (b"../..", 2), (b"..", 2), (b"../a/b", 2), (b"../../../x", 2)]
    {
        let error = refusal(&mut blocks, name, depth);
        assert!(matches!(error, Some(ReadError::UnsafeName { .. })), "{name:?} {depth}: {error:?}");
    }
    let file = blocks.raw(b"x");
    for root_name in ["", "..", "a/b", "../x"] {
        let error = error_of(&blocks, &mut TarReader::new(file, root_name, TarOptions::default()));
        assert!(matches!(error, ReadError::UnsafeName { .. }), "{error}");
    }
    // Harmless where archives are unpacked on Unix, and no business of ours.
    for name in [&b"a\\b"[..], b"C:", b"\x1b[31m", b"..x", b"...", b"a b"] {
        assert_eq!(refusal(&mut blocks, name, 0), None);
    }
}

#[test]
fn an_archive_that_unfolds_without_end_streams_in_little_memory() {
    let mut blocks = Blocks::default();
    let root = (0..40)
        .fold(blocks.leaf(b"x"), |cid, _| blocks.dir(&[Child::named("a", cid), Child::named("b", cid)]));
    let mut reader = TarReader::new(root, "root", TarOptions::default());
    let (start, error) = walk_until(&blocks, &mut reader, 1 << 20, |items| items.len() >= 50_000);
    assert_eq!((start.items.len(), error), (50_000, None));
}

#[test]
fn nesting_and_paths_are_limited() {
    let mut blocks = Blocks::default();
    let deep = (0..1100).fold(blocks.leaf(b"x"), |cid, _| blocks.dir(&[Child::named("d", cid)]));
    let error = error_of(&blocks, &mut TarReader::new(deep, "root", TarOptions::default()));
    assert!(matches!(error, ReadError::TooDeep { limit: 1024, .. }), "{error}");
    let error = refusal(&mut blocks, &vec![b'n'; 70_000], 0);
    assert!(matches!(error, Some(ReadError::TooDeep { limit: 65_536, .. })), "{error:?}");
}

#[test]
fn a_file_that_lies_ends_the_archive_with_an_error() {
    let mut blocks = Blocks::default();
    let leaf = blocks.raw(b"four");
    let lie = blocks.inner(&[], &[Child::part(leaf, 5)]);
    let root = blocks.dir(&[Child::named("lie", lie)]);
    let error = error_of(&blocks, &mut TarReader::new(root, "root", TarOptions::default()));
    assert!(matches!(error, ReadError::Inconsistent { .. }), "{error}");
    let nul = blocks.symlink(b"a\0b");
    let error = error_of(&blocks, &mut TarReader::new(nul, "root", TarOptions::default()));
    assert!(matches!(error, ReadError::Inconsistent { .. }), "{error}");
}
