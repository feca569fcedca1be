//! A name server for tests: UDP on a free port of the loopback address, answers made by hand.

use std::collections::HashMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    /// The names that texts were asked of, in order.
    asked: Vec<String>,
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
                let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.texts.insert(name.to_ascii_lowercase(), (ttl_seconds, texts));
    }

    /// The names that texts were asked of so far, in order.
    pub fn asked(&self) -> Vec<String> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).asked.clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    }
}

impl Inner {
    /// The answer to a question: the texts, or that there is no such name.
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
        let is_text = query.get(at..at + 2)? == TXT.to_be_bytes();
        let name = labels.join(".");
        let none = (0, Vec::new());
        let (ttl, texts) = if is_text {
            self.asked.push(name.clone());
            self.texts.get(&name).unwrap_or(&none)
        } else {
            &none
        };
        let code = if texts.is_empty() { 3 } else { 0 };
        let mut answer = query.get(..2)?.to_vec();
        // A response, recursion available; one question, that many answers.
        answer.extend([0x81, 0x80 | code, 0, 1]);
        answer.extend(u16::try_from(texts.len()).ok()?.to_be_bytes());
        answer.extend([0; 4]);
        answer.extend(query.get(HEAD_BYTES..question_end)?);
        for text in texts {
            // The name of the question, at its place.
            answer.extend([0xc0, 0x0c]);
            answer.extend(TXT.to_be_bytes());
            answer.extend(1_u16.to_be_bytes());
            answer.extend(ttl.to_be_bytes());
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(255).collect();
            let length = text.len() + pieces.len();
            answer.extend(u16::try_from(length).ok()?.to_be_bytes());
            for piece in pieces {
                answer.push(u8::try_from(piece.len()).ok()?);
                answer.extend(piece);
            }
        }
        Some(answer)
    }
}
