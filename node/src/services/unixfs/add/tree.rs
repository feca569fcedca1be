//! The directories of an add: made as entries come, closed as soon as they are complete.

use std::collections::BTreeMap;

use holdfast_dag::import::{BlockSink, DirectoryBuilder, FileMeta, ImportError, ImportParams, Imported};

/// A finished directory.
#[derive(Debug)]
pub(super) struct Finished {
    /// Path from the top, the root's own name left out: empty for the root.
    pub(super) path: Vec<u8>,
    /// Its root block.
    pub(super) imported: Imported,
}

/// A directory and the directories in it that are still open.
struct Directory<'a> {
    builder: DirectoryBuilder<'a>,
    open: BTreeMap<Vec<u8>, Directory<'a>>,
    /// Whether anything was ever said to be in it, kept or not.
    mentioned: bool,
}

/// A tree of directories under one root.
pub(super) struct Tree<'a> {
    params: &'a ImportParams,
    sink: &'a dyn BlockSink,
    root: Directory<'a>,
    /// What directories that nobody announced get.
    implied: FileMeta,
    /// Close a directory when an entry outside of it comes.
    depth_first: bool,
    /// Leave out directories in which there is nothing.
    skip_empty: bool,
    finished: Vec<Finished>,
}

impl<'a> Directory<'a> {
    fn new(params: &'a ImportParams, meta: FileMeta) -> Self {
        let builder = DirectoryBuilder::new(params, meta);
        Self { builder, open: BTreeMap::new(), mentioned: false }
    }
}

impl<'a> Tree<'a> {
    pub(super) fn new(
        params: &'a ImportParams,
        sink: &'a dyn BlockSink,
        meta: FileMeta,
        implied: FileMeta,
        depth_first: bool,
        skip_empty: bool,
    ) -> Self {
        let root = Directory::new(params, meta);
        Self { params, sink, root, implied, depth_first, skip_empty, finished: Vec::new() }
    }

    /// Announces a directory; `path` is relative to the root.
    pub(super) fn directory(&mut self, path: &[u8], meta: FileMeta) -> Result<(), ImportError> {
        let ((parent, name), params) = (split(path), self.params);
        let parent = self.open(parent, Some(name))?;
        parent.mentioned = true;
        parent.open.entry(name.to_owned()).or_insert_with(|| Directory::new(params, meta));
        Ok(())
    }

    /// Puts an entry into its directory.
    pub(super) fn entry(&mut self, path: &[u8], imported: &Imported) -> Result<(), ImportError> {
        let (parent, name) = split(path);
        let directory = self.open(parent, None)?;
        directory.mentioned = true;
        directory.builder.add(name, &imported.cid, imported.tsize);
        Ok(())
    }

    /// Notes that there is something in a directory which is not added.
    pub(super) fn mention(&mut self, path: &[u8]) -> Result<(), ImportError> {
        self.open(split(path).0, None)?.mentioned = true;
        Ok(())
    }

    /// Closes everything. Gives all directories in the order of their events, the root last.
    pub(super) fn finish(self) -> Result<Vec<Finished>, ImportError> {
        let Self { sink, skip_empty, root, mut finished, .. } = self;
        let mut closing = Closing { sink, skip_empty, finished: &mut finished };
        let imported = closing.close(root, &mut Vec::new())?;
        finished.push(Finished { path: Vec::new(), imported });
        Ok(finished)
    }

    /// The directory at `path`, made if need be. Closes what lies beside the way to it; `kept` is a name in it that
    /// stays open.
    fn open(&mut self, path: &[u8], kept: Option<&[u8]>) -> Result<&mut Directory<'a>, ImportError> {
        let Self { params, sink, skip_empty, depth_first, implied, ref mut root, ref mut finished } = *self;
        let mut closing = Closing { sink, skip_empty, finished };
        let mut directory = root;
        let mut walked = Vec::new();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if depth_first {
                closing.close_others(directory, Some(name), &mut walked)?;
            }
            directory.mentioned = true;
            directory =
                directory.open.entry(name.to_owned()).or_insert_with(|| Directory::new(params, implied));
            push(&mut walked, name);
        }
        if depth_first {
            closing.close_others(directory, kept, &mut walked)?;
        }
        Ok(directory)
    }
}

/// Turns open directories into blocks.
struct Closing<'a> {
    sink: &'a dyn BlockSink,
    skip_empty: bool,
    finished: &'a mut Vec<Finished>,
}

impl Closing<'_> {
    /// Closes the directories in `directory` except `kept`, in the order of their names.
    fn close_others(
        &mut self,
        directory: &mut Directory<'_>,
        kept: Option<&[u8]>,
        path: &mut Vec<u8>,
    ) -> Result<(), ImportError> {
        while let Some(name) = directory.open.keys().find(|name| Some(&name[..]) != kept).cloned() {
            let Some(inner) = directory.open.remove(&name) else { continue };
            let base = path.len();
            push(path, &name);
            if inner.mentioned || !self.skip_empty {
                let imported = self.close(inner, path)?;
                self.finished.push(Finished { path: path.clone(), imported });
                directory.builder.add(&name, &imported.cid, imported.tsize);
            }
            path.truncate(base);
        }
        Ok(())
    }

    fn close(&mut self, mut directory: Directory<'_>, path: &mut Vec<u8>) -> Result<Imported, ImportError> {
        self.close_others(&mut directory, None, path)?;
        directory.builder.finish(self.sink)
    }
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Parent and name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (&[], path),
    }
}
