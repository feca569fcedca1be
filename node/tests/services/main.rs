//! What the services of a node do together, on a real store.

#![cfg(test)]

mod add_and_cat;
mod blocks_and_dags;
mod cars;
mod directories;
mod extraction;
mod garbage;
mod support;
mod trees;
mod trouble;
