//! The way to the swarm for everybody else: a handle whose calls are answered, or fail when the swarm is gone.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use futures_util::{StreamExt as _, stream};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::addresses::{Scope, split_peer};
use super::book::{Book, PeerDescription};
use super::connections::Worth;
use super::filters::{FilterError, Filters, IpRange};
use super::meter::{Meter, Shares, StreamCounts, Traffic};
use super::ping::PingFailure;
use super::redial::PEERS_MAX;
use super::resolve::{ResolveError, Resolver, holds_name};
use super::resources::ResourceLimits;
use super::streams::Streams;
use super::unread::Unread;

/// Addresses of one peer whose names are resolved at once.
const RESOLVED_MAX: usize = 16;
/// For how long what needs no name is dialled alone: two connections to one peer are one too many.
pub(super) const HEAD_START: Duration = Duration::from_secs(2);
/// What the words begin with where every address was dialled in vain (go-libp2p's).
pub(super) const ALL_FAILED: &str = "all dials failed";
/// Commands that wait for the swarm; whoever gives more waits.
pub(super) const COMMANDS_MAX: usize = 256;
/// How long a connection may take, from the first name to the last handshake (go-libp2p's `DialPeerTimeout`).
const CONNECT_TIME_MAX: Duration = Duration::from_secs(60);
/// How long an answer to a ping may take, its stream included.
const PING_TIME_MAX: Duration = Duration::from_secs(10);

/// The swarm is gone: it was stopped, or it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node has left the network: its swarm has stopped")]
pub struct Gone;

/// Why a peer is not kept connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeeringError {
    /// The swarm is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// There are as many as may be.
    #[error(
        "{PEERS_MAX} peers are kept connected, and no more can be; `holdfast swarm peering rm <id>` makes room"
    )]
    Full,
}

/// What a connection is for, where there is one through a relay already, or one comes while the peer is dialled. Where the dial itself
/// leads through a relay, that will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A few words: nobody is dialled.
    Any,
    /// More: the peer is dialled, and where that fails the connection that is there has to do.
    Better,
    /// A direct connection: the peer is dialled, and it is an error when that fails.
    Direct,
}

/// Why there is no connection. The words are those of go-libp2p where it has some.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The swarm is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The peer is this node.
    #[error("failed to dial: dial to self attempted")]
    Ourselves,
    /// No address of the peer is known.
    #[error("failed to dial: failed to dial {0}: no addresses")]
    NoAddresses(PeerId),
    /// A name in an address was not resolved.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// No address led to the peer.
    #[error("failed to dial: failed to dial {peer}: {reason}")]
    Failed {
        /// The peer.
        peer: PeerId,
        /// What happened at each address.
        reason: String,
    },
    /// This node would not dial, or keep a connection: there are too many. It says nothing of the peer.
    #[error("failed to dial: failed to dial {peer}: {reason}")]
    Busy {
        /// The peer.
        peer: PeerId,
        /// What there are too many of.
        reason: String,
    },
    /// It took too long.
    #[error("failed to dial: failed to dial {0}: no connection within 60 seconds")]
    Timeout(PeerId),
}

/// Why no connection was closed. The words are Kubo's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DisconnectError {
    /// The swarm is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// There is no connection to the peer.
    #[error("not connected")]
    NotConnected,
    /// There is one, but not through this address.
    #[error("conn not found")]
    NotFound,
}

/// Why a ping brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// The swarm is gone.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// There was no answer.
    #[error(transparent)]
    Failed(#[from] PingFailure),
    /// The connection ended before there was an answer.
    #[error("the connection ended before there was an answer")]
    Disconnected,
}

/// Who opened a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The peer.
    Inbound,
    /// We.
    Outbound,
}

/// An open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Whom it leads to.
    pub peer: PeerId,
    /// The peer's end, without its ID.
    pub address: Multiaddr,
    /// Who opened it.
    pub direction: Direction,
    /// Time of a ping, a moving average; none before the first.
    pub latency: Option<Duration>,
    /// Protocols of its streams, sorted; empty where one is not agreed on yet.
    pub streams: Vec<String>,
    /// Whether it goes through a relay.
    pub relayed: bool,
}

/// What reachability is assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reachability {
    /// Nobody has tried yet.
    #[default]
    Unknown,
    /// Others can dial us from the internet.
    Public,
    /// They cannot.
    Private,
}

/// What others found out about our addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatInfo {
    /// In all.
    pub reachability: Reachability,
    /// Addresses that others reached.
    pub reachable: Vec<Multiaddr>,
    /// Addresses that others tried in vain.
    pub unreachable: Vec<Multiaddr>,
    /// Addresses that nobody tried yet.
    pub unknown: Vec<Multiaddr>,
}

