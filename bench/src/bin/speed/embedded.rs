//! Rows that need a node in this process: what a program that embeds one, or a daemon, would see.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use holdfast::Node;
use holdfast::node;
use holdfast::repo_init::InitParams;
use holdfast::services::unixfs::CatOptions;
use holdfast::services::unixfs::add::{AddEvent, AddOptions, DiskSource, Root, WalkOptions};
use holdfast_bench::data::Blocks;
use holdfast_bench::pairs::{Contestant, compare};
use holdfast_blockstore::{Store, StoreConfig};
use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, Version, codec};
use holdfast_dag::hash::HashKind;
use tokio::runtime::Runtime;

use crate::Res;
use crate::bed::Bed;

const GIB_MB: f64 = 1_073.741_824;

/// Re-adding 4 GiB in an opened node next to only-hash of the same file: nothing but the hash should be paid.
pub(crate) fn re_add(bed: &Bed) -> Res<()> {
    let file = bed.file(4096)?;
    let runtime = Runtime::new()?;
    let node = runtime.block_on(fresh_node(&bed.path("re-add")))?;
    runtime.block_on(add(&node, &file, false))?;
    let before = node.store().stat()?;
    let mut contestants = [
        Contestant::new("add again", || Ok(()), || runtime.block_on(add(&node, &file, false)).map(|_| None)),
        Contestant::new("only-hash", || Ok(()), || runtime.block_on(add(&node, &file, true)).map(|_| None)),
    ];
    compare("re-add of 4 GiB in an opened node", bed.rounds, 4.0 * GIB_MB, "MB", &mut contestants)?;
    drop(contestants);
    let after = node.store().stat()?;
    println!(
        "  value bytes written by all the adds again: {}",
        after.value_bytes.saturating_sub(before.value_bytes)
    );
    runtime.block_on(node.close())?;
    Ok(fs::remove_dir_all(bed.path("re-add"))?)
}

/// `cat` of 1 GiB in an opened node from a warm cache, every block verified.
pub(crate) fn cat(bed: &Bed) -> Res<()> {
    let file = bed.file(1024)?;
    let runtime = Runtime::new()?;
    let node = runtime.block_on(fresh_node(&bed.path("embedded-cat")))?;
    let root = runtime.block_on(add(&node, &file, false))?;
    let read = || {
        runtime.block_on(async {
            let mut stream = node.unixfs().cat_cids(&[root], CatOptions::default()).await?;
            while stream.try_next().await?.is_some() {}
            Ok(None)
        })
    };
    let mut contestants = [Contestant::new("cat into nothing, verified", || Ok(()), read)];
    compare("cat of 1 GiB in an opened node, warm", bed.rounds, GIB_MB, "MB", &mut contestants)?;
    drop(contestants);
    runtime.block_on(node.close())?;
    Ok(fs::remove_dir_all(bed.path("embedded-cat"))?)
}

/// What checking every block against its hash costs: 1 GiB of stored blocks read in order, with the check and without.
pub(crate) fn hash_check(bed: &Bed) -> Res<()> {
    const BLOCK: usize = 256 << 10;
    let repo = bed.path("hash-check");
    fs::create_dir_all(&repo)?;
    let builder = CidBuilder { version: Version::V1, hash: HashKind::Sha2_256 };
    let (mut blocks, mut cids) = (Blocks::new(BLOCK, 77), Vec::new());
    let store = Store::open(&repo, StoreConfig::default())?;
    let writer = store.writer();
    for _ in 0..(1 << 30) / BLOCK {
        let data = blocks.next_block().to_vec();
        let cid = builder.cid_of(codec::RAW, &[&data]);
        cids.push(cid);
        writer.put([Block::trusted(cid, data)])?;
    }
    writer.commit(&[])?;
    drop(store);
    let read = |verify_on_read| {
        let store = Store::open(&repo, StoreConfig { verify_on_read, ..StoreConfig::default() })?;
        for some in cids.chunks(32) {
            for block in store.get_many(some) {
                block?.ok_or("a block is missing")?;
            }
        }
        Ok(None)
    };
    let mut contestants = [
        Contestant::new("every block checked", || Ok(()), || read(true)),
        Contestant::new("unchecked", || Ok(()), || read(false)),
    ];
    compare("reading 1 GiB of blocks, warm", bed.rounds, GIB_MB, "MB", &mut contestants)?;
    Ok(fs::remove_dir_all(&repo)?)
}

