//! Making, copying, moving and removing entries; their metadata.

use std::sync::Arc;

use holdfast_dag::block::Block;
use holdfast_dag::cid::{Cid, CidBuilder, codec};
use holdfast_dag::edit::meta::{self, Field};
use holdfast_dag::edit::{Found, Link, Tree, dir};
use holdfast_dag::unixfs::Mtime;

use super::change::How;
use super::source::Fetched;
use super::{Files, FilesError, MfsPath, rules};
use crate::fetch::known_block;

/// How a directory is made.
#[derive(Debug, Clone, Copy, Default)]
pub struct MkdirOptions {
    /// Make the directories above too, and be content if it is there. Default: no.
    pub parents: bool,
    /// How it is named. Default: as the section `Import` of the config says.
    pub cid: Option<CidBuilder>,
    /// Leave it to a later flush to make it durable. Default: no.
    pub unflushed: bool,
}

/// How something is copied into the tree.
#[derive(Debug, Clone, Copy, Default)]
pub struct CopyOptions {
    /// Make the directories above too. Default: no.
    pub parents: bool,
    /// Replace a file that is there. Default: no.
    pub force: bool,
    /// How directories that are made are named. Default: as the section `Import` of the config says.
    pub cid: Option<CidBuilder>,
    /// Leave it to a later flush to make it durable. Default: no.
    pub unflushed: bool,
}

impl Files {
    /// Makes a directory.
    pub async fn mkdir(&self, path: MfsPath, options: MkdirOptions) -> Result<(), FilesError> {
        let builder = self.builder(options.cid)?;
        self.change(How::new(!options.unflushed), move |tree| mkdir(tree, &path, options.parents, builder))
            .await
    }

    /// Puts a node at a path: its root is linked, and what is below it is neither read nor fetched.
    pub async fn link(&self, cid: Cid, path: MfsPath, options: CopyOptions) -> Result<(), FilesError> {
        let builder = self.builder(options.cid)?;
        let mut fetched = Fetched::default();
        let block = self.node.fetch().get(&cid).await?;
        fetched.insert(cid, block.clone())?;
        // Found or put by a writer, the root stays until the tree holds it.
        let node = self.node.clone();
        let find = move || {
            let writer = node.store().writer();
            if writer.find(&cid)?.is_none() && known_block(&cid).is_none() {
                writer.put([Block::trusted(cid, block)])?;
            }
            Ok::<_, FilesError>(Arc::new(writer))
        };
        let own = self.node.pool().operation(find).await??;
        let how = How::new(!options.unflushed).with_blocks(fetched).with_writer(own);
        self.change(how, move |tree| {
            let link = dir::link_to(tree.overlay(), &cid)?;
            if options.parents && !path.parent().is_root() {
                mkdir(tree, &path.parent(), true, builder)?;
            }
            if options.force {
                unlink_file(tree, &path)?;
            }
            put(tree, &path, link)
        })
        .await
    }

    /// Moves an entry: into the directory at `to`, if there is one; else to that path, in place of a file there.
    pub async fn mv(&self, from: MfsPath, to: MfsPath, flush: bool) -> Result<(), FilesError> {
        self.change(How::new(flush), move |tree| mv(tree, &from, &to)).await
    }

    /// Removes entries, and says for each what it failed with. The others are gone then, durably.
    pub async fn remove(
        &self,
        paths: Vec<MfsPath>,
        recursive: bool,
        force: bool,
    ) -> Result<Vec<Result<(), FilesError>>, FilesError> {
        self.change(How::removal(), move |tree| {
            let mut outcomes = Vec::with_capacity(paths.len());
            for path in &paths {
                match remove(tree, path, recursive, force) {
                    // Not an outcome: it is fetched, and all is done again.
                    Err(FilesError::Missing(cid)) => return Err(FilesError::Missing(cid)),
                    outcome => outcomes.push(outcome),
                }
            }
            Ok(outcomes)
        })
        .await
    }

    /// Sets the permissions of what is at a path; zero removes them. Durable when it returns.
    pub async fn chmod(&self, path: MfsPath, mode: u32) -> Result<(), FilesError> {
        let mode = if mode.trailing_zeros() >= 12 { Field::Clear } else { Field::Set(mode) };
        self.set_meta(path, mode, Field::Keep).await
    }

    /// Sets the modification time of what is at a path. Durable when it returns.
    pub async fn touch(&self, path: MfsPath, mtime: Mtime) -> Result<(), FilesError> {
        self.set_meta(path, Field::Keep, Field::Set(mtime)).await
    }

