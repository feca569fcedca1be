//! Whole DAGs: every block once, in the order of first sight, and refs as Kubo lists them.

use super::blocks::{Blocks, Child, identity, pb_block};
use super::{error_of, walk};
use crate::cid::{Cid, codec};
use crate::ipld::{self, Value};
use crate::read::{DagWalk, FileReader, Refs, RefsOptions};
use crate::walk::{Step, Walker as _};

/// The directory of the recorded answers, whose CID current Kubo gives.
const ROOT: &str = "QmXWgNTNVyCmSoZxjaP6Z6TvuG53GLM7Zmzm6UvvuhYKyL";

fn recorded_dir(blocks: &mut Blocks) -> Cid {
    blocks.v0 = true;
    let deep_bytes: Vec<u8> = (0..20).flat_map(|_| 0..=255_u8).chain(*b"holdfast").collect();
    let sized = |name: &str, cid: Cid, below: u64, blocks: &Blocks| Child {
        size: below + blocks.get(&cid).len() as u64,
        ..Child::named(name, cid)
    };
    let c_bin = blocks.leaf(&deep_bytes);
    let c_bin = sized("c.bin", c_bin, 0, blocks);
    let deep = blocks.dir(std::slice::from_ref(&c_bin));
    let deep = sized("deep", deep, c_bin.size, blocks);
    let b_txt = blocks.leaf(b"bbholdfast\n");
    let b_txt = sized("b.txt", b_txt, 0, blocks);
    let sub = blocks.dir(&[b_txt.clone(), deep.clone()]);
    let sub = sized("sub", sub, b_txt.size + deep.size, blocks);
    let link = blocks.symlink(b"a.txt");
    let link = sized("link", link, 0, blocks);
    let a_txt = blocks.leaf(b"aholdfast\n");
    let a_txt = sized("a.txt", a_txt, 0, blocks);
    blocks.dir(&[a_txt, link, sub])
}

fn refs(blocks: &Blocks, root: Cid, options: RefsOptions) -> Vec<String> {
    let refs = walk(blocks, &mut Refs::new([root], options), 1 << 20).items;
    refs.iter().map(|link| link.dst.to_string()).collect()
}

const ALL: RefsOptions = RefsOptions { recursive: true, unique: false, max_depth: None, fetch_listed: false };

#[test]
fn refs_come_in_the_recorded_order() {
    let mut blocks = Blocks::default();
    let root = recorded_dir(&mut blocks);
    assert_eq!(root.to_string(), ROOT);
    let recorded = [
        "QmZda7N2cvmo92Qteimyr7FXNmGsfChyWU3Gk4rqrDRvj8",
        "QmS9U51FvTAqDDVLJ5okMzeLjsEeg8JEG1rPmSq2oPahF6",
        "QmbJJbGxpStAS7qq1Po2zUuMGTjpEtNRRxRMAWjwZkfw3p",
        "QmQ1C3SSqkfs1Fmg9bMe929JQdNZMZfEFHGx3TujZgeZ4y",
        "QmdE3kNsMFqjKRW4zPwf5iEWNKCxsXYBun9TZxwzJgAQYg",
        "QmV7xQ3zgHZvKdHWrHGcrXDZfoJitksaBYgpd6qTRorB8K",
    ];
    assert_eq!(refs(&blocks, root, ALL), recorded);
    assert_eq!(refs(&blocks, root, RefsOptions { unique: true, ..ALL }), recorded);
    assert_eq!(refs(&blocks, root, RefsOptions { fetch_listed: true, ..ALL }), recorded);
    assert_eq!(refs(&blocks, root, RefsOptions::default()), recorded[..3]);
    assert_eq!(refs(&blocks, root, RefsOptions { max_depth: Some(1), ..ALL }), recorded[..3]);
    assert_eq!(refs(&blocks, root, RefsOptions { max_depth: Some(2), ..ALL }), recorded[..5]);
    assert_eq!(refs(&blocks, root, RefsOptions { max_depth: Some(0), ..ALL }), [""; 0]);
    let links = walk(&blocks, &mut Refs::new([root], ALL), 0).items;
    let edge = |index: usize| {
        let link = &links[index];
        (link.src.to_string(), String::from_utf8_lossy(&link.link_name).into_owned(), link.depth)
    };
    assert_eq!(edge(2), (ROOT.to_owned(), "sub".to_owned(), 1));
    assert_eq!(edge(5), (recorded[4].to_owned(), "c.bin".to_owned(), 3));
}

