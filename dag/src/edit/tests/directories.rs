//! A directory after any edits is the directory that would have been built at once from the same entries.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::cid::codec;
use crate::import::{DirectoryBuilder, FileMeta, ImportParams, SizeEstimation};
use crate::unixfs::{Mtime, NodeType, UnixFs};

type Entries = BTreeMap<Vec<u8>, Link>;

fn link(number: u64, v1: bool) -> Link {
    let builder = if v1 { V1 } else { V0 };
    Link { cid: builder.cid_of(codec::DAG_PB, &[&number.to_be_bytes()]), tsize: number * 37 % 5000 }
}

fn built(params: &ImportParams, meta: FileMeta, entries: &Entries) -> Cid {
    let mut builder = DirectoryBuilder::new(params, meta);
    for (name, link) in entries {
        builder.add(name, &link.cid, link.tsize);
    }
    builder.finish(&Memory::default()).unwrap().cid
}

fn kind(memory: &Memory, cid: &Cid) -> NodeType {
    let block = memory.block(cid).unwrap().unwrap();
    UnixFs::decode(crate::pb::decode(&block).unwrap().data.unwrap()).unwrap().kind
}

#[derive(Debug, Clone)]
enum Step {
    Set(u16, u64, bool),
    Remove(u16),
    Rename(u16, u16),
}

/// Many names, so that the threshold is crossed in both directions; some of them long, so that sizes differ.
fn name(number: u16) -> Vec<u8> {
    let long = if number.is_multiple_of(7) { "x".repeat(usize::from(number % 60)) } else { String::new() };
    format!("{number}-{long}").into_bytes()
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = 0_u16..90;
    let step = prop_oneof![
        5 => (name.clone(), any::<u64>(), any::<bool>()).prop_map(|(at, to, v1)| Step::Set(at, to >> 1, v1)),
        4 => name.clone().prop_map(Step::Remove),
        1 => (name.clone(), name).prop_map(|(from, to)| Step::Rename(from, to)),
    ];
    prop::collection::vec(step, 1..160)
}

