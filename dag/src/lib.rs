//! The performance core of Holdfast: files to DAGs and back.
//!
//! It is: chunkers, hashing, dag-pb and UnixFS, balanced and trickle layouts, directories and HAMT shards, readers as
//! sans-IO walkers, CAR, dag-cbor and dag-json. It is not: a store, a network client or an async library. It knows no
//! disk, no socket and no tokio; what it reads and writes are `Read`s, byte slices and [`block::Block`]s.
//!
//! # Limits
//! Blocks 2 MiB ([`block::BLOCK_BYTES_MAX`]), identity digests 128 bytes, HAMT fanout 8 to 1,024, IPLD depth 1,024.
//! Input is untrusted: nothing here panics on it or allocates by what a header claims.
//!
//! # Map
//! [`mod@cid`], [`hash`], [`block`] name bytes, [`path`] finds them. [`pb`] and [`unixfs`] are the formats. [`chunker`], [`import`] and
//! [`hamt`] build; [`walk`] and [`read`] read; [`edit`] changes; [`ipld`] and [`car`] move DAGs in and out.

pub mod base;
pub mod block;
pub mod car;
pub mod chunker;
pub mod cid;
pub mod cid_text;
pub mod edit;
pub mod hamt;
pub mod hash;
pub mod import;
pub mod ipld;
pub mod path;
pub mod pb;
pub mod read;
#[cfg(test)]
mod testdata;
pub mod unixfs;
pub mod walk;
