//! Read buffers that are used again: touching fresh memory for every block costs more than hashing it.

use std::sync::{Arc, Mutex, Weak};

use bytes::Bytes;

use crate::sync::lock;

/// Sizes of the buffers kept: a block of 256 KiB, of 1 MiB, and of 2 MiB, each with its framing.
const CLASSES: [usize; 3] = [264 << 10, (1 << 20) + (16 << 10), (2 << 20) + (16 << 10)];
/// Shorter values get memory of their own size.
const POOLED_MIN: usize = 48 << 10;

pub(crate) struct BufferPool {
    free: Mutex<Free>,
    bytes_max: usize,
}

#[derive(Default)]
struct Free {
    buffers: [Vec<Vec<u8>>; CLASSES.len()],
    bytes: usize,
    /// How many of each size nobody took since the last trim.
    idle: [usize; CLASSES.len()],
}

/// A buffer on loan. It returns to its pool when the last slice of it is dropped.
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    pool: Weak<BufferPool>,
}

impl BufferPool {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { free: Mutex::default(), bytes_max })
    }

    /// A buffer of `len` bytes with any content.
    pub(crate) fn take(self: &Arc<Self>, len: usize) -> Buffer {
        let class = CLASSES.iter().position(|class| *class >= len).filter(|_| len >= POOLED_MIN);
        let Some(class) = class else {
            return Buffer { bytes: vec![0; len], len, pool: Weak::new() };
        };
        let kept = lock(&self.free).take(class);
        let bytes = kept.unwrap_or_else(|| vec![0; CLASSES.get(class).copied().unwrap_or(len)]);
        Buffer { bytes, len, pool: Arc::downgrade(self) }
    }

    /// Frees what nobody took since it was last called.
    pub(crate) fn trim(&self) {
        // They are freed when the lock is no longer held.
        drop(lock(&self.free).trim());
    }

    fn give_back(&self, bytes: Vec<u8>) {
        let Some(class) = CLASSES.iter().position(|class| *class == bytes.len()) else { return };
        let mut free = lock(&self.free);
        if free.bytes + bytes.len() <= self.bytes_max
            && let Some(buffers) = free.buffers.get_mut(class)
        {
            let len = bytes.len();
            buffers.push(bytes);
            free.bytes += len;
        }
    }
}

impl Free {
    fn take(&mut self, class: usize) -> Option<Vec<u8>> {
        let (buffers, idle) = self.buffers.get_mut(class).zip(self.idle.get_mut(class))?;
        let taken = buffers.pop()?;
        *idle = buffers.len().min(*idle);
        self.bytes -= taken.len();
        Some(taken)
    }

    fn trim(&mut self) -> Vec<Vec<u8>> {
        let mut freed = Vec::new();
        for (buffers, idle) in self.buffers.iter_mut().zip(&mut self.idle) {
            freed.extend(buffers.drain(..(*idle).min(buffers.len())));
            *idle = buffers.len();
        }
        self.bytes -= freed.iter().map(Vec::len).sum::<usize>();
        freed
    }
}

impl Buffer {
    pub(crate) fn as_mut(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    pub(crate) fn freeze(mut self) -> Bytes {
        if self.bytes.len() == self.len {
            // Not from the pool: no class has exactly the length asked for, except by chance.
            return Bytes::from(std::mem::take(&mut self.bytes));
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.give_back(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 256 << 10;

    #[test]
    fn what_is_used_is_kept_and_the_rest_is_freed() {
        let pool = BufferPool::new(64 << 20);
        let read = |count: usize| drop((0..count).map(|_| pool.take(LEN)).collect::<Vec<_>>());
        let kept = || {
            let free = lock(&pool.free);
            assert_eq!(free.bytes, free.buffers.iter().flatten().map(Vec::len).sum::<usize>());
            free.buffers[0].len()
        };
        read(20);
        assert_eq!(kept(), 20);
        pool.trim();
        assert_eq!(kept(), 20, "they were used since the last time");
        read(5);
        pool.trim();
        assert_eq!(kept(), 5);
        pool.trim();
        assert_eq!(kept(), 0);
        // One that is on loan is nobody's to free, and comes back.
        let loan = pool.take(LEN);
        pool.trim();
        pool.trim();
        drop(loan);
        assert_eq!(kept(), 1);
    }

    #[test]
    fn no_more_is_kept_than_may_be() {
        let pool = BufferPool::new(4 * CLASSES[0]);
        drop((0..20).map(|_| pool.take(LEN)).collect::<Vec<_>>());
        assert_eq!(lock(&pool.free).buffers[0].len(), 4);
        // Small and huge ones are not pooled.
        drop((pool.take(POOLED_MIN - 1), pool.take(CLASSES[2] + 1)));
        assert_eq!(lock(&pool.free).bytes, 4 * CLASSES[0]);
    }
}
