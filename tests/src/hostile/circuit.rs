//! A hostile peer that comes through a relay: the circuit is asked for by hand, and what goes through it is secured as ever.

use std::future::{Pending, Ready, ready};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::core::Transport;
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::words::{Value, bytes_field, framed, number_field, values};
use super::{Hostile, Opened, STREAM_WAIT_MAX, Stream, hear_frame, secured, send};

const HOP: &str = "/libp2p/circuit/relay/0.2.0/hop";
/// Largest message about a circuit.
const MESSAGE_BYTES_MAX: usize = 4096;
/// The kind of message that asks for a circuit.
const CONNECT: u64 = 1;
/// The field that says what became of it, and what it says when there is one.
const STATUS: (u64, Value<'_>) = (5, Value::Number(100));

impl Hostile {
    /// Connects to a peer through the relay that this is a connection to, which has to be kept.
    ///
    /// # Panics
    /// When the key is none for noise.
    pub async fn through(&self, key: &Keypair, to: PeerId) -> io::Result<(Self, mpsc::Receiver<Opened>)> {
        let mut stream = self.open(HOP).await?.ok_or(io::ErrorKind::Unsupported)?;
        let (mut peer, mut message) = (Vec::new(), Vec::new());
        bytes_field(&mut peer, 1, &to.to_bytes());
        number_field(&mut message, 1, CONNECT);
        bytes_field(&mut message, 2, &peer);
        if !send(&mut stream, &framed(&message)).await {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let answer = timeout(STREAM_WAIT_MAX, hear_frame(&mut stream, MESSAGE_BYTES_MAX)).await??;
        if !values(&answer).contains(&STATUS) {
            return Err(io::Error::other(format!("the relay refuses: {answer:?}")));
        }
        // The address says nothing: there is one stream.
        Self::over(secured(Given(Some(stream)), key), key, Multiaddr::empty()).await
    }
}

/// A transport whose one connection is there already.
struct Given(Option<Stream>);

impl Transport for Given {
    type Output = Stream;
    type Error = io::Error;
    type ListenerUpgrade = Pending<io::Result<Stream>>;
    type Dial = Ready<io::Result<Stream>>;

    fn listen_on(&mut self, _: ListenerId, at: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(at))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, _: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        Ok(ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into())))
    }

    fn poll(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}
