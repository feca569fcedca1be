//! A node in a folder of its own, and small DAGs to pin.

use bytes::Bytes;
use holdfast::repo_init::InitParams;
use holdfast::services::blocks::BlockPutOptions;
use holdfast::services::dag::DagPutOptions;
use holdfast::services::pins::{PinAddError, PinHow, PinOptions, PinProgress, PinTypes, Pinned};
use holdfast::{Node, node};
use holdfast_dag::cid::{Cid, Version, codec};

pub(crate) struct PinNode {
    pub(crate) node: Node,
    pub(crate) folder: tempfile::TempDir,
}

impl PinNode {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        let node = Node::builder().repo(repo).open().await.unwrap();
        Self { node, folder }
    }

    /// A raw block.
    pub(crate) async fn leaf(&self, text: &str) -> Cid {
        let options = BlockPutOptions::default();
        self.node.blocks().put(Bytes::from(text.to_owned()), options).await.unwrap().cid
    }

    /// A dag-cbor block with a text, for being different, and links.
    pub(crate) async fn branch(&self, text: &str, children: &[Cid]) -> Cid {
        let links: Vec<_> = children.iter().map(|cid| format!("{{\"/\":\"{cid}\"}}")).collect();
        let json = format!("{{\"text\":\"{text}\",\"links\":[{}]}}", links.join(","));
        self.node.dag().put(Bytes::from(json), DagPutOptions::default()).await.unwrap()
    }

    /// Pins as a caller who only wants it pinned.
    pub(crate) async fn pin(&self, cid: Cid, recursive: bool, name: &str) -> Result<(), PinAddError> {
        let options = PinOptions { recursive, name: name.to_owned(), ..PinOptions::default() };
        self.node.pins().add(cid, options, &PinProgress::default()).await
    }

    /// How one CID is pinned by any type of pin.
    pub(crate) async fn state(&self, cid: Cid) -> Option<(PinHow, String)> {
        let states = self.node.pins().states(vec![cid], PinTypes::All).await.unwrap();
        states.into_iter().next().unwrap().map(|Pinned { how, name, .. }| (how, name))
    }

    /// How a caller sees a CID that is pinned through `root`.
    #[expect(clippy::unnecessary_wraps, reason = "to be compared with what callers see")]
    pub(crate) fn through(root: Cid) -> Option<(PinHow, String)> {
        Some((PinHow::Indirect(Some(Box::new(root))), String::new()))
    }

    /// Takes a block away behind the back of all pins: its bytes on disk are overwritten, and then found to be wrong.
    pub(crate) async fn damage(&self, cid: Cid, bytes: &[u8]) {
        for entry in std::fs::read_dir(self.folder.path().join("repo/segments")).unwrap() {
            let path = entry.unwrap().path();
            let mut data = std::fs::read(&path).unwrap();
            if let Some(at) = data.windows(bytes.len()).position(|window| window == bytes) {
                data[at..at + bytes.len()].fill(b'#');
                std::fs::write(&path, data).unwrap();
            }
        }
        self.node.blocks().get(&cid).await.unwrap_err();
    }
}

/// The other version of a dag-pb CID.
pub(crate) fn other_version(cid: &Cid) -> Cid {
    match cid.version() {
        Version::V0 => Cid::new_v1(codec::DAG_PB, *cid.hash()),
        Version::V1 => Cid::new_v0(*cid.hash()).unwrap(),
    }
}
