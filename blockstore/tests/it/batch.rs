//! A walk asks for many blocks at once: the answers are those of asking one by one.

use holdfast_blockstore::{DeleteError, ReadError, Store};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;

use crate::common::config;

fn cid(hash: HashKind, codec: u64, bytes: &[u8]) -> Cid {
    CidBuilder { version: Version::V1, hash }.cid_of(codec, &[bytes])
}

/// A dag-cbor list of links.
fn list(links: &[Cid]) -> Block {
    let mut bytes = vec![0x80 + links.len() as u8];
    for link in links {
        let len = link.to_bytes().len() as u8 + 1;
        bytes.extend([0xd8, 0x2a]);
        bytes.extend(if len < 24 { vec![0x40 + len] } else { vec![0x58, len] });
        bytes.push(0);
        bytes.extend(link.to_bytes());
    }
    Block::trusted(cid(HashKind::Sha2_256, codec::DAG_CBOR, &bytes), bytes)
}

#[test]
fn many_answers_are_those_of_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), config()).unwrap();
    let leaf = Block::trusted(cid(HashKind::Sha2_256, codec::RAW, b"leaf"), b"leaf".to_vec());
    let inlined = cid(HashKind::Identity, codec::RAW, b"inlined");
    let indexed = list(&[leaf.cid, inlined]);
    let writer = store.writer();
    writer.put([leaf.clone(), indexed.clone()]).unwrap();
    writer.commit(&[]).unwrap();
    // On its way into the index, if the committer was not faster.
    let pending = list(&[indexed.cid, leaf.cid, leaf.cid]);
    let writer = store.writer();
    writer.put([pending.clone()]).unwrap();
    let missing = cid(HashKind::Sha2_256, codec::DAG_CBOR, b"nobody has this");
    let as_raw = Cid::new_v1(codec::RAW, *indexed.cid.hash());
    let as_strange = Cid::new_v1(codec::LIBP2P_KEY, *indexed.cid.hash());
    let asked = [leaf.cid, missing, pending.cid, inlined, indexed.cid, as_raw, leaf.cid];

    let one_by_one: Vec<Option<u64>> = asked.iter().map(|cid| writer.find(cid).unwrap()).collect();
    assert_eq!(writer.find_many(&asked).unwrap(), one_by_one);
    assert_eq!(store.sizes(&asked).unwrap(), one_by_one);
    for (cid, links) in asked.iter().zip(store.links_many(&asked).unwrap()) {
        let links = links.unwrap().collect::<Result<Vec<Cid>, _>>().unwrap();
        assert_eq!(links, store.links(cid).unwrap().unwrap_or_default(), "{cid}");
    }
    let outcomes = store.links_many(&[as_strange, indexed.cid]).unwrap();
    assert!(matches!(outcomes[0], Err(ReadError::NoDecoder { .. })));
    assert!(outcomes[1].as_ref().unwrap().contains(&leaf.cid).unwrap(), "one that fails fails alone");
    assert!(store.sizes(&[]).unwrap().is_empty());
}

#[test]
fn what_many_finds_found_is_kept_until_the_writer_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), config()).unwrap();
    let blocks: Vec<Block> = (0..300_u32)
        .map(|number| {
            let bytes = number.to_le_bytes();
            Block::trusted(cid(HashKind::Sha2_256, codec::RAW, &bytes), bytes.to_vec())
        })
        .collect();
    let cids: Vec<Cid> = blocks.iter().map(|block| block.cid).collect();
    let writer = store.writer();
    writer.put(&blocks).unwrap();
    writer.commit(&[]).unwrap();
    let writer = store.writer();
    assert!(writer.find_many(&cids).unwrap().iter().all(Option::is_some));
    for deletion in store.delete_blocks(&cids).unwrap() {
        assert!(matches!(deletion.result, Err(DeleteError::InUse)), "{deletion:?}");
    }
    drop(writer);
    assert!(store.delete_blocks(&cids).unwrap().iter().all(|deletion| deletion.result.is_ok()));
    let writer = store.writer();
    assert!(writer.find_many(&cids).unwrap().iter().all(Option::is_none));
}
