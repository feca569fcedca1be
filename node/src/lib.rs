//! The Holdfast node: an embeddable IPFS storage node, and the commands that the `holdfast` binary is made of.

pub mod cli;
pub mod commands;
pub mod config;
pub mod go_text;
pub mod identify;
pub mod keys;
pub mod repo_init;
pub mod services;

pub(crate) mod fsutil;
#[cfg(test)]
pub(crate) mod test_data;
