//! Tests of the walkers over DAGs made by hand.

mod blocks;
mod dag;
mod dir;
mod entity;
mod file;
mod fixtures;
mod resolve;
mod tar;

use std::collections::HashSet;

use bytes::Bytes;

use self::blocks::Blocks;
use super::ReadError;
use crate::cid::Cid;
use crate::walk::{Step, Walker};

/// What a walk did.
struct Walk<T> {
    items: Vec<T>,
    /// Blocks in the order in which they were asked for.
    asked: Vec<Cid>,
}

/// Walks to the end, or to an error; blocks arrive one at a time and, of those asked for, the last one first.
fn walk_until<W: Walker<Error = ReadError>>(
    blocks: &Blocks,
    walker: &mut W,
    window_bytes: u64,
    mut enough: impl FnMut(&[W::Item]) -> bool,
) -> (Walk<W::Item>, Option<ReadError>) {
    let mut walk = Walk { items: Vec::new(), asked: Vec::new() };
    let mut under_way: Vec<Cid> = Vec::new();
    loop {
        match walker.step() {
            Ok(Step::Item(item)) => walk.items.push(item),
            Ok(Step::Done) => return (walk, None),
            Err(error) => {
                assert_eq!(walker.step().err().as_ref(), Some(&error), "a failed walker stays failed");
                return (walk, Some(error));
            }
            Ok(Step::Need) => {
                let known = under_way.len();
                walker.wants(window_bytes, &mut under_way);
                walk.asked.extend_from_slice(&under_way[known..]);
                let distinct: HashSet<Cid> = under_way.iter().copied().collect();
                assert_eq!(distinct.len(), under_way.len(), "asked again for what is under way");
                let cid = under_way.pop().expect("a walker that waits has asked for a block");
                walker.supply(&cid, blocks.get(&cid));
            }
        }
        if enough(&walk.items) {
            return (walk, None);
        }
    }
}

fn walk<W: Walker<Error = ReadError>>(blocks: &Blocks, walker: &mut W, window_bytes: u64) -> Walk<W::Item> {
    match walk_until(blocks, walker, window_bytes, |_| false) {
        (walk, None) => walk,
        (_, Some(error)) => panic!("{error}"),
    }
}

fn error_of<W: Walker<Error = ReadError>>(blocks: &Blocks, walker: &mut W) -> ReadError {
    let (_, error) = walk_until(blocks, walker, 1 << 20, |_| false);
    error.expect("the walk should have failed")
}

fn joined(items: &[Bytes]) -> Vec<u8> {
    items.concat()
}
