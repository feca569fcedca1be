//! What a node does whose blocks are elsewhere: every service over an exchange in memory that gives what another node has,
//! in any order, late, or not at all.

#![cfg(test)]

mod changing;
mod healing;
mod keeping;
mod peers;
mod pinning;
mod reading;
mod support;
mod trouble;
