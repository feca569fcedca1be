//! What a rebuild takes over from the old index: everything that cannot be made again from the segments, as far as it
//! can be read. RocksDB is asked first; if it does not open the index, its own repair is tried on a copy, and the log is
//! read without it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use holdfast_dag::cid::codec;
use holdfast_dag::ipld;
use rocksdb::{DB, DBRecoveryMode, IteratorMode, Options, ReadOptions, WriteBatch};

use crate::changes::decode_files_root;
use crate::error::{IndexError, OpenError};
use crate::format::FORMAT;
use crate::index::Index;
use crate::links::rlinks_keys;
use crate::names;
use crate::options::Tuning;
use crate::rows::{decode_pin, decode_pin_key, family, files_key, split_links_key, stats_key};
use crate::table::{Versions, read_table};
use crate::wal::{Entry, endless_record, read_logs, refuse_endless};

/// Rows written to the new index at a time.
const BATCH_ROWS: usize = 4096;
/// Families that are made from the segments.
const DERIVED: [&str; 3] = [family::META, family::LINKS, family::RLINKS];
/// Rows of `stats` that are made anew, by their first bytes; others are taken over.
const STATS_NEW: [&[u8]; 8] = [
    stats_key::FORMAT,
    stats_key::BLOCKS,
    stats_key::VALUE_BYTES,
    stats_key::ROUND,
    &[stats_key::COMMITTED, b':'],
    &[stats_key::LIVE, b':'],
    &[stats_key::DAMAGED, b':'],
    &[stats_key::DROPPED, b':'],
];

/// What was taken over, and what could not be.
#[derive(Debug, Default)]
pub(crate) struct Salvage {
    /// What could not be read, one sentence each.
    pub(crate) unread: Vec<String>,
    /// The last batch that the old index had; 0 if that is not known.
    pub(crate) round: u64,
}

/// Where rows come from and go to.
struct Copying<'a> {
    tuning: &'a Tuning,
    new: &'a mut Index,
    done: Salvage,
}

/// Copies what is to be kept from the index in `old` into `new`, which knows all blocks already. `scratch` is a folder
/// that may be made and is removed again.
pub(crate) fn take_over(
    old: &Path,
    scratch: &Path,
    tuning: &Tuning,
    new: &mut Index,
) -> Result<Salvage, IndexError> {
    let mut copying = Copying { tuning, new, done: Salvage::default() };
    match open(old, tuning) {
        Ok(db) => copying.families(&db)?,
        // That it cannot be read now does not say that it is damaged.
        Err(error) if error.is_of_surroundings() => return Err(error),
        Err(error) => {
            copying.done.unread.push(format!("the old index does not open ({error})"));
            match repaired(old, scratch, tuning) {
                Ok(db) => copying.families(&db)?,
                Err(why) => copying.done.unread.push(format!("and RocksDB cannot repair it ({why})")),
            }
            drop(fs::remove_dir_all(scratch));
        }
    }
    if !copying.done.unread.is_empty() {
        copying.tables(old)?;
    }
    copying.log(old)?;
    Ok(copying.done)
}

/// Refuses an index that a later program wrote, if it says so.
pub(crate) fn refuse_newer(db: &Path, tuning: &Tuning) -> Result<(), OpenError> {
    let Ok(old) = open(db, tuning) else { return Ok(()) };
    let row = old.cf_handle(family::STATS).and_then(|stats| old.get_cf(stats, stats_key::FORMAT).ok()?);
    match row.and_then(|row| row.try_into().ok()).map(u32::from_le_bytes) {
        Some(found) if found > FORMAT => Err(OpenError::NewerFormat { found, known: FORMAT }),
        _ => Ok(()),
    }
}

/// Opens an index for reading, as much of its log as is sound included, and changes nothing.
fn open(path: &Path, tuning: &Tuning) -> Result<DB, IndexError> {
    refuse_endless(path)?;
    let mut options = tuning.database();
    options.create_if_missing(false);
    options.set_wal_recovery_mode(DBRecoveryMode::SkipAnyCorruptedRecord);
    options.set_paranoid_checks(false);
    let found = DB::list_cf(&options, path)?;
    let known = found.iter().map(String::as_str);
    Ok(DB::open_cf_descriptors_read_only(&options, path, tuning.families_of(known), false)?)
}

