//! Bytes that were pushed and not consumed yet.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

/// A queue of byte slices that is read like one.
#[derive(Debug, Default)]
pub(super) struct Input {
    chunks: VecDeque<Bytes>,
    len: usize,
}

impl Input {
    pub(super) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.len += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first bytes, without consuming them.
    pub(super) fn peek(&self) -> impl Iterator<Item = u8> + '_ {
        self.chunks.iter().flat_map(|chunk| chunk.iter().copied())
    }

    /// Consumes `count` bytes if there are so many: a slice of what was pushed, or a copy where they span pushes.
    pub(super) fn take(&mut self, count: usize) -> Option<Bytes> {
        if count > self.len {
            return None;
        }
        self.len -= count;
        match self.chunks.front_mut() {
            Some(first) if first.len() > count => return Some(first.split_to(count)),
            Some(first) if first.len() == count => return self.chunks.pop_front(),
            _ => {}
        }
        let mut joined = BytesMut::with_capacity(count);
        while joined.len() < count
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            let wanted = chunk.len().min(count - joined.len());
            joined.extend_from_slice(&chunk.split_to(wanted));
            if chunk.has_remaining() {
                self.chunks.push_front(chunk);
            }
        }
        Some(joined.freeze())
    }

    /// Consumes up to `count` bytes without looking at them; how many.
    pub(super) fn skip(&mut self, count: u64) -> u64 {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.len);
        let mut left = count;
        while left > 0
            && let Some(mut chunk) = self.chunks.pop_front()
        {
            let skipped = chunk.len().min(left);
            chunk.advance(skipped);
            left -= skipped;
            if chunk.has_remaining() {
                self.chunks.push_front(chunk);
            }
        }
        self.len -= count;
        count as u64
    }
}
