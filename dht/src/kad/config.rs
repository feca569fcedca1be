//! What can be set of an engine.

use std::sync::Arc;
use std::time::Duration;

use super::{Classify, IpClassifier, Scope};

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It only asks: its protocol is not announced, and its streams are not accepted.
    Client,
    /// It also answers and keeps records for others.
    Server,
}

/// Settings of one DHT. The defaults are go-libp2p-kad-dht's unless said otherwise.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which of the two.
    pub scope: Scope,
    /// Sorts addresses into public, private and loopback; tests bring their own.
    pub classifier: Arc<dyn Classify>,
    /// Whether loopback addresses count as those of a LAN (`Routing.LoopbackAddressesOnLanDHT`). Default: no.
    pub loopback_on_lan: bool,
    /// Peers that one query asks at a time (alpha). Default: 10.
    pub concurrency: usize,
    /// A lookup ends when this many of the closest peers have answered (beta). Default: 3.
    pub resiliency: usize,
    /// Peers that one query asks at most. Default: 256, so that peers who invent closer and closer ones end it. Each costs
    /// a request of about 100 bytes and an answer of up to 4 MiB.
    pub requests_max: usize,
    /// How long a query may take. Default: 60 s.
    pub query_timeout: Duration,
    /// How long one request may take, dialling included. Default: 15 s, of which an answer may take
    /// [`Config::answer_timeout`].
    pub request_timeout: Duration,
    /// How long a connected peer may take to answer. Default: 10 s.
    pub answer_timeout: Duration,
    /// How long telling one peer that this node has a block may take, dialling included: such a message has no answer. Opening
    /// a stream takes at most [`Config::answer_timeout`] of it. Default: 10 s (Kubo's `Provide.DHT.SendProviderRecordTimeout`).
    pub announce_timeout: Duration,
    /// How often the buckets of the routing table are refreshed; each time is up to a fifth earlier or later. Default: 10
    /// minutes. Zero: never.
    pub refresh_interval: Duration,
    /// Queries at a time. Default: 1,024, a few KiB each.
    pub queries_max: usize,
}

impl Config {
    /// The defaults for a scope.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            classifier: Arc::new(IpClassifier),
            loopback_on_lan: false,
            concurrency: 10,
            resiliency: 3,
            requests_max: 256,
            query_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(15),
            answer_timeout: Duration::from_secs(10),
            announce_timeout: Duration::from_secs(10),
            refresh_interval: Duration::from_secs(600),
            queries_max: 1_024,
        }
    }
}
