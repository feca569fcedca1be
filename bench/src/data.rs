//! Test bytes: incompressible, cheap to make, never the same twice.

/// A generator of blocks that differ from each other but cost only a copy.
#[derive(Debug)]
pub struct Blocks {
    pattern: Vec<u8>,
    counter: u64,
}

impl Blocks {
    /// Blocks of `block_bytes` each; `seed` separates generators.
    pub fn new(block_bytes: usize, seed: u64) -> Self {
        let mut state = seed | 1;
        let pattern = (0..block_bytes.div_ceil(8))
            .flat_map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
            })
            .take(block_bytes)
            .collect();
        Self { pattern, counter: seed << 32 }
    }

    /// The next block: the pattern with a counter in every 4 KiB, so that no chunk of it was there before.
    pub fn next_block(&mut self) -> &[u8] {
        for part in self.pattern.chunks_mut(4096) {
            self.counter += 1;
            for (byte, new) in part.iter_mut().zip(self.counter.to_le_bytes()) {
                *byte = new;
            }
        }
        &self.pattern
    }
}
