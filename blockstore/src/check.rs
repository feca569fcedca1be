//! The full walk: whether everything that the index counts and derives is what its rows and the values say.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use holdfast_dag::cid::{Cid, codec};

use crate::error::{IndexError, ReadError};
use crate::index::{View, after};
use crate::links::{children, rlinks_keys};
use crate::names;
use crate::rows::{
    MetaRow, decode_i64, decode_links, decode_meta_key, decode_pin, family, hex, links_key, split_links_key,
    stats_key,
};
use crate::segment::{MULTIHASH_BYTES_MAX, SEGMENT_HEADER_BYTES, multihash_from};
use crate::store::{Inner, Store};

/// Sentences that a check returns at most; one more then says how many were left out.
const FOUND_MAX: usize = 100;
/// Bytes of values and number of nodes in memory at a time.
const VALUE_BYTES_AT_ONCE: u64 = 8 << 20;
const NODES_AT_ONCE: usize = 1024;
/// Rows read at a time.
const PAGE: usize = 4096;

impl Store {
    /// Compares all that is derived with what it is derived from, on one state of the index: counters with a walk over
    /// the blocks, links with the values, `rlinks` with the links, places with the segments, and whether every pin, the
    /// files root and the marks can be read. One sentence a difference, none if all is right, and at most 101.
    ///
    /// It reads every value that has links, and is meant for tests, `repo verify` and the time after an accident. Reads
    /// and writes go on beside; values that are damaged are [`Store::verify`]'s business. Memory is bounded.
    pub fn check(&self) -> Result<Vec<String>, ReadError> {
        self.walk_all(true)
    }

    /// As [`Store::check`], but reads no values.
    pub fn check_rows(&self) -> Result<Vec<String>, ReadError> {
        self.walk_all(false)
    }

    fn walk_all(&self, values: bool) -> Result<Vec<String>, ReadError> {
        if let Err(error) = self.flush() {
            tracing::warn!("checking what is indexed only: {error}");
        }
        let index = self.inner().index.get()?;
        let view = index.view();
        let check = Check { store: self, inner: self.inner(), view: &view, values };
        let mut found = Found::default();
        check.blocks(&mut found)?;
        check.links(&mut found)?;
        check.roots(&mut found)?;
        check.marks(&mut found)?;
        Ok(found.end())
    }
}

/// What was found.
#[derive(Default)]
struct Found {
    sentences: Vec<String>,
    more: u64,
}

impl Found {
    fn say(&mut self, sentence: String) {
        if self.sentences.len() < FOUND_MAX { self.sentences.push(sentence) } else { self.more += 1 }
    }

    fn end(mut self) -> Vec<String> {
        if self.more > 0 {
            self.sentences.push(format!("and {} more", self.more));
        }
        self.sentences
    }
}

/// What is done with a row.
type Each<'a> = &'a mut dyn FnMut(&[u8], &[u8], &mut Found) -> Result<(), ReadError>;

struct Check<'a> {
    store: &'a Store,
    inner: &'a Inner,
    view: &'a View<'a>,
    values: bool,
}

