//! Starting the swarm: everything is made, listened on and known before anybody gets a handle.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use holdfast_dht::kad::Scope;
use libp2p::core::transport::ListenerId;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, Swarm, relay, swarm};
use libp2p_identity::Keypair;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Task;
use super::relays::Relays;
use super::upkeep::Bootstrap;
use crate::swarm::addresses::split_peer;
use crate::swarm::behaviour::{Behaviour, BehaviourParams, Protocols};
use crate::swarm::book::{self, Book};
use crate::swarm::circuits::Circuits;
use crate::swarm::connections::{ConnectionManager, Worth};
use crate::swarm::filters::Filters;
use crate::swarm::handle::{COMMANDS_MAX, LocalAddresses, Shared, SwarmHandle};
use crate::swarm::meter::Meter;
use crate::swarm::redial::{PEERS_MAX, Redial};
use crate::swarm::resolve::Resolver;
use crate::swarm::settings::SwarmSettings;
use crate::swarm::streams;
use crate::swarm::tables::TableWorth;
use crate::swarm::transport::{self, TransportBuildError, TransportParams};
use crate::swarm::unread::Unread;

/// How long a listener may take to say where it listens.
const LISTEN_TIME_MAX: Duration = Duration::from_secs(5);
/// How long a connection that no protocol needs is kept: the connection manager decides instead.
const IDLE_TIME_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// Inbound streams of one connection whose protocol is being agreed on: as many as a connection may have, for go opens one
/// for each Bitswap answer.
const NEGOTIATING_MAX: usize = crate::swarm::yamux::STREAMS_MAX;

/// Who the swarm is to be.
#[derive(Debug)]
pub struct SwarmParams {
    /// The identity.
    pub key: Keypair,
    /// How it calls itself to peers: name and version.
    pub agent: String,
    /// What the config says.
    pub settings: SwarmSettings,
    /// What is spoken beside what every libp2p node speaks.
    pub protocols: Protocols,
    /// Who tells which peers blocks are exchanged with.
    pub exchange: Option<holdfast_bitswap::Handle>,
}

/// Why there is no swarm.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// There are no transports.
    #[error(transparent)]
    Transport(#[from] TransportBuildError),
    /// None of the addresses in `Addresses.Swarm` could be listened on. The words are Kubo's.
    #[error(
        "failed to listen on any addresses: {0}. Change Addresses.Swarm in the config, or stop who listens there"
    )]
    Listen(String),
}

/// Starts the swarm, on the tokio runtime that this is called in.
pub async fn start(params: SwarmParams) -> Result<SwarmHandle, StartError> {
    let SwarmParams { key, agent, settings, protocols, exchange } = params;
    let us = key.public().to_peer_id();
    let (meter, filters, book) =
        (Meter::new(settings.limits.clone()), Filters::new(settings.filters.clone()), Book::default());
    let unread = Unread::new(settings.unread_bytes_max);
    read_book(&book, settings.book_file.as_deref()).await;
    let (relay_transport, relay_client) = match settings.relay_client.then(|| relay::client::new(us)) {
        Some((transport, behaviour)) => (Some(transport), Some(behaviour)),
        None => (None, None),
    };
    let (resolver, circuits) = (Resolver::new(&settings.dns), Circuits::default());
    let transports = transport::build(TransportParams {
        key: &key,
        choice: settings.transports,
        psk: settings.psk,
        meter: meter.clone(),
        unread: unread.clone(),
        filters: filters.clone(),
        circuits: circuits.clone(),
        relay: relay_transport,
        resolver: resolver.clone(),
    })?;
    let (streams, stream_behaviour) = streams::new();
    let wan_serves_when_reachable = protocols.wan_serves_when_reachable;
    let behaviour = Behaviour::new(BehaviourParams {
        key: &key,
        agent: agent.clone(),
        settings: &settings,
        filters: filters.clone(),
        book: book.clone(),
        circuits,
        relay_client,
        streams: stream_behaviour,
        protocols,
    });
    let protocols = Mutex::new(behaviour.protocols());
    let config = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIME_MAX)
        .with_max_negotiating_inbound_streams(NEGOTIATING_MAX)
        .with_smart_dial();
    let swarm = Swarm::new(transports, behaviour, us, config);
    let (local, local_seen) = watch::channel(LocalAddresses::default());
    let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
    let worth = Worth::default();
    // A relay that is listed with several addresses is dialled at all of them.
    for address in &settings.static_relays {
        if let (transport, Some(relay)) = split_peer(address) {
            book.add(relay, [transport]);
        }
    }
    let shared = Arc::new(Shared {
        us,
        agent,
        protocols,
        fingerprint: settings.psk.map(|key| key.fingerprint().to_string()),
        limits: settings.limits,
        meter,
        unread,
        filters,
        book,
        worth: worth.clone(),
        resolver,
        streams,
        local: local_seen,
        warnings: Mutex::new(settings.warnings),
    });
    let now = Instant::now();
    let table_worth = |scope| TableWorth::new(scope, us, settings.watermarks, worth.clone());
    let mut task = Task {
        swarm,
        commands: receiver,
        shared: Arc::clone(&shared),
        announce: settings.announce,
        local,
        listeners: HashMap::new(),
        listening: Vec::new(),
        open: HashMap::new(),
        manager: ConnectionManager::new(settings.watermarks, worth.clone()),
        wan_worth: table_worth(Scope::Wan),
        lan_worth: table_worth(Scope::Lan),
        redial: Redial::default(),
        resolving: JoinSet::new(),
        being_resolved: HashSet::new(),
        connects: Vec::new(),
        dials: HashMap::new(),
        pings: HashMap::new(),
        next_ping: 0,
        nat: super::arbiter::Arbiter::default(),
        forced_reachability: settings.reachability,
        bootstrap: Bootstrap {
            peers: settings.bootstrap,
            next: now,
            first: true,
            dismissed: HashSet::new(),
            again: 0,
        },
        relays: Relays::new(settings.relay_client, settings.static_relays, worth.clone(), now),
        book_file: settings.book_file,
        book_saved: now,
        wan_serves_when_reachable,
        exchange,
    };
    task.listen(settings.listen).await?;
    task.serve_if_reachable();
    for (peer, addresses) in settings.peered {
        if !task.peer_with(peer, addresses) {
            tracing::warn!(
                "{peer} of Peering.Peers is passed over: {PEERS_MAX} peers are kept connected already"
            );
        }
    }
    spawn(task, us);
    Ok(SwarmHandle { commands, shared })
}

