//! The Holdfast node: an embeddable IPFS storage node, and the commands that the `holdfast` binary is made of.

pub mod cli;
pub mod commands;
pub mod config;
pub mod keys;
pub mod services;