impl Check<'_> {
    /// The rows of a family. The walk holds the index open, and makes way if it has to be opened again.
    fn walk(
        &self,
        (name, prefix): (&'static str, &[u8]),
        found: &mut Found,
        each: Each<'_>,
    ) -> Result<(), ReadError> {
        let mut from = prefix.to_vec();
        loop {
            if self.inner.reopen.load(Ordering::Acquire) {
                return Err(IndexError::Closed("a write failed while it was checked".to_owned()).into());
            }
            let rows = self.view.page(name, prefix, &from, PAGE)?;
            let Some((last, _)) = rows.last() else { return Ok(()) };
            from = after(last);
            for (key, value) in &rows {
                each(key, value, found)?;
            }
        }
    }

    /// `meta` against the counters, and the lengths and live bytes of the segments.
    fn blocks(&self, found: &mut Found) -> Result<(), ReadError> {
        let committed = self.segment_rows(stats_key::COMMITTED, found)?;
        let counted = self.segment_rows(stats_key::LIVE, found)?;
        let (mut blocks, mut value_bytes) = (0_i64, 0_i64);
        let mut live: BTreeMap<u32, i64> = counted.keys().map(|segment| (*segment, 0)).collect();
        self.walk((family::META, &[]), found, &mut |key, value, found| {
            blocks += 1;
            if decode_meta_key(key).is_err() {
                found.say(format!("meta: the key {} is not a multihash", hex(key)));
            }
            let Ok(MetaRow { place, .. }) = MetaRow::decode(value) else {
                found.say(format!("meta: the row of {} is malformed", hex(key)));
                return Ok(());
            };
            value_bytes += i64::from(place.size);
            let len = place.record_len(key.len());
            *live.entry(place.segment).or_default() += len.cast_signed();
            let end = committed.get(&place.segment).map_or(0, |end| end.cast_unsigned());
            if place.offset.saturating_add(len) > end || place.offset < SEGMENT_HEADER_BYTES as u64 {
                let segment = place.segment;
                found.say(format!("meta: {} lies outside of what segment {segment} holds", hex(key)));
            }
            Ok(())
        })?;
        self.compare("number of blocks", stats_key::BLOCKS, blocks, found)?;
        self.compare("bytes of values", stats_key::VALUE_BYTES, value_bytes, found)?;
        for (segment, live) in live {
            let counted = counted.get(&segment).copied().unwrap_or_default();
            if counted != live {
                found.say(format!(
                    "live bytes of segment {segment}: a walk finds {live}, {counted} are counted"
                ));
            }
        }
        Ok(())
    }

    fn has(&self, name: &'static str, key: &[u8]) -> Result<bool, IndexError> {
        Ok(self.view.get(name, key)?.is_some())
    }

    fn compare(&self, what: &str, key: &[u8], walked: i64, found: &mut Found) -> Result<(), ReadError> {
        match self.view.get(family::STATS, key)?.map_or(Ok(0), |row| decode_i64(&row)) {
            Ok(counted) if counted == walked => {}
            Ok(counted) => found.say(format!("{what}: a walk finds {walked}, {counted} are counted")),
            Err(error) => found.say(format!("{what}: {error}")),
        }
        Ok(())
    }

    fn segment_rows(&self, prefix: u8, found: &mut Found) -> Result<BTreeMap<u32, i64>, ReadError> {
        let mut rows = BTreeMap::new();
        self.walk((family::STATS, &[prefix, b':']), found, &mut |key, value, found| {
            match (stats_key::segment_of(prefix, key), decode_i64(value)) {
                (Some(segment), Ok(value)) => drop(rows.insert(segment, value)),
                _ => found.say(format!("stats: the row {} is malformed", hex(key))),
            }
            Ok(())
        })?;
        Ok(rows)
    }

    /// `links` against the values and `meta`, and `rlinks` against `links`.
    fn links(&self, found: &mut Found) -> Result<(), ReadError> {
        let (mut expected, mut missing) = (0_u64, 0_u64);
        let mut nodes = Nodes::default();
        self.walk((family::LINKS, &[]), found, &mut |key, value, found| {
            let Some((multihash, codec)) = split_links_key(key) else {
                found.say(format!("links: the key {} is malformed", hex(key)));
                return Ok(());
            };
            let Ok(links) = decode_links(value) else {
                found.say(format!("links: the row {} is malformed", hex(key)));
                return Ok(());
            };
            for rlink in rlinks_keys(multihash, codec, value) {
                expected += 1;
                if !self.has(family::RLINKS, &rlink)? {
                    missing += 1;
                    found.say(format!("rlinks: the row {} is missing", hex(&rlink)));
                }
            }
            match self.view.get(family::META, multihash)? {
                Some(row) if self.values => {
                    let size = MetaRow::decode(&row).map_or(0, |row| row.place.size);
                    nodes.push(multihash, codec, links, size);
                }
                Some(_) => {}
                None if self.has(family::STATS, &stats_key::of_dropped(multihash))? => {}
                None => found.say(format!("links: the block of {} is not there", hex(key))),
            }
            if nodes.bytes >= VALUE_BYTES_AT_ONCE || nodes.cids.len() >= NODES_AT_ONCE {
                nodes.compare(self.store, found);
            }
            Ok(())
        })?;
        nodes.compare(self.store, found);
        let mut counted = 0;
        self.walk((family::RLINKS, &[]), found, &mut |_, _, _| {
            counted += 1;
            Ok(())
        })?;
        // All that links ask for are there: then there are others only if there are more.
        if counted > expected - missing { self.surplus(found) } else { Ok(()) }
    }

    /// Names the rows of `rlinks` that no row of `links` asks for.
    fn surplus(&self, found: &mut Found) -> Result<(), ReadError> {
        self.walk((family::RLINKS, &[]), found, &mut |key, _, found| {
            let asked_for = match split_rlinks_key(key) {
                None => false,
                Some((parent, codec)) => {
                    let links = self.view.get(family::LINKS, &links_key(parent, codec))?;
                    links.is_some_and(|row| rlinks_keys(parent, codec, &row).iter().any(|rlink| rlink == key))
                }
            };
            if !asked_for {
                found.say(format!("rlinks: no links row has {}", hex(key)));
            }
            Ok(())
        })
    }

    /// Whether pins, the files root and the records of names can be read.
    fn roots(&self, found: &mut Found) -> Result<(), ReadError> {
        self.walk((family::PINS, &[]), found, &mut |key, value, found| {
            if let Err(error) = decode_pin(key, value) {
                found.say(error.to_string());
            }
            Ok(())
        })?;
        self.walk((family::NAMES, &[]), found, &mut |key, value, found| {
            if names::is_key(key) && names::decode_row(value).is_none() {
                found.say(names::bad_row().at(key).to_string());
            }
            Ok(())
        })?;
        if let Some(damage) = self.store.files_roots()?.damage {
            found.say(format!("mfs: {damage}"));
        }
        Ok(())
    }

    /// Marks of damaged blocks name blocks.
    fn marks(&self, found: &mut Found) -> Result<(), ReadError> {
        self.walk((family::STATS, &[stats_key::DAMAGED, b':']), found, &mut |key, _, found| {
            let multihash = key.get(2..).unwrap_or_default();
            if multihash_from(multihash).is_none() || !self.has(family::META, multihash)? {
                found.say(format!("stats: the mark {} names no block", hex(key)));
            }
            Ok(())
        })
    }
}

