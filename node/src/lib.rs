//! The Holdfast node: an embeddable IPFS storage node, and the commands that the `holdfast` binary is made of.
//!
//! # Example
//! ```
//! use futures_util::TryStreamExt as _;
//! use holdfast::repo_init::InitParams;
//! use holdfast::services::unixfs::CatOptions;
//! use holdfast::services::unixfs::add::{AddEvent, AddOptions, DiskSource, Root, WalkOptions};
//! use holdfast::{Node, node};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (repo, file) = (folder.path().join("repo"), folder.path().join("hello.txt"));
//! # std::fs::write(&file, "hello world")?;
//! // Once: make a repo. The profile `test` keeps the node to itself.
//! let params = InitParams { repo: repo.clone(), profiles: "test".to_owned(), ..InitParams::default() };
//! node::init(&params, &mut |_| {})?;
//!
//! let node = Node::builder().repo(repo).open().await?;
//! let source = DiskSource::new(vec![Root::Path(file)], WalkOptions::default())?;
//! let mut events = node.unixfs().add(source, AddOptions::default());
//! let mut root = None;
//! while let Some(event) = events.try_next().await? {
//!     if let AddEvent::Added(added) = event {
//!         root = Some(added.cid);
//!     }
//! }
//! let root = root.ok_or("nothing was added")?;
//! assert_eq!(root.to_string(), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD");
//!
//! let file = node.unixfs().cat_cids(&[root], CatOptions::default()).await?;
//! let bytes: Vec<_> = file.try_collect().await?;
//! assert_eq!(bytes.concat(), b"hello world");
//! node.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Map
//! [`node`] is the handle; [`services`] is what it can do; [`fetch`] gets blocks, [`pool`] does what blocks, [`maintenance`] what nobody asks for, [`pinning`] asks pinning services, [`observe`] what it tells of itself. [`commands`]
//! define every command once, and [`cli`] is the terminal's door to them.

pub mod cli;
pub mod commands;
pub mod config;
pub(crate) mod daemon;
pub mod dns;
pub(crate) mod exchange;
pub mod fetch;
pub mod gateway;
pub mod go_text;
pub mod http;
pub mod identify;
pub mod keys;
pub mod maintenance;
pub(crate) mod memory;
pub mod node;
pub mod observe;
pub(crate) mod p2p;
pub mod pinning;
pub mod pool;
pub mod provide;
pub mod pubsub;
pub mod repo_init;
pub mod routing;
pub mod rpc;
pub mod runtime;
pub mod services;
pub mod swarm;

pub(crate) mod fsutil;
#[cfg(test)]
pub(crate) mod test_data;

pub use node::{Node, NodeBuilder, NodeError};
