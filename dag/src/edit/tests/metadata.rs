//! Mode, modification time and kind of CID.

use super::meta::Field;
use super::*;
use crate::cid::codec;
use crate::read::{NodeInfo, NodeKind};
use crate::testdata::drand;
use crate::unixfs::Mtime;

const TIME: Mtime = Mtime { seconds: 1_700_000_000, nanos: None };

fn info(overlay: &Overlay<'_>, cid: &Cid) -> NodeInfo {
    NodeInfo::of(cid, &overlay.get(cid).unwrap()).unwrap()
}

#[test]
fn metadata_is_set_and_cleared_and_the_cid_comes_back() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory);
    let dir = dir::empty(&mut overlay, V1).unwrap();
    let with = meta::set(&mut overlay, &dir.cid, Field::Set(0o100_755), Field::Set(TIME)).unwrap();
    let seen = info(&overlay, &with.cid);
    assert_eq!((seen.mode, seen.mtime, seen.kind), (Some(0o755), Some(TIME), NodeKind::Directory));
    assert_eq!(seen.cumulative_bytes, with.tsize);
    assert_eq!(with.cid.version(), Version::V1);
    let touched = meta::set(&mut overlay, &with.cid, Field::Set(0), Field::Keep).unwrap();
    assert_eq!((info(&overlay, &touched.cid).mode, info(&overlay, &touched.cid).mtime), (None, Some(TIME)));
    let without = meta::set(&mut overlay, &with.cid, Field::Clear, Field::Clear).unwrap();
    assert_eq!(without, dir);
}

/// As Kubo: the bytes move into a dag-pb node, which is named by CIDv0.
#[test]
fn a_raw_file_becomes_a_node_when_it_gets_metadata() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory);
    let raw = overlay.add(V1, codec::RAW, b"hello".to_vec());
    let node = meta::set(&mut overlay, &raw, Field::Set(0o644), Field::Keep).unwrap();
    let seen = info(&overlay, &node.cid);
    assert_eq!((seen.kind, seen.filesize, seen.links, seen.mode), (NodeKind::File, 5, 0, Some(0o644)));
    assert_eq!(node.cid.version(), Version::V0);
    // The largest block has no room for a frame around it.
    let large = overlay.add(V1, codec::RAW, drand("large", crate::block::BLOCK_BYTES_MAX));
    let node = meta::set(&mut overlay, &large, Field::Keep, Field::Set(TIME)).unwrap();
    let seen = info(&overlay, &node.cid);
    assert_eq!((seen.links, seen.filesize), (1, crate::block::BLOCK_BYTES_MAX as u64));
    assert!(seen.block_bytes < 200);
}

#[test]
fn another_kind_of_cid_names_the_same_block() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory);
    let dir = dir::empty(&mut overlay, V0).unwrap();
    let v1 = meta::rename_cid(&mut overlay, &dir.cid, V1).unwrap();
    assert_eq!((v1.cid.hash(), v1.tsize), (dir.cid.hash(), dir.tsize));
    let blake = CidBuilder { version: Version::V1, hash: HashKind::Blake3 };
    let blake = meta::rename_cid(&mut overlay, &dir.cid, blake).unwrap();
    assert_eq!(overlay.get(&blake.cid).unwrap(), overlay.get(&dir.cid).unwrap());
    assert_eq!(meta::rename_cid(&mut overlay, &blake.cid, V0).unwrap(), dir);
}
