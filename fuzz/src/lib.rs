//! Fuzz targets: one plain function a decoder, which feeds it arbitrary bytes and asserts what must hold.
//!
//! A target panics when a property is broken; that an input is refused is never a finding. `tests/replay.rs` runs
//! every target over its corpus and over small mutations of it in each test run; `make fuzz` runs them under
//! libFuzzer with coverage (feature `libfuzzer`). An input that once broke something stays in `corpus/<target>/`.

#![expect(clippy::missing_panics_doc, reason = "a panic is how every target here reports")]

mod archives;
mod directories;
mod edits;
mod exchange;
mod fetch;
mod formats;
mod ipns;
mod kad;
mod mdns;
mod names;
mod uploads;

pub use archives::car;
pub use directories::hamt;
pub use edits::edit;
pub use exchange::bitswap;
pub use fetch::record_fetch;
pub use formats::{dag_cbor, dag_json, dag_pb, unixfs};
pub use ipns::ipns;
pub use kad::kad;
pub use mdns::mdns;
pub use names::{cid, path};
pub use uploads::multipart;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by the name of its corpus.
pub const TARGETS: [(&str, Target); 15] = [
    ("bitswap", bitswap),
    ("car", car),
    ("cid", cid),
    ("dag_cbor", dag_cbor),
    ("dag_json", dag_json),
    ("dag_pb", dag_pb),
    ("edit", edit),
    ("hamt", hamt),
    ("ipns", ipns),
    ("kad", kad),
    ("mdns", mdns),
    ("multipart", multipart),
    ("path", path),
    ("record_fetch", record_fetch),
    ("unixfs", unixfs),
];
