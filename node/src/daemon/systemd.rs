//! The service manager: what it is told, and the sockets that it hands over. Without one, nothing happens.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::time::Duration;

use rustix::net::{AddressFamily, getsockname};
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::listen::Bound;
use crate::commands::Context;
use crate::http::{Endpoint, Listener};

/// Tells it that requests are taken.
pub(super) fn ready() {
    notify(&[NotifyState::Ready, NotifyState::Status("Daemon is ready")]);
}

/// Tells it that the end has begun.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("Shutting down")]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("the service manager was not told: {error}");
    }
}

/// Tells it that the node is alive for as long as it is: its pool takes work. Ends when dropped.
pub(super) struct Watch(JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to do so, if the service manager wants to know.
pub(super) fn watch(context: &Context) -> Option<Watch> {
    let period = sd_notify::watchdog_enabled()? / 2;
    let context = context.clone();
    Some(Watch(tokio::spawn(async move {
        loop {
            let alive = match context.node().await {
                Ok(node) => node.pool().run(|| ()).await.is_ok(),
                Err(_) => false,
            };
            if alive {
                notify(&[NotifyState::Watchdog]);
            }
            tokio::time::sleep(period.max(Duration::from_millis(10))).await;
        }
    })))
}

/// The sockets of this name (`FileDescriptorName=`) that were handed over. To be called once a name: they are taken.
pub(super) fn inherited(name: &str) -> io::Result<Vec<Bound>> {
    let sockets = sd_notify::listen_fds_with_names()?;
    sockets.filter(|(_, given)| given == name).map(|(socket, _)| bound(take(socket))).collect()
}

/// Takes what was handed over.
#[expect(unsafe_code, reason = "a number from the environment becomes a descriptor; no safe call does that")]
fn take(socket: RawFd) -> OwnedFd {
    // SAFETY: the service manager passed this number on for this process alone (`LISTEN_PID` was compared), and it is
    // taken once: nothing else in this process knows it.
    unsafe { OwnedFd::from_raw_fd(socket) }
}

fn bound(socket: OwnedFd) -> io::Result<Bound> {
    let address = getsockname(&socket)?;
    let unusable = |what: &str| io::Error::other(format!("socket activation: {what}"));
    if address.address_family() == AddressFamily::UNIX {
        let listener = StdUnixListener::from(socket);
        listener.set_nonblocking(true)?;
        let path = listener.local_addr()?.as_pathname().map(std::path::Path::to_owned);
        let endpoint = Endpoint::Unix(path.ok_or_else(|| unusable("a Unix socket without a path"))?);
        return Ok(Bound {
            endpoint,
            listener: Listener::Unix(UnixListener::from_std(listener)?),
            socket: None,
        });
    }
    let listener = std::net::TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let endpoint = Endpoint::Ip(listener.local_addr()?);
    Ok(Bound { endpoint, listener: Listener::Tcp(TcpListener::from_std(listener)?), socket: None })
}
