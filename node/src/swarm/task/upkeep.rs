//! What the task does by itself, once a second or less often: rates, watermarks, lost peers, bootstrap, the book.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use libp2p::swarm::dial_opts::{DialOpts, PeerCondition, WithPeerIdWithAddresses};
use libp2p::{Multiaddr, PeerId};
use tokio::task::JoinError;

use super::{ConnectStage, ConnectWaiter, Resolved, Task};
use crate::fsutil::write_atomic;
use crate::swarm::book::Book;
use crate::swarm::handle::{HEAD_START, resolve_all, without_peers};
use crate::swarm::resolve::holds_name;

/// Fewer connected peers than this are too few (Kubo's `MinPeerThreshold`).
const PEERS_MIN: usize = 4;
/// Time between two looks for more (Kubo's bootstrap period).
const BOOTSTRAP_PERIOD: Duration = Duration::from_secs(30);
/// Peers of the list, and of the book, that are dialled at one look.
const BOOTSTRAP_DIALS: usize = 8;
/// Neighbours that are dialled although there are as many connections as may be: those in the local network are not kept out by
/// strangers.
const NEIGHBOURS_WHEN_FULL_MAX: usize = 8;
/// Peers that are kept in mind for having been disconnected on purpose.
const DISMISSED_MAX: usize = 1024;
/// Names that are being resolved at once.
const RESOLVING_MAX: usize = 32;
/// Time between two writings of the peer book.
const BOOK_PERIOD: Duration = Duration::from_secs(600);
/// Who may read the peer book: it says whom this node talks to.
const BOOK_MODE: u32 = 0o600;
/// Why a peer is kept that blocks go to or come from.
pub(super) const EXCHANGES: &str = "bitswap";
/// How long a direct connection has to hold before circuits to the same peer are given up: what is under way on them may end.
const CIRCUIT_GRACE: Duration = Duration::from_secs(10);

/// Looking for peers while there are few.
#[derive(Debug)]
pub(super) struct Bootstrap {
    pub(super) peers: Vec<(PeerId, Vec<Multiaddr>)>,
    pub(super) next: Instant,
    /// Whether nobody was dialled yet.
    pub(super) first: bool,
    /// Peers whose connections somebody had closed: they are not dialled for having been connected once.
    pub(super) dismissed: HashSet<PeerId>,
    /// How many of those that were dialled in vain had their turn again.
    pub(super) again: usize,
}

impl Bootstrap {
    pub(super) fn dismiss(&mut self, peer: PeerId) {
        if self.dismissed.len() < DISMISSED_MAX {
            self.dismissed.insert(peer);
        }
    }

    /// The next peers to dial for having been connected once: those seen last first, and behind them, in turn, those that were
    /// dialled in vain since then.
    fn acquaintances(&mut self, book: &Book) -> Vec<PeerId> {
        let good = book.good().into_iter().filter(|peer| !self.dismissed.contains(peer));
        let (mut lost, mut next): (Vec<_>, Vec<_>) = good.partition(|peer| book.is_lost(peer));
        let turn = self.again.checked_rem(lost.len()).unwrap_or_default();
        lost.rotate_left(turn);
        self.again = turn + BOOTSTRAP_DIALS.saturating_sub(next.len());
        next.extend(lost);
        next.truncate(BOOTSTRAP_DIALS);
        next
    }
}

impl Task {
    /// Peers that blocks go to or come from are not given up while they do.
    fn spare_who_exchanges(&self) {
        let Some(exchange) = &self.exchange else { return };
        for peer in self.swarm.connected_peers() {
            if exchange.is_active(peer) {
                self.shared.worth.protect(*peer, EXCHANGES);
            } else {
                self.shared.worth.unprotect(peer, EXCHANGES);
            }
        }
    }

    pub(super) fn on_tick(&mut self, now: Instant) {
        self.shared.meter.tick(now);
        self.shared.unread.tick(now);
        self.spare_who_exchanges();
        for id in self.manager.trim(now) {
            self.swarm.close_connection(id);
        }
        self.give_up_circuits(now);
        self.give_up_waiting(now);
        self.pings.retain(|_, (_, reply)| !reply.is_closed());
        self.look_for_peers(now);
        self.expire_proofs(now);
        self.look_for_relays(now);
        self.dial_due(now);
        if now.saturating_duration_since(self.book_saved) >= BOOK_PERIOD {
            self.book_saved = now;
            let (book, path) = (self.shared.book.clone(), self.book_file.clone());
            tokio::task::spawn_blocking(move || path.map(|path| save(&book, &path)));
        }
    }

