//! Peers that are far from each other: a relay of TCP on loopback that takes its time with every byte, each way.
//!
//! What goes into it comes out in the same pieces and order, later: it has no limit of rate, and so adds what a long line adds and
//! nothing else.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Pieces on their way at most, in one direction of a connection; then no more are read.
const PIECES_MAX: usize = 256;

/// Bytes of a piece at most.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// Bytes, and when they come out. None: the end.
type Piece = (Instant, Vec<u8>);

/// The relay. It runs, with what goes through it, until it is dropped.
#[derive(Debug)]
pub struct Distance {
    address: SocketAddr,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    to: SocketAddr,
    each_way: Duration,
    is_over: AtomicBool,
    /// Both ends of each connection.
    connections: Mutex<Vec<TcpStream>>,
}

impl Distance {
    /// A relay to who listens at `to`, with this much time for each direction.
    ///
    /// # Panics
    /// When there is no socket to be had.
    #[must_use]
    pub fn to(to: SocketAddr, each_way: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (is_over, connections) = (AtomicBool::new(false), Mutex::default());
        let inner = Arc::new(Inner { to, each_way, is_over, connections });
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if shared.is_over.load(Ordering::Acquire) {
                    return;
                }
                // Whoever cannot be reached through it sees its connection end.
                drop(shared.connect(near));
            }
        });
        Self { address, inner }
    }

    /// The same in front of a peer, by its address over TCP, which ends in `/p2p/ID`. Returns the address to dial, too.
    ///
    /// # Panics
    /// When it is another address, or there is no socket to be had.
    #[must_use]
    pub fn before(address: &str, each_way: Duration) -> (Self, String) {
        let parts: Vec<&str> = address.split('/').collect();
        let ["", "ip4", ip, "tcp", port, "p2p", id] = parts[..] else { panic!("not over TCP: {address}") };
        let relay = Self::to(format!("{ip}:{port}").parse().unwrap(), each_way);
        let through = format!("/ip4/127.0.0.1/tcp/{}/p2p/{id}", relay.address.port());
        (relay, through)
    }
}

impl Inner {
    fn connect(&self, near: TcpStream) -> std::io::Result<()> {
        let far = TcpStream::connect(self.to)?;
        for end in [&near, &far] {
            end.set_nodelay(true)?;
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(end.try_clone()?);
        }
        for (from, to) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
            let (given, taken) = sync_channel(PIECES_MAX);
            let each_way = self.each_way;
            std::thread::spawn(move || take(from, &given, each_way));
            std::thread::spawn(move || give(to, &taken));
        }
        Ok(())
    }
}

fn take(mut from: TcpStream, into: &SyncSender<Piece>, each_way: Duration) {
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    // An error is an end, too.
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if into.send((Instant::now() + each_way, buffer[..count].to_vec())).is_err() {
            return;
        }
    }
}

fn give(mut to: TcpStream, from: &Receiver<Piece>) {
    while let Ok((at, bytes)) = from.recv() {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // It may have been closed from there.
    drop(to.shutdown(Shutdown::Write));
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.inner.is_over.store(true, Ordering::Release);
        for end in self.inner.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            drop(end.shutdown(Shutdown::Both));
        }
        // Wakes who waits for a connection.
        drop(TcpStream::connect(self.address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order_and_not_before_its_time() {
        const EACH_WAY: Duration = Duration::from_millis(30);
        let echo = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Distance::to(echo.local_addr().unwrap(), EACH_WAY);
        let echoing = std::thread::spawn(move || {
            let (mut end, _) = echo.accept().unwrap();
            std::io::copy(&mut end.try_clone().unwrap(), &mut end).unwrap()
        });
        let mut end = TcpStream::connect(relay.address).unwrap();
        let sent: Vec<u8> = (0..1_000_000_u32).map(|at| (at / 7) as u8).collect();
        let start = Instant::now();
        let mut writing = end.try_clone().unwrap();
        let bytes = sent.clone();
        let written = std::thread::spawn(move || {
            writing.write_all(&bytes).unwrap();
            writing.shutdown(Shutdown::Write).unwrap();
        });
        let mut first = [0];
        end.read_exact(&mut first).unwrap();
        assert!(start.elapsed() >= 2 * EACH_WAY);
        let mut came = first.to_vec();
        end.read_to_end(&mut came).unwrap();
        written.join().unwrap();
        assert!(came == sent, "{} bytes came", came.len());
        assert_eq!(echoing.join().unwrap(), 1_000_000);
    }
}
