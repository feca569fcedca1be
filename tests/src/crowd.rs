//! Thousands of connections of one process.

use std::net::SocketAddr;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

/// Connections that are being opened at once: as many as a listener's queue holds.
const OPENING_MAX: usize = 100;
/// File descriptors that are asked for.
const FILES: u64 = 20_000;

/// Asks for as many file descriptors as the process may have, up to 20,000.
///
/// # Panics
/// When the kernel refuses what it allows.
pub fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |maximum| maximum.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).unwrap();
    }
}

/// Opens connections; those that cannot be had are left out. What is written to them is sent at once.
///
/// # Panics
/// When a task does.
pub async fn open(to: SocketAddr, count: u64) -> Vec<TcpStream> {
    let opening = Arc::new(Semaphore::new(OPENING_MAX));
    let open = (0..count).map(|_| {
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
    streams
}
