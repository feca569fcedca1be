//! A pinning service on loopback, by the IPFS Pinning Service API 1.0.0: what it is asked to pin goes from queued to pinning
//! to pinned when it was really fetched, and to failed when that failed. How it fetches is the test's affair.
//!
//! It may be told to misbehave: the next requests are then answered with whatever a test wants.

mod book;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

pub use book::{Asked, Book, Record};

/// The path that the service is below.
const BASE: &str = "/psa";
/// How long a read may take.
const READ_TIME_MAX: Duration = Duration::from_secs(60);

/// Fetches what a pin asks for; the error says why that failed.
pub type Fetch = dyn Fn(&Asked) -> Result<(), String> + Send + Sync;

/// An answer that a test wants given.
#[derive(Debug, Clone)]
pub enum Canned {
    /// A status with headers (each line with its end) and a body.
    Answer(u16, String, String),
    /// Chunks that never end.
    Endless,
    /// Nothing, until the other side goes away.
    Silent,
    /// The connection ends.
    Nothing,
}

impl Canned {
    /// A refusal as the API has it.
    pub fn refusal(status: u16, reason: &str, details: &str) -> Self {
        Self::Answer(
            status,
            String::new(),
            json!({"error": {"reason": reason, "details": details}}).to_string(),
        )
    }

    /// A success that holds this.
    pub fn ok(body: impl Into<String>) -> Self {
        Self::Answer(200, String::new(), body.into())
    }
}

struct Shared {
    key: String,
    fetch: Box<Fetch>,
    book: Mutex<Book>,
    canned: Mutex<VecDeque<Canned>>,
    seen: Mutex<Vec<String>>,
    stopped: AtomicBool,
}

/// A service that runs until it is dropped.
pub struct PinningService {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for PinningService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PinningService").field("address", &self.address).finish_non_exhaustive()
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PinningService {
    /// Starts one that knows its user by `key`.
    pub fn start(key: &str, fetch: impl Fn(&Asked) -> Result<(), String> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            key: key.to_owned(),
            fetch: Box::new(fetch),
            book: Mutex::default(),
            canned: Mutex::default(),
            seen: Mutex::default(),
            stopped: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for connection in listener.incoming() {
                if serving.stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(connection), shared) = (connection, Arc::clone(&serving)) else { continue };
                // A client that goes away is no failure here.
                thread::spawn(move || drop(serve(&shared, connection)));
            }
        });
        Self { address, shared }
    }

    /// Its URL, as users write it into the config.
    pub fn endpoint(&self) -> String {
        format!("http://{}{BASE}", self.address)
    }

    /// What it keeps, the newest first.
    pub fn pins(&self) -> Vec<Record> {
        held(&self.shared.book).newest_first()
    }

    /// The requests that it has had, each as method, path and query.
    pub fn requests(&self) -> Vec<String> {
        held(&self.shared.seen).clone()
    }

    /// Answers the next requests with these, one each.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Canned>) {
        held(&self.shared.canned).extend(answers);
    }

    /// Forgets what it was told to answer.
    pub fn behave(&self) {
        held(&self.shared.canned).clear();
    }

    /// Gives no more pins than this on a page, whatever it is asked for.
    pub fn set_page_max(&self, pins: usize) {
        held(&self.shared.book).page_max = pins;
    }

    /// Names these as those that fetch.
    pub fn set_delegates(&self, delegates: &[String]) {
        held(&self.shared.book).delegates = delegates.to_vec();
    }

    /// Puts a pin into its book, as if somebody had asked for it, and leaves it in this state.
    pub fn put(&self, cid: &str, name: &str, status: &'static str) -> String {
        let asked = Asked { cid: cid.to_owned(), name: name.to_owned(), origins: Vec::new() };
        held(&self.shared.book).add(asked, status)
    }
}

impl Drop for PinningService {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        // Wakes it up; it may be gone.
        drop(TcpStream::connect(self.address));
    }
}

struct Request {
    method: String,
    target: String,
    authorization: Option<String>,
    body: Vec<u8>,
}

