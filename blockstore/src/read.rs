//! Reading: presence and size from the index alone, values by `pread`, verified.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use holdfast_dag::block::VerifyError;
use holdfast_dag::cid::{Cid, Multihash, identity_data};
use holdfast_dag::hash;

use crate::error::{IndexError, ReadError};
use crate::segment::Place;
use crate::store::{Inner, Store};
use crate::sync::lock;

/// Values that lie within this many bytes are read in one go.
const RUN_BYTES_MAX: u64 = 1 << 20;
/// Bytes between two values that are read along rather than read around.
const GAP_BYTES_MAX: u64 = 16 << 10;
/// Below this many bytes a second thread costs more than it brings.
const PARALLEL_BYTES_MIN: u64 = 512 << 10;
/// A block may be moved or deleted while it is read; then it is looked up again, this often.
const LOOKUPS_MAX: usize = 3;

/// What is said about one block that was asked for.
type Answer = Result<Option<Bytes>, ReadError>;

impl Store {
    /// Whether a block is stored (and not known to be damaged). Reads no value.
    pub fn has(&self, multihash: &Multihash) -> Result<bool, ReadError> {
        Ok(self.inner().find(&multihash.to_bytes())?.is_some())
    }

    /// Size of a block in bytes, `None` if it is not here. Reads no value.
    pub fn size(&self, multihash: &Multihash) -> Result<Option<u64>, ReadError> {
        Ok(self.inner().find(&multihash.to_bytes())?.map(|place| u64::from(place.size)))
    }

    /// A block's bytes, checked against its hash (unless
    /// [`verify_on_read`](crate::StoreConfig::verify_on_read) is off); `None` if it is not here.
    pub fn get(&self, cid: &Cid) -> Result<Option<Bytes>, ReadError> {
        if let Some(data) = identity_data(cid) {
            return Ok(Some(Bytes::copy_from_slice(data)));
        }
        hash::check_policy(cid)?;
        let inner = self.inner();
        let key = cid.hash().to_bytes();
        let Some(place) = inner.locate(&key)? else { return Ok(None) };
        inner.read_checked(cid, &key, place)
    }

    /// Many blocks at once, in the order asked for; those that are not here are `None`.
    ///
    /// Reads go in the order of the disk, neighbours in one go, and reading and hashing are spread over
    /// [`read_threads`](crate::StoreConfig::read_threads) threads, the caller's included. Neighbours share memory: a
    /// slice that is kept keeps up to 1 MiB alive. Ask for some MiB at a time; all of it is in memory at once.
    pub fn get_many(&self, cids: &[Cid]) -> Vec<Result<Option<Bytes>, ReadError>> {
        let inner = self.inner();
        let mut results: Vec<Answer> = Vec::with_capacity(cids.len());
        let mut wanted = Vec::new();
        for (at, cid) in cids.iter().enumerate() {
            match inner.plan(cid) {
                Ok(Some((key, place))) => wanted.push(Wanted { at, cid, key, place }),
                other => {
                    let data = other.map(|_| identity_data(cid).map(Bytes::copy_from_slice));
                    results.push(data);
                    continue;
                }
            }
            results.push(Ok(None));
        }
        wanted.sort_unstable_by_key(|wanted| (wanted.place.segment, wanted.place.offset));
        let total: u64 = wanted.iter().map(|wanted| u64::from(wanted.place.size)).sum();
        let runs = runs(&wanted);
        let threads = if total < PARALLEL_BYTES_MIN {
            1
        } else {
            inner.config.read_threads.clamp(1, runs.len().max(1))
        };
        let next = AtomicUsize::new(0);
        let read: Mutex<Vec<(usize, Answer)>> = Mutex::default();
        let work = || {
            while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                let blocks = inner.read_run(run);
                lock(&read).extend(blocks);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        for (at, result) in read.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            if let Some(slot) = results.get_mut(at) {
                *slot = result;
            }
        }
        results
    }
}

/// A block that is to be read.
pub(crate) struct Wanted<'a> {
    at: usize,
    cid: &'a Cid,
    key: Vec<u8>,
    place: Place,
}

impl Wanted<'_> {
    fn from(&self) -> u64 {
        self.place.data_offset(self.key.len())
    }

    fn to(&self) -> u64 {
        self.from() + u64::from(self.place.size)
    }
}

