//! The peer book: what is known of other peers, in memory, and the best of it in a file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use libp2p::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};

use super::addresses::Scope;

/// Peers that are known, at most; those that were heard of longest ago make room.
const PEERS_MAX: usize = 4096;
/// Addresses of a peer that are kept.
const ADDRESSES_MAX: usize = 32;
/// Beyond them, those over which it was reached last.
const PROVEN_MAX: usize = 4;
/// Beyond them, those that others told.
const HEARSAY_MAX: usize = 16;
/// Addresses that a peer says it has, at one time: a Kubo with two networks has fewer than 20.
const TOLD_MAX: usize = 24;
/// Bytes of one address: a circuit with names is far below.
const ADDRESS_BYTES_MAX: usize = 512;
/// Protocols of a peer that are kept.
const PROTOCOLS_MAX: usize = 256;
/// Characters of a peer's words (agent, protocols) that are kept and shown, as in Kubo.
const WORD_CHARS_MAX: usize = 128;
/// Peers that are written to the file, at most.
pub const SAVED_MAX: usize = 1000;
/// Addresses of a peer that are written to the file.
const SAVED_ADDRESSES_MAX: usize = 8;
/// Version of the file.
const FILE_VERSION: u32 = 1;
/// Largest file that is read, in bytes.
pub(super) const FILE_BYTES_MAX: u64 = 8 << 20;

/// What a peer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerDescription {
    /// libp2p's message of its public key; empty where it is not known.
    pub public_key: Vec<u8>,
    /// Name and version of its program.
    pub agent: String,
    /// The family of its protocols.
    pub protocol_version: String,
    /// What it serves, sorted.
    pub protocols: Vec<String>,
}

impl PeerDescription {
    /// Bounds what a peer sent, and takes out what terminals would act on.
    pub(super) fn bounded(mut self) -> Self {
        self.agent = clean(&self.agent);
        self.protocol_version = clean(&self.protocol_version);
        self.protocols.truncate(PROTOCOLS_MAX);
        self.protocols.iter_mut().for_each(|name| *name = clean(name));
        self.protocols.sort_unstable();
        self
    }
}

/// A text of a stranger's, short and without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(WORD_CHARS_MAX).collect()
}

#[derive(Debug, Default)]
struct Known {
    /// Over which it was reached, the last first: they stand before all others, and nothing that is said takes their place.
    proven: Vec<Multiaddr>,
    /// From itself, or from who uses this node.
    addresses: Vec<Multiaddr>,
    /// What others said of it, the newest first: it takes no place of the others.
    hearsay: Vec<Multiaddr>,
    description: Option<PeerDescription>,
    connected: bool,
    /// Whether the last attempt to dial it came to nothing, at all addresses that were known.
    lost: bool,
    /// Whether a connection to it was ever there: what is worth being written down.
    good: bool,
    /// Seconds since 1970 when it was last connected.
    seen: u64,
    /// Turns of the book: a greater number was touched later.
    touched: u64,
}

/// The book. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Book {
    inner: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    peers: HashMap<PeerId, Known>,
    turn: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    peers: Vec<Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    id: String,
    seen: u64,
    addresses: Vec<String>,
    /// How many of them, from the first on, it was reached over.
    #[serde(default)]
    proven: usize,
}

/// Why a file is no peer book.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// It is not what this version writes.
    #[error("it is no peer book: {0}")]
    Format(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("it has version {0}, and this program knows version {FILE_VERSION}")]
    Version(u32),
}

impl Pages {
    /// The page of a peer, made where there is none.
    fn page(&mut self, peer: PeerId) -> &mut Known {
        if self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&peer) {
            self.make_room();
        }
        self.turn += 1;
        let known = self.peers.entry(peer).or_default();
        known.touched = self.turn;
        known
    }

    /// Forgets a tenth: those that were touched longest ago, strangers before acquaintances.
    fn make_room(&mut self) {
        let mut order: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, known)| !known.connected)
            .map(|(peer, known)| (known.good, known.touched, *peer))
            .collect();
        order.sort_unstable_by_key(|(good, touched, _)| (*good, *touched));
        for (_, _, peer) in order.into_iter().take(PEERS_MAX / 10) {
            self.peers.remove(&peer);
        }
    }
}

impl Known {
    fn has_address(&self) -> bool {
        !(self.proven.is_empty() && self.addresses.is_empty() && self.hearsay.is_empty())
    }

    /// All that are known, in the order in which they are worth a try: what is proven, and then in turn what is said by itself and
    /// by others.
    fn all_addresses(&self) -> Vec<Multiaddr> {
        let (mut told, mut hearsay) = (self.addresses.iter(), self.hearsay.iter());
        let mut all = self.proven.clone();
        loop {
            let (one, other) = (told.next(), hearsay.next());
            if one.is_none() && other.is_none() {
                return all;
            }
            all.extend(one.into_iter().chain(other).cloned());
        }
    }

