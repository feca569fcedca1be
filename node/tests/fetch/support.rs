//! Nodes in folders of their own: one that has everything, one that has nothing and can ask.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use holdfast::fetch::WINDOW_BYTES;
use holdfast::repo_init::InitParams;
use holdfast::services::dag::ExportOptions;
use holdfast::services::unixfs::CatOptions;
use holdfast::services::unixfs::add::{AddEvent, AddOptions, DiskSource, Root, WalkOptions};
use holdfast::{Node, node};
use holdfast_dag::cid::Cid;
use holdfast_dag::read::DagWalk;
use serde_json::{Value, json};

use crate::peers::Peers;

pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) folder: tempfile::TempDir,
}

impl TestNode {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// With these keys in its section `Datastore`.
    pub(crate) async fn with(datastore: &[(&str, Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        let path = repo.join("config");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        if config["Datastore"].is_null() {
            config["Datastore"] = json!({});
        }
        for (key, value) in datastore {
            config["Datastore"][key] = value.clone();
        }
        std::fs::write(&path, config.to_string()).unwrap();
        let node = Node::builder().repo(repo).maintenance(false).open().await.unwrap();
        Self { node, folder }
    }

    /// One that has nothing, and may ask for these blocks.
    pub(crate) async fn asking(blocks: HashMap<Cid, Bytes>) -> (Self, Peers) {
        let (test, peers) = (Self::new().await, Peers::with(blocks));
        test.ask(&peers);
        (test, peers)
    }

    pub(crate) fn ask(&self, peers: &Peers) {
        self.node.fetch().set_exchange(Some(Arc::new(peers.clone())));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
    }

    /// Adds what was written under this name; its root.
    pub(crate) async fn add(&self, name: &str) -> Cid {
        let walk = WalkOptions { recursive: true, ..WalkOptions::default() };
        let source = DiskSource::new(vec![Root::Path(self.path(name))], walk).unwrap();
        let events: Vec<AddEvent> =
            self.node.unixfs().add(source, AddOptions::default()).try_collect().await.unwrap();
        let added = events.into_iter().rev().find_map(|event| match event {
            AddEvent::Added(added) => Some(added.cid),
            _ => None,
        });
        added.unwrap()
    }

    /// All blocks below a root, the root first.
    pub(crate) async fn dag(&self, root: Cid) -> Vec<(Cid, Bytes)> {
        self.node.fetch().walk(DagWalk::new([root]), WINDOW_BYTES).try_collect().await.unwrap()
    }

    pub(crate) async fn export(&self, root: Cid) -> Vec<u8> {
        let car = self.node.dag().export(&root, ExportOptions::default()).await.unwrap();
        car.try_collect::<Vec<_>>().await.unwrap().concat()
    }

    pub(crate) async fn cat(&self, root: Cid) -> Result<Vec<u8>, String> {
        cat(&self.node, root).await
    }

    pub(crate) async fn is_pinned(&self, cid: Cid) -> bool {
        let node = self.node.clone();
        self.node.pool().run(move || node.store().pins().get(&cid).unwrap().is_some()).await.unwrap()
    }

    pub(crate) async fn has(&self, cid: Cid) -> bool {
        let node = self.node.clone();
        self.node.pool().run(move || node.store().has(cid.hash()).unwrap()).await.unwrap()
    }

    /// How many of these are in the store.
    pub(crate) async fn count(&self, dag: &[(Cid, Bytes)]) -> usize {
        let node = self.node.clone();
        let cids: Vec<Cid> = dag.iter().map(|(cid, _)| *cid).collect();
        let sizes = self.node.pool().run(move || node.store().sizes(&cids).unwrap()).await.unwrap();
        sizes.iter().flatten().count()
    }

    /// Puts blocks without a promise, as a fetch for a reader does.
    pub(crate) async fn put(&self, blocks: &[(Cid, Bytes)]) {
        let (node, blocks) = (self.node.clone(), blocks.to_vec());
        let put = move || {
            let blocks: Vec<_> = blocks
                .into_iter()
                .map(|(cid, data)| holdfast_dag::block::Block::trusted(cid, data))
                .collect();
            node.store().writer().put(blocks).unwrap();
        };
        self.node.pool().run(put).await.unwrap();
    }
}

pub(crate) async fn cat(node: &Node, root: Cid) -> Result<Vec<u8>, String> {
    let file =
        node.unixfs().cat_cids(&[root], CatOptions::default()).await.map_err(|error| error.to_string())?;
    Ok(file.try_collect::<Vec<_>>().await.map_err(|error| error.to_string())?.concat())
}

/// A node with this file, and its DAG.
pub(crate) async fn file(bytes: usize, seed: u64) -> (TestNode, Cid, Vec<(Cid, Bytes)>) {
    let from = TestNode::new().await;
    from.write("file", noise(bytes, seed));
    let root = from.add("file").await;
    let dag = from.dag(root).await;
    (from, root, dag)
}

/// A node with a tree of files small and large, and its DAG.
pub(crate) async fn tree() -> (TestNode, Cid, Vec<(Cid, Bytes)>) {
    let from = TestNode::new().await;
    from.write("dir/large", noise(3_000_000, 1));
    for number in 0..60 {
        from.write(&format!("dir/small/{number}"), noise(1_500, number + 2));
    }
    from.write("dir/deep/er/leaf", b"leaf");
    let root = from.add("dir").await;
    let dag = from.dag(root).await;
    (from, root, dag)
}

pub(crate) fn map(dag: &[(Cid, Bytes)]) -> HashMap<Cid, Bytes> {
    dag.iter().cloned().collect()
}

/// Waits for something that has to become true, and fails if it does not.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits for something that has to end.
pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work).await.expect("it never came")
}

/// Bytes that do not repeat, the same for the same seed.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out
}
