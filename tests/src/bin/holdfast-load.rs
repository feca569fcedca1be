//! Many kept connections that ask at a steady rate: a client of its own process, so that its sockets are not the server's.
//!
//! `holdfast-load ADDRESS CONNECTIONS REQUESTS_PER_SECOND SECONDS PATH...` opens all connections first and asks once over each, then sends requests at
//! fixed times, each connection in its turn, and prints one line of JSON. Waits are counted from the time at which a
//! request was due, so that a server that stops cannot hide it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_tests::crowd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

/// How long an answer may take before it counts as none.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Connections that are opened before each of them asks once.
const OPENED_AT_A_TIME: u64 = 500;

/// What one connection saw.
#[derive(Default)]
struct Seen {
    statuses: BTreeMap<u16, u64>,
    failures: u64,
    /// Each with the time at which its request was due.
    waits: Vec<(Duration, Instant)>,
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let to: SocketAddr = args[0].parse().unwrap();
    let number = |at: usize| args[at].parse::<u64>().unwrap();
    let (connections, rate, seconds) = (number(1), number(2), number(3));
    let paths: Arc<Vec<String>> = Arc::new(args[4..].to_vec());
    crowd::raise_files();

    let mut streams = Vec::new();
    while (streams.len() as u64) < connections {
        let some = crowd::open(to, (connections - streams.len() as u64).min(OPENED_AT_A_TIME)).await;
        let greeted = some.into_iter().map(|stream| tokio::spawn(greeted(stream, to, Arc::clone(&paths))));
        let (before, greeted) = (streams.len(), greeted.collect::<Vec<_>>());
        for stream in greeted {
            streams.extend(stream.await.unwrap());
        }
        if streams.len() == before {
            break;
        }
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
    let at = |part: usize| all.waits.get(all.waits.len() * part / 1000).map_or(0, |wait| wait.0.as_micros());
    let (largest, due) = all.waits.last().copied().unwrap_or((Duration::ZERO, start));
    let (largest, due) = (largest.as_micros(), due.duration_since(start).as_millis());
    let statuses: Vec<String> =
        all.statuses.iter().map(|(status, count)| format!("\"{status}\": {count}")).collect();
    println!(
        "{{\"opened\": {opened}, \"due\": {count}, \"failures\": {}, \"statuses\": {{{}}}, \"p50_us\": {}, \"p99_us\": {}, \
         \"p999_us\": {}, \"max_us\": {largest}, \"max_was_due_ms\": {due}}}",
        all.failures,
        statuses.join(", "),
        at(500),
        at(990),
        at(999)
    );
}

/// A connection that has asked once, so that it is a kept one: a server ends those that ask for nothing. That is not counted.
async fn greeted(mut stream: TcpStream, to: SocketAddr, paths: Arc<Vec<String>>) -> Option<TcpStream> {
    let request = format!("POST {} HTTP/1.1\r\nHost: {to}\r\nContent-Length: 0\r\n\r\n", paths[0]);
    let answered = timeout(ANSWER_TIME_MAX, exchange(&mut stream, request.as_bytes())).await;
    matches!(answered, Ok(Some(200))).then_some(stream)
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
        seen.waits.push((time.elapsed(), time));
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
