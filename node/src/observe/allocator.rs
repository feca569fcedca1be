//! What the allocator says of itself. It is jemalloc, for Rust and RocksDB together; where it is not, there are no figures.

/// Bytes, as jemalloc counts them. From `allocated_bytes` on each holds those before it, as far as they are of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllocatorFigures {
    /// What was freed and is kept by threads for their next allocations: up to some MiB a thread that was busy.
    pub thread_cache_bytes: u64,
    /// What the program has allocated and not freed: live bytes.
    pub allocated_bytes: u64,
    /// Pages that hold any of that.
    pub active_bytes: u64,
    /// Pages that are in memory, the allocator's own and those that it has not given back yet among them.
    pub resident_bytes: u64,
    /// Address space that pages may be put into.
    pub mapped_bytes: u64,
}

impl AllocatorFigures {
    /// Reads them; `None` where the allocator is another.
    pub fn read() -> Option<Self> {
        imp::refresh()?;
        // 4096 stands for all arenas together.
        let thread_cache_bytes = imp::figure(c"stats.arenas.4096.tcache_bytes")?;
        // jemalloc counts what it has handed to the caches of threads as allocated, freed or not.
        let handed_out = imp::figure(c"stats.allocated")?;
        Some(Self {
            thread_cache_bytes,
            allocated_bytes: handed_out.saturating_sub(thread_cache_bytes),
            active_bytes: imp::figure(c"stats.active")?,
            resident_bytes: imp::figure(c"stats.resident")?,
            mapped_bytes: imp::figure(c"stats.mapped")?,
        })
    }

    /// The allocator's own report, by arena and size; nothing where it is another.
    pub(crate) fn report() -> String {
        String::from_utf8_lossy(&imp::report()).into_owned()
    }
}

#[cfg(not(target_env = "musl"))]
#[expect(unsafe_code, reason = "the allocator's figures are read through its C interface")]
mod imp {
    use std::ffi::{CStr, c_char, c_void};
    use std::ptr::{from_mut, null_mut};

    use tikv_jemalloc_sys::{mallctl, malloc_stats_print};

    /// Longest report, in bytes.
    const REPORT_BYTES_MAX: usize = 1 << 20;

    /// Brings the figures up to date.
    pub(super) fn refresh() -> Option<()> {
        let mut epoch: u64 = 1;
        let new = from_mut(&mut epoch).cast::<c_void>();
        // SAFETY: "epoch" is a u64 that may be written; the pointer is to one, and the length is its.
        let status = unsafe { mallctl(c"epoch".as_ptr(), null_mut(), null_mut(), new, size_of::<u64>()) };
        (status == 0).then_some(())
    }

    /// A figure of type `size_t`.
    pub(super) fn figure(name: &CStr) -> Option<u64> {
        let (mut value, mut length) = (0_usize, size_of::<usize>());
        let old = from_mut(&mut value).cast::<c_void>();
        // SAFETY: `old` is to a size_t of `length` bytes; where the figure has another size, nothing more is written and
        // an error returned.
        let status = unsafe { mallctl(name.as_ptr(), old, &raw mut length, null_mut(), 0) };
        (status == 0 && length == size_of::<usize>()).then_some(value as u64)
    }

    /// Takes a piece of the report.
    unsafe extern "C" fn take(out: *mut c_void, text: *const c_char) {
        // SAFETY: `out` is the vector that `report` hands over and uses no more until all was written; `text` is a string
        // that ends in a zero, as jemalloc documents.
        let (out, text) = unsafe { (&mut *out.cast::<Vec<u8>>(), CStr::from_ptr(text)) };
        let room = REPORT_BYTES_MAX.saturating_sub(out.len());
        out.extend(text.to_bytes().iter().take(room));
    }

    /// The report in words.
    pub(super) fn report() -> Vec<u8> {
        let mut out = Vec::new();
        // SAFETY: the callback has the type that is asked for, gets the vector that it expects, and is called on this thread
        // before the call returns.
        unsafe { malloc_stats_print(Some(take), from_mut(&mut out).cast(), c"".as_ptr()) };
        out
    }
}

#[cfg(target_env = "musl")]
mod imp {
    use std::ffi::CStr;

    pub(super) fn refresh() -> Option<()> {
        None
    }

    pub(super) fn figure(_: &CStr) -> Option<u64> {
        None
    }

    pub(super) fn report() -> Vec<u8> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(target_env = "musl"))]
    #[test]
    fn the_allocator_tells_of_itself() {
        let figures = AllocatorFigures::read().expect("jemalloc counts");
        assert!(figures.mapped_bytes >= figures.active_bytes, "{figures:?}");
        assert!(figures.active_bytes >= figures.allocated_bytes, "{figures:?}");
        let report = AllocatorFigures::report();
        assert!(report.contains("jemalloc statistics"), "{report}");
    }

    /// Freed at once, small pieces stay with their thread: they are no live bytes.
    #[cfg(not(target_env = "musl"))]
    #[test]
    fn what_a_thread_keeps_of_freed_memory_is_not_live() {
        let pieces: Vec<Vec<u8>> = (0..200).map(|_| Vec::with_capacity(16 << 10)).collect();
        drop(pieces);
        let figures = AllocatorFigures::read().expect("jemalloc counts");
        assert!(figures.thread_cache_bytes >= 16 << 10, "{figures:?}");
        assert!(figures.allocated_bytes > 0, "{figures:?}");
    }
}
