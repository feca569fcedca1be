//! Peers that send what nobody reads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use libp2p::Multiaddr;
use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::futures::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::swarm::StreamProtocol;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::hostile::bare_connection;
use super::{TIME_MAX, listening, node, peers, plain, settings, until};

const SILENT: StreamProtocol = StreamProtocol::new("/x/silent");
const READ: StreamProtocol = StreamProtocol::new("/x/read");
/// What a peer says on a stream for the first.
const HEAD: &[u8] = b"\x13/multistream/1.0.0\n\x0a/x/silent\n";
const UNREAD_MAX: usize = 4 << 20;
const LIARS: usize = 8;
const HONEST_BYTES: usize = 16 << 20;
/// Streams of each. What yamux grants them, 256 KiB each, is twice the bound for all.
const STREAMS: usize = 4;

/// Opens streams, and writes on all of them what the other end takes; says how many bytes that was.
async fn send_for_ever(mut muxer: StreamMuxerBox, sent: Arc<AtomicUsize>) {
    let mut streams: Vec<SubstreamBox> = Vec::new();
    let mut left: Vec<&[u8]> = vec![HEAD; STREAMS];
    let nonsense = vec![7; 64 << 10];
    std::future::poll_fn(|cx| -> Poll<()> {
        let _ = Pin::new(&mut muxer).poll(cx);
        while streams.len() < STREAMS
            && let Poll::Ready(Ok(stream)) = Pin::new(&mut muxer).poll_outbound(cx)
        {
            streams.push(stream);
        }
        for (stream, left) in streams.iter_mut().zip(&mut left) {
            loop {
                let next = if left.is_empty() { nonsense.as_slice() } else { *left };
                let Poll::Ready(Ok(count)) = Pin::new(&mut *stream).poll_write(cx, next) else { break };
                *left = left.get(count..).unwrap_or_default();
                sent.fetch_add(count, Ordering::Relaxed);
            }
            let _ = Pin::new(&mut *stream).poll_flush(cx);
        }
        let _ = Pin::new(&mut muxer).poll(cx);
        Poll::Pending
    })
    .await;
}

struct Liar {
    driver: AbortHandle,
    sent: Arc<AtomicUsize>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn liar(to: &Multiaddr) -> Liar {
    let (muxer, sent) = (bare_connection(to).await, Arc::new(AtomicUsize::new(0)));
    let driver = tokio::spawn(send_for_ever(muxer, Arc::clone(&sent))).abort_handle();
    Liar { driver, sent }
}

#[tokio::test]
async fn what_waits_unread_is_bounded_for_all_peers_together_and_an_honest_one_goes_on() {
    let mut strict = settings(&["/ip4/127.0.0.1/tcp/0"]);
    strict.unread_bytes_max = UNREAD_MAX;
    let node = node(strict).await;
    let mut silent = node.streams().accept(SILENT).unwrap();
    let mut taken = Vec::new();
    let mut liars = Vec::new();
    for count in 1..=LIARS {
        liars.push(liar(&listening(&node)[0]).await);
        while taken.len() < count * STREAMS {
            taken.push(timeout(TIME_MAX, silent.next()).await.unwrap().unwrap());
        }
    }
    let unread = || async { node.usage().await.unwrap().unread_bytes };
    let share = UNREAD_MAX / (LIARS + 1);
    until("they hold all that they may", || async {
        let bytes = unread().await;
        assert!(bytes <= UNREAD_MAX, "{bytes}");
        bytes > UNREAD_MAX - 2 * share
    })
    .await;
    // Without the bound it would be all that they have sent, and more.
    let sent: usize = liars.iter().map(|liar| liar.sent.load(Ordering::Relaxed)).sum();
    assert!(sent > UNREAD_MAX, "{sent}");

    // One comes later, and what it sends is read.
    let honest = plain().await;
    honest.connect(node.peer_id(), &listening(&node)).await.unwrap();
    assert!(honest.ping(node.peer_id()).await.is_ok());
    let mut incoming = node.streams().accept(READ).unwrap();
    let mut out = honest.streams().open(node.peer_id(), READ).await.unwrap();
    let sending = tokio::spawn(async move {
        out.write_all(&vec![3; HONEST_BYTES]).await.unwrap();
        out.close().await.unwrap();
    });
    let (_, mut stream) = timeout(TIME_MAX, incoming.next()).await.unwrap().unwrap();
    let mut read = 0;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = timeout(TIME_MAX, stream.read(&mut buffer)).await.unwrap().unwrap();
        if count == 0 {
            break;
        }
        read += count;
        let bytes = unread().await;
        assert!(bytes <= UNREAD_MAX, "{bytes}");
    }
    assert_eq!(read, HONEST_BYTES);
    sending.await.unwrap();

    // Who goes leaves nothing.
    liars.clear();
    taken.clear();
    until("nothing is held", || async { unread().await == 0 }).await;
}

#[tokio::test]
async fn a_node_takes_no_more_connections_over_quic_than_their_windows_allow() {
    let mut strict = settings(&["/ip4/127.0.0.1/udp/0/quic-v1", "/ip4/127.0.0.1/tcp/0"]);
    strict.limits.as_mut().unwrap().quic_connections = 2;
    let node = node(strict).await;
    let at = |part: &str| -> Vec<Multiaddr> {
        listening(&node).into_iter().filter(|address| address.to_string().contains(part)).collect()
    };
    let mut both = Vec::new();
    for _ in 0..2 {
        let peer = plain().await;
        peer.connect(node.peer_id(), &at("/quic-v1")).await.unwrap();
        both.push(peer);
    }
    until("both are there", || async { peers(&node).await.len() == 2 }).await;
    let third = plain().await;
    // Its handshake may be over before it hears that it is one too many.
    let _ = third.connect(node.peer_id(), &at("/quic-v1")).await;
    until("it is not connected", || async { peers(&third).await.is_empty() }).await;
    assert_eq!(peers(&node).await.len(), 2);
    third.connect(node.peer_id(), &at("/tcp/")).await.unwrap();
    until("over TCP it is", || async { peers(&node).await.len() == 3 }).await;
    both.pop().unwrap().stop().await;
    until("one has gone", || async { peers(&node).await.len() == 2 }).await;
    let fourth = plain().await;
    fourth.connect(node.peer_id(), &at("/quic-v1")).await.unwrap();
    until("there is room for another", || async { peers(&node).await.len() == 3 }).await;
}
