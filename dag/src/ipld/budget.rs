//! How much a block may unfold to.

use super::DecodeError;

/// Deepest nesting of lists and maps that is decoded or encoded (go-ipld-prime's default).
pub const DEPTH_MAX: usize = 1024;

/// What one block may cost to decode, roughly in bytes: 10 MiB (go-ipld-prime's default).
///
/// A list entry costs 4, a map entry 8 and its key, a string or bytes their length, any other scalar 1.
pub const BUDGET_BYTES: usize = 10 << 20;

/// What a list entry costs.
pub(super) const LIST_ENTRY_COST: usize = 4;
/// What a map entry costs besides its key.
pub(super) const MAP_ENTRY_COST: usize = 8;

/// What is left of [`BUDGET_BYTES`].
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn new() -> Self {
        Self(BUDGET_BYTES)
    }

    /// Takes `cost`, or says that the block demands too much.
    pub(super) fn spend(&mut self, cost: usize) -> Result<(), DecodeError> {
        self.0 = self.0.checked_sub(cost).ok_or(DecodeError::BudgetExceeded)?;
        Ok(())
    }
}
