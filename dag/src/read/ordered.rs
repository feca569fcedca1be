//! The engine of the walkers: a depth-first walk in order that looks ahead as far as a window of bytes allows.
//!
//! The walk is a stack of frames, one a block on the way to the current position, each with what its block still has
//! to give. Looking ahead pulls pieces out of the frames before their turn: blocks to ask for, and, where an inner
//! block has already arrived, its own pieces in turn. Pieces that depend on what was visited before are decided when
//! their turn comes, never ahead, so that the order of the output does not depend on the order of arrival.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::error::ReadError;
use super::window::{Supplied, Want, Window};
use crate::cid::Cid;
use crate::walk::{Step, Walker};

/// Most bytes of links that a walker holds for the blocks between the root and its position: 64 MiB.
pub const HELD_BYTES_MAX: usize = 64 << 20;

/// What a block counts in a window at least: bounds the blocks in flight where sizes are unknown or lie.
const BLOCK_BYTES_MIN: u64 = 4 << 10;

/// What a node without a block counts in a window: about the memory that it takes.
const NODE_BYTES: u64 = 512;

/// What an opened block gives next.
pub(crate) enum Piece<N, I> {
    /// Output.
    Item(I),
    /// A child to be visited here.
    Node(N),
}

/// What happens when a node's turn comes.
pub(crate) struct Admission<I> {
    /// Given out before anything below the node.
    pub(crate) item: Option<I>,
    /// Whether to visit what is below.
    pub(crate) descend: bool,
}

/// The particulars of one kind of walk.
pub(crate) trait Plan {
    /// A block to be visited, and why.
    type Node;
    /// What an opened block still has to give.
    type Run;
    /// Output.
    type Item;

    /// The block to visit.
    fn cid(node: &Self::Node) -> &Cid;

    /// Expected size of the block in bytes.
    fn estimate(node: &Self::Node) -> u64;

    /// What an item that is ready ahead of its turn takes beside the block that it is from, in bytes.
    fn item_bytes(_item: &Self::Item) -> u64 {
        0
    }

    /// Decodes a block. May happen ahead of its turn.
    fn open(&mut self, node: &Self::Node, block: &Bytes) -> Result<Self::Run, ReadError>;

    /// The next piece of an opened block. May happen ahead of its turn.
    fn next(&self, run: &mut Self::Run) -> Option<Piece<Self::Node, Self::Item>>;

    /// Memory that the rest of a run holds, in bytes; 0 if it has nothing more to give.
    fn held(run: &Self::Run) -> usize;

    /// Whether the node would be passed over if its turn were now.
    fn passes_over(&self, _node: &Self::Node) -> bool {
        false
    }

    /// Whether the node's block is needed at all.
    fn needs_block(&self, _node: &Self::Node) -> bool {
        true
    }

    /// The node's turn has come. `block` is empty if it is not needed.
    fn admit(&mut self, _node: &Self::Node, _block: &Bytes) -> Admission<Self::Item> {
        Admission { item: None, descend: true }
    }
}

/// Most blocks that are opened ahead of their turn inside one another: bounds the depth of the call stack.
const AHEAD_NESTING_MAX: usize = 64;

struct Frame<P: Plan> {
    ahead: VecDeque<Ahead<P>>,
    run: Option<P::Run>,
    held: usize,
}

enum Ahead<P: Plan> {
    Item(P::Item),
    Node(Box<Pending<P>>),
}

struct Pending<P: Plan> {
    node: P::Node,
    want: Arc<Want>,
    /// Opened ahead of its turn.
    opened: Option<Frame<P>>,
}

impl<P: Plan> Frame<P> {
    fn new(run: P::Run) -> Self {
        let held = P::held(&run);
        Self { ahead: VecDeque::new(), run: (held > 0).then_some(run), held }
    }

    /// Whether there is another piece at `index`, pulling it out of the run if need be.
    fn pull(&mut self, plan: &P, window: &mut Window, index: usize) -> bool {
        while self.ahead.len() <= index {
            let Some(run) = &mut self.run else { return false };
            match plan.next(run) {
                Some(Piece::Item(item)) => self.ahead.push_back(Ahead::Item(item)),
                Some(Piece::Node(node)) => self.ahead.push_back(Ahead::pending(node, window)),
                None => self.run = None,
            }
        }
        true
    }

