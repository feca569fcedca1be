//! Finding, for the Holdfast IPFS node. Today it is [IPNS records](ipns) and the text forms of [peer IDs](peer_id).
//!
//! It is: making, reading, checking and choosing IPNS records, and the rules by which a store of them changes. It is not
//! yet what its name promises: the Kademlia engine, provider records, mDNS and the republisher come here with the
//! network. It knows no disk, no socket, no clock and no tokio: bytes and `now` come in, records and errors go out.
//! What keeps records is behind the trait [`ipns::RecordStore`].
//!
//! # Limits
//! A record is at most 10 KiB ([`ipns::RECORD_BYTES_MAX`]), which is checked before anything of it is read. Records are
//! remote input: nothing here panics on them.
//!
//! # Example
//! ```
//! use std::time::Duration;
//!
//! use holdfast_dht::ipns::{Draft, Name, Record, Timestamp};
//! use libp2p_identity::Keypair;
//!
//! let key = Keypair::generate_ed25519();
//! let now = Timestamp::from_unix(1_700_000_000, 0);
//! let draft = Draft {
//!     value: "/ipfs/bafkqaaa".to_owned(),
//!     sequence: 0,
//!     end_of_life: now.after(Duration::from_secs(3600)),
//!     ttl: Duration::from_secs(60),
//!     v1_compatible: true,
//! };
//! let record = draft.sign(&key)?;
//! let name = Name::from(key.public().to_peer_id());
//! let read = Record::decode(record.as_bytes())?;
//! read.validate(&name, now)?;
//! assert_eq!(read.value()?.to_string(), "/ipfs/bafkqaaa");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Map
//! [`ipns`] holds names, records, their rules and the trait of what keeps them; [`peer_id`] how keys are written.

pub mod ipns;
pub mod peer_id;
