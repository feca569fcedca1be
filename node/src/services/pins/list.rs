//! `pin ls`: what is pinned, and through what a CID is pinned.

use holdfast_blockstore::{Pin, PinKind, PinsOf, ReadError, Through};
use holdfast_dag::cid::Cid;

use super::Pins;
use super::walk::{Walk, WalkFault};
use crate::fetch::known_block;
use crate::node::Node;
use crate::pool::{Cancelled, OperationStream, Output, PoolError};
use crate::services::dag::{IncompleteError, why_missing};

/// Pins handed over together, but for the first one, which goes at once.
const PINS_PER_STEP: usize = 256;
/// Steps that wait for a slow reader; then the listing waits.
const STEPS: usize = 4;

/// Which pins are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PinTypes {
    /// All of them.
    #[default]
    All,
    /// Recursive ones.
    Recursive,
    /// Direct ones.
    Direct,
    /// What is below a recursive pin and has no pin of its own.
    Indirect,
}

impl PinTypes {
    fn includes(self, kind: PinTypes) -> bool {
        self == Self::All || self == kind
    }
}

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// Which pins. Default: all.
    pub types: PinTypes,
    /// Only those whose name contains this. Default: every one.
    pub name: String,
}

/// How something is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinHow {
    /// With everything below it.
    Recursive,
    /// By itself.
    Direct,
    /// By a recursive pin above it: this one, where somebody asked.
    Indirect(Option<Box<Cid>>),
}

/// Something that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// What.
    pub cid: Cid,
    /// How.
    pub how: PinHow,
    /// The name of its pin; empty for none.
    pub name: String,
}

impl From<Pin> for Pinned {
    fn from(pin: Pin) -> Self {
        let how = match pin.kind {
            PinKind::Recursive => PinHow::Recursive,
            PinKind::Direct => PinHow::Direct,
        };
        Self { cid: pin.cid, how, name: pin.name }
    }
}

/// Why pins cannot be listed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PinListError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The walk over pinned DAGs could not go on.
    #[error(transparent)]
    Walk(#[from] WalkFault),
    /// Everything that could be found was listed, but a pinned DAG is not whole. The first fault.
    #[error(transparent)]
    Incomplete(#[from] IncompleteError),
    /// The consumer went away.
    #[error("pin ls was cancelled")]
    Cancelled,
    /// The pool failed.
    #[error(transparent)]
    Pool(#[from] PoolError),
}

impl From<Cancelled> for PinListError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// Pins as they are found, some at a time.
pub type PinListStream = OperationStream<Vec<Pinned>, PinListError>;

impl Pins {
    /// Lists pins: recursive ones, then direct ones, then what is pinned indirectly, each CID once.
    ///
    /// It reads as it goes. The first pin comes at once and memory does not grow with their number; pins that are made
    /// or removed meanwhile may or may not be listed. Indirect ones are walked, which takes a set of what was seen: its
    /// memory is bounded, what does not fit goes to a scratch file.
    pub fn list(&self, options: ListOptions) -> PinListStream {
        let node = self.node.clone();
        self.node.pool().stream(STEPS, move |output| list(&node, &options, output))
    }

    /// How each of these CIDs is pinned by pins of these types; `None` where it is not.
    ///
    /// Pins are of CIDs, not of blocks: the v1 of what is pinned as v0 is not pinned.
    pub async fn states(&self, cids: Vec<Cid>, types: PinTypes) -> Result<Vec<Option<Pinned>>, PinListError> {
        let node = self.node.clone();
        let work = move || cids.iter().map(|cid| state(&node, cid, types)).collect();
        self.node.pool().operation(work).await?
    }
}

fn state(node: &Node, cid: &Cid, types: PinTypes) -> Result<Option<Pinned>, PinListError> {
    // As in Kubo: what has a recursive pin is not pinned indirectly; what has a direct one may be.
    let climb = |own: &PinsOf| {
        let shown = own.direct.is_some() && types.includes(PinTypes::Direct);
        own.recursive.is_none() && !shown && types.includes(PinTypes::Indirect)
    };
    let standing = node.store().pins().standing(cid, climb)?;
    let pin = [(standing.own.recursive, PinTypes::Recursive), (standing.own.direct, PinTypes::Direct)]
        .into_iter()
        .find_map(|(pin, kind)| pin.filter(|_| types.includes(kind)));
    if let Some(pin) = pin {
        return Ok(Some(pin.into()));
    }
    let through = match standing.through {
        Some(Through::Pin(root)) => Some(root),
        Some(Through::None) | None => None,
        Some(Through::Unknown) => find_below(node, cid)?,
    };
    Ok(through.map(|root| Pinned { cid: *cid, how: PinHow::Indirect(Some(root)), name: String::new() }))
}

/// Looks for a CID below every recursive pin: the long way, for those whose ancestors cannot be climbed.
fn find_below(node: &Node, wanted: &Cid) -> Result<Option<Box<Cid>>, PinListError> {
    let mut walk = Walk::new(node.store(), node.repo_path());
    for pin in node.store().pins().iter(Some(PinKind::Recursive)) {
        let root = pin?.cid;
        let mut batch = first_batch(&mut walk, &root)?;
        while !batch.is_empty() {
            if batch.iter().any(|cid| cid == wanted) {
                return Ok(Some(Box::new(root)));
            }
            descend_all(node, &mut walk, &batch)?;
            batch = walk.next_batch()?;
        }
    }
    Ok(None)
}

/// The root alone, if it was not seen.
fn first_batch(walk: &mut Walk<'_>, root: &Cid) -> Result<Vec<Cid>, PinListError> {
    let new = walk.seen.insert(root).map_err(WalkFault::from)?;
    Ok(if new { vec![*root] } else { Vec::new() })
}

/// Descends into what is here; says what is not.
fn descend_all(node: &Node, walk: &mut Walk<'_>, cids: &[Cid]) -> Result<(), PinListError> {
    for (cid, size) in cids.iter().zip(node.store().sizes(cids)?) {
        match size {
            Some(size) => walk.descend(*cid, size),
            None if known_block(cid).is_some() => {}
            None => {
                walk.fault.get_or_insert_with(|| why_missing(node.store(), cid));
            }
        }
    }
    Ok(())
}

/// Gathers what is listed, so that not every pin crosses threads by itself.
struct Listing<'a> {
    output: &'a Output<Vec<Pinned>>,
    step: Vec<Pinned>,
    begun: bool,
}

impl Listing<'_> {
    fn give(&mut self, pinned: Pinned) -> Result<(), PinListError> {
        self.step.push(pinned);
        if self.begun && self.step.len() < PINS_PER_STEP {
            return Ok(());
        }
        self.begun = true;
        self.flush()
    }

    fn flush(&mut self) -> Result<(), PinListError> {
        if self.step.is_empty() && !self.output.is_cancelled() {
            return Ok(());
        }
        Ok(self.output.send(std::mem::take(&mut self.step))?)
    }
}