    /// A peer that can be reached directly needs no circuit through a relay, which is slow, short-lived and somebody else's.
    fn give_up_circuits(&mut self, now: Instant) {
        if !self.open.values().any(|open| open.relayed) {
            return;
        }
        let direct: HashSet<PeerId> = self
            .open
            .values()
            .filter(|open| !open.relayed && now.saturating_duration_since(open.since) >= CIRCUIT_GRACE)
            .map(|open| open.peer)
            .collect();
        let circuits = self.open.iter().filter(|(_, open)| open.relayed && direct.contains(&open.peer));
        for id in circuits.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.swarm.close_connection(id);
        }
    }

    /// A peer that does not say who it is is connected all the same.
    fn give_up_waiting(&mut self, now: Instant) {
        let done: Vec<ConnectWaiter> = self
            .connects
            .extract_if(.., |it| {
                it.reply.is_closed() || matches!(it.stage, ConnectStage::Identifying(until) if until <= now)
            })
            .collect();
        for waiter in done {
            let _ = waiter.reply.send(Ok(()));
        }
    }

    /// Dials the peers that are to be connected and are not.
    pub(super) fn dial_due(&mut self, now: Instant) {
        let neighbours_max = if self.manager.is_full() { NEIGHBOURS_WHEN_FULL_MAX } else { usize::MAX };
        for (peer, addresses) in self.redial.due(now, neighbours_max) {
            self.reach(peer, addresses, now);
        }
    }

    /// Dials what holds no name at once, and the rest when it is resolved. Whoever is to be connected comes round again when that
    /// fails.
    fn reach(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        if self.is_direct(&peer) {
            return self.redial.connected(&peer);
        }
        let (named, plain): (Vec<Multiaddr>, Vec<Multiaddr>) = addresses.into_iter().partition(holds_name);
        let is_known = !plain.is_empty() || !self.shared.book.addresses(&peer).is_empty();
        if is_known || named.is_empty() {
            let opts = DialOpts::peer_id(peer).addresses(without_peers(&plain));
            self.dial_again(peer, opts.extend_addresses_through_behaviour(), PeerCondition::NotDialing);
        }
        if named.is_empty() || self.being_resolved.contains(&peer) {
            return;
        }
        if self.resolving.len() >= RESOLVING_MAX {
            if !is_known {
                self.redial.lost(&peer, now, rand::random());
            }
            return;
        }
        self.being_resolved.insert(peer);
        let resolver = self.shared.resolver.clone();
        self.resolving.spawn(async move {
            let head_start = tokio::time::Instant::now() + HEAD_START;
            let found = resolve_all(&resolver, peer, &named).await;
            let found = found.unwrap_or_else(|error| {
                tracing::debug!("{peer}: {error}");
                Vec::new()
            });
            if is_known {
                tokio::time::sleep_until(head_start).await;
            }
            Resolved { peer, addresses: found, was_dialled: is_known }
        });
    }

    /// Names of a peer were resolved.
    pub(super) fn on_resolved(&mut self, resolved: Result<Resolved, JoinError>) {
        if let Ok(Resolved { peer, addresses: mut new, was_dialled }) = resolved {
            self.being_resolved.remove(&peer);
            if was_dialled {
                let known = self.shared.book.addresses(&peer);
                new.retain(|address| !known.contains(address));
            }
            // What needs no name may be being dialled still, and lead nowhere.
            let condition = if new.is_empty() { PeerCondition::NotDialing } else { PeerCondition::Always };
            if !(was_dialled && new.is_empty()) {
                self.dial_again(peer, DialOpts::peer_id(peer).addresses(new), condition);
            }
        }
        if self.resolving.is_empty() {
            self.being_resolved.clear();
        }
    }

    fn dial_again(&mut self, peer: PeerId, opts: WithPeerIdWithAddresses, condition: PeerCondition) {
        if self.is_direct(&peer) {
            return self.redial.connected(&peer);
        }
        if let Err(error) = self.swarm.dial(opts.condition(condition).build()) {
            tracing::debug!("dialling {peer}: {error}");
            self.redial.lost(&peer, Instant::now(), rand::random());
        }
    }

    /// Few peers: those of the bootstrap list are dialled; at the start, and when there is nobody at all, also some that
    /// were connected before.
    fn look_for_peers(&mut self, now: Instant) {
        if now < self.bootstrap.next {
            return;
        }
        self.bootstrap.next = now + BOOTSTRAP_PERIOD;
        if self.swarm.network_info().num_peers() >= PEERS_MIN {
            return;
        }
        let listed: Vec<_> = self.bootstrap.peers.iter().take(BOOTSTRAP_DIALS).cloned().collect();
        let is_alone = self.bootstrap.first || self.swarm.network_info().num_peers() == 0;
        let known = if is_alone { self.bootstrap.acquaintances(&self.shared.book) } else { Vec::new() };
        self.bootstrap.first = false;
        for (peer, addresses) in listed.into_iter().chain(known.into_iter().map(|peer| (peer, Vec::new()))) {
            if peer != self.shared.us {
                self.reach(peer, addresses, now);
            }
        }
        // Others get their turn next time.
        let turn = BOOTSTRAP_DIALS.min(self.bootstrap.peers.len());
        self.bootstrap.peers.rotate_left(turn);
    }

    /// Writes the peer book for the next life.
    pub(super) async fn save_book(&mut self) {
        let (book, path) = (self.shared.book.clone(), self.book_file.take());
        // It fails only where the process is being torn down.
        let _ = tokio::task::spawn_blocking(move || path.map(|path| save(&book, &path))).await;
    }
}

fn save(book: &Book, path: &Path) {
    // A repo that was removed under the node's feet is nothing to complain about here.
    if path.parent().is_some_and(Path::is_dir)
        && let Err(error) = write_atomic(path, &book.to_file(), BOOK_MODE)
    {
        tracing::warn!("writing the peer book {}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acquaintances_that_are_gone_do_not_keep_the_others_from_being_tried() {
        let book = Book::default();
        let address: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
        for _ in 0..3 * BOOTSTRAP_DIALS {
            let peer = PeerId::random();
            book.connected(peer, Some(&address));
            book.disconnected(&peer);
        }
        let mut bootstrap = Bootstrap {
            peers: Vec::new(),
            next: Instant::now(),
            first: true,
            dismissed: HashSet::new(),
            again: 0,
        };
        let all: HashSet<PeerId> = book.good().into_iter().collect();
        // Twice around: the second time everybody was dialled in vain before.
        for _ in 0..2 {
            let mut tried = HashSet::new();
            for _ in 0..3 {
                let next = bootstrap.acquaintances(&book);
                for peer in &next {
                    book.dialled_in_vain(*peer);
                }
                tried.extend(next);
            }
            assert_eq!(tried, all);
        }
    }
}