/// 16 callers that each add 8 MiB again and again for a minute: how long does an add take, commit included?
pub(crate) fn clients(bed: &Bed) -> Res<()> {
    const CLIENTS: u64 = 16;
    const BYTES: usize = 8 << 20;
    let seconds = std::env::var("SECONDS_CLIENTS").map_or(Ok(60), |text| text.parse())?;
    let runtime = Runtime::new()?;
    let node = runtime.block_on(fresh_node(&bed.path("clients")))?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut tasks = Vec::new();
    for client in 0..CLIENTS {
        let (node, path) = (node.clone(), bed.path(&format!("client-{client}")));
        tasks.push(runtime.spawn(async move {
            let mut blocks = Blocks::new(BYTES, client + 100);
            let mut waits = Vec::new();
            while Instant::now() < until {
                fs::write(&path, blocks.next_block()).map_err(|error| error.to_string())?;
                let start = Instant::now();
                add(&node, &path, false).await.map_err(|error| error.to_string())?;
                waits.push(start.elapsed());
            }
            Ok::<_, String>(waits)
        }));
    }
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(runtime.block_on(task)??);
    }
    waits.sort_unstable();
    let at = |part: usize| waits.get((waits.len() * part / 100).min(waits.len().saturating_sub(1))).copied();
    println!(
        "\n{CLIENTS} callers, 8 MiB an add, {seconds} s: {} adds, {:.0} MB/s; an add with its commit takes \
         p50 {:.0?}, p90 {:.0?}, p99 {:.0?}, at most {:.0?}",
        waits.len(),
        waits.len() as f64 * 8.388_608 / seconds as f64,
        at(50).unwrap_or_default(),
        at(90).unwrap_or_default(),
        at(99).unwrap_or_default(),
        waits.last().copied().unwrap_or_default(),
    );
    runtime.block_on(node.close())?;
    for client in 0..CLIENTS {
        fs::remove_file(bed.path(&format!("client-{client}")))?;
    }
    Ok(fs::remove_dir_all(bed.path("clients"))?)
}

/// Many adds of 5 MiB, then SIGKILL: how many log files are left, and how long does the next open take?
pub(crate) fn after_kill(bed: &Bed) -> Res<()> {
    let adds: u64 = std::env::var("ADDS").map_or(Ok(10_000), |text| text.parse())?;
    let repo = bed.path("after-kill");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["worker-adds", &repo.display().to_string(), &adds.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut told = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut told)?;
    }
    child.kill()?;
    child.wait()?;
    if told.trim() != "done" {
        return Err("the worker ended early".into());
    }
    let logs = fs::read_dir(repo.join("db"))?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "log"))
        .count();
    let runtime = Runtime::new()?;
    let start = Instant::now();
    let node = runtime.block_on(Node::builder().repo(&repo).open())?;
    let open = start.elapsed();
    println!("\n{adds} adds of 5 MiB, then SIGKILL: {logs} log files, opened in {open:.0?}");
    runtime.block_on(node.close())?;
    fs::remove_dir_all(&repo)?;
    Ok(())
}

/// The part of the killed process: adds, says so, and waits for its end.
pub(crate) fn worker_adds(repo: &Path, adds: u64) -> Res<()> {
    let runtime = Runtime::new()?;
    let node = runtime.block_on(fresh_node(repo))?;
    let file = repo.with_extension("input");
    let mut blocks = Blocks::new(5 << 20, 31);
    for _ in 0..adds {
        fs::write(&file, blocks.next_block())?;
        runtime.block_on(add(&node, &file, false))?;
    }
    println!("done");
    std::thread::sleep(Duration::from_secs(60));
    Ok(())
}

pub(crate) async fn fresh_node(repo: &Path) -> Res<Node> {
    if repo.exists() {
        fs::remove_dir_all(repo)?;
    }
    let params = InitParams { repo: repo.to_owned(), profiles: "test".to_owned(), ..InitParams::default() };
    node::init(&params, &mut |_| {})?;
    Ok(Node::builder().repo(repo).open().await?)
}

async fn add(node: &Node, path: &Path, only_hash: bool) -> Res<Cid> {
    let source = DiskSource::new(vec![Root::Path(path.to_owned())], WalkOptions::default())?;
    let mut events = node.unixfs().add(source, AddOptions { only_hash, ..AddOptions::default() });
    let mut root = None;
    while let Some(event) = events.try_next().await? {
        if let AddEvent::Added(added) = event {
            root = Some(added.cid);
        }
    }
    Ok(root.ok_or("nothing was added")?)
}
