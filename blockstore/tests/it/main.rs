//! The block store's tests, one story a module; one binary, because each would link RocksDB anew.

mod common;
mod concurrent;
mod crash;
mod damage;
mod faults;
mod fixture;
mod full;
mod model;
mod store;
mod traps;
