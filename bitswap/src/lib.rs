//! The exchange of blocks.
