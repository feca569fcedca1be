//! Files and directories: `add`, `cat`, `ls`, `get`.

pub mod add;
mod cat;
mod extract;
mod get;
mod ls;
mod new_entry;
mod tar_stream;
mod untar;

use crate::node::Node;

pub(crate) use new_entry::NewEntry;

pub use cat::{Cat, CatError, CatOptions};
pub use extract::{ExtractError, ExtractOptions, ExtractStream};
pub use get::{Get, GetError, GetOptions};
pub use ls::{Ls, LsEntry, LsError, LsKind, LsOptions};
pub(crate) use untar::untar;

/// The UnixFS service of a node.
#[derive(Debug, Clone)]
pub struct Unixfs {
    node: Node,
}

impl Node {
    /// Files and directories.
    pub fn unixfs(&self) -> Unixfs {
        Unixfs { node: self.clone() }
    }
}
