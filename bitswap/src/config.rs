//! What can be set, and what it costs.

use std::time::Duration;

use libp2p::PeerId;

/// Settings of the exchange. All have defaults; memory costs are named where a setting has one.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// This node: never dialled, never asked.
    pub local_peer: PeerId,
    /// Whether blocks are given to others (Kubo's `Bitswap.ServerEnabled`, default true). Without it wants of others are ignored, but
    /// their streams are taken, since answers to our own wants come on them.
    pub server_enabled: bool,
    /// Wants remembered for each peer; more evict those of lowest priority. Default 1,024 (boxo). About 700 bytes each.
    pub wants_per_peer_max: usize,
    /// Wants remembered of all peers together; where it is full, one of whoever wants most gives way. Default 65,536: 45 MiB.
    pub wants_total_max: usize,
    /// Bytes of blocks under way to one peer and not yet taken by its connection. Default 1 MiB (boxo). A block that is larger goes alone.
    pub outstanding_bytes_max: usize,
    /// A message with blocks is closed when it holds this many bytes. Default 576 KiB: two of the usual leaves of
    /// 256 KiB, with what is around them; one block may be larger. Bounds: 16 KiB to 2 MiB.
    pub message_bytes_target: usize,
    /// A want-have for a block of at most this many bytes is answered by the block. Default 1,024 (boxo).
    pub have_replace_bytes_max: u64,
    /// Bytes read from the store for all peers together and not yet handed to connections. Default 16 MiB.
    pub read_bytes_max: usize,
    /// Ledgers kept of peers that left. Default 1,024; about 100 bytes each.
    pub ledgers_max: usize,
    /// Bytes of blocks asked for and held for one stream of blocks ([`crate::Blocks`]). Default 16 MiB: twice what is under way on a line
    /// of 1 Gbit/s and 60 ms. Half as much again is held at worst, when blocks turn out larger than those before.
    pub request_bytes_max: usize,
    /// A peer is asked for this many bytes at first. Default 1 MiB; adapts between 256 KiB and `window_bytes_max`.
    pub window_bytes_start: usize,
    /// A peer is asked for no more than this many bytes at once. Default 16 MiB.
    pub window_bytes_max: usize,
    /// Wants that may be on one peer's list. Default 1,000: below the 1,024 that other nodes remember.
    pub wants_sent_max: usize,
    /// Wants of a session that are broadcast at once. Default 64 (boxo).
    pub broadcast_wants_max: usize,
    /// With fewer connected peers than this, all are asked; otherwise those that delivered before, are peered or on the local network.
    /// No more than this many are asked in any case. Default 64.
    pub broadcast_peers_max: usize,
    /// Peers that one session keeps. Default 64.
    pub session_peers_max: usize,
    /// A session without a block for this long asks for providers, then again after twice the time, to 60 s. Default 1 s (boxo).
    /// At zero it asks at once, and then as if this were 100 ms.
    pub search_delay: Duration,
    /// Broadcast wants are said again this often. Default 60 s (boxo).
    pub rebroadcast_interval: Duration,
    /// DONT_HAVE answers in a row after which a session gives a peer up. Default 16 (boxo).
    pub dont_haves_max: u32,
    /// A peer that is asked and silent counts as without the block after twice its usual time, but not sooner. Default 500 ms
    /// (boxo 50 ms, at which a machine that is busy asks twice).
    pub silence_min: Duration,
    /// The same for a peer whose usual time is not known yet. Default 5 s (boxo).
    pub silence_start: Duration,
    /// The same, at most. Default 7 s (boxo).
    pub silence_max: Duration,
    /// Streams that a peer may have open on one connection. Default 128; those idle longest make room.
    pub inbound_streams_max: usize,
    /// A stream on which part of a message is under way ends when nothing came or went for this long, and when the message takes longer
    /// than this and a second for each 4 KiB that came of it. Default 60 s.
    pub stream_idle_max: Duration,
    /// A peer that does not take streams, or does not speak Bitswap, is tried again after this long on the same connection, if nothing
    /// that it sends shows before that it does. Default 10 minutes.
    pub refused_max: Duration,
    /// Bytes that one connection may hold in messages that are not whole, being hashed or not yet looked at. Default 8 MiB. Reading
    /// pauses at it.
    pub inbound_bytes_max: usize,
    /// The same of all connections together. Default 128 MiB. Besides it, one message may be read at a time, and the first 4 KiB of each.
    /// At it, reading pauses where messages need more; one that has been coming for 10 s may be ended to make room.
    pub inbound_total_bytes_max: usize,
}

impl Config {
    /// The defaults, for the node with this identity.
    pub fn new(local_peer: PeerId) -> Self {
        Self {
            local_peer,
            server_enabled: true,
            wants_per_peer_max: 1024,
            wants_total_max: 65_536,
            outstanding_bytes_max: 1 << 20,
            message_bytes_target: 576 << 10,
            have_replace_bytes_max: 1024,
            read_bytes_max: 16 << 20,
            ledgers_max: 1024,
            request_bytes_max: 16 << 20,
            window_bytes_start: 1 << 20,
            window_bytes_max: 16 << 20,
            wants_sent_max: 1000,
            broadcast_wants_max: 64,
            broadcast_peers_max: 64,
            session_peers_max: 64,
            search_delay: Duration::from_secs(1),
            rebroadcast_interval: Duration::from_secs(60),
            dont_haves_max: 16,
            silence_min: Duration::from_millis(500),
            silence_start: Duration::from_secs(5),
            silence_max: Duration::from_secs(7),
            inbound_streams_max: 128,
            stream_idle_max: Duration::from_secs(60),
            refused_max: Duration::from_secs(600),
            inbound_bytes_max: 8 << 20,
            inbound_total_bytes_max: 128 << 20,
        }
    }
}
