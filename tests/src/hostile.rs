//! A peer without manners: it speaks to a node over bare streams, and says on them whatever a test wants.
//!
//! No libp2p program is behind it but a transport: protocols are agreed on by hand, and every stream that the node
//! opens is taken, whatever it is for.
//!
//! - [`attack`]: everything at once, for as long as a test wants. [`greed`]: wanting all of a node's blocks again and again.
//! - [`words`]: messages of Bitswap, and frames that are none. [`names`]: records of names, and the DHT's messages about them.
//!   [`providers`]: asking one node for the records of providers that it keeps.
//! - [`dial_back`]: asking to be dialled back (AutoNAT). `circuit`: the same through a relay. [`shapes`]: what is said in each protocol that our node speaks, and how it is said wrongly.

pub mod attack;
mod circuit;
pub mod dial_back;
pub mod greed;
pub mod mdns;
mod muxer;
pub mod names;
pub mod providers;
pub mod shapes;
pub mod words;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

use libp2p::core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p::core::transport::{DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport as _};
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId, noise, quic, tcp};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;

/// Longest that anything of a stream is waited for.
pub const STREAM_WAIT_MAX: Duration = Duration::from_secs(20);

/// Bytes of a line in which protocols are agreed on.
const LINE_BYTES_MAX: usize = 1024;

/// Streams that wait to be opened. Whoever wants one more waits for its turn.
const WANTED_MAX: usize = 64;

/// The protocol of pings.
const PING: &str = "/ipfs/ping/1.0.0";

/// Streams of the node that [`attend`] holds; further ones are dropped.
const HELD_MAX: usize = 64;

/// How the agreement on a protocol begins.
const MULTISTREAM: &str = "/multistream/1.0.0";

/// A stream on which a protocol was agreed on.
pub type Stream = SubstreamBox;

type Transport = libp2p::core::transport::Boxed<(PeerId, StreamMuxerBox)>;

/// A stream that the node opened, and what for.
pub type Opened = (String, Stream);

/// One connection to a node. It ends when this is dropped.
pub struct Hostile {
    id: PeerId,
    wanted: mpsc::Sender<oneshot::Sender<Stream>>,
    driver: AbortHandle,
    /// Without it the connection has no socket. In a lock that is never taken: it lets a connection be used by several tasks.
    _transport: Mutex<Transport>,
}

impl std::fmt::Debug for Hostile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hostile").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Hostile {
    /// Connects as the peer with this key, over QUIC or TCP as the address says. The streams that the node opens come with it.
    ///
    /// # Panics
    /// When the address is none, or the key is none for noise.
    pub async fn connect(key: &Keypair, to: &str) -> io::Result<(Self, mpsc::Receiver<Opened>)> {
        let address: Multiaddr = to.parse().expect("an address");
        Self::over(transport(key, &address), key, address).await
    }

    async fn over(
        mut transport: Transport,
        key: &Keypair,
        address: Multiaddr,
    ) -> io::Result<(Self, mpsc::Receiver<Opened>)> {
        let opts = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = transport.dial(address, opts).map_err(io::Error::other)?;
        let (_, muxer) = timeout(STREAM_WAIT_MAX, dial).await?.map_err(io::Error::other)?;
        let (wanted, asked) = mpsc::channel(WANTED_MAX);
        let (opened, streams) = mpsc::channel(256);
        let driver = tokio::spawn(drive(muxer, asked, opened)).abort_handle();
        Ok((
            Self { id: key.public().to_peer_id(), wanted, driver, _transport: Mutex::new(transport) },
            streams,
        ))
    }

    /// Its peer ID.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Opens a stream for a protocol; `None` where the node does not speak it with this peer.
    pub async fn open(&self, protocol: &str) -> io::Result<Option<Stream>> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let open = async {
            self.wanted.send(answer).await.map_err(|_| gone())?;
            answered.await.map_err(|_| gone())
        };
        let mut stream = timeout(STREAM_WAIT_MAX, open).await??;
        let agree = async {
            say_line(&mut stream, MULTISTREAM).await?;
            say_line(&mut stream, protocol).await?;
            stream.flush().await?;
            hear_line(&mut stream).await?;
            Ok::<bool, io::Error>(hear_line(&mut stream).await? == protocol)
        };
        let agreed = timeout(STREAM_WAIT_MAX, agree).await??;
        Ok(agreed.then_some(stream))
    }
}

