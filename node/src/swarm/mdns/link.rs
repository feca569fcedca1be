//! One link of one family of addresses: a socket that hears and sends mDNS there and nowhere else.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use libp2p::Multiaddr;
use multiaddr::Protocol;
use socket2::{Domain, InterfaceIndexOrAddress, Socket, Type};
use tokio::io::ReadBuf;
use tokio::net::UdpSocket;

/// Where mDNS is spoken (RFC 6762, section 3).
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
const PORT: u16 = 5353;
/// What says that a message comes from the link itself.
const HOPS: u32 = 255;
/// Bytes of a message that are read.
const MESSAGE_BYTES_MAX: usize = 9000;
/// After the first question.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// Between two answers: they go to everybody on the link.
const ANSWERS_GAP: Duration = Duration::from_millis(100);
/// Messages that are read between two ticks. Others are left to the socket's buffer, which is small.
const MESSAGES_PER_TICK_MAX: u32 = 100;

/// Which of the machine's interfaces, and which family of addresses there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkId {
    pub(super) index: u32,
    pub(super) is_v6: bool,
}

/// A link that this node has an interface to.
pub(super) struct Link {
    id: LinkId,
    socket: UdpSocket,
    /// The addresses that the interface has now, sorted.
    addresses: Vec<IpAddr>,
    next_question: Instant,
    wait: Duration,
    answered: Option<Instant>,
    /// Messages that may still be read before the next tick.
    room: u32,
    buffer: Vec<u8>,
}

impl Link {
    /// The interface of this number. Must be called within a tokio runtime.
    pub(super) fn open(id: LinkId, now: Instant) -> io::Result<Self> {
        let socket = if id.is_v6 { socket_v6(id.index) } else { socket_v4(id.index) }?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        let (addresses, buffer) = (Vec::new(), vec![0; MESSAGE_BYTES_MAX]);
        let room = MESSAGES_PER_TICK_MAX;
        Ok(Self { id, socket, addresses, next_question: now, wait: WAIT_MIN, answered: None, room, buffer })
    }

    /// The addresses that the interface has now. When they are others than before, questions begin anew.
    pub(super) fn set_addresses(&mut self, mut addresses: Vec<IpAddr>, now: Instant) -> io::Result<()> {
        addresses.sort_unstable();
        if self.addresses == addresses {
            return Ok(());
        }
        // Over IPv6 the number of the interface says where a message goes, over IPv4 an address of it does.
        if let Some(IpAddr::V4(first)) = addresses.first() {
            socket2::SockRef::from(&self.socket).set_multicast_if_v4(first)?;
        }
        (self.addresses, self.next_question, self.wait) = (addresses, now, WAIT_MIN);
        Ok(())
    }

    /// Those of our listeners' addresses that are of this link and that others can dial.
    pub(super) fn own<'a>(&'a self, listening: &'a [Multiaddr]) -> impl Iterator<Item = &'a Multiaddr> {
        listening.iter().filter(|address| {
            ip_of(address).is_some_and(|ip| is_dialled(&ip) && self.addresses.contains(&ip))
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

    /// A tick has come.
    pub(super) fn refill(&mut self) {
        self.room = MESSAGES_PER_TICK_MAX;
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
        let to = if self.id.is_v6 {
            SocketAddr::from(SocketAddrV6::new(GROUP_V6, PORT, 0, self.id.index))
        } else {
            SocketAddr::from(SocketAddrV4::new(GROUP_V4, PORT))
        };
        if let Err(error) = self.socket.try_send_to(message, to) {
            tracing::debug!("mDNS on {:?}: {error}", self.id);
        }
    }

    /// The next message. When enough was read, nobody is woken before the next tick.
    pub(super) fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.room == 0 {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(self.socket.poll_recv_from(cx, &mut buffer))?;
        let length = buffer.filled().len();
        self.room -= 1;
        Poll::Ready(Ok(self.buffer.get(..length).unwrap_or_default()))
    }
}

/// A socket beside which others on this machine may speak mDNS, too.
fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

fn socket_v4(index: u32) -> io::Result<Socket> {
    let socket = socket(Domain::IPV4)?;
    socket.bind(&SocketAddrV4::new(GROUP_V4, PORT).into())?;
    socket.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))?;
    // Else it hears what comes to any socket's link.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.set_multicast_ttl_v4(HOPS)?;
    socket.set_multicast_loop_v4(true)?;
    Ok(socket)
}

fn socket_v6(index: u32) -> io::Result<Socket> {
    let socket = socket(Domain::IPV6)?;
    socket.set_only_v6(true)?;
    // With the interface's number in it, the address binds the socket to the link.
    socket.bind(&SocketAddrV6::new(GROUP_V6, PORT, 0, index).into())?;
    socket.join_multicast_v6(&GROUP_V6, index)?;
    socket.set_multicast_if_v6(index)?;
    socket.set_multicast_hops_v6(HOPS)?;
    socket.set_multicast_loop_v6(true)?;
    Ok(socket)
}

/// The IP address that an address begins with.
pub(super) fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// Whether an address can be dialled as it is written: one of an IPv6 link would need the number of the dialler's interface.
pub(super) fn is_dialled(ip: &IpAddr) -> bool {
    let is_of_link_alone = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_of_link_alone)
}