/// Our own addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LocalAddresses {
    /// That we listen on, sorted.
    pub listening: Vec<Multiaddr>,
    /// That we announce, those that reach farthest first.
    pub announced: Vec<Multiaddr>,
}

/// How much of the limits is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Connections that others opened.
    pub inbound_connections: usize,
    /// Connections that we opened.
    pub outbound_connections: usize,
    /// Those of them that are not secured yet, opened by others.
    pub pending_inbound: usize,
    /// The same, opened by us.
    pub pending_outbound: usize,
    /// Streams.
    pub streams: StreamCounts,
    /// Peers with a connection.
    pub peers: usize,
    /// Bytes that peers sent through yamux and that nobody has read yet.
    pub unread_bytes: usize,
}

/// What the swarm is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Connect {
        need: Need,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        /// Whether what is known of the peer is dialled too.
        and_known: bool,
        reply: oneshot::Sender<Result<(), ConnectError>>,
    },
    Disconnect {
        peer: PeerId,
        address: Option<Multiaddr>,
        reply: oneshot::Sender<Result<(), DisconnectError>>,
    },
    Ping {
        peer: PeerId,
        reply: oneshot::Sender<Result<Duration, PingError>>,
    },
    Connections {
        reply: oneshot::Sender<Vec<ConnectionInfo>>,
    },
    Nat {
        reply: oneshot::Sender<NatInfo>,
    },
    Usage {
        reply: oneshot::Sender<Usage>,
    },
    PeeringAdd {
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: oneshot::Sender<bool>,
    },
    PeeringRemove {
        peer: PeerId,
        reply: oneshot::Sender<()>,
    },
    PeeringList {
        reply: oneshot::Sender<Vec<(PeerId, Vec<Multiaddr>)>>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}

/// What the handle and the task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) us: PeerId,
    pub(super) agent: String,
    /// Those that are served now, sorted.
    pub(super) protocols: Mutex<Vec<String>>,
    /// Fingerprint of the key of a private network.
    pub(super) fingerprint: Option<String>,
    pub(super) limits: Option<ResourceLimits>,
    pub(super) meter: Meter,
    pub(super) unread: Unread,
    pub(super) filters: Filters,
    pub(super) book: Book,
    pub(super) worth: Worth,
    pub(super) resolver: Resolver,
    pub(super) streams: Streams,
    pub(super) local: watch::Receiver<LocalAddresses>,
    pub(super) warnings: Mutex<Vec<String>>,
}

/// A handle on the swarm. Cheap to clone; when the last is dropped, the swarm ends.
#[derive(Debug, Clone)]
pub struct SwarmHandle {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) shared: Arc<Shared>,
}

impl SwarmHandle {
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Gone> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// This node's ID.
    pub fn peer_id(&self) -> PeerId {
        self.shared.us
    }

    /// How it calls itself.
    pub fn agent(&self) -> &str {
        &self.shared.agent
    }

    /// The protocols that it serves, sorted.
    pub fn protocols(&self) -> Vec<String> {
        let mut names = self.shared.protocols.lock().unwrap_or_else(PoisonError::into_inner).clone();
        names.extend(self.shared.streams.served().iter().map(ToString::to_string));
        names.sort_unstable();
        names
    }

    /// The fingerprint of its private network's key, as Kubo prints it; none in the public network.
    pub fn private_network(&self) -> Option<&str> {
        self.shared.fingerprint.as_deref()
    }

    /// Its addresses now.
    pub fn local_addresses(&self) -> LocalAddresses {
        self.shared.local.borrow().clone()
    }

    /// Its addresses, as they change.
    pub fn watch_addresses(&self) -> watch::Receiver<LocalAddresses> {
        self.shared.local.clone()
    }

    /// What was passed over when it started: one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.shared.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is known of other peers.
    pub fn book(&self) -> &Book {
        &self.shared.book
    }

    /// Where it is said which peers are worth keeping.
    pub fn worth(&self) -> &Worth {
        &self.shared.worth
    }

    /// Streams of protocols that come and go.
    pub fn streams(&self) -> &Streams {
        &self.shared.streams
    }

    /// Who resolves names in addresses.
    pub fn resolver(&self) -> &Resolver {
        &self.shared.resolver
    }

    /// Sees to it that there is a connection to `peer`, and that it has said who it is. Names in `addresses` are
    /// resolved while the others, and addresses that are known from elsewhere, are dialled. At most 60 seconds.
    ///
    /// Where there is one through a relay, a direct one is tried; if that fails, it is left at that.
    pub async fn connect(&self, peer: PeerId, addresses: &[Multiaddr]) -> Result<(), ConnectError> {
        self.connect_for(Need::Better, peer, addresses).await
    }

