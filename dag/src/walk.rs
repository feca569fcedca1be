//! What all readers have in common: a walker wants blocks, is given them in any order, and gives items in order.
//!
//! A walker knows no disk and no network. Its driver asks [`Walker::step`]; on [`Step::Need`] it collects
//! [`Walker::wants`], gets those blocks wherever it likes (several at once, in any order), hands each to
//! [`Walker::supply`], and steps again.

use bytes::Bytes;

use crate::cid::Cid;

/// What a walker has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// The next item, in order.
    Item(T),
    /// Nothing until a wanted block is supplied.
    Need,
    /// The walk is complete.
    Done,
}

/// A sans-IO reader over a DAG.
pub trait Walker {
    /// What it gives.
    type Item;
    /// Why it may fail. A failed walker stays failed.
    type Error;

    /// Appends the blocks it will want next, in order of use, without repeats and without those that it has asked
    /// for before, until their estimated sizes reach `window_bytes` (at least one if it waits for any).
    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>);

    /// Takes a block that was asked for; its hash was checked. Blocks that nobody asked for are ignored.
    fn supply(&mut self, cid: &Cid, block: Bytes);

    /// Advances as far as the supplied blocks allow.
    fn step(&mut self) -> Result<Step<Self::Item>, Self::Error>;
}

/// Drives a walker to its end over a source that answers at once: for tests, and for stores in memory.
pub fn drive<W: Walker, E: From<W::Error>>(
    walker: &mut W,
    window_bytes: u64,
    mut get: impl FnMut(&Cid) -> Result<Bytes, E>,
    mut item: impl FnMut(W::Item) -> Result<(), E>,
) -> Result<(), E> {
    let mut wants = Vec::new();
    loop {
        match walker.step()? {
            Step::Item(next) => item(next)?,
            Step::Done => return Ok(()),
            Step::Need => {
                walker.wants(window_bytes, &mut wants);
                for cid in wants.drain(..) {
                    walker.supply(&cid, get(&cid)?);
                }
            }
        }
    }
}
