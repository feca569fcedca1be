//! Files against a vector of bytes, and their layout against that of an import.

use proptest::prelude::*;

use super::*;
use crate::chunker::ChunkerSpec;
use crate::cid::codec;
use crate::import::{FileMeta, ImportParams, ImportPool, Layout, import_file};
use crate::read::{NodeInfo, NodeKind};
use crate::testdata::drand;
use crate::unixfs::Mtime;

const NOW: Mtime = Mtime { seconds: 1_800_000_000, nanos: None };

fn rules(chunk: usize, raw_leaves: Option<bool>) -> FileRules {
    FileRules { chunker: ChunkerSpec::size(chunk).unwrap(), raw_leaves, now: NOW }
}

fn import(memory: &Memory, params: &ImportParams, meta: FileMeta, data: &[u8]) -> Cid {
    static POOL: std::sync::LazyLock<ImportPool> = std::sync::LazyLock::new(|| ImportPool::new(2, 32 << 20));
    import_file(params, meta, &mut { data }, None, &POOL, memory, &mut |_| {}).unwrap().cid
}

fn create(memory: &Memory, builder: CidBuilder) -> Cid {
    edit(memory, |link: &Link| link.cid, |overlay| Ok(FileEdit::create(overlay, builder))).unwrap().cid
}

/// Opens, works, and keeps the result.
fn change(
    memory: &Memory,
    rules: FileRules,
    file: Cid,
    work: impl FnOnce(&mut FileEdit<'_, '_>) -> Result<(), EditError>,
) -> Cid {
    let done = edit(
        memory,
        |(link, _): &(Link, u64)| link.cid,
        |overlay| {
            let mut open = FileEdit::open(overlay, rules, file)?;
            work(&mut open)?;
            open.finish()
        },
    );
    let (link, size) = done.unwrap();
    let info = NodeInfo::of(&link.cid, &memory.block(&link.cid).unwrap().unwrap()).unwrap();
    assert_eq!((info.cumulative_bytes, info.filesize), (link.tsize, size));
    link.cid
}

fn write(memory: &Memory, rules: FileRules, file: Cid, offset: u64, mut data: &[u8]) -> Cid {
    change(memory, rules, file, |file| {
        file.write_at(offset, &mut data, &mut |blocks| {
            memory.put(blocks);
            Ok(())
        })
    })
}