fn serve(shared: &Arc<Shared>, mut connection: TcpStream) -> std::io::Result<()> {
    connection.set_read_timeout(Some(READ_TIME_MAX))?;
    let Some(request) = read(&mut connection)? else { return Ok(()) };
    held(&shared.seen).push(format!("{} {}", request.method, request.target));
    let canned = held(&shared.canned).pop_front();
    let (status, headers, body) = match canned {
        Some(Canned::Answer(status, headers, body)) => (status, headers, body),
        Some(Canned::Endless) => return write_for_ever(&mut connection),
        Some(Canned::Silent) => {
            let mut rest = [0; 1024];
            while connection.read(&mut rest)? > 0 {}
            return Ok(());
        }
        Some(Canned::Nothing) => return Ok(()),
        None => {
            let (status, value) = answer(shared, &request);
            (status, String::new(), value.map_or_else(String::new, |value| value.to_string()))
        }
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())
}

fn write_for_ever(connection: &mut TcpStream) -> std::io::Result<()> {
    connection.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    loop {
        connection.write_all(chunk.as_bytes())?;
    }
}

fn read(connection: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break at;
        }
        match connection.read(&mut buffer)? {
            0 => return Ok(None),
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let field = |name: &str| {
        head.lines()
            .skip(1)
            .filter_map(|line| line.split_once(": "))
            .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then(|| value.to_owned()))
    };
    let length: usize = field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        match connection.read(&mut buffer)? {
            0 => return Ok(None),
            count => body.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(Some(Request { method, target, authorization: field("authorization"), body }))
}

fn failure(status: u16, reason: &str, details: impl Into<String>) -> (u16, Option<Value>) {
    (status, Some(json!({"error": {"reason": reason, "details": details.into()}})))
}

fn answer(shared: &Arc<Shared>, request: &Request) -> (u16, Option<Value>) {
    match &request.authorization {
        None => return failure(401, "UNAUTHORIZED", "there is no token"),
        Some(said) if *said != format!("Bearer {}", shared.key) => {
            // A careless service says the secret back.
            return failure(401, "UNAUTHORIZED", format!("nobody is known by {said}"));
        }
        Some(_) => {}
    }
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    let Some(path) = path.strip_prefix(BASE) else { return failure(404, "NOT_FOUND", "no such path") };
    let id = path.strip_prefix("/pins/").filter(|id| !id.is_empty());
    let mut book = held(&shared.book);
    match (request.method.as_str(), id) {
        ("GET", None) if path == "/pins" => (200, Some(book.page(&parameters(query)))),
        ("POST", _) if id.is_some() || path == "/pins" => {
            if let Some(id) = id
                && !book.remove(id)
            {
                return failure(404, "NOT_FOUND", "no such request");
            }
            match Asked::of(&request.body) {
                Ok(asked) => {
                    let id = book.add(asked.clone(), "queued");
                    work(shared, id.clone(), asked);
                    (202, book.status(&id))
                }
                Err(why) => failure(400, "BAD_REQUEST", why),
            }
        }
        ("GET", Some(id)) => match book.status(id) {
            Some(status) => (200, Some(status)),
            None => failure(404, "NOT_FOUND", "no such request"),
        },
        ("DELETE", Some(id)) if book.remove(id) => (202, None),
        _ => failure(404, "NOT_FOUND", "no such request"),
    }
}

/// Fetches beside everything else.
fn work(shared: &Arc<Shared>, id: String, asked: Asked) {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        held(&shared.book).set_status(&id, "pinning");
        let status = if (shared.fetch)(&asked).is_ok() { "pinned" } else { "failed" };
        held(&shared.book).set_status(&id, status);
    });
}

/// Names and values of a query, unescaped.
fn parameters(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), unescaped(value)))
        .collect()
}

fn unescaped(text: &str) -> String {
    let (mut out, mut bytes) = (Vec::new(), text.bytes());
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digits = String::new();
                write!(digits, "{}{}", char::from(bytes.next().unwrap()), char::from(bytes.next().unwrap()))
                    .unwrap();
                u8::from_str_radix(&digits, 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(out).unwrap()
}