    /// The same, for whoever needs less than that or more.
    pub async fn connect_for(
        &self,
        need: Need,
        peer: PeerId,
        addresses: &[Multiaddr],
    ) -> Result<(), ConnectError> {
        if peer == self.shared.us {
            return Err(ConnectError::Ourselves);
        }
        let (named, plain): (Vec<Multiaddr>, Vec<Multiaddr>) =
            addresses.iter().cloned().partition(holds_name);
        let connecting = async {
            let plain = without_peers(&plain);
            if named.is_empty() {
                return self.ask_to_connect(need, peer, plain, true).await;
            }
            // A connection through a relay will do only when neither attempt led to a better one.
            let own_need = if need == Need::Better { Need::Direct } else { need };
            // Where nobody resolves names, those that need none lead there all the same, and whoever is connected needs nothing.
            let known = self.shared.book.addresses(&peer);
            let is_direct = |address: &Multiaddr| Scope::of(address) != Scope::Relayed;
            let may_lead_there = plain.iter().chain(&known).any(is_direct);
            let first = async {
                self.ask_to_connect(own_need, peer, plain.clone(), true).await?;
                // Where it led through a relay, what the names stand for is tried all the same.
                if need == Need::Any || self.is_directly_connected(peer).await {
                    return Ok(());
                }
                Err(ConnectError::Failed { peer, reason: format!("{ALL_FAILED}: only a relay leads there") })
            };
            let resolved = async {
                let head_start = Instant::now() + HEAD_START;
                let mut found = resolve_all(&self.shared.resolver, peer, &named).await?;
                if may_lead_there {
                    sleep_until(head_start).await;
                }
                found.retain(|address| !plain.contains(address) && !known.contains(address));
                self.ask_to_connect(own_need, peer, found, false).await
            };
            let connected = first_connected(first, resolved).await;
            if need == own_need || connected.is_ok() {
                return connected;
            }
            self.ask_to_connect(Need::Any, peer, Vec::new(), false).await.or(connected)
        };
        timeout(CONNECT_TIME_MAX, connecting).await.unwrap_or(Err(ConnectError::Timeout(peer)))
    }

    async fn is_directly_connected(&self, peer: PeerId) -> bool {
        let is_direct = |open: &ConnectionInfo| open.peer == peer && !open.relayed;
        self.connections().await.is_ok_and(|open| open.iter().any(is_direct))
    }

    /// Has the task dial these addresses, in which there are no names, and with `and_known` those that are known too.
    async fn ask_to_connect(
        &self,
        need: Need,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        and_known: bool,
    ) -> Result<(), ConnectError> {
        self.ask(|reply| Command::Connect { need, peer, addresses, and_known, reply }).await?
    }

    /// Closes the connections to a peer; with `address`, only those through it.
    pub async fn disconnect(&self, peer: PeerId, address: Option<Multiaddr>) -> Result<(), DisconnectError> {
        self.ask(|reply| Command::Disconnect { peer, address, reply }).await?
    }

    /// Sends one ping, on a stream of its own, and says how long it took. Connects first where there is no connection at
    /// all: one through a relay will do.
    pub async fn ping(&self, peer: PeerId) -> Result<Duration, PingError> {
        self.connect_for(Need::Any, peer, &[]).await?;
        self.ping_connected(peer).await
    }

    /// The same, for whoever is connected.
    pub(super) async fn ping_connected(&self, peer: PeerId) -> Result<Duration, PingError> {
        let asking = self.ask(|reply| Command::Ping { peer, reply });
        match timeout(PING_TIME_MAX, asking).await {
            Ok(Ok(result)) => result,
            // The task drops what it can no longer answer.
            Ok(Err(Gone)) if !self.commands.is_closed() => Err(PingError::Disconnected),
            Ok(Err(gone)) => Err(gone.into()),
            Err(_) => Err(PingFailure::Timeout(PING_TIME_MAX).into()),
        }
    }

    /// The open connections, sorted by address.
    pub async fn connections(&self) -> Result<Vec<ConnectionInfo>, Gone> {
        self.ask(|reply| Command::Connections { reply }).await
    }

    /// What others found out about our addresses.
    pub async fn nat(&self) -> Result<NatInfo, Gone> {
        self.ask(|reply| Command::Nat { reply }).await
    }

    /// How much of the limits is used.
    pub async fn usage(&self) -> Result<Usage, Gone> {
        self.ask(|reply| Command::Usage { reply }).await
    }

    /// Who holds what of it.
    pub fn shares(&self) -> Shares {
        self.shared.meter.shares()
    }

    /// The limits; none where `Swarm.ResourceMgr.Enabled` is false.
    pub fn limits(&self) -> Option<ResourceLimits> {
        self.shared.limits.clone()
    }

    /// Keeps a peer connected from now on. It is not written to the config.
    pub async fn peering_add(&self, peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), PeeringError> {
        let is_kept = self.ask(|reply| Command::PeeringAdd { peer, addresses, reply }).await?;
        if is_kept { Ok(()) } else { Err(PeeringError::Full) }
    }

