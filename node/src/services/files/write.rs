//! Writing into a file.

use std::io::Read;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_dag::chunker::ChunkerSpec;
use holdfast_dag::cid::{Cid, CidBuilder};
use holdfast_dag::edit::{FileEdit, FileRules, Link, Overlay, Tree};
use holdfast_dag::unixfs::Mtime;

use super::change::{How, put_blocks};
use super::entries::{first_missing, mkdir, put, writable};
use super::gate::Gate;
use super::source::Anywhere;
use super::{Files, FilesError, MfsPath, rules};
use crate::node::Node;

/// How a file is written.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct WriteOptions {
    /// Where in the file to begin, in bytes; a gap before it is filled with zeros. Default: 0.
    pub offset: u64,
    /// Most bytes to take of the input; `None` is no limit. Default: no limit.
    pub count: Option<u64>,
    /// Make the file if it is not there. Default: no.
    pub create: bool,
    /// Make the directories above too. Default: no.
    pub parents: bool,
    /// Empty the file first. Default: no.
    pub truncate: bool,
    /// Whether new leaves are raw. Default: as `Import.UnixFSRawLeaves` says, else if the file has a CIDv1.
    pub raw_leaves: Option<bool>,
    /// How a new file, and directories that are made, are named. Default: as the section `Import` says.
    pub cid: Option<CidBuilder>,
    /// Leave it to a later flush to make it durable. Default: no.
    pub unflushed: bool,
}

impl Files {
    /// Writes all of `input` into a file.
    ///
    /// The input is streamed to blocks while nothing is locked but this file for other writers. The tree changes at
    /// the end, at once; if the path leads elsewhere by then, or the input fails, nothing changes.
    pub async fn write(
        &self,
        path: MfsPath,
        options: WriteOptions,
        input: impl Read + Send + 'static,
    ) -> Result<(), FilesError> {
        let state = self.node.files_state();
        if options.unflushed {
            state.count_unflushed(rules::unflushed_max(self.node.config())?)?;
        }
        let gate = state.gates.enter(path.clone().without_slash().to_string()).await;
        let builder = self.builder(options.cid)?;
        let rules = self.file_rules(options)?;
        let at = path.clone();
        let base = self.look(move |tree| before(tree, &at, options)).await?;
        let node = self.node.clone();
        let written = move || Written::make(&node, gate, base, builder, rules, options, input);
        let written = Arc::new(self.node.pool().operation(written).await??);
        self.relink(&written, path, options, builder).await
    }

    /// Links a written file, unless its path leads elsewhere by now.
    async fn relink(
        &self,
        written: &Arc<Written>,
        path: MfsPath,
        options: WriteOptions,
        builder: CidBuilder,
    ) -> Result<(), FilesError> {
        let own = Arc::clone(&written.writer);
        // The work keeps the gate shut until it is done, also if nobody waits for it any more.
        let written = Arc::clone(written);
        let work = move |tree: &mut Tree<'_, '_>| {
            let Written { base, link, .. } = *written;
            if options.parents && !path.parent().is_root() {
                mkdir(tree, &path.parent(), true, builder)?;
            }
            match (base, writable(tree, &path, options.create)) {
                (None, Ok(None)) => put(tree, &path, link),
                (Some(base), Ok(Some(now))) if base == now => Ok(tree.put(path.segments(), link)?),
                (_, Err(FilesError::Missing(cid))) => Err(FilesError::Missing(cid)),
                _ => Err(FilesError::ChangedMeanwhile(path.to_string())),
            }
        };
        self.change(How::uncounted(!options.unflushed).with_writer(own), work).await
    }

    fn file_rules(&self, options: WriteOptions) -> Result<FileRules, FilesError> {
        let config = self.node.config();
        let chunker: ChunkerSpec = rules::params(config)?.chunker;
        let raw_leaves = match options.raw_leaves {
            Some(raw_leaves) => Some(raw_leaves),
            None => rules::raw_leaves(config)?,
        };
        Ok(FileRules { chunker, raw_leaves, now: now() })
    }
}

/// The time, as far as it is stored with files.
pub(crate) fn now() -> Mtime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = Some(since.subsec_nanos()).filter(|nanos| *nanos > 0);
    Mtime { seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos }
}

/// What is at the path before the write.
fn before(tree: &Tree<'_, '_>, path: &MfsPath, options: WriteOptions) -> Result<Option<Cid>, FilesError> {
    if options.parents {
        first_missing(tree, &path.parent(), true)?;
    }
    match writable(tree, path, options.create) {
        Err(FilesError::NotExist) if options.create && options.parents => Ok(None),
        other => other,
    }
}

/// A file whose blocks are stored and protected, and that nothing links yet.
struct Written {
    /// What it was made from.
    base: Option<Cid>,
    link: Link,
    writer: Arc<holdfast_blockstore::Writer>,
    /// Other writers of the path wait until it is linked.
    _gate: Gate,
}

impl Written {
    fn make(
        node: &Node,
        gate: Gate,
        base: Option<Cid>,
        builder: CidBuilder,
        rules: FileRules,
        options: WriteOptions,
        input: impl Read,
    ) -> Result<Self, FilesError> {
        let writer = node.store().writer();
        let source = Anywhere(node.fetch());
        let mut overlay = Overlay::new(&source);
        let file = base.unwrap_or_else(|| FileEdit::create(&mut overlay, builder).cid);
        // What of the file stays is as much part of the result as what is new.
        writer.find(&file)?;
        let mut edit = FileEdit::open(&mut overlay, rules, file)?;
        if options.truncate {
            edit.truncate(0)?;
        }
        let mut input = input.take(options.count.unwrap_or(u64::MAX));
        edit.write_at(options.offset, &mut input, &mut |blocks| Ok(writer.put(blocks)?))?;
        let (link, _) = edit.finish()?;
        put_blocks(&writer, &overlay.finish(&link.cid))?;
        Ok(Self { base, link, writer: Arc::new(writer), _gate: gate })
    }
}
