//! A name server for tests: UDP on a free port of the loopback address, answers made by hand.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Type of an IPv4 address.
const A: u16 = 1;
/// Type of a text.
const TXT: u16 = 16;
/// Bytes of the head of a message.
const HEAD_BYTES: usize = 12;
/// How long it listens before it looks whether it is still wanted.
const TURN: Duration = Duration::from_millis(200);

/// It runs until it is dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Texts of names in lower case, without the dot at the end, and for how many seconds they hold.
    texts: HashMap<String, (u32, Vec<String>)>,
    /// IPv4 addresses of names.
    addresses: HashMap<String, Ipv4Addr>,
    /// The names that texts were asked of, in order.
    asked: Vec<String>,
    /// The names that IPv4 addresses were asked of, in order.
    asked_addresses: Vec<String>,
    ended: bool,
}

impl NameServer {
    /// One that knows nothing.
    ///
    /// # Panics
    /// When there is no socket to be had.
    pub fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(TURN)).unwrap();
        let server = Self { address: socket.local_addr().unwrap(), inner: Arc::default() };
        let inner = Arc::clone(&server.inner);
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            loop {
                let received = socket.recv_from(&mut query);
                let mut inner = lock(&inner);
                if inner.ended {
                    return;
                }
                if let Ok((length, from)) = received
                    && let Some(answer) = inner.answer(&query[..length])
                {
                    // Whoever asked asks again where it is lost.
                    drop(socket.send_to(&answer, from));
                }
            }
        });
        server
    }

    /// As the value of `DNS.Resolvers`.
    pub fn url(&self) -> String {
        format!("udp://{}", self.address)
    }

    /// Gives a name these texts.
    pub fn set(&self, name: &str, ttl_seconds: u32, texts: &[&str]) {
        let texts = texts.iter().map(|&text| text.to_owned()).collect();
        lock(&self.inner).texts.insert(name.to_ascii_lowercase(), (ttl_seconds, texts));
    }

    /// Gives a name an IPv4 address, for a minute at a time.
    pub fn set_address(&self, name: &str, address: Ipv4Addr) {
        lock(&self.inner).addresses.insert(name.to_ascii_lowercase(), address);
    }

    /// The names that texts were asked of so far, in order.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.inner).asked.clone()
    }

    /// The names that IPv4 addresses were asked of so far, in order.
    pub fn asked_addresses(&self) -> Vec<String> {
        lock(&self.inner).asked_addresses.clone()
    }

    /// What others need to answer as this server does.
    pub(crate) fn answers(&self) -> Answers {
        Answers(Arc::clone(&self.inner))
    }
}

/// Answers as a server does, over another way.
#[derive(Debug, Clone)]
pub(crate) struct Answers(Arc<Mutex<Inner>>);

impl Answers {
    /// The answer to a question; none to what is none, or when the server has ended.
    pub(crate) fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        lock(&self.0).answer(query)
    }

    pub(crate) fn ended(&self) -> bool {
        lock(&self.0).ended
    }
}

fn lock(inner: &Mutex<Inner>) -> std::sync::MutexGuard<'_, Inner> {
    inner.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for NameServer {
    fn drop(&mut self) {
        lock(&self.inner).ended = true;
    }
}

impl Inner {
    /// The answer to a question: the texts or the address, or that there is no such name.
    fn answer(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        let mut at = HEAD_BYTES;
        let mut labels = Vec::new();
        loop {
            let length = usize::from(*query.get(at)?);
            at += 1;
            if length == 0 {
                break;
            }
            labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
            at += length;
        }
        let question_end = at + 4;
        let kind = u16::from_be_bytes(query.get(at..at + 2)?.try_into().ok()?);
        let records = self.records(kind, labels.join("."));
        let code = if records.is_empty() { 3 } else { 0 };
        let mut answer = query.get(..2)?.to_vec();
        // A response, recursion available; one question, that many answers.
        answer.extend([0x81, 0x80 | code, 0, 1]);
        answer.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(query.get(HEAD_BYTES..question_end)?);
        for (ttl_seconds, data) in records {
            // The name of the question, at its place.
            answer.extend([0xc0, 0x0c]);
            answer.extend(kind.to_be_bytes());
            answer.extend(1_u16.to_be_bytes());
            answer.extend(ttl_seconds.to_be_bytes());
            answer.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
            answer.extend(data);
        }
        Some(answer)
    }

    /// How long each record of a name holds, in seconds, and its data.
    fn records(&mut self, kind: u16, name: String) -> Vec<(u32, Vec<u8>)> {
        match kind {
            TXT => {
                self.asked.push(name.clone());
                let (ttl_seconds, texts) = self.texts.get(&name).cloned().unwrap_or_default();
                texts.iter().map(|text| (ttl_seconds, pieces(text))).collect()
            }
            A => {
                let found = self.addresses.get(&name).map(|address| (60, address.octets().to_vec()));
                self.asked_addresses.push(name);
                found.into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A text as it is sent: in pieces of at most 255 bytes, each after its length.
fn pieces(text: &str) -> Vec<u8> {
    let piece = |piece: &[u8]| [&[u8::try_from(piece.len()).expect("255 at most")][..], piece].concat();
    text.as_bytes().chunks(255).flat_map(piece).collect()
}
