//! Many kept connections that ask at a steady rate: a client of its own process, so that its sockets are not the server's.
//!
//! `holdfast-load ADDRESS CONNECTIONS REQUESTS_PER_SECOND SECONDS PATH...` opens all connections first, then sends requests at
//! fixed times, each connection in its turn, and prints one line of JSON. Waits are counted from the time at which a
//! request was due, so that a server that stops cannot hide it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};

/// Connections that are being opened at once: as many as a listener's queue holds.
const OPENING_MAX: usize = 100;
/// File descriptors that are asked for.
const FILES: u64 = 20_000;
/// How long an answer may take before it counts as none.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// What one connection saw.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, u64>,
    failures: u64,
    waits: Vec<Duration>,
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let to: SocketAddr = args[0].parse().unwrap();
    let number = |at: usize| args[at].parse::<u64>().unwrap();
    let (connections, rate, seconds) = (number(1), number(2), number(3));
    let paths: Arc<Vec<String>> = Arc::new(args[4..].to_vec());
    raise_files();

    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let open = (0..connections).map(|_| {
        let opening = Arc::clone(&opening);
        tokio::spawn(async move {
            let _permit = opening.acquire().await.unwrap();
            TcpStream::connect(to).await.and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        })
    });
    let open: Vec<_> = open.collect();
    let mut streams = Vec::new();
    for stream in open {
        streams.extend(stream.await.unwrap().ok());
    }
    let opened = streams.len();

    let (start, count) = (Instant::now() + Duration::from_millis(200), rate * seconds);
    let tasks: Vec<_> = streams
        .into_iter()
        .zip(0_u64..)
        .map(|(stream, first)| {
            let due = (first..count).step_by(usize::try_from(connections).unwrap());
            let due: Vec<(u64, Instant)> = due
                .map(|at| {
                    (
                        at,
                        start
                            + Duration::from_secs(1) * u32::try_from(at).unwrap()
                                / u32::try_from(rate).unwrap(),
                    )
                })
                .collect();
            tokio::spawn(ask(stream, to, due, Arc::clone(&paths)))
        })
        .collect();
    let mut all = Seen::default();
    for task in tasks {
        let seen = task.await.unwrap();
        all.failures += seen.failures;
        all.waits.extend(seen.waits);
        for (status, count) in seen.statuses {
            *all.statuses.entry(status).or_default() += count;
        }
    }
    all.waits.sort_unstable();
    let at = |part: usize| all.waits.get(all.waits.len() * part / 1000).map_or(0, Duration::as_micros);
    let largest = all.waits.last().map_or(0, Duration::as_micros);
    let statuses: Vec<String> =
        all.statuses.iter().map(|(status, count)| format!("\"{status}\": {count}")).collect();
    println!(
        "{{\"opened\": {opened}, \"due\": {count}, \"failures\": {}, \"statuses\": {{{}}}, \"p50_us\": {}, \"p99_us\": {}, \
         \"p999_us\": {}, \"max_us\": {largest}}}",
        all.failures,
        statuses.join(", "),
        at(500),
        at(990),
        at(999)
    );
}

/// Asks for as many file descriptors as it may have, up to [`FILES`].
fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
    }
}

async fn ask(
    mut stream: TcpStream,
    to: SocketAddr,
    due: Vec<(u64, Instant)>,
    paths: Arc<Vec<String>>,
) -> Seen {
    let mut seen = Seen::default();
    let mut left = due.len() as u64;
    for (number, time) in due {
        sleep_until(time).await;
        let path = &paths[usize::try_from(number).unwrap() % paths.len()];
        let request = format!("POST {path} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n");
        let Ok(Some(status)) = timeout(ANSWER_TIME_MAX, exchange(&mut stream, request.as_bytes())).await
        else {
            // The connection is gone, and with it all that it had to ask.
            seen.failures += left;
            return seen;
        };
        left -= 1;
        seen.waits.push(time.elapsed());
        *seen.statuses.entry(status).or_default() += 1;
    }
    seen
}

/// Sends a request, and reads its answer to the end; `None` where the connection ends before.
async fn exchange(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if let Some(status) = whole(&bytes) {
            return Some(status);
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// The status of an answer, if all of it is there.
fn whole(bytes: &[u8]) -> Option<u16> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = std::str::from_utf8(&bytes[..head]).ok()?.to_ascii_lowercase();
    let body = &bytes[head + 4..];
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let ends = if text.contains("transfer-encoding: chunked") {
        body == b"0\r\n\r\n" || body.ends_with(b"\r\n0\r\n\r\n")
    } else {
        let length = text.split("content-length: ").nth(1)?.split("\r\n").next()?.parse::<usize>().ok()?;
        body.len() >= length
    };
    ends.then_some(status)
}
