//! The exchange of these tests: it gives the blocks that it was told of, as its script says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::{BoxStream, StreamExt as _};
use holdfast::fetch::{Exchange, Session, Tried};
use holdfast_dag::cid::Cid;

/// What everybody else has, and what they do with it. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<Script>>);

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) blocks: HashMap<Cid, Bytes>,
    /// Not given before they are let go of.
    pub(crate) held: HashSet<Cid>,
    /// Nothing is given while this is set.
    pub(crate) all_held: bool,
    /// Nobody has these: the stream ends without them.
    pub(crate) given_up: HashSet<Cid>,
    /// Blocks that go out before all is held.
    pub(crate) given_max: Option<u64>,
    /// Asked for and not given now, with how often, and the most bytes that ever were.
    pub(crate) outstanding: BTreeMap<Cid, u64>,
    outstanding_bytes: u64,
    pub(crate) outstanding_bytes_max: u64,
    pub(crate) given: Vec<Cid>,
    pub(crate) sessions: u64,
    /// What the node said that it has.
    pub(crate) told: Vec<(Cid, u64)>,
    wakers: Vec<Waker>,
    random: u64,
}

impl Peers {
    pub(crate) fn with(blocks: HashMap<Cid, Bytes>) -> Self {
        Self(Arc::new(Mutex::new(Script { blocks, random: 0x9e37_79b9_7f4a_7c15, ..Script::default() })))
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    /// Changes the script, and lets those who wait look again.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Script)) {
        let mut script = self.script();
        change(&mut script);
        let wakers = std::mem::take(&mut script.wakers);
        drop(script);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Script {
    fn size(&self, cid: &Cid) -> u64 {
        self.blocks.get(cid).map_or(0, |block| block.len() as u64)
    }

    fn ask(&mut self, cid: &Cid) {
        *self.outstanding.entry(*cid).or_default() += 1;
        self.outstanding_bytes += self.size(cid);
        self.outstanding_bytes_max = self.outstanding_bytes_max.max(self.outstanding_bytes);
    }

    fn unask(&mut self, cid: &Cid) {
        self.outstanding_bytes -= self.size(cid);
        let count = self.outstanding.get_mut(cid).unwrap();
        *count -= 1;
        if *count == 0 {
            self.outstanding.remove(cid);
        }
    }

    /// Any of those that may be given.
    fn pick(&mut self, left: &[Cid]) -> Option<usize> {
        if self.all_held || self.given_max.is_some_and(|max| self.given.len() as u64 >= max) {
            return None;
        }
        let may = |cid: &Cid| {
            self.blocks.contains_key(cid) && !self.held.contains(cid) && !self.given_up.contains(cid)
        };
        let open: Vec<usize> =
            left.iter().enumerate().filter(|(_, cid)| may(cid)).map(|(at, _)| at).collect();
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        open.get(self.random as usize % open.len().max(1)).copied()
    }
}

impl Exchange for Peers {
    fn session(&self, _: &Cid) -> Arc<dyn Session> {
        self.script().sessions += 1;
        Arc::new(self.clone())
    }

    fn stored(&self, blocks: Vec<(Cid, u64)>) {
        self.script().told.extend(blocks);
    }
}

impl Session for Peers {
    fn get(&self, cids: Vec<Cid>) -> BoxStream<'static, (Cid, Bytes)> {
        let mut script = self.script();
        for cid in &cids {
            script.ask(cid);
        }
        drop(script);
        Giving { peers: self.clone(), left: cids }.boxed()
    }

    fn tried(&self) -> Tried {
        Tried { peers: vec!["12D3KooWTest".to_owned()], peers_asked: 1, dont_have: 1, searches: 2 }
    }
}

struct Giving {
    peers: Peers,
    left: Vec<Cid>,
}

impl Stream for Giving {
    type Item = (Cid, Bytes);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let peers = self.peers.clone();
        let mut script = peers.script();
        if let Some(at) = script.pick(&self.left) {
            let cid = self.left.swap_remove(at);
            script.unask(&cid);
            script.given.push(cid);
            return Poll::Ready(Some((cid, script.blocks[&cid].clone())));
        }
        if self.left.iter().all(|cid| script.given_up.contains(cid)) {
            return Poll::Ready(None);
        }
        script.wakers.push(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        let mut script = self.peers.script();
        self.left.iter().for_each(|cid| script.unask(cid));
    }
}
