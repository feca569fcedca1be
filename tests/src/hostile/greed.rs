//! Peers that take blocks of a node: an honest one, which asks for each once, and greedy ones, which never have enough.
//!
//! Both read as fast as they can, so that what each gets is what the node gives it.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::identity::Keypair;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

use super::words::{PRIORITY_MAX, blocks_in, framed, raw_cid, wants};
use super::{Hostile, Opened, STREAM_WAIT_MAX, Stream, hear_frame, send};

/// The newest Bitswap.
const BITSWAP: &str = "/ipfs/bitswap/1.2.0";
/// The largest message of Bitswap.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Messages that wait to be looked at; while there are so many, nothing is read.
const MESSAGES_MAX: usize = 4;
/// How long nothing may come before a greedy peer asks again.
const NOTHING_TIME_MAX: Duration = Duration::from_millis(200);

/// A peer that wants blocks and reads what comes.
#[derive(Debug)]
pub struct Taker {
    /// Keeps the connection.
    _peer: Hostile,
    asking: Stream,
    blocks: mpsc::Receiver<Vec<Vec<u8>>>,
    reading: AbortHandle,
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Taker {
    /// Connects as the peer with this key.
    pub async fn connect(key: &Keypair, to: &str) -> io::Result<Self> {
        let (peer, opened) = Hostile::connect(key, to).await?;
        let asking = peer.open(BITSWAP).await?.ok_or(io::ErrorKind::Unsupported)?;
        let (sender, blocks) = mpsc::channel(MESSAGES_MAX);
        let reading = tokio::spawn(read_all(opened, sender)).abort_handle();
        Ok(Self { _peer: peer, asking, blocks, reading })
    }

    /// Asks for these.
    pub async fn ask(&mut self, cids: &[Vec<u8>], priority: u64) -> io::Result<()> {
        let asked = send(&mut self.asking, &framed(&wants(cids, priority))).await;
        asked.then_some(()).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    /// The blocks of the next message; none when the node is gone.
    pub async fn next(&mut self) -> Option<Vec<Vec<u8>>> {
        self.blocks.recv().await
    }
}

/// Reads all answers, and answers pings so that the connection is kept.
async fn read_all(mut opened: mpsc::Receiver<Opened>, blocks: mpsc::Sender<Vec<Vec<u8>>>) {
    let mut streams = JoinSet::new();
    while let Some((protocol, stream)) = opened.recv().await {
        if protocol == "/ipfs/ping/1.0.0" {
            streams.spawn(echo(stream));
        } else {
            streams.spawn(read(stream, blocks.clone()));
        }
    }
}

async fn read(mut stream: Stream, blocks: mpsc::Sender<Vec<Vec<u8>>>) {
    while let Ok(message) = hear_frame(&mut stream, MESSAGE_BYTES_MAX).await {
        if blocks.send(blocks_in(&message)).await.is_err() {
            return;
        }
    }
}

/// Says again whatever comes.
pub async fn echo(mut stream: Stream) {
    let mut bytes = [0; 32];
    while stream.read_exact(&mut bytes).await.is_ok() {
        if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// Asks for each of these once, takes until all have come, and says how many bytes that were. What comes is held against its hash.
pub async fn fetch(taker: &mut Taker, wanted: &[Vec<u8>]) -> io::Result<u64> {
    let mut missing: HashSet<&[u8]> = wanted.iter().map(Vec::as_slice).collect();
    let mut bytes = 0;
    taker.ask(wanted, 1).await?;
    while !missing.is_empty() {
        let blocks = timeout(STREAM_WAIT_MAX, taker.next()).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        for block in blocks {
            if missing.remove(raw_cid(&block).as_slice()) {
                bytes += block.len() as u64;
            }
        }
    }
    Ok(bytes)
}

/// Asks for all of these again and again, before anybody else's wants, and counts the bytes that come; until the node is gone.
pub async fn take_forever(taker: &mut Taker, wanted: &[Vec<u8>], bytes: &AtomicU64) -> io::Result<()> {
    loop {
        taker.ask(wanted, PRIORITY_MAX).await?;
        let mut came = 0;
        // Before the last is there it wants them all again: there is no moment at which it wants nothing.
        while came < wanted.len() / 2 {
            match timeout(NOTHING_TIME_MAX, taker.next()).await {
                Ok(Some(blocks)) => {
                    came += blocks.len();
                    let sum: usize = blocks.iter().map(Vec::len).sum();
                    bytes.fetch_add(sum as u64, Ordering::Relaxed);
                }
                Ok(None) => return Ok(()),
                Err(_) => break,
            }
        }
    }
}