    async fn set_meta(&self, path: MfsPath, mode: Field<u32>, mtime: Field<Mtime>) -> Result<(), FilesError> {
        // A write that runs would find another file in its place.
        let _gate = self.node.files_state().gates.enter(path.clone().without_slash().to_string()).await;
        self.change(How::new(true), move |tree| {
            let cid = existing(tree, &path)?;
            let changed = meta::set(tree.overlay(), &cid, mode, mtime)?;
            replace(tree, &path, changed)
        })
        .await
    }

    /// Names a directory by another version or hash function; what is in it keeps its names.
    pub async fn chcid(&self, path: MfsPath, cid: CidBuilder, flush: bool) -> Result<(), FilesError> {
        if path.is_root() {
            return Err(FilesError::RootFormat);
        }
        // Not counted among the unflushed changes, as in Kubo.
        let work = move |tree: &mut Tree<'_, '_>| {
            let old = existing(tree, &path)?;
            if !tree.is_directory(&old)? {
                return Err(FilesError::OnlyDirectories);
            }
            let renamed = meta::rename_cid(tree.overlay(), &old, cid)?;
            replace(tree, &path, renamed)
        };
        self.change(How::uncounted(flush), work).await
    }

    /// How new nodes are named.
    pub(super) fn builder(&self, given: Option<CidBuilder>) -> Result<CidBuilder, FilesError> {
        match given {
            Some(given) => Ok(given),
            None => Ok(rules::params(self.node.config())?.cid),
        }
    }
}

/// What is at a path, which must be there.
pub(super) fn existing(tree: &Tree<'_, '_>, path: &MfsPath) -> Result<Cid, FilesError> {
    match tree.lookup(path.segments())? {
        Found::Root(cid) => Ok(cid),
        Found::Entry(link) => Ok(link.cid),
        Found::Absent(_) => Err(FilesError::NotExist),
        Found::NotADirectory(depth) => {
            let way = path.segments().get(..=depth).unwrap_or(path.segments());
            Err(FilesError::NotADirectoryOnTheWay(way.join("/")))
        }
    }
}

/// The directory at a path; `words` are for what is there and is none.
fn directory(
    tree: &Tree<'_, '_>,
    path: &MfsPath,
    words: impl FnOnce() -> FilesError,
) -> Result<Cid, FilesError> {
    let cid = existing(tree, path)?;
    if tree.is_directory(&cid)? { Ok(cid) } else { Err(words()) }
}

/// Puts what `path` leads to now in the place of what was there, which may be the root.
fn replace(tree: &mut Tree<'_, '_>, path: &MfsPath, link: Link) -> Result<(), FilesError> {
    if path.is_root() {
        tree.set_root(link.cid);
        return Ok(());
    }
    Ok(tree.put(path.segments(), link)?)
}

pub(super) fn mkdir(
    tree: &mut Tree<'_, '_>,
    path: &MfsPath,
    parents: bool,
    builder: CidBuilder,
) -> Result<(), FilesError> {
    if path.is_root() {
        return if parents { Ok(()) } else { Err(FilesError::RootExists) };
    }
    let names = path.segments();
    for depth in first_missing(tree, path, parents)?..names.len() {
        let empty = dir::empty(tree.overlay(), builder)?;
        tree.put(names.get(..=depth).unwrap_or_default(), empty)?;
    }
    Ok(())
}

/// From which depth on the directories of a path are to be made; fails where they cannot be.
pub(super) fn first_missing(tree: &Tree<'_, '_>, path: &MfsPath, parents: bool) -> Result<usize, FilesError> {
    let names = path.segments();
    let last = names.len().saturating_sub(1);
    for depth in 0..names.len() {
        match tree.lookup(names.get(..=depth).unwrap_or_default())? {
            Found::Root(_) => {}
            Found::Entry(link) => {
                let is_directory = tree.is_directory(&link.cid)?;
                if depth == last && !(parents && is_directory) {
                    return Err(FilesError::Exists);
                }
                if depth < last && !is_directory {
                    let above = names.get(..depth).unwrap_or_default();
                    return Err(FilesError::WasNotADirectory(above.join("/")));
                }
            }
            Found::Absent(_) | Found::NotADirectory(_) if depth < last && !parents => {
                return Err(FilesError::NotExist);
            }
            Found::Absent(_) | Found::NotADirectory(_) => return Ok(depth),
        }
    }
    Ok(names.len())
}