    /// No longer keeps a peer connected.
    pub async fn peering_remove(&self, peer: PeerId) -> Result<(), Gone> {
        self.ask(|reply| Command::PeeringRemove { peer, reply }).await
    }

    /// The peers that are kept connected, by ID.
    pub async fn peering_list(&self) -> Result<Vec<(PeerId, Vec<Multiaddr>)>, Gone> {
        self.ask(|reply| Command::PeeringList { reply }).await
    }

    /// The ranges that nothing is dialled in or accepted from.
    pub fn filters(&self) -> Vec<IpRange> {
        self.shared.filters.list()
    }

    /// Adds a range. Connections that are open stay.
    pub fn filter_add(&self, range: IpRange) -> Result<(), FilterError> {
        self.shared.filters.add(range)
    }

    /// Removes a range, if it is there.
    pub fn filter_remove(&self, range: IpRange) {
        self.shared.filters.remove(range);
    }

    /// Removes all ranges.
    pub fn filters_clear(&self) {
        self.shared.filters.clear();
    }

    /// What all protocols sent and received.
    pub fn traffic(&self) -> Traffic {
        self.shared.meter.total()
    }

    /// What was exchanged with a peer.
    pub fn traffic_of_peer(&self, peer: &PeerId) -> Traffic {
        self.shared.meter.of_peer(peer)
    }

    /// What a protocol sent and received.
    pub fn traffic_of_protocol(&self, protocol: &str) -> Traffic {
        self.shared.meter.of_protocol(protocol)
    }

    /// What every protocol sent and received, by name.
    pub fn traffic_by_protocol(&self) -> Vec<(String, Traffic)> {
        self.shared.meter.by_protocol()
    }

    /// What a peer said of itself.
    pub fn description(&self, peer: &PeerId) -> Option<PeerDescription> {
        self.shared.book.description(peer)
    }

    /// Ends the swarm: connections are closed, and the peer book is written. It is over when this returns.
    pub async fn stop(&self) {
        // An error says that it is over already.
        let _ = self.ask(|reply| Command::Stop { reply }).await;
        self.commands.closed().await;
    }
}

/// The first of two attempts that leads there. Where neither does, what happened at each address that was dialled is told.
async fn first_connected(
    one: impl Future<Output = Result<(), ConnectError>>,
    other: impl Future<Output = Result<(), ConnectError>>,
) -> Result<(), ConnectError> {
    let (one, other) = match select(pin!(one), pin!(other)).await {
        Either::Left((Ok(()), _)) | Either::Right((Ok(()), _)) => return Ok(()),
        Either::Left((Err(one), other)) => (one, other.await),
        Either::Right((Err(other), one)) => match one.await {
            Ok(()) => return Ok(()),
            Err(one) => (one, Err(other)),
        },
    };
    let Err(other) = other else { return Ok(()) };
    Err(match (one, other) {
        (ConnectError::Failed { peer, reason }, ConnectError::Failed { reason: more, .. }) => {
            let more = more.strip_prefix(ALL_FAILED).map_or_else(|| format!("\n  * {more}"), str::to_owned);
            ConnectError::Failed { peer, reason: reason + &more }
        }
        // Of names that led nowhere nothing is said where there was something to dial.
        (
            one @ (ConnectError::Failed { .. } | ConnectError::Busy { .. }),
            ConnectError::Resolve(_) | ConnectError::NoAddresses(_),
        ) => one,
        (_, other) => other,
    })
}

/// The addresses as they are dialled.
pub(super) fn without_peers(addresses: &[Multiaddr]) -> Vec<Multiaddr> {
    addresses.iter().map(|address| split_peer(address).0).filter(|address| !address.is_empty()).collect()
}

/// What addresses with names stand for. It fails only where that is nothing, and something was given.
pub(super) async fn resolve_all(
    resolver: &Resolver,
    peer: PeerId,
    addresses: &[Multiaddr],
) -> Result<Vec<Multiaddr>, ResolveError> {
    let mut found: Vec<Multiaddr> = Vec::new();
    let mut last_error = None;
    let resolving: Vec<_> = addresses
        .iter()
        .map(|address| {
            // With the peer at its end, a dnsaddr gives only that peer's addresses.
            let (resolver, mut address) = (resolver.clone(), split_peer(address).0);
            address.push(multiaddr::Protocol::P2p(peer));
            async move { resolver.resolve(&address).await }
        })
        .collect();
    let mut resolving = stream::iter(resolving).buffered(RESOLVED_MAX);
    while let Some(resolved) = resolving.next().await {
        match resolved {
            Ok(resolved) => found.extend(without_peers(&resolved)),
            Err(error) => last_error = Some(error),
        }
    }
    found.dedup();
    match last_error {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}
