//! Sharded directories.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec, identity_data};
use holdfast_dag::hash::HashKind;
use holdfast_dag::import::{BlockSink, DirectoryBuilder, FileMeta, ImportParams, SinkError};
use holdfast_dag::read::{DirReader, Namespace, ReadError, Resolver};
use holdfast_dag::walk::drive;

/// Most entries that an input can make: enough for three levels of the smallest fanout.
const ENTRIES_MAX: usize = 256;

/// Entries of a stranger's directory that are read: shards that contain themselves never end.
const STRANGER_ENTRIES_MAX: usize = 1_000;

/// Blocks in memory.
#[derive(Default)]
struct Memory {
    blocks: Mutex<HashMap<Cid, Bytes>>,
}

impl BlockSink for Memory {
    fn put(&self, blocks: Vec<Block>) -> Result<(), SinkError> {
        let mut stored = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        stored.extend(blocks.into_iter().map(|block| (block.cid, block.data.to_bytes())));
        Ok(())
    }
}

impl Memory {
    /// A block, empty where there is none.
    fn get(&self, cid: &Cid) -> Bytes {
        let stored = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        stored.get(cid).cloned().unwrap_or_default()
    }
}

/// A directory built from arbitrary names is read back whole, whatever order they came in, and finds each of them.
/// The same bytes as a shard of a stranger are read without panic and to an end.
pub fn hamt(data: &[u8]) {
    stranger(data);
    let Some((fanout, names)) = data.split_first() else { return };
    let params = ImportParams {
        hamt_fanout: 8 << (fanout % 6),
        hamt_threshold_bytes: 1,
        ..ImportParams::unixfs_v1_2025()
    };
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Identity };
    let entries: BTreeMap<&[u8], Cid> = names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && name.len() <= 64)
        .take(ENTRIES_MAX)
        .map(|name| (name, builder.cid_of(codec::RAW, &[name])))
        .collect();
    let memory = Memory::default();
    let build = |entries: &mut dyn Iterator<Item = (&&[u8], &Cid)>| {
        let mut directory = DirectoryBuilder::new(&params, FileMeta::default());
        for (name, cid) in entries {
            directory.add(name, cid, name.len() as u64);
        }
        directory.finish(&memory).expect("memory takes every block").cid
    };
    let root = build(&mut entries.iter());
    assert_eq!(build(&mut entries.iter().rev()), root, "the order of insertion makes no difference");
    let mut listed = BTreeMap::new();
    let listing = drive(
        &mut DirReader::new(root),
        1 << 20,
        |cid| Ok(memory.get(cid)),
        |entry| {
            assert_eq!(listed.insert(entry.name, entry.cid), None, "a name is listed once");
            Ok::<(), ReadError>(())
        },
    );
    assert_eq!(listing, Ok(()));
    assert!(
        listed
            .iter()
            .map(|(name, cid)| (name.as_slice(), cid))
            .eq(entries.iter().map(|(name, cid)| (*name, cid)))
    );
    for (name, cid) in &entries {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        let mut found = None;
        let mut resolver = Resolver::new(Namespace::Ipfs, root, [name.to_owned()]);
        let result = drive(
            &mut resolver,
            1 << 20,
            |cid| Ok(memory.get(cid)),
            |resolved| {
                found = Some(resolved.cid);
                Ok::<(), ReadError>(())
            },
        );
        assert_eq!((result, found), (Ok(()), Some(*cid)), "{name:?}");
    }
}

/// Lists the block itself as a directory; every child is the block again, so that shards nest without end.
fn stranger(data: &[u8]) {
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let block = Bytes::copy_from_slice(data);
    let root = builder.cid_of(codec::DAG_PB, &[&block]);
    let mut given = 0_usize;
    let get = |cid: &Cid| Ok(identity_data(cid).map_or_else(|| block.clone(), Bytes::copy_from_slice));
    let listing = drive(&mut DirReader::new(root), 1 << 20, get, |_| {
        given += 1;
        if given < STRANGER_ENTRIES_MAX { Ok(()) } else { Err(Stop::Enough) }
    });
    drop(listing);
}

/// Why a listing stopped.
enum Stop {
    Refused,
    Enough,
}

impl From<ReadError> for Stop {
    fn from(_: ReadError) -> Self {
        Self::Refused
    }
}
