//! What a commit changes besides blocks: pins, the root of the mutable file system and records of names, all of it or
//! nothing.
//!
//! One thread applies all changes (the committer), so an expectation that holds when its turn comes holds until its
//! changes are written: that is what makes "pinned?" followed by "then unpin" one step.

use std::collections::BTreeMap;

use holdfast_dag::cid::{Cid, cid_from_bytes};
use rocksdb::WriteBatch;

use crate::error::{IndexError, ReadError, WriteError};
use crate::index::{Index, View};
use crate::names::{self, NameRecord};
use crate::pins::{PIN_NAME_BYTES_MAX, Pin, PinKind};
use crate::rows::{family, files_key, pin_key, pin_value};
use crate::store::Store;
use crate::tail::Commit;

/// A change that [`Writer::commit`](crate::Writer::commit) makes together with others, or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a pin, or replaces the one of the same kind on the same CID.
    Pin(Pin),
    /// Removes a pin. One that is not there is no error.
    Unpin {
        /// What was pinned.
        cid: Cid,
        /// Which of its pins.
        kind: PinKind,
    },
    /// Changes nothing, but fails the commit with [`WriteError::Changed`] unless there is, or is not, such a pin.
    ExpectPin {
        /// What is, or is not, pinned.
        cid: Cid,
        /// By which kind of pin.
        kind: PinKind,
        /// Whether it is.
        pinned: bool,
    },
    /// Changes nothing, but fails the commit with [`WriteError::Changed`] unless this very pin is there, name and time
    /// included.
    ExpectSame(Pin),
    /// Replaces the root of the mutable file system. What it replaces is kept as the root before.
    FilesRoot(Cid),
    /// Replaces the record of a name.
    NameRecord {
        /// The name: the binary multihash of a public key.
        name: Vec<u8>,
        /// Its record.
        record: NameRecord,
    },
    /// Removes the record of a name. One that is not there is no error.
    NameForgotten {
        /// The name: the binary multihash of a public key.
        name: Vec<u8>,
    },
    /// Changes nothing, but fails the commit with [`WriteError::Changed`] unless this is the root.
    ExpectFilesRoot(Option<Cid>),
}

impl From<Pin> for Change {
    fn from(pin: Pin) -> Self {
        Self::Pin(pin)
    }
}

/// The root of the mutable file system, as it was last committed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilesRoots {
    /// The root; `None` if there never was one, or if its record is damaged.
    pub current: Option<Cid>,
    /// The root that it replaced.
    pub previous: Option<Cid>,
    /// What is wrong with the record of the current root.
    pub damage: Option<String>,
}

impl FilesRoots {
    /// The root to go on with: the current one, else the one before.
    pub fn usable(&self) -> Option<Cid> {
        self.current.or(self.previous)
    }
}

impl Store {
    /// The root of the mutable file system. A damaged record is no error: it is told, and the root before is there.
    pub fn files_roots(&self) -> Result<FilesRoots, ReadError> {
        Ok(files_roots(&*self.inner().index.get()?)?)
    }
}

pub(crate) fn files_roots(index: &Index) -> Result<FilesRoots, IndexError> {
    files_roots_in(&index.view())
}

/// Both roots as they were in one moment.
pub(crate) fn files_roots_in(view: &View<'_>) -> Result<FilesRoots, IndexError> {
    let row = |key| view.get(family::FILES, key);
    let mut roots = FilesRoots::default();
    match row(files_key::ROOT)?.map(|row| decode_files_root(&row)) {
        None => {}
        Some(Some(cid)) => roots.current = Some(cid),
        Some(None) => roots.damage = Some("the record of the files root is damaged".to_owned()),
    }
    roots.previous = row(files_key::PREVIOUS)?.and_then(|row| decode_files_root(&row));
    Ok(roots)
}

/// A root's row: version, checksum of the CID, CID.
fn encode_files_root(cid: &Cid) -> Vec<u8> {
    let bytes = cid.to_bytes();
    [&[1], crc32c::crc32c(&bytes).to_le_bytes().as_slice(), &bytes].concat()
}