fn transport(key: &Keypair, to: &Multiaddr) -> Transport {
    if to.iter().any(|part| part == Protocol::QuicV1) {
        return quic::tokio::Transport::new(quic::Config::new(key))
            .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
            .boxed();
    }
    secured(tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)), key)
}

/// Connections of a transport, made secure and cut into streams.
fn secured<T>(transport: T, key: &Keypair) -> Transport
where
    T: libp2p::core::Transport<Error: Send + Sync, Dial: Send, ListenerUpgrade: Send>
        + Send
        + Unpin
        + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    transport
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key).expect("a key that signs"))
        .multiplex(muxer::Yamux)
        .boxed()
}

/// Keeps the connection going: opens streams as they are wanted, takes those that come.
async fn drive(
    mut muxer: StreamMuxerBox,
    mut asked: mpsc::Receiver<oneshot::Sender<Stream>>,
    opened: mpsc::Sender<Opened>,
) {
    let (mut waiting, mut agreeing) = (VecDeque::new(), JoinSet::new());
    loop {
        let ended = poll_fn(|cx| {
            // Windows and answers come only where the connection is driven too.
            if let Poll::Ready(Err(_)) = Pin::new(&mut muxer).poll(cx) {
                return Poll::Ready(true);
            }
            let mut moved = false;
            while waiting.len() < WANTED_MAX
                && let Poll::Ready(next) = asked.poll_recv(cx)
            {
                let Some(answer) = next else { return Poll::Ready(true) };
                waiting.push_back(answer);
            }
            while !waiting.is_empty()
                && let Poll::Ready(stream) = Pin::new(&mut muxer).poll_outbound(cx)
            {
                let (Ok(stream), Some(answer)) = (stream, waiting.pop_front()) else {
                    return Poll::Ready(true);
                };
                // Whoever wanted it may have gone.
                drop(answer.send(stream));
                moved = true;
            }
            while let Poll::Ready(stream) = Pin::new(&mut muxer).poll_inbound(cx) {
                let Ok(stream) = stream else { return Poll::Ready(true) };
                let opened = opened.clone();
                agreeing.spawn(async move {
                    if let Ok(Ok(found)) = timeout(STREAM_WAIT_MAX, agree_to_anything(stream)).await {
                        // More than a test listens to are dropped.
                        let _ = opened.try_send(found);
                    }
                });
                moved = true;
            }
            if moved { Poll::Ready(false) } else { Poll::Pending }
        })
        .await;
        while agreeing.try_join_next().is_some() {}
        if ended {
            return;
        }
    }
}

/// Agrees to whatever the node wants to speak.
async fn agree_to_anything(mut stream: Stream) -> io::Result<Opened> {
    hear_line(&mut stream).await?;
    say_line(&mut stream, MULTISTREAM).await?;
    let protocol = hear_line(&mut stream).await?;
    say_line(&mut stream, &protocol).await?;
    stream.flush().await?;
    Ok((protocol, stream))
}

/// Answers pings, so that the node keeps the connection, and holds whatever else it opens; until the connection ends.
pub async fn attend(mut opened: mpsc::Receiver<Opened>) {
    let mut streams = JoinSet::new();
    let mut held = VecDeque::new();
    while let Some((protocol, stream)) = opened.recv().await {
        if protocol == PING {
            streams.spawn(greed::echo(stream));
        } else {
            held.push_back(stream);
            held.truncate(HELD_MAX);
        }
    }
}

/// Sends all of it, as far as the node takes it in time. Says whether it took everything.
pub async fn send(stream: &mut Stream, bytes: &[u8]) -> bool {
    let sending = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    matches!(timeout(STREAM_WAIT_MAX, sending).await, Ok(Ok(())))
}

async fn say_line(stream: &mut Stream, line: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    words::varint(&mut bytes, line.len() as u64 + 1);
    bytes.extend_from_slice(line.as_bytes());
    bytes.push(b'\n');
    stream.write_all(&bytes).await
}

async fn hear_line(stream: &mut Stream) -> io::Result<String> {
    let bytes = hear_frame(stream, LINE_BYTES_MAX).await?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// A frame with its length before it.
pub async fn hear_frame(stream: &mut Stream, bytes_max: usize) -> io::Result<Vec<u8>> {
    let (mut length, mut shift) = (0_usize, 0);
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        length |= usize::from(byte[0] & 0x7f) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
        if shift > 28 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    if length > bytes_max {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