#[test]
fn refs_fetch_no_more_than_they_list() {
    let mut blocks = Blocks::default();
    let leaves = [blocks.raw(b"1"), blocks.raw(b"2")];
    let file = blocks.inner(&[], &leaves.map(|leaf| Child::part(leaf, 1)));
    let root = blocks.dir(&[Child::named("file", file)]);
    assert_eq!(walk(&blocks, &mut Refs::new([root], ALL), 1 << 20).asked, [root, file]);
    let direct = RefsOptions::default();
    assert_eq!(walk(&blocks, &mut Refs::new([root], direct), 1 << 20).asked, [root]);
    let as_kubo = RefsOptions { fetch_listed: true, ..ALL };
    assert_eq!(walk(&blocks, &mut Refs::new([root], as_kubo), 1 << 20).asked.len(), 4);
}

#[test]
fn unique_refs_with_a_depth_limit_look_again_where_they_are_less_deep() {
    // root -> (deep -> shared -> leaf), shared: with a limit of 2 the leaf is only in reach by the short way.
    let mut blocks = Blocks::default();
    let leaf = blocks.leaf(b"leaf");
    let shared = blocks.dir(&[Child::named("leaf", leaf)]);
    let deep = blocks.dir(&[Child::named("shared", shared)]);
    let root = blocks.dir(&[Child::named("deep", deep), Child::named("shared", shared)]);
    let options = RefsOptions { unique: true, max_depth: Some(2), ..ALL };
    let expected: Vec<String> = [deep, shared, leaf].iter().map(Cid::to_string).collect();
    assert_eq!(refs(&blocks, root, options), expected);
}

/// A directory with 2^40 paths in 42 blocks.
fn diamond(blocks: &mut Blocks) -> Cid {
    (0..40).fold(blocks.leaf(b"x"), |cid, _| blocks.dir(&[Child::named("a", cid), Child::named("b", cid)]))
}

#[test]
fn a_diamond_of_many_paths_ends_at_once() {
    let mut blocks = Blocks::default();
    let root = diamond(&mut blocks);
    for window in [0, 1 << 16, 1 << 24] {
        assert_eq!(walk(&blocks, &mut DagWalk::new([root]), window).items.len(), 41);
        let unique = RefsOptions { unique: true, ..ALL };
        assert_eq!(walk(&blocks, &mut Refs::new([root], unique), window).items.len(), 40);
        let limited = RefsOptions { unique: true, max_depth: Some(100), ..ALL };
        assert_eq!(walk(&blocks, &mut Refs::new([root], limited), window).items.len(), 40);
    }
}

#[test]
fn blocks_come_once_in_the_order_of_first_sight() {
    let mut blocks = Blocks::default();
    let root = recorded_dir(&mut blocks);
    let with_more = {
        let again = Child::named("again", root);
        blocks.dir(&[again.clone(), again, Child::named("inline", identity(codec::RAW, b"inline"))])
    };
    for window in [0, 10_000, 1 << 20] {
        let given = walk(&blocks, &mut DagWalk::new([with_more]), window);
        let mut expected = vec![with_more.to_string(), root.to_string()];
        expected.extend(refs(&blocks, root, ALL));
        let order: Vec<String> = given.items.iter().map(|(cid, _)| cid.to_string()).collect();
        assert_eq!(order, expected);
        assert!(given.items.iter().all(|(cid, block)| *block == blocks.get(cid)));
        assert_eq!(given.asked.len(), expected.len(), "each block is asked for once");
        let counted = walk(&blocks, &mut DagWalk::new([with_more]).with_identity_blocks(), window);
        assert_eq!(counted.items.len(), expected.len() + 1);
    }
}

#[test]
fn one_block_under_two_names_comes_once() {
    let mut blocks = Blocks::default();
    let v1 = blocks.leaf(b"same");
    blocks.v0 = true;
    let v0 = blocks.leaf(b"same");
    assert_ne!(v0, v1);
    let root = blocks.dir(&[Child::named("v1", v1), Child::named("v0", v0)]);
    let given = walk(&blocks, &mut DagWalk::new([root]), 0);
    assert_eq!(given.items.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), [root, v1]);
    // The same bytes under another codec are another node.
    let raw = blocks.put(codec::RAW, blocks.get(&v0).to_vec());
    let root = blocks.dir(&[Child::named("raw", raw), Child::named("v0", v0)]);
    assert_eq!(walk(&blocks, &mut DagWalk::new([root]), 0).items.len(), 3);
}

#[test]
fn long_chains_are_walked_with_a_flat_stack() {
    let mut blocks = Blocks::default();
    let chain = (0..20_000_u32).fold(blocks.raw(b"end"), |cid, number| {
        let extra = identity(codec::RAW, &number.to_be_bytes());
        blocks.put(codec::DAG_PB, pb_block(None, &[Child::named("extra", extra), Child::named("next", cid)]))
    });
    assert_eq!(walk(&blocks, &mut DagWalk::new([chain]), 1 << 20).items.len(), 20_001);
}

