//! The Holdfast node: an embeddable IPFS storage node, and the commands that the `holdfast` binary is made of.

pub mod cli;
pub mod commands;
pub mod config;
pub mod fetch;
pub mod keys;
pub mod node;
pub mod pool;
pub mod services;

pub use node::{Node, NodeBuilder, NodeError};
