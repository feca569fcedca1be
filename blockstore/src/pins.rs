//! Pins: which DAGs and blocks are kept, and through what.

use std::fmt;
use std::time::SystemTime;

use holdfast_dag::cid::Cid;

use crate::error::ReadError;
use crate::pages::Pages;
use crate::rows::{decode_pin, family, pin_key};
use crate::store::Store;

/// Longest name of a pin, in bytes (the pinning service API's limit).
pub const PIN_NAME_BYTES_MAX: usize = 255;

/// Rows read at a time while listing.
const PAGE: usize = 1024;

/// How much a pin keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PinKind {
    /// The block and all that it links to.
    Recursive,
    /// The one block.
    Direct,
}

impl PinKind {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Recursive => 0,
            Self::Direct => 1,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        [Self::Recursive, Self::Direct].into_iter().find(|kind| kind.code() == code)
    }

    /// Kubo's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recursive => "recursive",
            Self::Direct => "direct",
        }
    }
}

/// A pin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// What is pinned, as it was asked for.
    pub cid: Cid,
    /// How much of it.
    pub kind: PinKind,
    /// Its name; empty for none. At most [`PIN_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_unix_ms: u64,
}

impl Pin {
    /// A pin that is made now.
    pub fn new(cid: Cid, kind: PinKind, name: impl Into<String>) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let created_unix_ms = now.map_or(0, |since| since.as_millis() as u64);
        Self { cid, kind, name: name.into(), created_unix_ms }
    }
}

/// Through what a block is pinned. It displays as Kubo says it: `pinned: recursive`, `pinned via <cid>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinnedBy {
    /// A pin of the block itself.
    Pin(PinKind),
    /// A recursive pin above it.
    Via(Box<Cid>),
}

impl fmt::Display for PinnedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pin(kind) => write!(f, "pinned: {}", kind.name()),
            Self::Via(cid) => write!(f, "pinned via {cid}"),
        }
    }
}

/// The pins on one CID. Both kinds may be there: a direct pin stays when the CID becomes the end of an update.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PinsOf {
    /// The recursive one.
    pub recursive: Option<Pin>,
    /// The direct one.
    pub direct: Option<Pin>,
}

/// The pins of a store.
pub struct Pins<'a> {
    pub(crate) store: &'a Store,
}

impl Store {
    /// The pins: looking up and listing. They are changed by [`Writer::commit`](crate::Writer::commit).
    pub fn pins(&self) -> Pins<'_> {
        Pins { store: self }
    }
}

impl Pins<'_> {
    /// The pin on exactly this CID: the recursive one, else the direct one.
    pub fn get(&self, cid: &Cid) -> Result<Option<Pin>, ReadError> {
        let pins = self.of(cid)?;
        Ok(pins.recursive.or(pins.direct))
    }

    /// Both pins on exactly this CID, as they were at one moment: one that is replaced by the other meanwhile is not
    /// missed.
    pub fn of(&self, cid: &Cid) -> Result<PinsOf, ReadError> {
        let [recursive, direct] = self.together([(cid, PinKind::Recursive), (cid, PinKind::Direct)])?;
        Ok(PinsOf { recursive, direct })
    }

    /// Some pins, as they were at one moment.
    pub fn together<const N: usize>(
        &self,
        pins: [(&Cid, PinKind); N],
    ) -> Result<[Option<Pin>; N], ReadError> {
        let keys = pins.map(|(cid, kind)| pin_key(kind, cid));
        let index = self.store.inner().index.get()?;
        let view = index.view();
        let mut found = [const { None }; N];
        for (found, key) in found.iter_mut().zip(&keys) {
            *found = view.get(family::PINS, key)?.map(|row| decode_pin(key, &row)).transpose()?;
        }
        Ok(found)
    }

    /// Which of these CIDs have a pin of this kind, with one lookup.
    pub fn have(&self, cids: &[Cid], kind: PinKind) -> Result<Vec<bool>, ReadError> {
        let keys: Vec<Vec<u8>> = cids.iter().map(|cid| pin_key(kind, cid)).collect();
        let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
        let rows = self.store.inner().index.get()?.get_many(family::PINS, &keys)?;
        Ok(rows.iter().map(Option::is_some).collect())
    }

    /// The pin of a kind on exactly this CID.
    pub fn get_kind(&self, cid: &Cid, kind: PinKind) -> Result<Option<Pin>, ReadError> {
        let key = pin_key(kind, cid);
        let value = self.store.inner().index.get()?.get(family::PINS, &key)?;
        Ok(value.map(|value| decode_pin(&key, &value)).transpose()?)
    }

    /// All pins of a kind, or of both (recursive ones first), in the order of their multihashes. It reads as it goes:
    /// memory is one page, and what changes meanwhile may or may not be seen.
    pub fn iter(&self, kind: Option<PinKind>) -> PinIter {
        let prefix = kind.map_or_else(Vec::new, |kind| vec![kind.code()]);
        PinIter(Pages::new(self.store, family::PINS, prefix, PAGE))
    }

    /// Through what a block is pinned, under whatever CID; `None` if nothing holds it. The cost is that of climbing
    /// from the block to the nearest pinned root, not that of walking what is pinned; only a block with more than
    /// 100,000 ancestors below the first pinned one is looked for from the pinned roots downwards.
    pub fn holder(&self, cid: &Cid) -> Result<Option<PinnedBy>, ReadError> {
        Ok(self.store.inner().pinned_by(&cid.hash().to_bytes())?)
    }
}

/// Pins one after the other.
pub struct PinIter(Pages);

impl Iterator for PinIter {
    type Item = Result<Pin, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.0.next()?.and_then(|(key, value)| decode_pin(&key, &value)).map_err(ReadError::from))
    }
}
