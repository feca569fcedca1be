//! Adds a file to a fresh repo of rust-ipfs on disk, and reads it back: prints the seconds of each and the CID.
//!
//! The node listens on nothing, dials nobody and has no behaviour beyond its store. Run: `rust-ipfs-peer REPO FILE`.

use std::error::Error;
use std::path::PathBuf;
use std::time::Instant;

use futures_util::StreamExt as _;
use rust_ipfs::builder::DefaultIpfsBuilder;
use rust_ipfs::unixfs::UnixfsStatus;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(repo), Some(file)) = (args.next(), args.next()) else {
        return Err("usage: rust-ipfs-peer REPO FILE".into());
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(repo, file))
}

async fn run(repo: PathBuf, file: PathBuf) -> Result<(), Box<dyn Error>> {
    let node = DefaultIpfsBuilder::new().set_path(&repo).start().await?;
    let start = Instant::now();
    let mut added = None;
    let mut events = node.add_unixfs(file);
    while let Some(event) = events.next().await {
        match event {
            UnixfsStatus::CompletedStatus { path, .. } => added = Some(path),
            UnixfsStatus::FailedStatus { error, .. } => return Err(error.to_string().into()),
            UnixfsStatus::ProgressStatus { .. } => {}
        }
    }
    let add = start.elapsed().as_secs_f64();
    let path = added.ok_or("nothing was added")?;
    let start = Instant::now();
    let mut bytes = 0;
    let mut parts = node.cat_unixfs(path.clone());
    while let Some(part) = parts.next().await {
        bytes += part?.len();
    }
    println!("{add:.3} {:.3} {bytes} {path}", start.elapsed().as_secs_f64());
    Ok(())
}
