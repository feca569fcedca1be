//! The directories of an add: made as entries come, closed as soon as they are complete.

use holdfast_dag::import::{
    BlockSink, DirectoryBuilder, EntryList, FileMeta, ImportError, ImportParams, Imported,
};

use super::AddError;
use super::children::Children;

/// What the open directories of one upload may take in memory, in bytes: some three million directories with a file each, or
/// nine million files in few.
const OPEN_BYTES_MAX: usize = 512 << 20;
/// What an open directory takes besides its entries, at most: its place among its neighbours, and its name.
const DIRECTORY_BYTES: usize = 160;

/// A directory and the directories in it that are still open.
struct Directory {
    /// What is in it and complete.
    entries: EntryList,
    open: Children<Directory>,
    /// Most have none.
    meta: Option<Box<FileMeta>>,
    /// Whether anything was ever said to be in it, kept or not.
    mentioned: bool,
}

/// A tree of directories under one root.
pub(super) struct Tree<'a> {
    params: &'a ImportParams,
    sink: &'a dyn BlockSink,
    root: Directory,
    /// What directories that nobody announced get.
    implied: FileMeta,
    /// Close a directory when an entry outside of it comes.
    depth_first: bool,
    /// Leave out directories in which there is nothing.
    skip_empty: bool,
    /// Directories that are complete, by their paths from the root, in the order of their events.
    finished: EntryList,
    /// What the open ones take, where they stay open.
    open_bytes: usize,
    open_bytes_max: usize,
}

impl Directory {
    fn new(meta: FileMeta) -> Self {
        let meta = (meta != FileMeta::default()).then(|| Box::new(meta));
        Self { entries: EntryList::default(), open: Children::None, meta, mentioned: false }
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
        let root = Directory::new(meta);
        let finished = EntryList::default();
        let (open_bytes, open_bytes_max) = (0, OPEN_BYTES_MAX);
        Self { params, sink, root, implied, depth_first, skip_empty, finished, open_bytes, open_bytes_max }
    }

    /// Announces a directory; `path` is relative to the root.
    pub(super) fn directory(&mut self, path: &[u8], meta: FileMeta) -> Result<(), AddError> {
        let (parent, name) = split(path);
        let parent = self.open(parent, Some(name))?;
        parent.mentioned = true;
        if parent.open.get_mut(name).is_none() {
            parent.open.insert(name, Directory::new(meta));
            self.grow(DIRECTORY_BYTES + name.len())?;
        }
        Ok(())
    }

    /// Puts an entry into its directory.
    pub(super) fn entry(&mut self, path: &[u8], imported: &Imported) -> Result<(), AddError> {
        let (parent, name) = split(path);
        let directory = self.open(parent, None)?;
        directory.mentioned = true;
        let before = directory.entries.bytes();
        directory.entries.add(name, &imported.cid, imported.tsize);
        let grown = directory.entries.bytes() - before;
        self.grow(grown)
    }

    /// Notes that there is something in a directory which is not added.
    pub(super) fn mention(&mut self, path: &[u8]) -> Result<(), AddError> {
        self.open(split(path).0, None)?.mentioned = true;
        Ok(())
    }

    /// Closes everything. Gives all directories in it, by their paths, in the order of their events, and the root.
    pub(super) fn finish(self) -> Result<(EntryList, Imported), ImportError> {
        let Self { params, sink, skip_empty, root, mut finished, .. } = self;
        let mut closing = Closing { params, sink, skip_empty, finished: &mut finished };
        let imported = closing.close(root, &mut Vec::new())?;
        Ok((finished, imported))
    }

    /// Counts what stays in memory to the end.
    fn grow(&mut self, bytes: usize) -> Result<(), AddError> {
        if self.depth_first {
            return Ok(());
        }
        self.open_bytes += bytes;
        let bytes_max = self.open_bytes_max;
        if self.open_bytes > bytes_max { Err(AddError::TooManyEntries { bytes_max }) } else { Ok(()) }
    }

