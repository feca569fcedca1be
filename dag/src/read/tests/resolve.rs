//! Following paths: UnixFS names, sharded directories, and the words of errors.

use super::blocks::{Blocks, Child, pb_block};
use super::{error_of, walk};
use crate::cid::{Cid, codec};
use crate::ipld::{self, Map, Value};
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

fn map(entries: Vec<(&str, Value)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Map>())
}

fn put(blocks: &mut Blocks, codec: u64, value: &Value) -> Cid {
    let block = ipld::encode(codec, value).unwrap();
    blocks.put(codec, block)
}

#[test]
fn values_are_followed_to_links_and_into_remainders() {
    for codec in [codec::DAG_CBOR, codec::DAG_JSON] {
        let mut blocks = Blocks::default();
        let file = blocks.leaf(b"x");
        let dir = blocks.dir(&[Child::named("file", file)]);
        let inner = map(vec![("x", Value::Null)]);
        let list = Value::List(vec![Value::Int(1), Value::link(dir), inner]);
        let root = put(&mut blocks, codec, &map(vec![("hello", Value::String("world".into())), ("n", list)]));
        let remainder = |path: &str| {
            let resolved = resolve(&blocks, root, path);
            assert_eq!(resolved.cid, root);
            resolved.remainder.join("/")
        };
        assert_eq!((remainder("hello").as_str(), remainder("n/2/x").as_str()), ("hello", "n/2/x"));
        assert_eq!(resolve(&blocks, root, "n/1"), Resolved { cid: dir, remainder: vec![] });
        assert_eq!(resolve(&blocks, root, "n/1/file").cid, file);
        assert_eq!(words(&blocks, root, "zzz"), "key not found: \"zzz\"");
        assert_eq!(words(&blocks, root, "n/7"), "key not found: \"7\"");
        assert_eq!(words(&blocks, root, "zzz/more"), format!("no link named \"zzz\" under {root}"));
        assert_eq!(words(&blocks, root, "hello/x/y"), format!("no link named \"x\" under {root}"));
        let kind = "func called on wrong kind: \"LookupBySegment\" called on a string node (kind: string), \
                    but only makes sense on map or list";
        assert_eq!(words(&blocks, root, "hello/x"), kind);
    }
}

#[test]
fn the_ipld_namespace_sees_dag_pb_as_it_is() {
    let mut blocks = Blocks::default();
    let file = blocks.leaf(b"x");
    let dir = blocks.dir(&[Child::named("file", file)]);
    let root = put(&mut blocks, codec::DAG_CBOR, &map(vec![("dir", Value::link(dir))]));
    let ipld = |path: &str| Resolver::new(Namespace::Ipld, root, path.split('/').map(str::to_owned));
    let found = |path: &str| walk(&blocks, &mut ipld(path), 1 << 20).items.remove(0);
    assert_eq!(found("dir/Links/0/Hash").cid, file);
    assert_eq!(
        found("dir/Links/0/Name"),
        Resolved { cid: dir, remainder: ["Links", "0", "Name"].map(str::to_owned).to_vec() }
    );
    assert_eq!(found("dir/Data").remainder, ["Data"]);
    let error = error_of(&blocks, &mut ipld("dir/file"));
    assert_eq!(error.to_string(), format!("no link named \"file\" under {dir}"));
    assert_eq!(words(&blocks, dir, "Links/0/Hash"), format!("no link named \"Links\" under {dir}"));
}