pub(crate) fn decode_files_root(row: &[u8]) -> Option<Cid> {
    let (crc, bytes) = row.strip_prefix(&[1])?.split_first_chunk::<4>()?;
    (u32::from_le_bytes(*crc) == crc32c::crc32c(bytes)).then(|| cid_from_bytes(bytes).ok()).flatten()
}

/// A row that a change reads or writes.
type Place = (&'static str, Vec<u8>);

/// The rows of one round's commits, those that earlier commits of the round change included.
pub(crate) struct Changes<'a> {
    index: &'a Index,
    rows: BTreeMap<Place, Option<Vec<u8>>>,
    /// What became a root.
    pub(crate) roots: Vec<(Cid, PinKind)>,
}

impl<'a> Changes<'a> {
    pub(crate) fn new(index: &'a Index) -> Self {
        Self { index, rows: BTreeMap::new(), roots: Vec::new() }
    }

    /// Takes in the changes of a commit. `Ok(false)`: something that it expects is not so; nothing of it is taken in.
    pub(crate) fn apply(&mut self, commit: &Commit) -> Result<bool, IndexError> {
        for change in &commit.changes {
            let met = match change {
                Change::ExpectPin { cid, kind, pinned } => {
                    self.get(&(family::PINS, pin_key(*kind, cid)))?.is_some() == *pinned
                }
                Change::ExpectSame(pin) => {
                    let row = self.get(&(family::PINS, pin_key(pin.kind, &pin.cid)))?;
                    row == Some(pin_value(pin))
                }
                Change::ExpectFilesRoot(root) => {
                    let row = self.get(&(family::FILES, files_key::ROOT.to_vec()))?;
                    row == root.as_ref().map(encode_files_root)
                }
                Change::Pin(_)
                | Change::Unpin { .. }
                | Change::FilesRoot(_)
                | Change::NameRecord { .. }
                | Change::NameForgotten { .. } => true,
            };
            if !met {
                return Ok(false);
            }
        }
        for change in &commit.changes {
            match change {
                Change::Pin(pin) => {
                    self.roots.push((pin.cid, pin.kind));
                    self.rows.insert((family::PINS, pin_key(pin.kind, &pin.cid)), Some(pin_value(pin)));
                }
                Change::Unpin { cid, kind } => {
                    self.rows.insert((family::PINS, pin_key(*kind, cid)), None);
                }
                Change::FilesRoot(cid) => {
                    self.roots.push((*cid, PinKind::Recursive));
                    let place = (family::FILES, files_key::ROOT.to_vec());
                    // A damaged record is not kept as the root before.
                    let before = self.get(&place)?.filter(|row| decode_files_root(row).is_some());
                    if let Some(before) = before {
                        self.rows.insert((family::FILES, files_key::PREVIOUS.to_vec()), Some(before));
                    }
                    self.rows.insert(place, Some(encode_files_root(cid)));
                }
                Change::NameRecord { name, record } => {
                    let place = (family::NAMES, names::key_of(name));
                    self.rows.insert(place, Some(names::encode_row(record)));
                }
                Change::NameForgotten { name } => {
                    self.rows.insert((family::NAMES, names::key_of(name)), None);
                }
                Change::ExpectPin { .. } | Change::ExpectSame(_) | Change::ExpectFilesRoot(_) => {}
            }
        }
        Ok(true)
    }

    fn get(&self, place: &Place) -> Result<Option<Vec<u8>>, IndexError> {
        match self.rows.get(place) {
            Some(row) => Ok(row.clone()),
            None => self.index.get(place.0, &place.1),
        }
    }

    /// Puts the rows into a batch.
    pub(crate) fn put(&self, batch: &mut WriteBatch) {
        for ((name, key), value) in &self.rows {
            match value {
                Some(value) => batch.put_cf(self.index.family(name), key, value),
                None => batch.delete_cf(self.index.family(name), key),
            }
        }
    }
}

/// Refuses what no store takes, before anything waits.
pub(crate) fn check(changes: &[Change]) -> Result<(), WriteError> {
    changes.iter().try_for_each(|change| match change {
        Change::Pin(pin) if pin.name.len() > PIN_NAME_BYTES_MAX => {
            Err(WriteError::PinName { bytes: pin.name.len() })
        }
        Change::NameRecord { name, record } => names::check(name, record),
        _ => Ok(()),
    })
}