fn rules() -> impl Strategy<Value = ImportParams> {
    let estimation =
        prop_oneof![Just(SizeEstimation::Links), Just(SizeEstimation::Block), Just(SizeEstimation::Disabled)];
    let fanout = prop_oneof![Just(8_u16), Just(16), Just(256)];
    (estimation, fanout, 300_u64..3000, prop_oneof![Just(0_usize), 1_usize..40], any::<bool>()).prop_map(
        |(hamt_estimation, hamt_fanout, hamt_threshold_bytes, directory_links_max, v1)| ImportParams {
            hamt_estimation,
            hamt_fanout,
            hamt_threshold_bytes,
            directory_links_max,
            cid: if v1 { V1 } else { V0 },
            ..ImportParams::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn edited_equals_built_at_once(params in rules(), steps in steps(), with_meta in any::<bool>()) {
        let memory = Memory::default();
        let meta = if with_meta {
            FileMeta { mode: Some(0o755), mtime: Some(Mtime { seconds: 1_700_000_000, nanos: Some(5) }) }
        } else {
            FileMeta::default()
        };
        let mut entries = Entries::new();
        let mut dir = DirectoryBuilder::new(&params, meta).finish(&memory).unwrap().cid;
        for step in steps {
            let edited = edit(&memory, |edited: &Option<Link>| edited.map_or(dir, |link| link.cid), |overlay| match &step {
                Step::Set(at, to, v1) => {
                    dir::set(overlay, &params, &dir, None, &name(*at), link(*to, *v1)).map(Some)
                }
                Step::Remove(at) => dir::remove(overlay, &params, &dir, None, &name(*at)),
                Step::Rename(from, to) => dir::rename(overlay, &params, &dir, &name(*from), &name(*to)),
            }).unwrap();
            let there = match &step {
                Step::Set(at, to, v1) => { entries.insert(name(*at), link(*to, *v1)); true }
                Step::Remove(at) => entries.remove(&name(*at)).is_some(),
                Step::Rename(from, to) => entries.remove(&name(*from)).map(|link| entries.insert(name(*to), link)).is_some(),
            };
            prop_assert_eq!(edited.is_some(), there);
            dir = edited.map_or(dir, |link| link.cid);
            prop_assert_eq!(dir, built(&params, meta, &entries), "after {:?}", step);
        }
        let overlay = Overlay::new(&memory);
        for at in 0..90 {
            prop_assert_eq!(dir::lookup(&overlay, &dir, &name(at)).unwrap(), entries.get(&name(at)).copied());
        }
    }
}

#[test]
fn a_directory_is_sharded_one_byte_above_the_threshold_and_goes_back_at_it() {
    // CIDv0 has 34 bytes: ten entries of two-byte names count for 360.
    let params = ImportParams { hamt_threshold_bytes: 360, ..ImportParams::default() };
    let memory = Memory::default();
    let mut dir = edit(&memory, |link: &Link| link.cid, |overlay| dir::empty(overlay, V0)).unwrap().cid;
    let set = |dir: Cid, name: &str| {
        let work = |overlay: &mut Overlay<'_>| {
            dir::set(overlay, &params, &dir, None, name.as_bytes(), link(1, false))
        };
        edit(&memory, |link: &Link| link.cid, work).unwrap().cid
    };
    for number in 10..20 {
        dir = set(dir, &number.to_string());
    }
    assert_eq!(kind(&memory, &dir), NodeType::Directory);
    let sharded = set(dir, "x");
    assert_eq!(kind(&memory, &sharded), NodeType::HamtShard);
    let work = |overlay: &mut Overlay<'_>| dir::remove(overlay, &params, &sharded, None, b"x");
    let back = edit(&memory, |link: &Option<Link>| link.unwrap().cid, work).unwrap().unwrap();
    assert_eq!(back.cid, dir);
}

#[test]
fn a_missing_shard_is_named_and_the_same_edit_works_once_it_is_there() {
    let params = ImportParams { hamt_fanout: 8, hamt_threshold_bytes: 1000, ..ImportParams::default() };
    let memory = Memory::default();
    let entries: Entries = (0..300).map(|number| (name(number), link(number.into(), false))).collect();
    let mut builder = DirectoryBuilder::new(&params, FileMeta::default());
    for (name, link) in &entries {
        builder.add(name, &link.cid, link.tsize);
    }
    let root = builder.finish(&memory).unwrap().cid;
    // What is stored are shards only: all but the root get lost, and come back when they are asked for.
    let shards: Vec<Cid> = {
        let block = memory.block(&root).unwrap().unwrap();
        crate::pb::decode(&block).unwrap().links.iter().map(|link| link.cid).collect()
    };
    let lost: HashMap<Cid, Bytes> = shards.iter().map(|cid| (*cid, memory.forget(cid))).collect();
    let mut asked = 0;
    let edited = loop {
        let work =
            |overlay: &mut Overlay<'_>| dir::set(overlay, &params, &root, None, b"new", link(9, false));
        match edit(&memory, |link: &Link| link.cid, work) {
            Ok(edited) => break edited,
            Err(EditError::Missing { cid }) => {
                asked += 1;
                memory.remember(&cid, lost[&cid].clone());
            }
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(asked, 1, "only the shards on the way are needed");
    let mut entries = entries;
    entries.insert(b"new".to_vec(), link(9, false));
    assert_eq!(edited.cid, built(&params, FileMeta::default(), &entries));
}

#[test]
fn an_entry_without_a_name_and_a_file_as_directory_are_refused() {
    let memory = Memory::default();
    let params = ImportParams::default();
    let mut overlay = Overlay::new(&memory);
    let empty = dir::empty(&mut overlay, V0).unwrap();
    let refused = dir::set(&mut overlay, &params, &empty.cid, None, b"", empty);
    assert!(matches!(refused, Err(EditError::EmptyName)));
    let file = FileEdit::create(&mut overlay, V0);
    let refused = dir::set(&mut overlay, &params, &file.cid, None, b"a", empty);
    assert!(matches!(refused, Err(EditError::NotADirectory { .. })));
    assert!(matches!(
        dir::lookup(&overlay, &V1.cid_of(codec::RAW, &[b"x"]), b"a"),
        Err(EditError::NotADirectory { .. })
    ));
}

#[test]
fn a_directory_that_outgrows_its_identity_cid_is_hashed() {
    let memory = Memory::default();
    let params = ImportParams::default();
    let identity = CidBuilder { version: Version::V1, hash: HashKind::Identity };
    let mut overlay = Overlay::new(&memory);
    let mut dir = dir::empty(&mut overlay, identity).unwrap().cid;
    assert!(crate::cid::identity_data(&dir).is_some());
    for number in 0..4 {
        dir = dir::set(&mut overlay, &params, &dir, None, &name(number), link(1, false)).unwrap().cid;
    }
    assert_eq!(dir.hash().code(), HashKind::Sha2_256.code());
}
