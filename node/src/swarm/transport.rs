//! How bytes get from peer to peer: TCP, WebSocket, QUIC and circuits through relays, secured, split into streams, counted.

use std::io;
use std::time::Duration;

use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::upgrade::Version;
use libp2p::core::{Transport, transport};
use libp2p::futures::io::BufReader;
use libp2p::futures::{AsyncRead, AsyncWrite};
use libp2p::pnet::{PnetConfig, PreSharedKey};
use libp2p::{Multiaddr, PeerId, quic, relay, tcp, websocket};
use libp2p_identity::Keypair;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::circuits::Circuits;
use super::filters::{Filters, names_one_host};
use super::meter::Meter;
use super::named::ByName;
use super::resolve::Resolver;
use super::security::{Security, SecurityError, SecurityOrder};
use super::unread::Unread;
use super::yamux::{STREAMS_MAX, Yamux};

/// How long a connection may take to be secured and split, as in go-libp2p's upgrader.
const UPGRADE_TIME_MAX: Duration = Duration::from_secs(15);
/// Largest WebSocket message that is read, in bytes. Noise frames have at most 64 KiB.
const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes that one read of a TCP connection takes at most. Below it TLS and noise ask for a record at a time, of 16 KiB or less,
/// each by a call to the system.
const TCP_READ_BYTES: usize = 64 << 10;
/// Bytes that a peer may have under way on one QUIC stream, and on all of a connection.
const QUIC_STREAM_WINDOW_BYTES: u32 = 8 << 20;
pub(super) const QUIC_CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// What the swarm dials and listens with.
pub(super) type Transports = Boxed<(PeerId, StreamMuxerBox)>;

/// Which transports there are: `Swarm.Transports`. All are on by default but those that need what is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own in the config")]
pub struct TransportChoice {
    /// `Network.TCP`.
    pub tcp: bool,
    /// `Network.Websocket`, over TCP, without TLS of its own.
    pub websocket: bool,
    /// `Network.QUIC`. Never in a private network: QUIC knows no pre-shared key.
    pub quic: bool,
    /// `Network.Relay`: connections through relays.
    pub relay: bool,
    /// `Security`.
    pub security: SecurityOrder,
}

impl Default for TransportChoice {
    fn default() -> Self {
        Self { tcp: true, websocket: true, quic: true, relay: true, security: SecurityOrder::default() }
    }
}

/// Why there are no transports.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportBuildError {
    /// The identity cannot be used to secure connections.
    #[error("the node's key cannot secure connections: {0}")]
    Security(#[from] SecurityError),
    /// Every security protocol is switched off.
    #[error(
        "Swarm.Transports.Security leaves neither TLS nor noise: no connection could be secured. Switch one of them on"
    )]
    NoSecurity,
}

/// What transports are made from.
pub(super) struct TransportParams<'p> {
    pub(super) key: &'p Keypair,
    pub(super) choice: TransportChoice,
    pub(super) psk: Option<PreSharedKey>,
    pub(super) meter: Meter,
    pub(super) unread: Unread,
    pub(super) filters: Filters,
    pub(super) circuits: Circuits,
    pub(super) relay: Option<relay::client::Transport>,
    /// Who resolves names in addresses that peers told.
    pub(super) resolver: Resolver,
}

/// Makes all transports that were chosen.
pub(super) fn build(params: TransportParams<'_>) -> Result<Transports, TransportBuildError> {
    let TransportParams { key, choice, psk, meter, unread, filters, circuits, relay, resolver } = params;
    if choice.security.tls.is_none() && choice.security.noise.is_none() {
        return Err(TransportBuildError::NoSecurity);
    }
    let upgrades = Upgrades { security: Security::new(key, choice.security)?, unread, meter: meter.clone() };
    let tcp_config = || tcp::Config::new().nodelay(true);
    let mut all: Transports = transport::dummy::DummyTransport::new().boxed();
    if let Some(relay) = relay.filter(|_| choice.relay) {
        all = either(upgrades.protected(relay.boxed(), psk), all);
    }
    if choice.quic && psk.is_none() {
        let mut config = quic::Config::new(key);
        config.max_stream_data = QUIC_STREAM_WINDOW_BYTES;
        config.max_connection_data = QUIC_CONNECTION_WINDOW_BYTES;
        config.max_concurrent_stream_limit = u32::try_from(STREAMS_MAX).unwrap_or(u32::MAX);
        let quic = quic::tokio::Transport::new(config).map(move |(peer, muxer), point| {
            (peer, StreamMuxerBox::new(meter.wrap(muxer, peer, &point, None)))
        });
        all = either(all, quic.boxed());
    }
    if choice.websocket {
        let mut websocket = websocket::Config::new(tcp::tokio::Transport::new(tcp_config()));
        websocket.set_max_data_size(WEBSOCKET_MESSAGE_BYTES_MAX).set_max_redirects(0);
        all = either(all, upgrades.protected(websocket.boxed(), psk));
    }
    if choice.tcp {
        let tcp = tcp::tokio::Transport::new(tcp_config());
        let tcp = tcp.map(|socket, _| BufReader::with_capacity(TCP_READ_BYTES, socket)).boxed();
        all = either(all, upgrades.protected(tcp, psk));
    }
    // The filters see what the names stand for.
    Ok(ByName::new(Guarded { inner: all, filters, circuits }.boxed(), resolver).boxed())
}

fn either(first: Transports, second: Transports) -> Transports {
    first.or_transport(second).map(|either, _| either.into_inner()).boxed()
}

/// What makes a connection of a socket: security, streams, and counting.
struct Upgrades {
    security: Security,
    unread: Unread,
    meter: Meter,
}

impl Upgrades {
    /// With the key of the private network before everything else, if there is one.
    fn protected<C>(&self, transport: Boxed<C>, psk: Option<PreSharedKey>) -> Transports
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        match psk {
            Some(key) => {
                let shake = move |socket, _| PnetConfig::new(key).handshake(socket);
                self.of(transport.and_then(shake).boxed())
            }
            None => self.of(transport),
        }
    }

    fn of<C>(&self, transport: Boxed<C>) -> Transports
    where
        C: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let meter = self.meter.clone();
        transport
            .upgrade(Version::V1Lazy)
            .authenticate(self.security.clone())
            .multiplex(Yamux::new(self.unread.clone()))
            .timeout(UPGRADE_TIME_MAX)
            .map(move |(peer, muxer), point| {
                let held = muxer.held();
                (peer, StreamMuxerBox::new(meter.wrap(muxer, peer, &point, Some(held))))
            })
            .boxed()
    }
}

/// Never dials what the filters refuse: not a packet is sent there. Nor an address that could lead elsewhere than it seems to, nor a peer
/// through a relay that is connected through one.
struct Guarded {
    inner: Transports,
    filters: Filters,
    circuits: Circuits,
}

impl Transport for Guarded {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = <Transports as Transport>::ListenerUpgrade;
    type Dial = <Transports as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, opts: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        if !names_one_host(&address) {
            let words = "the address does not begin with the one IP address that it has";
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::InvalidInput, words)));
        }
        if self.filters.refuse(&address) {
            let words = "Swarm.AddrFilters refuses this address";
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::PermissionDenied, words)));
        }
        if self.circuits.has_enough(&address) {
            let words = "there is a connection through a relay already";
            return Err(TransportError::Other(io::Error::new(io::ErrorKind::AlreadyExists, words)));
        }
        self.inner.dial(address, opts)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, Self::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}
