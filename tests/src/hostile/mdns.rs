//! Somebody on the link who abuses mDNS: messages that are none, and peers that do not exist.
//!
//! All addresses that it gives out are its own, where nobody listens, or are nobody's in the test's network.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use libp2p::PeerId;

use crate::netns::Place;

/// Where mDNS is spoken.
const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(224, 0, 0, 251), 5353);
/// `_p2p._udp.local.`, label by label.
const SERVICE: &[u8] = b"\x04_p2p\x04_udp\x05local\0";
const PTR: u16 = 12;
const TXT: u16 = 16;
const ANSWER: u16 = 0x8400;
/// Peers in a message that is full of them: as many as a node reads.
const PEERS_PER_MESSAGE: u64 = 32;
/// How many kinds of messages there are.
const KINDS: u64 = 16;
/// Messages that go out as fast as they can, before the others.
const BURST: u64 = 3_000;
/// Messages that then go out together, and the time to the next ones: fewer than a node reads, so that it reads them all.
const TOGETHER: u64 = 15;
const GAP: Duration = Duration::from_millis(100);

/// The hostile neighbour, in a thread of its own.
#[derive(Debug)]
pub struct MdnsAttack {
    told: Arc<Told>,
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Told {
    is_over: AtomicBool,
    messages: AtomicU64,
    peers: AtomicU64,
}

impl MdnsAttack {
    /// Begins, from a place that has a way for multicast; `victims` are those that it tells lies of, beside inventions.
    ///
    /// # Panics
    /// When the place gives no socket.
    pub fn begin(place: &Place, victims: Vec<PeerId>) -> Self {
        let told = Arc::new(Told::default());
        let (shared, from) = (Arc::clone(&told), place.address());
        let thread = std::thread::scope(|scope| {
            let socket = scope.spawn(|| {
                place.enter();
                let socket = UdpSocket::bind((from, 0)).unwrap();
                socket.set_multicast_ttl_v4(255).unwrap();
                socket
            });
            let socket = socket.join().unwrap();
            std::thread::spawn(move || run(&socket, from, &victims, &shared))
        });
        Self { told, thread }
    }

    /// Messages that went out.
    pub fn messages(&self) -> u64 {
        self.told.messages.load(Ordering::Relaxed)
    }

    /// Peers that were invented in them.
    pub fn peers(&self) -> u64 {
        self.told.peers.load(Ordering::Relaxed)
    }

