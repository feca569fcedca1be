//! Finding, for the Holdfast IPFS node: the [DHT](kad), [IPNS records](ipns), and the text forms of [peer IDs](peer_id).
//!
//! It is: a Kademlia engine without I/O ([`kad`]), the libp2p behaviour that drives it ([`Behaviour`], [`Handle`]), the trait
//! of what keeps other peers' records ([`records`]), the sweep that announces many keys with few searches ([`sweep`]), and
//! the rules of IPNS records ([`ipns`]). It is not a store, a resolver or a swarm: bytes are kept by whoever implements
//! [`records::RecordStore`], and dialling, identify and limits of connections are the node's.
//!
//! A node runs the behaviour twice, once a [scope](kad::Scope): WAN among public addresses, LAN among all but loopback.
//!
//! # Limits
//! A message has at most 4 MiB, which is checked before its bytes are read; 20 peers a bucket; 1,024 queries at a time; 32
//! inbound streams a connection; 1,024 stored records being read or written at a time; a provider's key 80 bytes; an IPNS
//! record 10 KiB. Everything that peers send is remote input: nothing here panics on it, and nothing is sized by it.
//!
//! # Example: both DHTs in a swarm
//! ```
//! use std::sync::Arc;
//!
//! use holdfast_dht::kad::{Config, Mode, Scope};
//! use holdfast_dht::records::MemoryStore;
//! use holdfast_dht::{Behaviour, Handle};
//! use libp2p::swarm::NetworkBehaviour;
//! use libp2p::{Multiaddr, PeerId, StreamProtocol, identify};
//!
//! #[derive(NetworkBehaviour)]
//! struct Peer {
//!     wan: Behaviour,
//!     lan: Behaviour,
//! }
//!
//! /// The behaviours go into the swarm, the handles to whoever asks.
//! fn build(local: PeerId) -> (Peer, Handle, Handle) {
//!     let (wan, wan_handle) = Behaviour::new(local, Config::new(Scope::Wan), Arc::new(MemoryStore::default()));
//!     let (mut lan, lan_handle) = Behaviour::new(local, Config::new(Scope::Lan), Arc::new(MemoryStore::default()));
//!     // WAN becomes a server when the node is found to be reachable.
//!     lan.set_mode(Mode::Server);
//!     (Peer { wan, lan }, wan_handle, lan_handle)
//! }
//!
//! /// The swarm task tells both what identify learned of a peer ...
//! fn on_identify(peer: &mut Peer, id: PeerId, info: &identify::Info) {
//!     peer.wan.on_identified(id, &info.protocols, &info.listen_addrs);
//!     peer.lan.on_identified(id, &info.protocols, &info.listen_addrs);
//! }
//!
//! /// ... and where the node can be reached; each takes what is of its scope.
//! fn on_addresses(peer: &mut Peer, own: &[Multiaddr]) {
//!     peer.wan.set_own_addresses(own);
//!     peer.lan.set_own_addresses(own);
//! }
//!
//! # fn main() {
//! let (mut peer, wan, _lan) = build(PeerId::random());
//! on_addresses(&mut peer, &["/ip4/1.2.3.4/tcp/4001".parse().unwrap()]);
//! assert_eq!(wan.table_len(), 0);
//! # }
//! ```
//!
//! # Example: asking
//! ```no_run
//! use futures_util::StreamExt as _;
//! use holdfast_dht::Handle;
//! use holdfast_dht::kad::{Key, Provide, QueryEvent};
//!
//! async fn ask(dht: Handle, multihash: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
//!     let key = Key::new(multihash)?;
//!     // Announce: 20 peers, or as soon as 15 know.
//!     let known_by = dht.provide(key.clone(), Provide::Optimistic, None).await?;
//!     // Find, with what `-v` prints. Dropping the stream cancels the search.
//!     let (events, mut happened) = tokio::sync::mpsc::channel(256);
//!     let mut providers = dht.find_providers(key.clone(), 20, Some(events));
//!     while let Some(provider) = providers.next().await {
//!         println!("{} at {:?}", provider.as_ref().unwrap().id, provider.as_ref().unwrap().addresses);
//!     }
//!     while let Ok(event) = happened.try_recv() {
//!         if let QueryEvent::SendingQuery { peer } = event {
//!             println!("asked {peer}");
//!         }
//!     }
//!     let name = Key::new(b"/ipns/...")?;
//!     let record = dht.get_value(name.clone(), 16, None).await?;
//!     let taken_by = dht.put_value(name, record, None).await?;
//!     println!("{known_by} {taken_by} {:?}", dht.closest_peers(key, None).await?);
//!     Ok(())
//! }
//! ```
//!
//! # Example: an IPNS record
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
//! [`kad`] is the engine: bytes, answers and `now` in, actions out, no socket, clock or task. `behaviour` moves its bytes
//! over libp2p, and [`Handle`] is how tasks ask it. [`records`] is what a server keeps for others. [`sweep`] plans the
//! announcing of all keys over a day. [`ipns`] holds names, records and their rules; [`peer_id`] how keys are written.

pub mod ipns;
pub mod kad;
pub mod peer_id;
pub mod records;
pub mod sweep;

mod behaviour;
mod handle;

pub use behaviour::{Behaviour, Event};
pub use handle::{Events, Handle, PROVIDERS_MAX, Providers};
