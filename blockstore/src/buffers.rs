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
        let kept = {
            let mut free = lock(&self.free);
            let kept = free.buffers.get_mut(class).and_then(Vec::pop);
            free.bytes -= kept.as_ref().map_or(0, Vec::len);
            kept
        };
        let bytes = kept.unwrap_or_else(|| vec![0; CLASSES.get(class).copied().unwrap_or(len)]);
        Buffer { bytes, len, pool: Arc::downgrade(self) }
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
