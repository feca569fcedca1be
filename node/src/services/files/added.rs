//! `add --to-files`: what was added is linked into the tree.

use holdfast_blockstore::Held;
use holdfast_dag::edit::{Found, Tree, dir};
use holdfast_dag::import::Imported;

use super::change::{How, change};
use super::entries::{existing, put};
use super::source::Fetched;
use super::{FilesError, MfsPath};
use crate::go_text::go_quote;
use crate::node::Node;

/// Where the top-level entries of an add go to.
#[derive(Debug)]
pub(crate) struct ToFiles {
    path: String,
    /// Something was linked to the very path that was given: it takes one entry only.
    taken: bool,
}

/// A top-level entry that was added.
pub(crate) struct AddedRoot {
    /// The name it came with, which may be empty.
    pub(crate) name: String,
    pub(crate) imported: Imported,
    /// Keeps it until it is linked, whether it is pinned or not.
    pub(crate) _held: Held,
}

impl ToFiles {
    /// Goes to `path`; an empty one is the root.
    pub(crate) fn new(path: &str) -> Self {
        Self { path: if path.is_empty() { "/".to_owned() } else { path.to_owned() }, taken: false }
    }

    /// Links one entry, durably. The error is the whole text that a user sees. Blocks.
    pub(crate) fn link(&mut self, node: &Node, root: &AddedRoot) -> Result<(), String> {
        self.try_link(node, root).map_err(|words| format!("to-files: {words}"))
    }

    fn try_link(&mut self, node: &Node, root: &AddedRoot) -> Result<(), String> {
        if root.name.is_empty() {
            return Err("cannot add unnamed files to MFS".to_owned());
        }
        let given = MfsPath::parse(&self.path).map_err(|error| error.to_string())?;
        let as_directory = given.is_root() || given.has_trailing_slash();
        let name = root.name.rsplit('/').next().unwrap_or_default();
        let target = if as_directory { given.clone().without_slash().join(name) } else { given.clone() };
        let taken = self.taken;
        let cid = root.imported.cid;
        let work = |tree: &mut Tree<'_, '_>| {
            let quoted = go_quote(&given.to_string());
            if as_directory {
                match existing(tree, &given) {
                    Err(FilesError::Missing(cid)) => return Err(FilesError::Missing(cid)),
                    Err(error) => {
                        return Ok(Err(format!(
                            "MFS destination directory {quoted} does not exist: {error}"
                        )));
                    }
                    Ok(found) if !tree.is_directory(&found)? => {
                        return Ok(Err(format!("MFS destination {quoted} is not a directory")));
                    }
                    Ok(_) => {}
                }
            }
            if taken && !as_directory {
                return Ok(Err(format!(
                    "MFS destination is a file: only one entry can be copied to {quoted}"
                )));
            }
            let (quoted, parent) = (go_quote(&target.to_string()), target.parent());
            match tree.lookup(parent.segments())? {
                Found::Root(_) | Found::Entry(_) => {}
                Found::Absent(_) | Found::NotADirectory(_) => {
                    let Err(error) = existing(tree, &parent) else { return Err(FilesError::NotExist) };
                    return Ok(Err(format!(
                        "MFS destination parent {quoted} {} does not exist: {error}",
                        go_quote(&parent.to_string())
                    )));
                }
            }
            let link = dir::link_to(tree.overlay(), &cid)?;
            match put(tree, &target, link) {
                Err(FilesError::Missing(cid)) => Err(FilesError::Missing(cid)),
                Err(error) => Ok(Err(format!("cannot put node in path {quoted}: {error}"))),
                Ok(()) => Ok(Ok(())),
            }
        };
        let (how, mut fetched) = (How::new(true), Fetched::default());
        loop {
            match change(node, &how, &fetched, &work) {
                Err(FilesError::Missing(cid)) => {
                    let block = node.fetch().get_blocking(&cid).map_err(|error| error.to_string())?;
                    fetched.insert(*cid, block).map_err(|error| error.to_string())?;
                }
                Err(error) => return Err(error.to_string()),
                Ok(done) => {
                    done?;
                    self.taken = true;
                    return Ok(());
                }
            }
        }
    }
}