fn list(node: &Node, options: &ListOptions, output: &Output<Vec<Pinned>>) -> Result<(), PinListError> {
    let (pins, types) = (node.store().pins(), options.types);
    let mut listing = Listing { output, step: Vec::new(), begun: false };
    if types.includes(PinTypes::Recursive) {
        for pin in pins.iter(Some(PinKind::Recursive)) {
            let pin = pin?;
            if pin.name.contains(&options.name) {
                listing.give(pin.into())?;
            }
        }
    }
    if types.includes(PinTypes::Direct) {
        for pin in pins.iter(Some(PinKind::Direct)) {
            let pin = pin?;
            let listed = types == PinTypes::All && pins.get_kind(&pin.cid, PinKind::Recursive)?.is_some();
            if !listed && pin.name.contains(&options.name) {
                listing.give(pin.into())?;
            }
        }
    }
    // What is pinned indirectly has no name that could contain anything.
    let mut fault = None;
    if types.includes(PinTypes::Indirect) && options.name.is_empty() {
        // What was found so far is not kept waiting for the walk.
        listing.flush()?;
        fault = list_indirect(node, &mut listing)?;
    }
    listing.flush()?;
    fault.map_or(Ok(()), |fault| Err(fault.into()))
}

/// Lists what is below recursive pins and has no pin of its own. The first fault of a DAG that is not whole.
fn list_indirect(node: &Node, listing: &mut Listing<'_>) -> Result<Option<IncompleteError>, PinListError> {
    let pins = node.store().pins();
    let mut walk = Walk::new(node.store(), node.repo_path());
    for pin in pins.iter(Some(PinKind::Recursive)) {
        let mut batch = first_batch(&mut walk, &pin?.cid)?;
        while !batch.is_empty() {
            let recursive = pins.have(&batch, PinKind::Recursive)?;
            let direct = pins.have(&batch, PinKind::Direct)?;
            for ((cid, recursive), direct) in batch.iter().zip(recursive).zip(direct) {
                if !recursive && !direct {
                    let how = PinHow::Indirect(None);
                    listing.give(Pinned { cid: *cid, how, name: String::new() })?;
                }
            }
            if listing.output.is_cancelled() {
                return Err(PinListError::Cancelled);
            }
            descend_all(node, &mut walk, &batch)?;
            batch = walk.next_batch()?;
        }
    }
    Ok(walk.fault)
}