/// Puts a node at a path where nothing is.
pub(super) fn put(tree: &mut Tree<'_, '_>, path: &MfsPath, link: Link) -> Result<(), FilesError> {
    if path.is_root() || path.has_trailing_slash() {
        return Err(FilesError::EmptyName);
    }
    let parent = path.parent();
    directory(tree, &parent, || FilesError::NotADirectory(directory_text(&parent)))?;
    match tree.lookup(path.segments())? {
        Found::Absent(_) => Ok(tree.put(path.segments(), link)?),
        _ => Err(FilesError::EntryExists),
    }
}

/// A directory as Kubo names it in errors: with a slash at its end.
fn directory_text(path: &MfsPath) -> String {
    if path.is_root() { "/".to_owned() } else { format!("{path}/") }
}

/// Removes the file at a path, if there is one.
fn unlink_file(tree: &mut Tree<'_, '_>, path: &MfsPath) -> Result<(), FilesError> {
    let parent = path.parent();
    match directory(tree, &parent, || FilesError::NotADirectoryAbove(directory_text(&parent))) {
        Err(FilesError::NotExist) => return Ok(()),
        other => other?,
    };
    let Found::Entry(link) = tree.lookup(path.segments())? else { return Ok(()) };
    if tree.is_directory(&link.cid)? {
        return Err(FilesError::NotOverwritable(path.to_string()));
    }
    tree.remove(path.segments())?;
    Ok(())
}

fn mv(tree: &mut Tree<'_, '_>, from: &MfsPath, to: &MfsPath) -> Result<(), FilesError> {
    let into = to.has_trailing_slash() || to.is_root();
    let to_parent = if into { to.clone().without_slash() } else { to.parent() };
    directory(tree, &to_parent, || FilesError::NotADirectory(directory_text(&to_parent)))?;
    let from_parent = from.parent();
    directory(tree, &from_parent, || FilesError::NotADirectory(directory_text(&from_parent)))?;
    if from.is_root() || from.has_trailing_slash() {
        return Err(FilesError::NotExist);
    }
    let Found::Entry(moved) = tree.lookup(from.segments())? else { return Err(FilesError::NotExist) };
    let mut target = to_parent.join(if into { from.name() } else { to.name() });
    if let Found::Entry(there) = tree.lookup(target.segments())? {
        if tree.is_directory(&there.cid)? {
            target = target.join(from.name());
            if matches!(tree.lookup(target.segments())?, Found::Entry(_)) {
                return Err(FilesError::EntryExists);
            }
        } else if target == *from {
            return Ok(());
        }
    }
    if target.starts_with(from) {
        return Err(FilesError::IntoItself { from: from.to_string(), to: target.to_string() });
    }
    tree.put(target.segments(), moved)?;
    tree.remove(from.segments())?;
    Ok(())
}

fn remove(tree: &mut Tree<'_, '_>, path: &MfsPath, recursive: bool, force: bool) -> Result<(), FilesError> {
    if path.is_root() {
        return Err(FilesError::DeleteRoot);
    }
    match directory(tree, &path.parent(), || FilesError::ParentNotADirectory) {
        Err(FilesError::NotExist) if force => return Ok(()),
        other => other?,
    };
    match tree.lookup(path.segments())? {
        Found::Entry(link) => {
            // What is removed by force is not looked at: it may be damaged, or nowhere.
            if !force && !recursive && tree.is_directory(&link.cid)? {
                return Err(FilesError::IsDirectory);
            }
            tree.remove(path.segments())?;
            Ok(())
        }
        _ if force => Ok(()),
        _ => Err(FilesError::NotExist),
    }
}

/// The file at a path that is to be written, or that there is none; with `create` it is seen to that there may be
/// one.
pub(super) fn writable(tree: &Tree<'_, '_>, path: &MfsPath, create: bool) -> Result<Option<Cid>, FilesError> {
    match tree.lookup(path.segments())? {
        Found::Root(_) => Err(FilesError::NotAFile(path.to_string())),
        Found::Entry(link) if link.cid.codec() != codec::RAW && tree.is_directory(&link.cid)? => {
            Err(FilesError::NotAFile(path.to_string()))
        }
        Found::Entry(link) => Ok(Some(link.cid)),
        Found::Absent(depth) if !create || depth + 1 < path.segments().len() => Err(FilesError::NotExist),
        Found::Absent(_) => Ok(None),
        Found::NotADirectory(_) => existing(tree, path).map(Some),
    }
}
