//! What the services of a node do together, on a real store.

#![cfg(test)]

mod add_and_cat;
mod blocks_and_dags;
mod cars;
mod directories;
mod extraction;
mod files_model;
mod files_roots;
mod files_together;
mod garbage;
mod names;
mod support;
mod trees;
mod trouble;
