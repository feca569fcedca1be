//! A node in a folder of its own, and the steps that most scenarios share.

use std::path::{Path, PathBuf};

use futures_util::{StreamExt as _, TryStreamExt as _};
use holdfast::repo_init::InitParams;
use holdfast::services::unixfs::CatOptions;
use holdfast::services::unixfs::add::{
    AddError, AddEvent, AddOptions, Added, DiskSource, Root, Source, WalkOptions,
};
use holdfast::{Node, node};
use holdfast_dag::cid::Cid;
use holdfast_dag::path::ContentPath;

pub(crate) struct TestNode {
    pub(crate) node: Node,
    pub(crate) folder: tempfile::TempDir,
}

impl TestNode {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        let node = Node::builder().repo(repo).open().await.unwrap();
        Self { node, folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the folder, with the directories that it needs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) async fn add(&self, path: &Path, options: AddOptions) -> Vec<Added> {
        let walk = WalkOptions { recursive: true, ..WalkOptions::default() };
        let source = DiskSource::new(vec![Root::Path(path.to_owned())], walk).unwrap();
        let (added, end) = self.add_source(source, options).await;
        end.unwrap();
        added
    }

    /// Everything that is told of an add, and how it ended.
    pub(crate) async fn events(
        &self,
        source: impl Source + 'static,
        options: AddOptions,
    ) -> (Vec<AddEvent>, Result<(), AddError>) {
        let mut stream = self.node.unixfs().add(source, options);
        let mut events = Vec::new();
        while let Some(event) = stream.next().await {
            match event {
                Ok(event) => events.push(event),
                Err(error) => return (events, Err(error)),
            }
        }
        (events, Ok(()))
    }

    pub(crate) async fn add_source(
        &self,
        source: impl Source + 'static,
        options: AddOptions,
    ) -> (Vec<Added>, Result<(), AddError>) {
        let (events, end) = self.events(source, options).await;
        let added = events.into_iter().filter_map(|event| match event {
            AddEvent::Added(added) => Some(added),
            _ => None,
        });
        (added.collect(), end)
    }

    pub(crate) async fn cat(&self, cid: Cid, options: CatOptions) -> Vec<u8> {
        let file = self.node.unixfs().cat(&[ContentPath::of_cid(cid)], options).await.unwrap();
        let length = file.length();
        let bytes = file.try_collect::<Vec<_>>().await.unwrap().concat();
        assert_eq!(bytes.len() as u64, length);
        bytes
    }

    pub(crate) async fn is_pinned(&self, cid: Cid) -> bool {
        let node = self.node.clone();
        self.node.pool().run(move || node.store().pins().get(&cid).unwrap().is_some()).await.unwrap()
    }

    pub(crate) async fn block_count(&self) -> u64 {
        self.node.repo_stat().await.unwrap().blocks
    }
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

/// A repo whose nodes come and go.
pub(crate) struct Repo {
    folder: tempfile::TempDir,
}

impl Repo {
    /// A new one, with these keys in its section `Import`, and others by their whole path.
    pub(crate) fn new(config: &[(&str, &str, serde_json::Value)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let repo = folder.path().join("repo");
        let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
        node::init(&params, &mut |_| {}).unwrap();
        let path = repo.join("config");
        let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for (section, key, value) in config {
            if document[section].is_null() {
                document[section] = serde_json::json!({});
            }
            document[section][key] = value.clone();
        }
        std::fs::write(&path, document.to_string()).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("repo")
    }

    pub(crate) async fn open(&self) -> Node {
        Node::builder().repo(self.path()).open().await.unwrap()
    }
}

pub(crate) fn mfs(path: &str) -> holdfast::services::files::MfsPath {
    holdfast::services::files::MfsPath::parse(path).unwrap()
}

/// The root of the mutable file system as readers see it.
pub(crate) async fn files_root(node: &Node) -> Cid {
    node.files().resolve(mfs("/")).await.unwrap()
}

/// Writes a whole file, with the directories above it.
pub(crate) async fn put_file(node: &Node, path: &str, content: &[u8]) {
    let options = holdfast::services::files::WriteOptions {
        create: true,
        parents: true,
        truncate: true,
        ..Default::default()
    };
    node.files().write(mfs(path), options, std::io::Cursor::new(content.to_vec())).await.unwrap();
}

pub(crate) async fn get_file(node: &Node, path: &str) -> Vec<u8> {
    let file = node.files().read(mfs(path), 0, None).await.unwrap();
    file.try_collect::<Vec<_>>().await.unwrap().concat()
}

/// The names in a directory, sorted.
pub(crate) async fn names(node: &Node, path: &str) -> Vec<String> {
    let entries = node.files().ls(mfs(path), false).await.unwrap();
    let mut names: Vec<_> = entries.into_iter().map(|entry| String::from_utf8(entry.name).unwrap()).collect();
    names.sort();
    names
}