    fn is_exhausted(&self) -> bool {
        self.ahead.is_empty() && self.run.as_ref().is_none_or(|run| P::held(run) == 0)
    }

    /// Collects wants and opens what has arrived, in order, until the budget is used up.
    fn look_ahead(&mut self, look: &mut LookAhead<'_, P>) {
        let mut index = 0;
        while look.budget > 0 && self.pull(look.plan, look.window, index) {
            let cost = match self.ahead.get_mut(index) {
                Some(Ahead::Item(item)) => P::item_bytes(item),
                Some(Ahead::Node(pending)) => pending.look_ahead(look),
                None => return,
            };
            look.spend(cost);
            index += 1;
        }
    }
}

/// One look ahead: what it works with, and what is left of its window.
struct LookAhead<'a, P: Plan> {
    plan: &'a mut P,
    window: &'a mut Window,
    wants: &'a mut Vec<Cid>,
    budget: u64,
    nesting: usize,
}

impl<P: Plan> LookAhead<'_, P> {
    fn spend(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_sub(bytes);
    }
}

impl<P: Plan> Ahead<P> {
    fn pending(node: P::Node, window: &mut Window) -> Self {
        let want = window.want(P::cid(&node));
        Self::Node(Box::new(Pending { node, want, opened: None }))
    }
}

impl<P: Plan> Pending<P> {
    /// The block, once it is there or if it is not needed.
    fn block(&self, plan: &P) -> Option<Supplied> {
        if plan.needs_block(&self.node) {
            self.want.supplied().cloned()
        } else {
            Some(Supplied::Block(Bytes::new()))
        }
    }

    /// Looks ahead in this node and says what it counts in the window by itself.
    fn look_ahead(&mut self, look: &mut LookAhead<'_, P>) -> u64 {
        if look.plan.passes_over(&self.node) {
            return NODE_BYTES;
        }
        let block = match self.block(look.plan) {
            Some(Supplied::Block(block)) => block,
            Some(Supplied::Missing) => return NODE_BYTES,
            None => {
                if self.want.ask() {
                    look.wants.push(*P::cid(&self.node));
                }
                return P::estimate(&self.node).max(BLOCK_BYTES_MIN);
            }
        };
        if self.opened.is_none() && look.nesting < AHEAD_NESTING_MAX {
            // What does not open now fails when its turn comes.
            self.opened = look.plan.open(&self.node, &block).ok().map(Frame::new);
        }
        if let Some(frame) = &mut self.opened {
            look.nesting += 1;
            frame.look_ahead(look);
            look.nesting -= 1;
        }
        if look.plan.needs_block(&self.node) { BLOCK_BYTES_MIN.max(block.len() as u64) } else { NODE_BYTES }
    }

    /// What the node counted in the window at most, now that it leaves it.
    fn passed_bytes(&self, plan: &P, block: &Bytes) -> u64 {
        if plan.needs_block(&self.node) {
            P::estimate(&self.node).max(block.len() as u64).max(BLOCK_BYTES_MIN)
        } else {
            NODE_BYTES
        }
    }
}

/// A walk over a DAG as its [`Plan`] says.
pub(crate) struct Ordered<P: Plan> {
    plan: P,
    window: Window,
    stack: Vec<Frame<P>>,
    held: usize,
    failed: Option<ReadError>,
    /// Whether the walk stands before a block that it has not asked for.
    starved: bool,
    /// Of the last look ahead: whether the window was not filled.
    slack: bool,
    /// Since then: whether a block came, and what the pieces that were passed counted in the window.
    arrived: bool,
    passed_bytes: u64,
}

impl<P: Plan> Ordered<P> {
    pub(crate) fn new(plan: P, roots: impl IntoIterator<Item = P::Node>) -> Self {
        let mut window = Window::default();
        let ahead = roots.into_iter().map(|root| Ahead::pending(root, &mut window)).collect();
        let stack = vec![Frame { ahead, run: None, held: 0 }];
        Self {
            plan,
            window,
            stack,
            held: 0,
            failed: None,
            starved: false,
            slack: true,
            arrived: true,
            passed_bytes: 0,
        }
    }

