//! The swarm: this node among its peers.
//!
//! One task owns libp2p's swarm and everything that is decided about connections; the rest of the program holds a
//! [`SwarmHandle`]. What is decided without I/O lies in files of its own and is tested there: which connections are closed
//! ([`connections`]), what a place in a routing table is worth there (`tables`), when lost peers are dialled again (`redial`), which
//! relays are asked (`task/relays`), what is announced ([`addresses`]), what is remembered
//! ([`book`]).
//!
//! # Map
//! `settings` reads the config (`resources`, `overrides`: how much there may be of everything); `transport`, `security`, `yamux`, `psk` carry bytes
//! (`circuits`: none through a second relay; `unread`: no more than there is room for); [`meter`] counts them; `resolve` and `named` resolve names in addresses;
//! `behaviour` names the protocols, of which `identify` (with `observed`), `ping`, `mdns`, `autonat_client`, `autonat_server`, `autonat_v1`,
//! `relay_service`, `holes`, `streams`, `gate` and `limits` are wrapped or made here; `task` runs it all.

pub mod addresses;
mod autonat_client;
mod autonat_server;
mod autonat_v1;
mod behaviour;
pub mod book;
mod circuits;
pub mod connections;
mod cork;
pub mod filters;
mod gate;
mod handle;
mod holes;
mod identify;
mod limits;
pub mod mdns;
pub mod meter;
mod named;
mod observed;
mod overrides;
mod ping;
mod psk;
mod redial;
mod relay_service;
pub mod resolve;
mod resources;
mod security;
mod settings;
mod streams;
mod tables;
mod task;
#[cfg(test)]
mod tests;
mod tls;
mod transport;
mod unread;
mod yamux;

pub use autonat_server::AutonatThrottle;
pub use behaviour::Protocols;
pub use handle::{
    ConnectError, ConnectionInfo, Direction, DisconnectError, Gone, LocalAddresses, NatInfo, Need,
    PeeringError, PingError, Reachability, SwarmHandle, Usage,
};
pub(crate) use limits::has_socket;
pub use limits::{Allowed, AllowedError};
pub use overrides::OverridesError;
pub use ping::{PingFailure, PingTimes};
pub use psk::{PskError, parse as parse_psk};
pub use relay_service::RelayLimits;
pub use resources::{Directed, ResourceLimits, ScopeLimits};
pub use security::{SecurityError, SecurityOrder};
pub use settings::{SettingsError, SwarmSettings, is_private};
pub use streams::{AcceptError, Inbound, Incoming, OpenError, Streams};
pub use task::{StartError, SwarmParams, start};
pub use transport::{TransportBuildError, TransportChoice};