#[test]
fn what_is_missing_can_be_left_out() {
    let mut blocks = Blocks::default();
    let (here, gone) = (blocks.leaf(b"here"), blocks.leaf(b"gone"));
    let root = blocks.dir(&[Child::named("gone", gone), Child::named("here", here)]);
    let mut dag = DagWalk::new([root]);
    let (mut given, mut wants) = (Vec::new(), Vec::new());
    loop {
        match dag.step().unwrap() {
            Step::Item((cid, _)) => given.push(cid),
            Step::Done => break,
            Step::Need => {
                dag.wants(0, &mut wants);
                for cid in wants.drain(..) {
                    if cid == gone { dag.supply_missing(&cid) } else { dag.supply(&cid, blocks.get(&cid)) }
                }
            }
        }
    }
    assert_eq!(given, [root, here]);
}

#[test]
fn a_look_ahead_does_not_wait_for_what_is_slow() {
    // The first file is slow; the blocks of the second are asked for meanwhile, down to its leaves.
    let mut blocks = Blocks::default();
    let files = [b'1', b'2'].map(|byte| {
        let leaf = blocks.raw(&[byte; 9]);
        (blocks.inner(&[], &[Child::part(leaf, 9)]), leaf)
    });
    let root = blocks.dir(&[Child::named("1", files[0].0), Child::named("2", files[1].0)]);
    let mut dag = DagWalk::new([root]);
    let mut wants = Vec::new();
    assert_eq!(dag.step().unwrap(), Step::Need);
    for supplied in [root, files[1].0] {
        dag.wants(1 << 20, &mut wants);
        dag.supply(&supplied, blocks.get(&supplied));
    }
    dag.wants(1 << 20, &mut wants);
    assert_eq!(wants, [root, files[0].0, files[1].0, files[1].1]);
}

#[test]
fn blocks_that_wait_for_their_turn_count_in_the_window() {
    // The first child never comes; what is held meanwhile must not grow, whether links tell sizes or not.
    for tsize in [0, 100_000] {
        let mut blocks = Blocks::default();
        let mut children = vec![Child::named("slow", blocks.leaf(b"slow"))];
        for number in 0..100_u8 {
            let leaf = blocks.raw(&vec![number; 100_000]);
            children.push(Child { size: tsize, ..Child::named([number], leaf) });
        }
        let root = blocks.dir(&children);
        let mut dag = DagWalk::new([root]);
        let (mut wants, mut held_bytes) = (Vec::new(), 0);
        assert_eq!(dag.step().unwrap(), Step::Need);
        dag.wants(1_000_000, &mut wants);
        while let Some(cid) = wants.pop() {
            if cid != children[0].cid {
                held_bytes += blocks.get(&cid).len();
                dag.supply(&cid, blocks.get(&cid));
                let _ = dag.step().unwrap();
                dag.wants(1_000_000, &mut wants);
            }
        }
        assert!((500_000..2_500_000).contains(&held_bytes), "{held_bytes} bytes held");
    }
}

#[test]
fn links_of_other_codecs_are_followed() {
    let mut blocks = Blocks::default();
    let (one, two) = (blocks.leaf(b"1"), blocks.raw(b"2"));
    let list = Value::List(vec![Value::link(two), Value::Int(1), Value::link(one), Value::link(two)]);
    let root = blocks.put(codec::DAG_CBOR, ipld::encode(codec::DAG_CBOR, &list).unwrap());
    let given = walk(&blocks, &mut DagWalk::new([root]), 0);
    assert_eq!(given.items.iter().map(|(cid, _)| *cid).collect::<Vec<_>>(), [root, two, one]);
    assert_eq!(refs(&blocks, root, ALL), [two, one, two].map(|cid| cid.to_string()));
}

#[test]
fn codecs_without_a_decoder_are_errors() {
    let mut blocks = Blocks::default();
    let unknown = blocks.put(0x1234, b"?".to_vec());
    let error = error_of(&blocks, &mut DagWalk::new([unknown])).to_string();
    assert!(error.ends_with("no decoder registered for multicodec code 4660 (0x1234)"), "{error}");
}

#[test]
fn junk_blocks_are_errors_and_not_panics() {
    let mut blocks = Blocks::default();
    let junk = blocks.put(codec::DAG_PB, vec![0xff; 40]);
    let root = blocks.dir(&[Child::named("junk", junk)]);
    error_of(&blocks, &mut DagWalk::new([root]));
    error_of(&blocks, &mut Refs::new([root], ALL));
    error_of(&blocks, &mut FileReader::new(junk, 0, None));
}