    pub(crate) fn plan(&self) -> &P {
        &self.plan
    }

    pub(crate) fn plan_mut(&mut self) -> &mut P {
        &mut self.plan
    }

    /// Goes on without a block that nobody has: what is below it is left out.
    pub(crate) fn supply_missing(&mut self, cid: &Cid) {
        self.arrived |= self.window.supply(cid, Supplied::Missing);
    }

    fn advance(&mut self) -> Result<Step<P::Item>, ReadError> {
        loop {
            let Some(frame) = self.stack.last_mut() else { return Ok(Step::Done) };
            if !frame.pull(&self.plan, &mut self.window, 0) {
                self.held -= frame.held;
                self.stack.pop();
                continue;
            }
            match frame.ahead.pop_front() {
                None => {}
                Some(Ahead::Item(item)) => return Ok(Step::Item(item)),
                Some(Ahead::Node(pending)) => {
                    if self.plan.passes_over(&pending.node) {
                        self.passed_bytes += NODE_BYTES;
                        continue;
                    }
                    let block = match pending.block(&self.plan) {
                        Some(Supplied::Block(block)) => block,
                        Some(Supplied::Missing) => continue,
                        None => {
                            self.starved = !pending.want.is_asked();
                            frame.ahead.push_front(Ahead::Node(pending));
                            return Ok(Step::Need);
                        }
                    };
                    self.passed_bytes += pending.passed_bytes(&self.plan, &block);
                    if let Some(item) = self.enter(*pending, &block)? {
                        return Ok(Step::Item(item));
                    }
                }
            }
        }
    }

    fn enter(&mut self, pending: Pending<P>, block: &Bytes) -> Result<Option<P::Item>, ReadError> {
        let Admission { item, descend } = self.plan.admit(&pending.node, block);
        if descend {
            let frame = match pending.opened {
                Some(frame) => frame,
                None => Frame::new(self.plan.open(&pending.node, block)?),
            };
            // A chain of last children, such as a linked list, keeps the stack flat.
            if self.stack.last().is_some_and(Frame::is_exhausted)
                && let Some(done) = self.stack.pop()
            {
                self.held -= done.held;
            }
            self.held += frame.held;
            if self.held > HELD_BYTES_MAX {
                let cid = Box::new(*P::cid(&pending.node));
                return Err(ReadError::TooWide { cid, limit: HELD_BYTES_MAX });
            }
            self.stack.push(frame);
        }
        Ok(item)
    }
}

impl<P: Plan> Walker for Ordered<P> {
    type Item = P::Item;
    type Error = ReadError;

    fn wants(&mut self, window_bytes: u64, wants: &mut Vec<Cid>) {
        // A look ahead visits the whole window, and a caller may ask after every item: it has to pay.
        let progress = self.passed_bytes >= window_bytes / 8;
        if self.failed.is_some() || !(self.starved || progress || (self.slack && self.arrived)) {
            return;
        }
        (self.starved, self.arrived, self.passed_bytes) = (false, false, 0);
        let (plan, window, budget) = (&mut self.plan, &mut self.window, window_bytes.max(1));
        let mut look = LookAhead { plan, window, wants, budget, nesting: 0 };
        for frame in self.stack.iter_mut().rev() {
            frame.look_ahead(&mut look);
            if look.budget == 0 {
                break;
            }
        }
        self.slack = look.budget > 0;
    }

    fn supply(&mut self, cid: &Cid, block: Bytes) {
        self.arrived |= self.window.supply(cid, Supplied::Block(block));
    }

    fn step(&mut self) -> Result<Step<P::Item>, ReadError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let step = self.advance();
        match &step {
            Ok(Step::Item(item)) => self.passed_bytes += P::item_bytes(item),
            Ok(_) => {}
            Err(error) => {
                self.failed = Some(error.clone());
                self.stack = Vec::new();
            }
        }
        step
    }
}