/// Splits an `rlinks` key into parent and codec, behind the child: both multihashes tell their own length.
fn split_rlinks_key(key: &[u8]) -> Option<(&[u8], u64)> {
    let child = (2..=MULTIHASH_BYTES_MAX.min(key.len()))
        .find(|len| key.get(..*len).and_then(multihash_from).is_some())?;
    split_links_key(key.get(child..)?)
}

/// Nodes whose links are to be compared with their values.
#[derive(Default)]
struct Nodes {
    cids: Vec<Cid>,
    links: Vec<Vec<Cid>>,
    bytes: u64,
}

impl Nodes {
    fn push(&mut self, multihash: &[u8], codec: u64, links: Vec<Cid>, size: u32) {
        if let Some(hash) = multihash_from(multihash) {
            self.cids.push(Cid::new_v1(codec, hash));
            self.links.push(links);
            self.bytes += u64::from(size);
        }
    }

    fn compare(&mut self, store: &Store, found: &mut Found) {
        for ((cid, links), value) in self.cids.iter().zip(&self.links).zip(store.get_many(&self.cids)) {
            // Deleted meanwhile, or damaged: not what is looked for here.
            let Ok(Some(value)) = value else { continue };
            if cid.codec() == codec::RAW || children(cid.codec(), &value).as_ref() != Some(links) {
                found.say(format!("links: the row of {cid} is not what the block says"));
            }
        }
        *self = Self::default();
    }
}
