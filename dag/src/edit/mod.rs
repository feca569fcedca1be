//! Editing UnixFS DAGs by path copying: what changes is written anew, from the leaf to the root, and the rest is shared.
//!
//! Nothing here knows a disk. Blocks that exist come from a [`BlockSource`]; new ones are kept in an [`Overlay`] over
//! it and handed out children first. A block that the source does not have ends an edit with [`EditError::Missing`],
//! which names it: whoever called gets it, without holding anything meanwhile, and runs the same edit again.
//!
//! - [`dir`] changes the entries of one directory, sharded or not, and changes between the two forms as boxo does:
//!   the CID is that of a directory built at once from the same entries.
//! - [`Tree`] does the same at the end of a path, and renews the directories above.
//! - [`FileEdit`] writes into, appends to and cuts files, with the layout of boxo's `DagModifier`.
//! - [`meta`] sets mode and modification time, and names a node by another kind of CID.
//!
//! ```
//! use holdfast_dag::edit::{Overlay, Tree, dir};
//! use holdfast_dag::import::ImportParams;
//!
//! let params = ImportParams::unixfs_v0_2015();
//! let mut overlay = Overlay::new(&());
//! let empty = dir::empty(&mut overlay, params.cid)?;
//! let mut tree = Tree::new(&mut overlay, &params, empty.cid);
//! tree.put(&[b"docs".as_slice()], empty)?;
//! assert!(tree.lookup(&[b"docs".as_slice()])?.link().is_some());
//! let root = tree.root();
//! assert_eq!(overlay.finish(&root).last().map(|block| block.cid), Some(root));
//! # Ok::<(), holdfast_dag::edit::EditError>(())
//! ```

pub mod dir;
mod error;
mod file;
mod file_node;
mod input;
pub mod meta;
mod overlay;
mod shard;
mod tree;
mod trickle;

#[cfg(test)]
mod tests;

pub use error::EditError;
pub use file::{Drain, FileEdit, FileRules, LINKS_MAX, SPARSE_CHUNK_BYTES};
pub use overlay::{BlockSource, Link, Overlay};
pub use tree::{Found, Tree};
