//! Accepting connections.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::connection::{Connection, no_room};
use super::{Handler, Limits, Peer};

/// How long accepting rests after it failed: the process has no file descriptors left, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A TCP port.
    Tcp(TcpListener),
    /// A Unix socket.
    Unix(UnixListener),
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves one handler on any number of listeners, within one set of limits. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    handler: Arc<dyn Handler>,
    limits: Limits,
    room: Arc<Semaphore>,
}

impl Server {
    /// A server that serves nothing yet.
    pub fn new(handler: Arc<dyn Handler>, limits: Limits) -> Self {
        let room = Arc::new(Semaphore::new(limits.connections_max));
        Self { handler, limits, room }
    }

    /// Connections that are open now.
    pub fn connections(&self) -> usize {
        self.limits.connections_max - self.room.available_permits()
    }

    /// Serves a listener until `stop` is true: then no connection is accepted any more, idle ones end, and this returns
    /// when the last response is out. Whoever drops it before cuts them off.
    pub async fn serve(&self, listener: Listener, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer, &stop, &mut connections),
                // A client that went away before its turn.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!("accepting a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    fn take(&self, stream: Stream, peer: Peer, stop: &watch::Receiver<bool>, connections: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            // What does not fit into an empty socket buffer is lost, and so is a client that does not listen.
            let _ = match &stream {
                Stream::Tcp(stream) => stream.try_write(&no_room()),
                Stream::Unix(stream) => stream.try_write(&no_room()),
            };
            return;
        };
        let (handler, mut limits, stop) = (Arc::clone(&self.handler), self.limits, stop.clone());
        if stream.is_of_this_user() {
            limits.stall_timeout = Duration::MAX;
        }
        connections.spawn(async move {
            let connection = match stream {
                Stream::Tcp(stream) => Connection::new(stream.into_split(), peer, handler, limits, stop),
                Stream::Unix(stream) => Connection::new(stream.into_split(), peer, handler, limits, stop),
            };
            connection.serve().await;
            drop(permit);
        });
    }
}

impl Stream {
    /// Whether the other end is surely a program of the user that this one runs as.
    fn is_of_this_user(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Unix(stream) => {
                stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, remote) = listener.accept().await?;
                // Small values are sent at once.
                stream.set_nodelay(true)?;
                let local = stream.local_addr()?;
                Ok((Stream::Tcp(stream), Peer::Tcp { remote, local }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream), Peer::Unix))
            }
        }
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("connections", &self.connections()).finish_non_exhaustive()
    }
}