#[derive(Debug, Clone)]
enum Step {
    Write(u64, Vec<u8>),
    Append(Vec<u8>),
    Truncate(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let data = || prop::collection::vec(any::<u8>(), 0..900);
    let step = prop_oneof![
        4 => (0_u64..6000, data()).prop_map(|(offset, data)| Step::Write(offset, data)),
        3 => data().prop_map(Step::Append),
        2 => (0_u64..8000).prop_map(Step::Truncate),
    ];
    prop::collection::vec(step, 1..14)
}

/// Files as other writers leave them: several layouts, leaves of both kinds, bytes in the root, metadata.
fn start() -> impl Strategy<Value = (ImportParams, Vec<u8>, FileMeta)> {
    let data = prop::collection::vec(any::<u8>(), 0..5000);
    (data, 1_usize..700, 2_usize..9, any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()).prop_map(
        |(data, chunk, links, raw_leaves, v1, trickle, meta)| {
            let params = ImportParams {
                cid: if v1 { V1 } else { V0 },
                raw_leaves,
                chunker: ChunkerSpec::size(chunk).unwrap(),
                layout: if trickle { Layout::Trickle } else { Layout::Balanced },
                file_links_max: links,
                ..ImportParams::default()
            };
            let mtime = Mtime { seconds: 1, nanos: None };
            let meta = FileMeta { mode: meta.then_some(0o600), mtime: meta.then_some(mtime) };
            (params, data, meta)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_file_follows_a_vector_of_bytes(
        (params, data, meta) in start(),
        steps in steps(),
        chunk in 1_usize..500,
        raw_leaves in any::<Option<bool>>(),
    ) {
        let memory = Memory::default();
        let (mut file, mut model) = (import(&memory, &params, meta, &data), data);
        let rules = rules(chunk, raw_leaves);
        for step in steps {
            match &step {
                Step::Write(offset, data) => {
                    file = write(&memory, rules, file, *offset, data);
                    let at = usize::try_from(*offset).unwrap();
                    model.resize(model.len().max(at), 0);
                    let end = (at + data.len()).max(model.len());
                    model.resize(end, 0);
                    model[at..at + data.len()].copy_from_slice(data);
                }
                Step::Append(data) => {
                    file = write(&memory, rules, file, model.len() as u64, data);
                    model.extend_from_slice(data);
                }
                Step::Truncate(size) => {
                    file = change(&memory, rules, file, |file| file.truncate(*size));
                    model.resize(usize::try_from(*size).unwrap(), 0);
                }
            }
            prop_assert_eq!(memory.read(&file), &model[..], "after {:?}", step);
        }
    }

    /// However often and wherever the input is interrupted: leaf after leaf gives the layout of an import.
    #[test]
    fn appending_leaf_by_leaf_gives_the_trickle_layout(leaves in 1_usize..3000, cuts in prop::collection::vec(1_usize..400, 1..6), raw in any::<bool>()) {
        // A file that was one raw leaf is of CIDv1, and stays so when it grows.
        prop_assume!(!raw || leaves == 1 || cuts[0] > 1);
        let memory = Memory::default();
        let data: Vec<u8> = (0..leaves * 2).map(|at| (at % 251) as u8).collect();
        let params = ImportParams {
            raw_leaves: raw,
            chunker: ChunkerSpec::size(2).unwrap(),
            layout: Layout::Trickle,
            file_links_max: LINKS_MAX,
            ..ImportParams::default()
        };
        // One raw leaf alone is the file itself, and stays below the next ones.
        let expected = import(&memory, &params, FileMeta::default(), &data);
        let mut file = create(&memory, V0);
        let (mut rest, mut cuts) = (&data[..], cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((cuts.next().unwrap() * 2).min(rest.len()));
            file = write(&memory, rules(2, Some(raw)), file, (data.len() - rest.len()) as u64, now);
            rest = later;
        }
        if leaves > 1 || !raw {
            prop_assert_eq!(file, expected);
        } else {
            prop_assert_eq!(file.codec(), codec::RAW);
        }
    }
}

/// The recorded story of Kubo: create, overwrite, truncate, write again. The cut leaf stays, with no bytes left.
#[test]
fn kubos_cids_of_a_small_file() {
    let memory = Memory::default();
    let rules = rules(256 << 10, None);
    let file = create(&memory, V0);
    let file = write(&memory, rules, file, 0, b"content");
    let file = write(&memory, rules, file, 3, b"XX");
    assert_eq!(memory.read(&file), b"conXXnt");
    let file = change(&memory, rules, file, |file| {
        file.truncate(0)?;
        file.write_at(0, &mut b"new".as_slice(), &mut |_| Ok(()))
    });
    assert_eq!(file.to_string(), "QmVvAVrvchFbjWeMrXjosCwTJ23npyNBn8VeRFydCPqaLJ");
}

#[test]
fn one_raw_leaf_is_the_file_itself() {
    let memory = Memory::default();
    let file = write(&memory, rules(100, None), create(&memory, V1), 0, b"hello");
    assert_eq!(file, V1.cid_of(codec::RAW, &[b"hello"]));
    let longer = write(&memory, rules(100, None), file, 5, b" world");
    let info = NodeInfo::of(&longer, &memory.block(&longer).unwrap().unwrap()).unwrap();
    assert_eq!((info.kind, info.links, longer.version()), (NodeKind::File, 2, Version::V1));
    let shorter = change(&memory, rules(100, None), longer, |file| file.truncate(2));
    assert_eq!(shorter, V1.cid_of(codec::RAW, &[b"he"]));
}

#[test]
fn content_moves_the_modification_time_and_nothing_else_does() {
    let memory = Memory::default();
    let old = Mtime { seconds: 7, nanos: Some(3) };
    let meta = FileMeta { mode: Some(0o640), mtime: Some(old) };
    let file = import(&memory, &ImportParams::default(), meta, &drand("meta", 3000));
    let untouched = write(&memory, rules(100, None), file, 10, b"");
    assert_eq!(untouched, file);
    for changed in [
        write(&memory, rules(100, None), file, 10, b"x"),
        write(&memory, rules(100, None), file, 3000, b"x"),
        change(&memory, rules(100, None), file, |file| file.truncate(5)),
    ] {
        let info = NodeInfo::of(&changed, &memory.block(&changed).unwrap().unwrap()).unwrap();
        assert_eq!((info.mode, info.mtime), (Some(0o640), Some(NOW)));
    }
}

/// Written one by one, the leaves of this gap would take years.
#[test]
fn a_gap_of_exabytes_costs_a_few_blocks() {
    let memory = Memory::default();
    let far = 1_u64 << 62;
    let file = write(&memory, rules(256 << 10, None), create(&memory, V1), far, b"end");
    let info = NodeInfo::of(&file, &memory.block(&file).unwrap().unwrap()).unwrap();
    assert_eq!(info.filesize, far + 3);
    assert!(memory.len() < 500, "{} blocks", memory.len());
    let refused = edit(
        &memory,
        |(link, _): &(Link, u64)| link.cid,
        |overlay| {
            let mut open = FileEdit::open(overlay, rules(9, None), file)?;
            open.truncate(u64::MAX)?;
            open.finish()
        },
    );
    assert!(matches!(refused, Err(EditError::TooLarge)));
}

/// The shortcut for gaps gives what leaf after leaf would give.
#[test]
fn a_gap_has_the_layout_of_an_import_of_zeros() {
    let memory = Memory::default();
    for leaves in [1, 173, 174, 175, 348, 349, 870, 871, 3000, 7001] {
        let size = leaves * 4096 + 5;
        let params = ImportParams {
            chunker: ChunkerSpec::size(4096).unwrap(),
            layout: Layout::Trickle,
            ..ImportParams::default()
        };
        let expected =
            import(&memory, &params, FileMeta::default(), &vec![0; usize::try_from(size).unwrap()]);
        let file = change(&memory, rules(9, None), create(&memory, V0), |file| file.truncate(size));
        assert_eq!(file, expected, "{leaves}");
    }
}

/// A stream of any length goes through a bounded overlay.
#[test]
fn new_blocks_are_handed_out_while_the_input_runs() {
    let memory = Memory::default();
    let file = create(&memory, V0);
    let data = drand("stream", 30 << 20);
    let mut largest = 0;
    let mut overlay = Overlay::new(&memory);
    let mut open = FileEdit::open(&mut overlay, rules(256 << 10, None), file).unwrap();
    open.write_at(0, &mut &data[..], &mut |blocks| {
        largest = largest.max(blocks.iter().map(|block| block.data.len()).sum());
        memory.put(blocks);
        Ok(())
    })
    .unwrap();
    let (link, size) = open.finish().unwrap();
    memory.put(overlay.finish(&link.cid));
    assert_eq!(size, data.len() as u64);
    assert!(largest < 6 << 20, "{largest}");
    assert_eq!(memory.read(&link.cid), data);
    // Overwriting streams too.
    let mut overlay = Overlay::new(&memory);
    let mut open = FileEdit::open(&mut overlay, rules(256 << 10, None), link.cid).unwrap();
    let mut handed = 0;
    open.write_at(1, &mut &data[..data.len() - 1], &mut |blocks| {
        handed += 1;
        memory.put(blocks);
        Ok(())
    })
    .unwrap();
    let (link, _) = open.finish().unwrap();
    memory.put(overlay.finish(&link.cid));
    assert!(handed > 4);
    assert_eq!(memory.read(&link.cid)[1..], data[..data.len() - 1]);
}

#[test]
fn a_missing_leaf_is_named_and_nothing_is_lost() {
    let memory = Memory::default();
    let data = drand("missing", 4000);
    let params = ImportParams { chunker: ChunkerSpec::size(100).unwrap(), ..ImportParams::default() };
    let file = import(&memory, &params, FileMeta::default(), &data);
    let block = memory.block(&file).unwrap().unwrap();
    let leaf = crate::pb::decode(&block).unwrap().links[7].cid;
    let lost = memory.forget(&leaf);
    let attempt = || {
        edit(
            &memory,
            |(link, _): &(Link, u64)| link.cid,
            |overlay| {
                let mut open = FileEdit::open(overlay, rules(9, None), file)?;
                open.write_at(750, &mut b"xyz".as_slice(), &mut |_| Ok(()))?;
                open.finish()
            },
        )
    };
    match attempt() {
        Err(EditError::Missing { cid }) => assert_eq!(*cid, leaf),
        other => panic!("{other:?}"),
    }
    memory.remember(&leaf, lost);
    let (link, _) = attempt().unwrap();
    assert_eq!(memory.read(&link.cid)[750..753], *b"xyz");
}

#[test]
fn what_is_no_file_is_refused() {
    let memory = Memory::default();
    let mut overlay = Overlay::new(&memory);
    let dir = dir::empty(&mut overlay, V0).unwrap().cid;
    assert!(matches!(FileEdit::open(&mut overlay, rules(9, None), dir), Err(EditError::NotAFile { .. })));
    let link = crate::import::import_symlink(&ImportParams::default(), b"x", FileMeta::default(), &memory);
    assert!(matches!(
        FileEdit::open(&mut overlay, rules(9, None), link.unwrap().cid),
        Err(EditError::Symlink { .. })
    ));
}