    fn forget(&mut self, address: &Multiaddr) {
        for list in [&mut self.proven, &mut self.addresses, &mut self.hearsay] {
            list.retain(|other| other != address);
        }
    }

    /// The address without the peer at its end, where it can be kept.
    fn kept(address: &Multiaddr) -> Option<Multiaddr> {
        let (address, _) = super::addresses::split_peer(address);
        (!address.is_empty() && address.len() <= ADDRESS_BYTES_MAX).then_some(address)
    }

    fn add(&mut self, addresses: impl Iterator<Item = Multiaddr>) {
        for address in addresses.take(ADDRESSES_MAX).filter_map(|address| Self::kept(&address)) {
            if !self.proven.contains(&address) {
                self.forget(&address);
                self.addresses.insert(0, address);
            }
        }
        self.addresses.truncate(ADDRESSES_MAX);
    }

    fn prove(&mut self, address: &Multiaddr) {
        let Some(address) = Self::kept(address) else { return };
        self.forget(&address);
        self.proven.insert(0, address);
        // One that no longer is stays known.
        let fallen: Vec<Multiaddr> = self.proven.split_off(PROVEN_MAX.min(self.proven.len()));
        self.add(fallen.into_iter());
    }
}

impl Book {
    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes addresses of a peer; the newest stand first, behind those that are proven, and the oldest go when there are too many.
    pub fn add(&self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        self.pages().page(peer).add(addresses.into_iter());
    }

    /// Notes where a peer is as others say, who may be wrong or lie: of that at most 16 addresses are kept, the newest.
    pub fn hear(&self, peer: PeerId, addresses: impl IntoIterator<Item = Multiaddr>) {
        let mut pages = self.pages();
        let known = pages.page(peer);
        for address in addresses.into_iter().take(HEARSAY_MAX).filter_map(|it| Known::kept(&it)) {
            if known.proven.contains(&address) || known.addresses.contains(&address) {
                continue;
            }
            known.hearsay.retain(|other| *other != address);
            known.hearsay.insert(0, address);
        }
        known.hearsay.truncate(HEARSAY_MAX);
    }

    /// Notes what a peer says of itself, its addresses included, which keep their order.
    pub(super) fn describe(&self, peer: PeerId, addresses: Vec<Multiaddr>, description: PeerDescription) {
        let mut pages = self.pages();
        let known = pages.page(peer);
        known.description = Some(description.bounded());
        known.add(addresses.into_iter().take(TOLD_MAX).rev());
    }

    /// Forgets an address that turned out to be another peer's.
    pub(super) fn forget(&self, peer: &PeerId, address: &Multiaddr) {
        let (address, _) = super::addresses::split_peer(address);
        if let Some(known) = self.pages().peers.get_mut(peer) {
            known.forget(&address);
        }
    }

    /// Notes that a peer is connected; through `address`, where we dialled it. That it was once behind a relay proves little of
    /// where it will be.
    pub(super) fn connected(&self, peer: PeerId, address: Option<&Multiaddr>) {
        let mut pages = self.pages();
        let known = pages.page(peer);
        match address {
            Some(address) if Scope::of(address) == Scope::Relayed => {
                known.add(std::iter::once(address.clone()));
            }
            Some(address) => known.prove(address),
            None => {}
        }
        (known.connected, known.good, known.seen) = (true, true, unix_seconds());
        known.lost = false;
    }

    /// Notes that a peer was dialled in vain.
    pub(super) fn dialled_in_vain(&self, peer: PeerId) {
        self.pages().page(peer).lost = true;
    }

    /// Whether a peer is away, and was not at the addresses at which it was dialled last.
    pub fn is_lost(&self, peer: &PeerId) -> bool {
        self.pages().peers.get(peer).is_some_and(|known| known.lost && !known.connected)
    }

    /// Notes that a peer has no connection any more.
    pub(super) fn disconnected(&self, peer: &PeerId) {
        if let Some(known) = self.pages().peers.get_mut(peer) {
            (known.connected, known.seen) = (false, unix_seconds());
        }
    }

    /// The addresses of a peer, without its ID.
    pub fn addresses(&self, peer: &PeerId) -> Vec<Multiaddr> {
        self.pages().peers.get(peer).map(Known::all_addresses).unwrap_or_default()
    }

    /// What a peer said of itself.
    pub fn description(&self, peer: &PeerId) -> Option<PeerDescription> {
        self.pages().peers.get(peer)?.description.clone()
    }

