//! Sharded directories.

pub mod hash;
pub mod read;
