//! Sharded directories.