    /// Every peer with an address, by ID.
    pub fn all(&self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let pages = self.pages();
        let known = pages.peers.iter().filter(|(_, known)| known.has_address());
        let mut all: Vec<_> = known.map(|(peer, known)| (*peer, known.all_addresses())).collect();
        all.sort_by_key(|(peer, _)| peer.to_base58());
        all
    }

    /// Peers that were once connected and speak a protocol, those seen last first.
    pub(super) fn speaking(&self, protocol: &str) -> Vec<PeerId> {
        let pages = self.pages();
        let speaks = |known: &Known| {
            let description = known.description.as_ref();
            description.is_some_and(|it| it.protocols.iter().any(|name| name == protocol))
        };
        let mut found: Vec<_> = pages
            .peers
            .iter()
            .filter(|(_, known)| speaks(known))
            .map(|(peer, known)| (known.connected, known.seen, *peer))
            .collect();
        found.sort_unstable_by_key(|(connected, seen, _)| std::cmp::Reverse((*connected, *seen)));
        found.into_iter().map(|(_, _, peer)| peer).collect()
    }

    /// Peers that were connected in this or an earlier life, those seen last first.
    pub(super) fn good(&self) -> Vec<PeerId> {
        let pages = self.pages();
        let known = pages.peers.iter().filter(|(_, known)| known.good && known.has_address());
        let mut found: Vec<_> = known.map(|(peer, known)| (known.connected, known.seen, *peer)).collect();
        found.sort_unstable_by_key(|(connected, seen, _)| std::cmp::Reverse((*connected, *seen)));
        found.into_iter().map(|(_, _, peer)| peer).collect()
    }