    /// Ends it; how many messages went out.
    ///
    /// # Panics
    /// When it had failed.
    pub fn end(self) -> u64 {
        self.told.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.told.messages.load(Ordering::Relaxed)
    }
}

fn run(socket: &UdpSocket, from: Ipv4Addr, victims: &[PeerId], told: &Told) {
    let mut number = 0;
    while !told.is_over.load(Ordering::Relaxed) {
        // A full buffer of the link is no reason to end.
        if socket.send_to(&message(number, from, victims, told), GROUP).is_ok() {
            told.messages.fetch_add(1, Ordering::Relaxed);
        }
        number += 1;
        if number > BURST && number % TOGETHER == 0 {
            std::thread::sleep(GAP);
        }
    }
}

fn message(number: u64, from: Ipv4Addr, victims: &[PeerId], told: &Told) -> Vec<u8> {
    // The lives that others are told: as long as can be said, a moment, none.
    let life_s = [u32::MAX, 1, 0][usize::try_from(number / KINDS % 3).unwrap()];
    let invented = |count: u64| -> Vec<Vec<u8>> {
        told.peers.fetch_add(count, Ordering::Relaxed);
        let port = 1 + number % 900;
        (0..count).map(|_| address_text(&format!("/ip4/{from}/tcp/{port}"), PeerId::random())).collect()
    };
    let name = [&b"\x08hostile!"[..], SERVICE].concat();
    match number % KINDS {
        // Noise, nothing, and a header that promises everything.
        0 => noise(number, usize::try_from(number % 1400).unwrap()),
        1 => Vec::new(),
        2 => header(ANSWER, [u16::MAX; 4]),
        // Names that end too early, point at themselves, at each other, and beyond the end.
        3 => [header(0, [1, 0, 0, 0]), b"\x3f_p2".to_vec()].concat(),
        4 => [header(0, [1, 0, 0, 0]), b"\xc0\x0c\0\x0c\0\x01".to_vec()].concat(),
        5 => [header(0, [2, 0, 0, 0]), b"\xc0\x12\0\x0c\0\x01\xc0\x0c\0\x0c\0\x01".to_vec()].concat(),
        6 => [header(ANSWER, [0, 1, 0, 0]), record(b"\xff\xff", TXT, life_s, b"\x01a")].concat(),
        // A name that is too long, and labels that are no text.
        7 => {
            let long = [[&[63_u8][..], &[b'a'; 63]].concat().repeat(20), SERVICE.to_vec()].concat();
            [header(ANSWER, [0, 1, 0, 0]), record(&long, TXT, life_s, &texts(&invented(1)))].concat()
        }
        8 => {
            let odd = [&b"\x04\xff\0\xfe."[..], SERVICE].concat();
            [header(ANSWER, [0, 1, 0, 0]), record(&odd, TXT, life_s, &texts(&invented(1)))].concat()
        }
        // Texts that are longer than their record, and a record that is longer than the message.
        9 => [header(ANSWER, [0, 1, 0, 0]), record(&name, TXT, life_s, b"\xffdnsaddr=/ip4/")].concat(),
        10 => {
            let mut cut = record(&name, TXT, life_s, &texts(&invented(4)));
            cut.truncate(cut.len() / 2);
            [header(ANSWER, [0, 1, 0, 0]), cut].concat()
        }
        // Addresses that are none, or lead elsewhere.
        11 => {
            let addresses = [
                "/dns4/nobody.invalid/tcp/1",
                "/ip4/0.0.0.0/tcp/1",
                "/ip4/224.0.0.251/udp/5353",
                "/p2p-circuit",
            ];
            let mut wrong: Vec<_> =
                addresses.iter().map(|text| address_text(text, PeerId::random())).collect();
            wrong.extend([b"dnsaddr=".to_vec(), b"dnsaddr=\xff\xff".to_vec(), b"dnsaddr=/p2p/".to_vec()]);
            [header(ANSWER, [0, 1, 0, 0]), record(&name, TXT, life_s, &texts(&wrong))].concat()
        }
        // Those who are there are elsewhere, or gone.
        12 => {
            let lies: Vec<_> =
                victims.iter().map(|peer| address_text(&format!("/ip4/{from}/tcp/9"), *peer)).collect();
            [header(ANSWER, [0, 1, 0, 0]), record(&name, TXT, life_s, &texts(&lies))].concat()
        }
        // The question, which everybody answers.
        13 => [header(0, [1, 0, 0, 0]), SERVICE.to_vec(), PTR.to_be_bytes().to_vec(), vec![0, 1]].concat(),
        // Peers that do not exist: few, and as many as fit.
        14 => [header(ANSWER, [0, 1, 0, 0]), record(&name, TXT, life_s, &texts(&invented(3)))].concat(),
        _ => [header(ANSWER, [0, 1, 0, 0]), record(&name, TXT, life_s, &texts(&invented(PEERS_PER_MESSAGE)))]
            .concat(),
    }
}

fn address_text(address: &str, peer: PeerId) -> Vec<u8> {
    format!("dnsaddr={address}/p2p/{peer}").into_bytes()
}

fn header(flags: u16, counts: [u16; 4]) -> Vec<u8> {
    [[0, flags], [counts[0], counts[1]], [counts[2], counts[3]]]
        .concat()
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect()
}

fn texts(texts: &[Vec<u8>]) -> Vec<u8> {
    texts.iter().flat_map(|text| [&[u8::try_from(text.len()).unwrap()][..], text].concat()).collect()
}

fn record(name: &[u8], kind: u16, life_s: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [name, &kind.to_be_bytes(), &[0, 1], &life_s.to_be_bytes(), &length, data].concat()
}

/// Bytes that say nothing, others for each seed.
fn noise(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}
