//! What a test may ask of the node.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use ipld_core::cid::Cid;
use ipld_core::ipld::Ipld;
use multihash_codetable::{Code, MultihashDigest as _};
use rust_ipfs::unixfs::{Entry, UnixfsStatus};
use rust_ipfs::{Block, Ipfs, IpfsPath, Multiaddr, Protocol};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::Failure;

const RAW: u64 = 0x55;

/// How long a dial may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(30);

pub async fn act(node: &Ipfs, request: &Value) -> Result<Value, Failure> {
    let start = Instant::now();
    let seconds = || start.elapsed().as_secs_f64();
    match request["do"].as_str().unwrap_or_default() {
        "id" => id(node).await,
        "connect" => connect(node, text(request, "addr")?.parse()?).await,
        "peers" => {
            let peers = node.connected().await?;
            Ok(peers.iter().map(|peer| json!({"id": peer.to_string()})).collect())
        }
        "add" => Ok(json!({"cid": add(node, text(request, "path")?.into()).await?, "seconds": seconds()})),
        "put_block" => {
            let bytes = std::fs::read(text(request, "path")?)?;
            let cid = Cid::new_v1(RAW, Code::Sha2_256.digest(&bytes));
            node.put_block(&Block::new(cid, bytes)?).await?;
            Ok(json!({"cid": cid.to_string()}))
        }
        "block" => {
            let block = node.get_block(cid(request)?).await?;
            Ok(json!({"bytes": block.data().len(), "sha256": hex(&Sha256::digest(block.data()))}))
        }
        "chain" => chain(node, request["nodes"].as_u64().ok_or("no `nodes`")?).await,
        "cat" => {
            let (bytes, sha256) = cat(node, cid(request)?).await?;
            Ok(json!({"bytes": bytes, "sha256": sha256, "seconds": seconds()}))
        }
        "fetch" => {
            node.fetch(&cid(request)?).recursive().await?;
            Ok(json!({"seconds": seconds()}))
        }
        "list" => Ok(json!({"entries": list(node, cid(request)?).await?})),
        "walk" => Ok(json!({"nodes": walk(node, cid(request)?).await?, "seconds": seconds()})),
        other => Err(format!("there is no action {other:?}").into()),
    }
}

pub async fn id(node: &Ipfs) -> Result<Value, Failure> {
    let peer = node.keypair().public().to_peer_id();
    let listening = node.listening_addresses().await?;
    let addresses: Vec<String> = listening.into_iter().map(|address| format!("{address}/p2p/{peer}")).collect();
    Ok(json!({"id": peer.to_string(), "addrs": addresses}))
}

async fn connect(node: &Ipfs, address: Multiaddr) -> Result<Value, Failure> {
    let Some(Protocol::P2p(peer)) = address.iter().last() else {
        return Err("the address does not end in /p2p/ID".into());
    };
    node.connect(address).await?;
    let start = Instant::now();
    while !node.is_connected(peer).await? {
        if start.elapsed() > CONNECT_TIME_MAX {
            return Err(format!("no connection to {peer}").into());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Value::Null)
}

async fn add(node: &Ipfs, path: PathBuf) -> Result<String, Failure> {
    let mut events = node.add_unixfs(path);
    let mut added = None;
    while let Some(event) = events.next().await {
        match event {
            UnixfsStatus::CompletedStatus { path, .. } => added = path.root().cid().copied(),
            UnixfsStatus::FailedStatus { error, .. } => return Err(error.to_string().into()),
            UnixfsStatus::ProgressStatus { .. } => {}
        }
    }
    Ok(added.ok_or("nothing was added")?.to_string())
}

async fn chain(node: &Ipfs, nodes: u64) -> Result<Value, Failure> {
    let mut next = Ipld::Null;
    for n in 0..nodes {
        let fields = [("n".to_owned(), Ipld::Integer(n.into())), ("next".to_owned(), next)];
        next = Ipld::Link(node.put_dag(Ipld::Map(BTreeMap::from(fields))).await?);
    }
    let Ipld::Link(newest) = next else { return Err("an empty chain has no CID".into()) };
    Ok(json!({"cid": newest.to_string()}))
}

async fn walk(node: &Ipfs, newest: Cid) -> Result<u64, Failure> {
    let (mut nodes, mut at) = (0, Some(newest));
    while let Some(cid) = at {
        let Ipld::Map(mut fields) = node.get_dag(IpfsPath::from(cid)).await? else {
            return Err(format!("{cid} is no node of a chain").into());
        };
        at = match fields.remove("next") {
            Some(Ipld::Link(next)) => Some(next),
            _ => None,
        };
        nodes += 1;
    }
    Ok(nodes)
}

async fn cat(node: &Ipfs, cid: Cid) -> Result<(usize, String), Failure> {
    let (mut bytes, mut hash) = (0, Sha256::new());
    let mut parts = node.cat_unixfs(IpfsPath::from(cid));
    while let Some(part) = parts.next().await {
        let part = part?;
        bytes += part.len();
        hash.update(&part);
    }
    Ok((bytes, hex(&hash.finalize())))
}

async fn list(node: &Ipfs, cid: Cid) -> Result<usize, Failure> {
    let mut entries = 0;
    let mut found = node.ls_unixfs(IpfsPath::from(cid));
    while let Some(entry) = found.next().await {
        match entry {
            Entry::Error { error } => return Err(error.to_string().into()),
            Entry::RootDirectory { .. } => {}
            Entry::Directory { .. } | Entry::File { .. } => entries += 1,
        }
    }
    Ok(entries)
}

fn text<'a>(request: &'a Value, name: &str) -> Result<&'a str, Failure> {
    request[name].as_str().ok_or_else(|| format!("no `{name}`").into())
}

fn cid(request: &Value) -> Result<Cid, Failure> {
    Ok(text(request, "cid")?.parse()?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