/// Runs the task, and says so when it fails: it is never waited for.
fn spawn(task: Task, us: PeerId) {
    let running = tokio::spawn(task.run());
    tokio::spawn(async move {
        if let Err(error) = running.await
            && error.is_panic()
        {
            tracing::error!(
                "the swarm of {us} failed, and the node is without a network until it is started anew"
            );
        }
    });
}

async fn read_book(book: &Book, path: Option<&Path>) {
    let Some(path) = path.map(Path::to_owned) else { return };
    let read = tokio::task::spawn_blocking(move || {
        let size = std::fs::metadata(&path).ok()?.len();
        (size <= book::FILE_BYTES_MAX).then(|| (std::fs::read(&path).unwrap_or_default(), path))
    });
    if let Ok(Some((content, path))) = read.await
        && let Err(error) = book.take_file(&content)
    {
        // It is a help, and is written anew.
        tracing::warn!("{} is passed over: {error}", path.display());
    }
}

impl Task {
    /// Listens on all addresses, and waits until each listener has said where. One that fails is passed over; all is not.
    async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<(), StartError> {
        let mut failures = Vec::new();
        let mut silent: Vec<ListenerId> = Vec::new();
        let asked = addresses.len();
        for address in addresses {
            match self.swarm.listen_on(address.clone()) {
                Ok(id) => {
                    silent.push(id);
                    self.listeners.insert(id, address);
                }
                Err(error) => failures.push(format!("[{address}] {}", transport_words(&error))),
            }
        }
        let all = async {
            while !silent.is_empty() {
                let event = self.swarm.select_next_some().await;
                match &event {
                    SwarmEvent::NewListenAddr { listener_id, .. } => silent.retain(|id| id != listener_id),
                    SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                        silent.retain(|id| id != listener_id);
                        if let (Some(address), Err(error)) = (self.listeners.get(listener_id), reason) {
                            failures.push(format!("[{address}] {error}"));
                        }
                    }
                    _ => {}
                }
                self.on_event(event);
            }
        };
        // A listener on all addresses of a host without a network has nothing to say, and is kept.
        let _ = timeout(LISTEN_TIME_MAX, all).await;
        if asked > 0 && self.listeners.is_empty() {
            return Err(StartError::Listen(failures.join(", ")));
        }
        let mut warnings = self.shared.warnings.lock().unwrap_or_else(PoisonError::into_inner);
        warnings
            .extend(failures.into_iter().map(|words| format!("Addresses.Swarm: not listening on {words}")));
        Ok(())
    }
}

fn transport_words(error: &libp2p::TransportError<std::io::Error>) -> String {
    match error {
        libp2p::TransportError::MultiaddrNotSupported(_) => "no transport takes this address".to_owned(),
        libp2p::TransportError::Other(error) => error.to_string(),
    }
}