/// Splits what is sorted by place into runs of neighbours.
fn runs<'a, 'b>(wanted: &'b [Wanted<'a>]) -> Vec<&'b [Wanted<'a>]> {
    let mut start = 0;
    let mut runs = Vec::new();
    for (at, next) in wanted.iter().enumerate().skip(1) {
        let (Some(first), Some(last)) = (wanted.get(start), wanted.get(at - 1)) else { continue };
        let joined = next.place.segment == first.place.segment
            && next.from() <= last.to().max(first.from()) + GAP_BYTES_MAX
            && next.to().saturating_sub(first.from()) <= RUN_BYTES_MAX;
        if !joined {
            runs.extend(wanted.get(start..at));
            start = at;
        }
    }
    runs.extend(wanted.get(start..).filter(|rest| !rest.is_empty()));
    runs
}

impl Inner {
    fn plan(&self, cid: &Cid) -> Result<Option<(Vec<u8>, Place)>, ReadError> {
        if identity_data(cid).is_some() {
            return Ok(None);
        }
        hash::check_policy(cid)?;
        let key = cid.hash().to_bytes();
        Ok(self.locate(&key)?.map(|place| (key, place)))
    }

    /// Reads a run in one go. If that does not work out, each block for itself.
    fn read_run(&self, run: &[Wanted<'_>]) -> Vec<(usize, Answer)> {
        let joined = match run {
            [first, .., last] => {
                let len = last.to().max(first.to()) - first.from();
                self.pread(first.place.segment, first.from(), len as usize)
                    .ok()
                    .map(|bytes| (first.from(), bytes))
            }
            _ => None,
        };
        let one = |wanted: &Wanted<'_>| {
            if let Some((start, bytes)) = &joined {
                let from = (wanted.from() - start) as usize;
                let value = bytes.slice(from..from + wanted.place.size as usize);
                if self.is_right(wanted, &value)? {
                    return Ok(Some(value));
                }
            }
            self.read_checked(wanted.cid, &wanted.key, wanted.place)
        };
        run.iter().map(|wanted| (wanted.at, one(wanted))).collect()
    }

    /// Whether the bytes are the block's. Where they are not to be hashed, they are if the block still lies where they
    /// were read: what moved or went meanwhile may have left a hole there.
    fn is_right(&self, wanted: &Wanted<'_>, value: &Bytes) -> Result<bool, IndexError> {
        if self.config.verify_on_read {
            return Ok(hash::verify(wanted.cid, &[value]).is_ok());
        }
        Ok(self.locate(&wanted.key)? == Some(wanted.place))
    }

    /// Reads and verifies a block. Wrong bytes are not yet damage: a deletion may have been faster, so the index is
    /// asked again, and only a copy that is still there and still wrong is damaged.
    pub(crate) fn read_checked(
        &self,
        cid: &Cid,
        key: &[u8],
        first: Place,
    ) -> Result<Option<Bytes>, ReadError> {
        let mut place = first;
        for _ in 0..LOOKUPS_MAX {
            let failed = match self.read_value(key.len(), place) {
                Ok(value) if !self.config.verify_on_read => match self.locate(key)? {
                    None => return Ok(None),
                    Some(now) if now == place => return Ok(Some(value)),
                    Some(now) => {
                        place = now;
                        continue;
                    }
                },
                Ok(value) => match hash::verify(cid, &[&value]) {
                    Ok(()) => return Ok(Some(value)),
                    Err(VerifyError::Policy(policy)) => return Err(policy.into()),
                    Err(_) => None,
                },
                Err(error) => Some(error),
            };
            match self.locate(key)? {
                None => return Ok(None),
                Some(now) if now != place => place = now,
                Some(_) => return Err(self.damage(cid, key, failed)),
            }
        }
        Ok(None)
    }

    /// A copy that is wrong or out of reach. What the device cannot read now it may read later; what is cut off or
    /// different is damaged for good.
    fn damage(&self, cid: &Cid, key: &[u8], failed: Option<io::Error>) -> ReadError {
        match failed {
            Some(error)
                if ![io::ErrorKind::UnexpectedEof, io::ErrorKind::NotFound].contains(&error.kind())
                    && error.raw_os_error() != Some(rustix::io::Errno::IO.raw_os_error()) =>
            {
                ReadError::Io { cid: Box::new(*cid), source: Arc::new(error) }
            }
            _ => {
                self.mark_damaged(key);
                ReadError::Damaged { cid: Box::new(*cid) }
            }
        }
    }

    fn read_value(&self, multihash_len: usize, place: Place) -> io::Result<Bytes> {
        self.pread(place.segment, place.data_offset(multihash_len), place.size as usize)
    }

    fn pread(&self, segment: u32, offset: u64, len: usize) -> io::Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let file = self.segments.file(segment)?;
        // The index is trusted for lengths only as far as the file goes, before memory is taken for them.
        if file.metadata()?.len() < offset.saturating_add(len as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = self.buffers.take(len);
        file.read_exact_at(buffer.as_mut(), offset)?;
        Ok(buffer.freeze())
    }
}
