//! Streams of protocols that come and go.

use libp2p::PeerId;
use libp2p::futures::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p::swarm::StreamProtocol;

use tokio::time::timeout;

use super::{TIME_MAX, listening, plain};
use crate::swarm::{AcceptError, OpenError, SwarmHandle};

const ECHO: StreamProtocol = StreamProtocol::new("/x/echo");

/// Two nodes with a connection.
async fn pair() -> (SwarmHandle, SwarmHandle) {
    let (one, other) = (plain().await, plain().await);
    one.connect(other.peer_id(), &listening(&other)).await.unwrap();
    (one, other)
}

#[tokio::test]
async fn a_stream_carries_bytes_both_ways_as_long_as_its_protocol_is_served() {
    let (one, other) = pair().await;
    let unsupported = one.streams().open(other.peer_id(), ECHO).await.err();
    assert_eq!(unsupported, Some(OpenError::Unsupported(ECHO)));
    let mut incoming = other.streams().accept(ECHO).unwrap();
    assert_eq!(other.streams().accept(ECHO).err(), Some(AcceptError::Taken(ECHO)));
    assert!(other.protocols().contains(&"/x/echo".to_owned()));

    let mut opened = one.streams().open(other.peer_id(), ECHO).await.unwrap();
    let (peer, mut taken) = incoming.next().await.unwrap();
    assert_eq!(peer, one.peer_id());
    opened.write_all(b"there").await.unwrap();
    opened.close().await.unwrap();
    let mut bytes = Vec::new();
    taken.read_to_end(&mut bytes).await.unwrap();
    taken.write_all(b" and back").await.unwrap();
    taken.close().await.unwrap();
    opened.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"there and back");

    drop(incoming);
    assert!(!other.protocols().contains(&"/x/echo".to_owned()));
    assert!(one.streams().open(other.peer_id(), ECHO).await.is_err());
    let stranger = PeerId::random();
    assert_eq!(one.streams().open(stranger, ECHO).await.err(), Some(OpenError::NotConnected(stranger)));
}

#[tokio::test]
async fn streams_that_nobody_takes_are_reset_beyond_the_bound() {
    let (one, other) = pair().await;
    let mut incoming = other.streams().accept(ECHO).unwrap();
    let mut opened = Vec::new();
    for _ in 0..80 {
        opened.push(one.streams().open(other.peer_id(), ECHO).await.unwrap());
    }
    // The last one is over, with nothing in it, and nobody took anything.
    let mut last = opened.pop().unwrap();
    let mut bytes = Vec::new();
    let ended = timeout(TIME_MAX, last.read_to_end(&mut bytes)).await.unwrap();
    assert!(ended.is_err() || bytes.is_empty());
    let mut taken = Vec::new();
    while taken.len() < 64 {
        taken.push(incoming.next().await.unwrap());
    }
    one.stop().await;
    other.stop().await;
    assert!(incoming.next().await.is_none(), "no more than wait were kept");
}
