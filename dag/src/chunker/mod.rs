//! Splitting bytes into chunks.