/// Lets RocksDB repair a copy of an index, and opens it.
fn repaired(old: &Path, scratch: &Path, tuning: &Tuning) -> Result<DB, String> {
    let copy = || -> io::Result<()> {
        if scratch.exists() {
            fs::remove_dir_all(scratch)?;
        }
        fs::create_dir(scratch)?;
        for entry in fs::read_dir(old)? {
            let from = entry?.path();
            let Some(to) = from.file_name().map(|name| scratch.join(name)) else { continue };
            if endless_record(&from)?.is_some() {
                continue;
            }
            let table = from.extension().is_some_and(|end| end == "sst");
            if !(from.is_dir() || table && fs::hard_link(&from, &to).is_ok()) {
                fs::copy(&from, &to)?;
            }
        }
        Ok(())
    };
    copy().map_err(|error| error.to_string())?;
    let mut options = tuning.family(family::STATS);
    options.create_if_missing(true);
    DB::repair(&options, scratch).map_err(|error| error.to_string())?;
    open(scratch, tuning).map_err(|error| error.to_string())
}

impl Copying<'_> {
    /// Every family that is not derived.
    fn families(&mut self, old: &DB) -> Result<(), IndexError> {
        let names = DB::list_cf(&Options::default(), old.path()).unwrap_or_default();
        for name in names.iter().map(String::as_str).filter(|name| !DERIVED.contains(name)) {
            if name != "default" && !family::ALL.contains(&name) {
                self.new.create_family(name, &self.tuning.family(name))?;
            }
            if let Err(error) = self.family(old, name, true)? {
                self.done.unread.push(format!("a part of the family {name} cannot be read ({error})"));
                if [family::PINS, family::FILES, family::NAMES].contains(&name) {
                    // Rows of these tell themselves whether they are sound.
                    drop(self.family(old, name, false)?);
                }
            }
        }
        self.links_of_the_missing(old)
    }

    /// What blocks link to that the old index knew and no segment holds any more, or not soundly: what is pinned through
    /// them is kept, as if they had been dropped.
    fn links_of_the_missing(&self, old: &DB) -> Result<(), IndexError> {
        let Some(links) = old.cf_handle(family::LINKS) else { return Ok(()) };
        let mut batch = WriteBatch::default();
        // What cannot be read is derived from what is there; nothing is lost with it.
        for (key, row) in old.iterator_cf(links, IteratorMode::Start).map_while(Result::ok) {
            let Some((multihash, codec)) = split_links_key(&key) else { continue };
            let rlinks = rlinks_keys(multihash, codec, &row);
            if rlinks.is_empty() || self.new.contains(family::META, multihash)? {
                continue;
            }
            batch.put_cf(self.new.family(family::LINKS), &key, &row);
            batch.put_cf(self.new.family(family::STATS), stats_key::of_dropped(multihash), []);
            for rlink in rlinks {
                batch.put_cf(self.new.family(family::RLINKS), rlink, []);
            }
        }
        self.new.write(batch, false)
    }

    /// The rows of one family, up to what cannot be read. Without checksums, only rows that are sound in themselves.
    fn family(
        &mut self,
        old: &DB,
        name: &str,
        checksums: bool,
    ) -> Result<Result<(), IndexError>, IndexError> {
        let Some(handle) = old.cf_handle(name) else { return Ok(Ok(())) };
        let mut options = ReadOptions::default();
        options.set_verify_checksums(checksums);
        options.fill_cache(false);
        let mut batch = WriteBatch::default();
        let mut outcome = Ok(());
        for row in old.iterator_cf_opt(handle, options, IteratorMode::Start) {
            let (key, value) = match row.map_err(IndexError::from) {
                Ok(row) => row,
                Err(error) if error.is_of_surroundings() => return Err(error),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            if name == family::STATS && &*key == stats_key::ROUND {
                self.done.round = (*value).try_into().map_or(0, u64::from_le_bytes);
            }
            let wanted = match name {
                family::STATS => !STATS_NEW.iter().any(|new| key.starts_with(new)),
                _ => checksums || self.is_sound(name, &key, &value)?,
            };
            if wanted {
                batch.put_cf(self.new.any_family(name)?, &key, &value);
            }
            if batch.len() >= BATCH_ROWS {
                self.new.write(std::mem::take(&mut batch), false)?;
            }
        }
        self.new.write(batch, false)?;
        Ok(outcome)
    }

    /// Whether a row that nothing vouches for is what it should be: a pin on a block that is there, a files root or the
    /// record of a name.
    fn is_sound(&self, name: &str, key: &[u8], value: &[u8]) -> Result<bool, IndexError> {
        if name == family::FILES {
            return Ok(
                [files_key::ROOT, files_key::PREVIOUS].contains(&key) && decode_files_root(value).is_some()
            );
        }
        if name == family::NAMES {
            return Ok(names::is_key(key) && names::decode_row(value).is_some());
        }
        let Ok(pin) = decode_pin(key, value) else { return Ok(false) };
        let readable = pin.cid.codec() == codec::RAW || ipld::has_decoder(pin.cid.codec());
        Ok(readable && self.new.contains(family::META, &pin.cid.hash().to_bytes())?)
    }

    /// Pins, the files root and records of names in tables that RocksDB could not read, or left out. What it did read is not touched.
    fn tables(&mut self, old: &Path) -> Result<(), IndexError> {
        let wanted = |key: &[u8]| {
            decode_pin_key(key).is_ok()
                || [files_key::ROOT, files_key::PREVIOUS].contains(&key)
                || names::is_key(key)
        };
        let mut rows = Versions::new();
        for entry in fs::read_dir(old).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "sst")
                && let Ok(table) = fs::read(entry.path())
            {
                read_table(&table, &wanted, &mut rows);
            }
        }
        let mut batch = WriteBatch::default();
        for (key, (_, value)) in rows {
            let name = match () {
                () if decode_pin_key(&key).is_ok() => family::PINS,
                () if names::is_key(&key) => family::NAMES,
                () => family::FILES,
            };
            if let Some(value) = value
                && !self.new.contains(name, &key)?
                && self.is_sound(name, &key, &value)?
            {
                batch.put_cf(self.new.family(name), key, value);
            }
        }
        self.new.write(batch, false)
    }

    /// Pins, the files root and records of names in the log, if RocksDB had reason to leave out a part of it. What it did
    /// read is read once more: the log is the end of the history, and doing it again leads to the same state. Rows are
    /// known by their shape: the keys of no other family begin with the number of a kind of pin, or are called like a root
    /// or a name.
    fn log(&mut self, old: &Path) -> Result<(), IndexError> {
        let new = &*self.new;
        let mut batch = WriteBatch::default();
        let read = read_logs(old, &mut |entry| match entry {
            Entry::Put(key, value) if decode_pin(key, value).is_ok() => {
                batch.put_cf(new.family(family::PINS), key, value);
            }
            Entry::Put(key @ (files_key::ROOT | files_key::PREVIOUS), value)
                if decode_files_root(value).is_some() =>
            {
                batch.put_cf(new.family(family::FILES), key, value);
            }
            Entry::Put(key, value) if names::is_key(key) && names::decode_row(value).is_some() => {
                batch.put_cf(new.family(family::NAMES), key, value);
            }
            Entry::Delete(key) if decode_pin_key(key).is_ok() => {
                batch.delete_cf(new.family(family::PINS), key);
            }
            _ => {}
        });
        match read {
            Ok(0) => {}
            Ok(damaged) => self.done.unread.push(format!("its log is damaged in {damaged} places")),
            Err(error) => self.done.unread.push(format!("its log cannot be read ({error})")),
        }
        if self.done.unread.is_empty() { Ok(()) } else { self.new.write(batch, false) }
    }
}

/// Where a rebuild puts its scratch copy.
pub(crate) fn scratch_path(repo: &Path) -> PathBuf {
    repo.join("db.salvage")
}
