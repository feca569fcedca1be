//! IPNS: names that are keys, and the signed records that say what they point at.
//!
//! The format is that of the [IPNS record specification](https://specs.ipfs.tech/ipns/ipns-record/): a protobuf whose
//! field `data` is a signed DAG-CBOR document, and whose first six fields repeat that document for readers of the first
//! version. Only the signature over `data` counts.

mod create;
mod document;
mod name;
mod record;
mod resolve;
mod select;
mod store;
mod time;
mod validate;
mod wire;

pub use create::{Draft, DraftError};
pub use name::{Name, NameError};
pub use record::{Record, RecordError, SignatureType};
pub use resolve::{HOPS_MAX, Hop, Resolution, ResolveError, resolve};
pub use select::{best, compare};
pub use store::{Origin, Publish, PublishError, PutError, RecordStore, StoredError, publish, put, stored};
pub use time::{Timestamp, TimestampError};
pub use validate::ValidateError;

use std::time::Duration;

/// Largest record, in bytes (IPNS specification).
pub const RECORD_BYTES_MAX: usize = 10 << 10;

/// How long records are valid unless the publisher says otherwise: 48 hours, as long as DHT servers keep them (Kubo).
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(48 * 3600);

/// How long readers may keep a record before they look for a newer one, unless the publisher says otherwise: 5 minutes (Kubo).
pub const TTL_DEFAULT: Duration = Duration::from_secs(300);
