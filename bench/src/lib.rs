//! What the benches share: test bytes, clocks and counters of this process, and small tables.

pub mod data;
pub mod meter;
pub mod pairs;
