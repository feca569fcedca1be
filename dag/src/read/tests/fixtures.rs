//! The public gateway fixtures: DAGs that others made.

use super::blocks::Blocks;
use super::{error_of, joined, walk};
use crate::cid::{Cid, parse_cid};
use crate::hash;
use crate::read::{DagWalk, DirReader, FileReader, Namespace, Resolver, TarOptions, TarReader};
use crate::testdata::recorded_bytes;

/// The blocks of a CARv1 file, each checked against its hash, and how many they are.
fn load(name: &str) -> Option<(Blocks, Vec<Cid>)> {
    let bytes = recorded_bytes(&format!("gateway-fixtures/{name}"))?;
    let (header_len, rest) = unsigned_varint::decode::usize(&bytes).unwrap();
    let mut rest = &rest[header_len..];
    let (mut blocks, mut order) = (Blocks::default(), Vec::new());
    while !rest.is_empty() {
        let (len, behind) = unsigned_varint::decode::usize(rest).unwrap();
        let (section, next) = behind.split_at(len);
        let mut block = section;
        let cid = Cid::read_bytes(&mut block).unwrap();
        hash::verify(&cid, &[block]).unwrap();
        blocks.by_cid.insert(cid, block.to_vec().into());
        order.push(cid);
        rest = next;
    }
    Some((blocks, order))
}

fn resolve(blocks: &Blocks, root: Cid, path: &str) -> Cid {
    let mut resolver = Resolver::new(Namespace::Ipfs, root, path.split('/').map(str::to_owned));
    walk(blocks, &mut resolver, 1 << 20).items.remove(0).cid
}

fn read(blocks: &Blocks, cid: Cid) -> Vec<u8> {
    joined(&walk(blocks, &mut FileReader::new(cid, 0, None), 1 << 20).items)
}

fn list(blocks: &Blocks, cid: Cid) -> Vec<(String, Cid)> {
    let entries = walk(blocks, &mut DirReader::new(cid), 1 << 20).items;
    entries.into_iter().map(|entry| (String::from_utf8(entry.name).unwrap(), entry.cid)).collect()
}

#[test]
fn a_sharded_directory_of_a_thousand_files() {
    let Some((blocks, order)) = load("extra/headers-test.car") else { return };
    let hamt = resolve(&blocks, order[0], "hamt");
    let listed = list(&blocks, hamt);
    let mut numbers: Vec<u32> =
        listed.iter().map(|(name, _)| name.strip_suffix(".txt").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=1000).collect::<Vec<_>>());
    for (name, cid) in listed {
        assert_eq!(resolve(&blocks, hamt, &name), cid);
    }
    let text = read(&blocks, resolve(&blocks, order[0], "hamt/470.txt"));
    assert!(text.len() == 1026 && text.starts_with(b"Lorem ipsum dolor sit amet"));
}

#[test]
fn a_sharded_directory_with_colliding_names() {
    let Some((blocks, order)) = load("extra/directory-with-multilayer-hamt-and-multiblock-files.car") else {
        return;
    };
    let hamt = resolve(&blocks, order[0], "hamtDir");
    let names: Vec<String> = list(&blocks, hamt).into_iter().map(|(name, _)| name).collect();
    let expected = [
        "exampleB",
        "exampleD-hamt-collide-exampleB-seed-364",
        "exampleC-hamt-collide-exampleA-seed-52",
        "exampleA",
    ];
    assert_eq!(names, expected);
    for name in ["exampleA", "exampleB"] {
        let (basic, sharded) = (format!("basicDir/{name}"), format!("hamtDir/{name}"));
        assert_eq!(resolve(&blocks, order[0], &basic), resolve(&blocks, order[0], &sharded));
    }
    assert_eq!(read(&blocks, resolve(&blocks, order[0], "basicDir/exampleB")).len(), 887);
    let given = walk(&blocks, &mut DagWalk::new([order[0]]), 1 << 20).items;
    assert_eq!(given.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), order, "the order of the CAR");
}

#[test]
fn whole_dags_come_in_the_order_of_their_cars() {
    let cars = [
        "dir_listing/fixtures.car",
        "extra/TestDagStat.car",
        "path_gateway_dag/dag-cbor-traversal.car",
        "path_gateway_dag/dag-json-traversal.car",
        "path_gateway_dag/dag-pb.car",
        "path_gateway_unixfs/dir-with-files.car",
        "path_gateway_unixfs/symlink.car",
        "trustless_gateway_car/subdir-with-mixed-block-files.car",
        "trustless_gateway_car/subdir-with-two-single-block-files.car",
    ];
    for car in cars {
        let Some((blocks, order)) = load(car) else { return };
        let given = walk(&blocks, &mut DagWalk::new([order[0]]), 1 << 20).items;
        assert_eq!(given.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), order, "{car}");
    }
}

#[test]
fn a_range_is_served_though_a_block_outside_it_is_missing() {
    let Some((blocks, order)) = load("trustless_gateway_car/file-3k-and-3-blocks-missing-block.car") else {
        return;
    };
    let range = |offset, length| {
        joined(&walk(&blocks, &mut FileReader::new(order[0], offset, Some(length)), 1 << 20).items)
    };
    assert_eq!((range(0, 1024).len(), range(2048, 1024).len()), (1024, 1024));
}

#[test]
fn paths_through_values_end_where_the_fixtures_say() {
    for car in ["path_gateway_dag/dag-cbor-traversal.car", "path_gateway_dag/dag-json-traversal.car"] {
        let Some((blocks, order)) = load(car) else { return };
        let path = ["foo", "link", "bar", "hello"].map(str::to_owned);
        let mut resolver = Resolver::new(Namespace::Ipfs, order[0], path);
        let resolved = walk(&blocks, &mut resolver, 1 << 20).items.remove(0);
        assert_eq!((resolved.cid, resolved.remainder), (order[2], vec!["hello".to_owned()]));
    }
}

#[test]
fn a_link_in_cidv0_shows_its_target() {
    let Some((blocks, order)) = load("path_gateway_unixfs/symlink.car") else { return };
    assert_eq!(read(&blocks, resolve(&blocks, order[0], "bar")), b"foo");
}

#[test]
fn an_archive_may_climb_inside_its_root_but_not_out_of_it() {
    let Some((blocks, order)) = load("path_gateway_tar/inside-root.car") else { return };
    let root = parse_cid("bafybeibfevfxlvxp5vxobr5oapczpf7resxnleb7tkqmdorc4gl5cdva3y").unwrap();
    assert_eq!(order[0], root);
    let tar = |cid| TarReader::new(cid, "root", TarOptions::default());
    let bytes = joined(&walk(&blocks, &mut tar(root), 1 << 20).items);
    let mut archive = tar::Archive::new(bytes.as_slice());
    let names: Vec<String> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    assert_eq!(names, ["root", "root/foobar", "root/foobar/directory", "root/foobar/file"]);
    // Taken as the root itself, the directory that climbs leads outside.
    let error = error_of(&blocks, &mut tar(resolve(&blocks, root, "foobar/directory"))).to_string();
    assert!(error.contains("UnixFS paths outside the root are not allowed, use CAR instead"), "{error}");
}
