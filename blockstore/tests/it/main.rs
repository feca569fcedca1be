//! The block store's tests, one story a module; one binary, because each would link RocksDB anew.

#[cfg(test)]
mod bad_rows;
#[cfg(test)]
mod batch;
#[cfg(test)]
mod check;
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
mod gc;
#[cfg(test)]
mod gc_compact;
#[cfg(test)]
mod gc_crash;
#[cfg(test)]
mod gc_races;
#[cfg(test)]
mod gc_unpinned;
#[cfg(test)]
mod holder;
#[cfg(test)]
mod log_damage;
#[cfg(test)]
mod model;
#[cfg(test)]
mod names;
#[cfg(test)]
mod quota;
mod side;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tamper;
#[cfg(test)]
mod traps;
#[cfg(test)]
mod verify;