    /// The directory at `path`, made if need be. Closes what lies beside the way to it; `kept` is a name in it that
    /// stays open.
    fn open(&mut self, path: &[u8], kept: Option<&[u8]>) -> Result<&mut Directory, AddError> {
        let mut made = 0;
        let Self { params, sink, skip_empty, depth_first, implied, ref mut root, ref mut finished, .. } =
            *self;
        let mut closing = Closing { params, sink, skip_empty, finished };
        let mut directory = root;
        let mut walked = Vec::new();
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            if depth_first {
                closing.close_others(directory, Some(name), &mut walked)?;
            }
            directory.mentioned = true;
            if directory.open.get_mut(name).is_none() {
                directory.open.insert(name, Directory::new(implied));
                made += DIRECTORY_BYTES + name.len();
            }
            directory = directory.open.get_mut(name).ok_or(AddError::Nothing)?;
            push(&mut walked, name);
        }
        if depth_first {
            closing.close_others(directory, kept, &mut walked)?;
        }
        // Whoever asked counts what it adds, and sees then whether it is too much.
        self.open_bytes += if depth_first { 0 } else { made };
        Ok(directory)
    }
}

/// Turns open directories into blocks.
struct Closing<'a> {
    params: &'a ImportParams,
    sink: &'a dyn BlockSink,
    skip_empty: bool,
    finished: &'a mut EntryList,
}

impl Closing<'_> {
    /// Closes the directories in `directory` except `kept`, in the order of their names.
    fn close_others(
        &mut self,
        directory: &mut Directory,
        kept: Option<&[u8]>,
        path: &mut Vec<u8>,
    ) -> Result<(), ImportError> {
        while let Some((name, inner)) = directory.open.pop_except(kept) {
            let base = path.len();
            push(path, &name);
            if inner.mentioned || !self.skip_empty {
                let imported = self.close(inner, path)?;
                self.finished.add(path, &imported.cid, imported.tsize);
                directory.entries.add(&name, &imported.cid, imported.tsize);
            }
            path.truncate(base);
        }
        Ok(())
    }

    fn close(&mut self, mut directory: Directory, path: &mut Vec<u8>) -> Result<Imported, ImportError> {
        self.close_others(&mut directory, None, path)?;
        let meta = directory.meta.map_or_else(FileMeta::default, |meta| *meta);
        DirectoryBuilder::with_entries(self.params, meta, directory.entries).finish(self.sink)
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

#[cfg(test)]
mod tests {
    use holdfast_dag::block::Block;
    use holdfast_dag::import::SinkError;

    use super::*;

    struct Nowhere;

    impl BlockSink for Nowhere {
        fn put(&self, _: Vec<Block>) -> Result<(), SinkError> {
            Ok(())
        }
    }

    /// Announces directories in several depths until that fails; how many came first.
    fn announced(depth_first: bool, open_bytes_max: usize, count: usize) -> (usize, Option<AddError>) {
        let params = ImportParams::default();
        let meta = FileMeta::default();
        let mut tree =
            Tree { open_bytes_max, ..Tree::new(&params, &Nowhere, meta, meta, depth_first, false) };
        for number in 0..count {
            if let Err(error) = tree.directory(format!("{}/{number:06}", number % 7).as_bytes(), meta) {
                return (number, Some(error));
            }
        }
        let finished = tree.finish().unwrap().0;
        (finished.iter().count() - 7.min(count), None)
    }

    #[test]
    fn directories_that_stay_open_are_counted_and_those_that_are_closed_on_the_way_are_not() {
        let (came, error) = announced(false, 100_000, 10_000);
        assert!((400..700).contains(&came), "{came}");
        let words = error.unwrap().to_string();
        assert!(words.starts_with("the directories of this upload take more than 0 MiB"), "{words}");
        assert!(announced(false, 10_000_000, 10_000).1.is_none());
        assert_eq!(announced(false, usize::MAX, 3000).0, 3000);
        assert!(announced(true, 100_000, 10_000).1.is_none());
    }

    #[test]
    fn an_open_directory_takes_no_more_than_is_counted_for_it() {
        // In the tree of its neighbours a node has 11 places, of which 6 are taken at least.
        let place = size_of::<(Box<[u8]>, Directory)>();
        assert!(place * 11 / 6 <= DIRECTORY_BYTES, "{place}");
    }
}