    /// The content of the file: at most 1,000 peers that were connected, those seen last first.
    pub fn to_file(&self) -> Vec<u8> {
        let good = self.good();
        let pages = self.pages();
        let lines = good.iter().take(SAVED_MAX).filter_map(|peer| {
            let known = pages.peers.get(peer)?;
            let addresses = known.proven.iter().chain(&known.addresses).take(SAVED_ADDRESSES_MAX);
            let addresses = addresses.map(ToString::to_string).collect();
            Some(Line { id: peer.to_base58(), seen: known.seen, addresses, proven: known.proven.len() })
        });
        let file = File { version: FILE_VERSION, peers: lines.collect() };
        // Texts and numbers always serialize.
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// Takes what a file holds. Lines that do not parse are passed over.
    pub fn take_file(&self, content: &[u8]) -> Result<(), BookError> {
        let file: File = serde_json::from_slice(content)?;
        if file.version != FILE_VERSION {
            return Err(BookError::Version(file.version));
        }
        // Backwards, so that those seen last are touched last.
        for line in file.peers.iter().take(SAVED_MAX).rev() {
            let Ok(peer) = line.id.parse::<PeerId>() else { continue };
            let addresses = line.addresses.iter().take(SAVED_ADDRESSES_MAX).enumerate().rev();
            let mut pages = self.pages();
            let known = pages.page(peer);
            for (place, text) in addresses {
                match text.parse() {
                    Ok(address) if place < line.proven.min(PROVEN_MAX) => known.prove(&address),
                    Ok(address) => known.add(std::iter::once(address)),
                    Err(_) => {}
                }
            }
            (known.good, known.seen) = (true, line.seen);
        }
        Ok(())
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{}", port % 65_536).parse().unwrap()
    }

    #[test]
    fn a_book_stays_within_its_bounds_and_keeps_acquaintances() {
        let book = Book::default();
        let friend = PeerId::random();
        book.connected(friend, Some(&address(1)));
        book.disconnected(&friend);
        for _ in 0..2 * PEERS_MAX {
            book.add(PeerId::random(), [address(2)]);
        }
        assert!(book.all().len() <= PEERS_MAX, "{}", book.all().len());
        assert_eq!(book.addresses(&friend), [address(1)]);
        book.add(friend, (0..1000).map(address));
        book.add(friend, [address(5), address(7)]);
        let known = book.addresses(&friend);
        assert_eq!(known.len(), ADDRESSES_MAX);
        assert_eq!(known[..2], [address(1), address(7)], "the newest stands first, behind what is proven");
    }

    #[test]
    fn what_others_say_of_a_peer_takes_no_place_of_what_is_proven() {
        let (book, peer) = (Book::default(), PeerId::random());
        book.connected(peer, Some(&address(1)));
        book.add(peer, [address(2)]);
        for port in 100..1000 {
            book.hear(peer, [address(port), address(2)]);
        }
        let known = book.addresses(&peer);
        assert_eq!(known.len(), 2 + HEARSAY_MAX);
        assert_eq!(
            known[..4],
            [address(1), address(2), address(999), address(998)],
            "what is proven stands first"
        );
        // It was there, and then it is proven.
        book.connected(peer, Some(&address(998)));
        assert_eq!(book.addresses(&peer)[..3], [address(998), address(1), address(2)]);
        assert_eq!(book.addresses(&peer).len(), 2 + HEARSAY_MAX);
        book.forget(&peer, &address(999));
        assert!(!book.addresses(&peer).contains(&address(999)));
        let stranger = PeerId::random();
        book.hear(stranger, [address(7)]);
        assert_eq!(book.addresses(&stranger), [address(7)]);
    }

    #[test]
    fn what_a_peer_says_of_itself_takes_no_place_of_where_it_was_reached_in_the_next_life_too() {
        let (mut book, peer, describe) = (Book::default(), PeerId::random(), PeerDescription::default());
        for _ in 0..3 {
            book.connected(peer, Some(&address(1)));
            for start in [100, 200] {
                book.describe(peer, (start..start + 20).map(address).collect(), describe.clone());
            }
            book.describe(peer, (1000..2000).map(address).collect(), describe.clone());
            book.disconnected(&peer);
            let known = book.addresses(&peer);
            assert_eq!(
                known[..3],
                [address(1), address(1000), address(1001)],
                "in the peer's order behind it"
            );
            assert_eq!(known.len(), 1 + ADDRESSES_MAX);
            let (file, next) = (book.to_file(), Book::default());
            next.take_file(&file).unwrap();
            assert_eq!(next.addresses(&peer), known[..SAVED_ADDRESSES_MAX]);
            // It comes by itself this time, and says more of itself.
            next.connected(peer, None);
            next.describe(peer, (300..332).map(address).collect(), describe.clone());
            assert_eq!(next.addresses(&peer)[0], address(1));
            book = next;
        }
        for port in 0..10 {
            book.connected(peer, Some(&address(port)));
        }
        assert_eq!(book.addresses(&peer)[..5], [9, 8, 7, 6, 5].map(address), "old ones are told of, no more");
        let circuit: Multiaddr =
            format!("/ip4/1.1.1.1/tcp/1/p2p/{}/p2p-circuit", PeerId::random()).parse().unwrap();
        book.connected(peer, Some(&circuit));
        assert_eq!(book.addresses(&peer)[3..5], [address(6), circuit]);
        let old =
            format!(r#"{{"version":1,"peers":[{{"id":"{peer}","seen":1,"addresses":["{}"]}}]}}"#, address(7));
        let other = Book::default();
        other.take_file(old.as_bytes()).unwrap();
        assert_eq!(other.addresses(&peer), [address(7)], "a file of before");
    }

    #[test]
    fn a_peer_that_was_dialled_in_vain_is_lost_until_it_is_connected() {
        let (book, peer) = (Book::default(), PeerId::random());
        assert!(!book.is_lost(&peer), "nobody has dialled it");
        book.dialled_in_vain(peer);
        book.add(peer, [address(1)]);
        assert!(book.is_lost(&peer), "what somebody says of it changes nothing");
        book.connected(peer, Some(&address(1)));
        assert!(!book.is_lost(&peer));
        book.dialled_in_vain(peer);
        assert!(!book.is_lost(&peer), "it is connected");
        book.connected(peer, None);
        book.disconnected(&peer);
        assert!(!book.is_lost(&peer));
    }

    #[test]
    fn what_is_written_is_read_again_and_no_more_than_a_thousand_peers() {
        let book = Book::default();
        for port in 0..SAVED_MAX + 50 {
            book.connected(PeerId::random(), Some(&address(port)));
        }
        book.add(PeerId::random(), [address(9)]);
        let file = book.to_file();
        let other = Book::default();
        other.take_file(&file).unwrap();
        assert_eq!(other.all().len(), SAVED_MAX);
        let mut saved = other.good();
        let mut expected = book.good();
        expected.truncate(SAVED_MAX);
        // All were seen in the same second.
        saved.sort();
        expected.sort();
        assert_eq!(saved.len(), expected.len());
        assert!(matches!(other.take_file(b"{}"), Err(BookError::Format(_))));
        assert!(matches!(other.take_file(br#"{"version":9,"peers":[]}"#), Err(BookError::Version(9))));
    }

    #[test]
    fn words_of_strangers_cannot_move_a_terminal() {
        assert_eq!(clean("kubo/\u{1b}[31m0.40\n"), "kubo/[31m0.40");
        assert_eq!(clean(&"x".repeat(1000)).len(), WORD_CHARS_MAX);
    }
}
