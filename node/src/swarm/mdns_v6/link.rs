//! One link: a socket that hears and sends mDNS there and nowhere else.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use multiaddr::Protocol;
use socket2::{Domain, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Where mDNS is spoken.
const GROUP: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// What says that a message comes from the link itself.
const HOPS: u32 = 255;
/// Bytes of a message that are read.
const MESSAGE_BYTES_MAX: usize = 9000;
/// After the first question.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// Between two answers: they go to everybody on the link.
const ANSWERS_GAP: Duration = Duration::from_millis(100);

/// A link that this node has an interface to.
pub(super) struct Link {
    index: u32,
    socket: UdpSocket,
    /// The addresses that the interface has now, sorted.
    addresses: Vec<Ipv6Addr>,
    next_question: Instant,
    wait: Duration,
    answered: Option<Instant>,
    buffer: Vec<u8>,
}

impl Link {
    /// The interface of this number. Must be called within a tokio runtime.
    pub(super) fn open(index: u32, now: Instant) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(socket2::Protocol::UDP))?;
        socket.set_only_v6(true)?;
        // There may be others on this machine who speak it.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        // With the interface's number in it, the address binds the socket to the link.
        socket.bind(&SocketAddrV6::new(GROUP, PORT, 0, index).into())?;
        socket.join_multicast_v6(&GROUP, index)?;
        socket.set_multicast_if_v6(index)?;
        socket.set_multicast_hops_v6(HOPS)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        let (addresses, buffer) = (Vec::new(), vec![0; MESSAGE_BYTES_MAX]);
        Ok(Self { index, socket, addresses, next_question: now, wait: WAIT_MIN, answered: None, buffer })
    }

    /// The addresses that the interface has now. When they are others than before, questions begin anew.
    pub(super) fn set_addresses(&mut self, mut addresses: Vec<Ipv6Addr>, now: Instant) {
        addresses.sort_unstable();
        if self.addresses != addresses {
            (self.addresses, self.next_question, self.wait) = (addresses, now, WAIT_MIN);
        }
    }

    /// Those of our listeners' addresses that are of this link and that others can dial: one of the link alone would need the
    /// number of their interface.
    pub(super) fn own<'a>(&'a self, listening: &'a [Multiaddr]) -> impl Iterator<Item = &'a Multiaddr> {
        listening.iter().filter(|address| match address.iter().next() {
            Some(Protocol::Ip6(ip)) => is_dialled(&ip) && self.addresses.contains(&ip),
            _ => false,
        })
    }

    /// Whether it is time for a question, which then counts as asked. They come ever less often, up to `interval`.
    pub(super) fn takes_question(&mut self, now: Instant, interval: Duration) -> bool {
        if now < self.next_question {
            return false;
        }
        self.next_question = now + self.wait;
        self.wait = self.wait.saturating_mul(2).min(interval);
        true
    }

    /// Whether an answer may go out now, which then counts as sent.
    pub(super) fn takes_answer(&mut self, now: Instant) -> bool {
        let is_free = self.answered.is_none_or(|last| now.saturating_duration_since(last) >= ANSWERS_GAP);
        if is_free {
            self.answered = Some(now);
        }
        is_free
    }

    /// Sends a message to everybody on the link. One that does not go out is lost, as any may be: it is asked again.
    pub(super) fn send(&self, message: &[u8]) {
        let to = SocketAddr::from(SocketAddrV6::new(GROUP, PORT, 0, self.index));
        if let Err(error) = self.socket.try_send_to(message, to) {
            tracing::debug!("mDNS on interface {}: {error}", self.index);
        }
    }

    /// The next message.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(self.socket.poll_recv_from(cx, &mut buffer))?;
        let length = buffer.filled().len();
        Poll::Ready(Ok(self.buffer.get(..length).unwrap_or_default()))
    }
}

/// Whether an address can be dialled as it is written.
pub(super) fn is_dialled(ip: &Ipv6Addr) -> bool {
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || ip.is_unicast_link_local())
}
