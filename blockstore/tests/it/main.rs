//! The block store's tests, one story a module; one binary, because each would link RocksDB anew.

#[cfg(test)]
mod batch;
#[cfg(test)]
mod common;
#[cfg(test)]
mod concurrent;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod full;
#[cfg(test)]
mod model;
#[cfg(test)]
mod store;
#[cfg(test)]
mod traps;
