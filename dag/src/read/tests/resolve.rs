//! Following paths: UnixFS names, sharded directories, and the words of errors.

use super::blocks::{Blocks, Child, pb_block};
use super::{error_of, walk};
use crate::cid::{Cid, codec};
use crate::read::{Namespace, Resolved, Resolver};

fn resolver(root: Cid, path: &str) -> Resolver {
    Resolver::new(Namespace::Ipfs, root, path.split('/').filter(|part| !part.is_empty()).map(str::to_owned))
}

fn resolve(blocks: &Blocks, root: Cid, path: &str) -> Resolved {
    let mut items = walk(blocks, &mut resolver(root, path), 1 << 20).items;
    assert_eq!(items.len(), 1);
    items.remove(0)
}

fn words(blocks: &Blocks, root: Cid, path: &str) -> String {
    let error = error_of(blocks, &mut resolver(root, path));
    assert!(error.is_not_found(), "{error}");
    error.to_string()
}

#[test]
fn names_lead_through_directories_and_shards() {
    let mut blocks = Blocks::default();
    let file = blocks.leaf(b"x");
    let names = (0..500_u32).map(|number| (format!("n{number}").into_bytes(), file));
    let sharded = blocks.hamt(8, &names.collect(), 0);
    let dir = blocks.dir(&[Child::named("first", file), Child::named("sharded", sharded)]);
    let root = blocks.hamt(256, &[(b"dir".to_vec(), dir)].into(), 0);
    assert_eq!(resolve(&blocks, root, "dir/sharded/n123"), Resolved { cid: file, remainder: vec![] });
    assert_eq!(resolve(&blocks, root, "dir/sharded").cid, sharded);
    assert_eq!(resolve(&blocks, root, "").cid, root);
    assert_eq!(words(&blocks, root, "dir/sharded/nope"), format!("no link named \"nope\" under {sharded}"));
    assert_eq!(words(&blocks, root, "dir/nope/n1"), format!("no link named \"nope\" under {dir}"));
    assert_eq!(words(&blocks, root, "nope"), format!("no link named \"nope\" under {root}"));
}

#[test]
fn a_path_without_segments_needs_no_block() {
    let mut blocks = Blocks::default();
    let root = blocks.raw(b"x");
    assert_eq!(walk(&blocks, &mut resolver(root, ""), 1 << 20).asked, []);
}

#[test]
fn paths_end_at_files_links_and_raw_blocks() {
    let mut blocks = Blocks::default();
    let (file, link, raw) = (blocks.leaf(b"x"), blocks.symlink(b"file"), blocks.raw(b"x"));
    let root =
        blocks.dir(&[Child::named("file", file), Child::named("link", link), Child::named("raw", raw)]);
    assert_eq!(words(&blocks, root, "file/x"), format!("no link named \"x\" under {file}"));
    assert_eq!(words(&blocks, root, "link/x"), format!("no link named \"x\" under {link}"));
    assert_eq!(words(&blocks, root, "raw/x/y"), format!("no link named \"x\" under {raw}"));
    let kind = "func called on wrong kind: \"LookupBySegment\" called on a bytes node (kind: bytes), \
                but only makes sense on map or list";
    assert_eq!(words(&blocks, root, "raw/x"), kind);
}

#[test]
fn the_first_of_equal_names_counts() {
    let mut blocks = Blocks::default();
    let (one, two) = (blocks.raw(b"1"), blocks.raw(b"2"));
    let root = blocks.dir(&[Child::named("same", one), Child::named("same", two)]);
    assert_eq!(resolve(&blocks, root, "same").cid, one);
}

#[test]
fn dag_pb_that_is_no_unixfs_resolves_by_link_name() {
    let mut blocks = Blocks::default();
    let target = blocks.raw(b"x");
    let root = blocks.put(codec::DAG_PB, pb_block(Some(b"no unixfs"), &[Child::named("name", target)]));
    assert_eq!(resolve(&blocks, root, "name").cid, target);
}
