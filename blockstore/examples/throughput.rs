//! Puts 1 GiB of 256 KiB blocks durably, reads it back verified, and says how fast: `throughput [folder] [MiB]`.

use std::path::PathBuf;
use std::time::Instant;

use bytes::Bytes;
use holdfast_blockstore::{Change, Pin, PinKind, Store, StoreConfig};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;

const BLOCK: usize = 256 << 10;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let mib: usize = args.next().and_then(|arg| arg.to_str()?.parse().ok()).unwrap_or(1024);
    let repo = folder.join(format!("holdfast-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&repo)?;
    let names = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    // Hashing is not what is measured here: all blocks are made before.
    let blocks: Vec<Block> = (0..mib * 4)
        .map(|n| {
            let mut data = vec![0_u8; BLOCK];
            let mut state = n as u64 + 1;
            for bytes in data.chunks_exact_mut(8) {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                bytes.copy_from_slice(&state.to_le_bytes());
            }
            let cid = names.cid_of(codec::RAW, &[&data]);
            Block::trusted(cid, Bytes::from(data))
        })
        .collect();
    let cids: Vec<Cid> = blocks.iter().map(|block| block.cid).collect();
    let root = *cids.first().ok_or("at least 1 MiB")?;
    let rate = |begin: Instant| (mib * (1 << 20)) as f64 / 1e6 / begin.elapsed().as_secs_f64();

    let store = Store::open(&repo, StoreConfig::default())?;
    let begin = Instant::now();
    let writer = store.writer();
    for batch in blocks.chunks(4) {
        writer.put(batch)?;
    }
    let appended = rate(begin);
    writer.commit(&[Change::Pin(Pin::new(root, PinKind::Direct, ""))])?;
    println!("put {appended:.0} MB/s, put and commit {:.0} MB/s", rate(begin));

    let begin = Instant::now();
    let writer = store.writer();
    for batch in blocks.chunks(4) {
        writer.put(batch)?;
    }
    writer.commit(&[])?;
    println!("put again and commit {:.0} MB/s", rate(begin));

    for _ in 0..2 {
        let begin = Instant::now();
        for window in cids.chunks(32) {
            for block in store.get_many(window) {
                block?.ok_or("a block is missing")?;
            }
        }
        println!("get_many, verified {:.0} MB/s", rate(begin));
    }

    let begin = Instant::now();
    let small: u32 = 500;
    for n in 0..small {
        let data = n.to_le_bytes().repeat(1024);
        let writer = store.writer();
        writer.put([Block::trusted(names.cid_of(codec::RAW, &[&data]), data)])?;
        writer.commit(&[])?;
    }
    println!("put and commit of one 4 KiB block {:.0} /s", f64::from(small) / begin.elapsed().as_secs_f64());
    drop(store);
    let begin = Instant::now();
    let store = Store::open(&repo, StoreConfig::default())?;
    println!("open {:.1} ms, {:?}", begin.elapsed().as_secs_f64() * 1e3, store.stat()?);
    drop(store);
    std::fs::remove_dir_all(&repo)?;
    Ok(())
}
