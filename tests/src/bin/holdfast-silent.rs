//! Clients that begin a request and fall silent: `holdfast-silent ADDRESS HALF_HEADS STALLED_BODIES SECONDS`.
//!
//! Half of a head each, or a head and half of the body that it promises. Each waits until the server ends its connection, and no
//! longer than the seconds; one line of JSON says how many were ended, and after how long a silence.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::net::SocketAddr;
use std::time::Duration;

use holdfast_tests::crowd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let to: SocketAddr = args[0].parse().unwrap();
    let number = |at: usize| args[at].parse::<u64>().unwrap();
    let (heads, bodies, limit) = (number(1), number(2), Duration::from_secs(number(3)));
    crowd::raise_files();
    let head = format!("POST /api/v0/version HTTP/1.1\r\nHost: {to}\r\nX-Half");
    let body =
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nthe beginning of a file";
    let body = format!(
        "POST /api/v0/add HTTP/1.1\r\nHost: {to}\r\nContent-Length: 100000\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n{body}"
    );
    let all = [("half_heads", heads, head), ("stalled_bodies", bodies, body)];
    let mut lines = Vec::new();
    let mut groups = Vec::new();
    for (name, count, beginning) in all {
        let streams = crowd::open(to, count).await;
        let waits: Vec<_> = streams
            .into_iter()
            .map(|stream| tokio::spawn(silence(stream, beginning.clone(), limit)))
            .collect();
        groups.push((name, waits));
    }
    for (name, waits) in groups {
        let (opened, mut ended) = (waits.len(), Vec::new());
        for wait in waits {
            ended.extend(wait.await.unwrap());
        }
        ended.sort_unstable();
        let at = |place: usize| ended.get(place).map_or(0, Duration::as_millis);
        lines.push(format!(
            "\"{name}\": {{\"opened\": {opened}, \"ended\": {}, \"first_ms\": {}, \"last_ms\": {}}}",
            ended.len(),
            at(0),
            at(ended.len().saturating_sub(1))
        ));
    }
    println!("{{{}}}", lines.join(", "));
}

/// How long the server bore with a client that says this and no more; `None` where it had not ended it in time.
async fn silence(mut stream: TcpStream, beginning: String, limit: Duration) -> Option<Duration> {
    stream.write_all(beginning.as_bytes()).await.ok()?;
    let start = Instant::now();
    let mut said = Vec::new();
    // A connection that is reset has ended too.
    let ended = async { while matches!(stream.read_buf(&mut said).await, Ok(1..)) {} };
    timeout(limit, ended).await.ok().map(|()| start.elapsed())
}
