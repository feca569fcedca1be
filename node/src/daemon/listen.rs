//! Where the API listens: as the service manager, the command line or the config says.

use std::io;
use std::net::SocketAddr;

use rustix::net::{AddressFamily, SocketType, bind, listen as rustix_listen, socket_with, sockopt};
use tokio::net::{TcpListener, lookup_host};

use super::console::Console;
use super::unix_socket::{self, SocketFile};
use super::{exposure, systemd};
use crate::commands::registry::{CommandError, errno_text};
use crate::config::Config;
use crate::http::{Endpoint, EndpointError, Listener};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A place that is listened on.
pub(super) struct Bound {
    /// Where, with the port that it got.
    pub(super) endpoint: Endpoint,
    pub(super) listener: Listener,
    /// The file that was made for it.
    pub(super) socket: Option<SocketFile>,
}

/// Listens for the API. Nothing is bound before it is known that all of it may be.
pub(super) async fn api(
    config: &Config,
    instead: &str,
    program: &str,
    console: &Console,
) -> Result<Vec<Bound>, CommandError> {
    let mut bound = systemd::inherited("io.ipfs.api").map_err(CommandError::from_error)?;
    let texts = match instead {
        "" => config.addresses().map_err(CommandError::from_error)?.api,
        text => vec![text.to_owned()],
    };
    let mut endpoints = Vec::new();
    for text in &texts {
        match Endpoint::parse(text) {
            Ok(endpoint) if endpoints.contains(&endpoint) && !has_port_zero(&endpoint) => {}
            Ok(endpoint) if bound.iter().any(|bound| bound.endpoint == endpoint) => {}
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => console.warn(format!("Addresses.API: {error}; it is passed over")),
        }
    }
    if endpoints.is_empty() && bound.is_empty() && !texts.is_empty() {
        return Err(CommandError::new(
            "none of the addresses in Addresses.API can be listened on; give one such as /ip4/127.0.0.1/tcp/5001",
        ));
    }
    warn_of_unknown(config, console)?;
    exposure::check(bound.iter().map(|bound| &bound.endpoint).chain(&endpoints), config, program)?;
    for endpoint in endpoints {
        let listening = bind_to(&endpoint).await;
        bound.push(listening.map_err(|error| in_words(&endpoint, &error, program))?);
    }
    Ok(bound)
}

fn has_port_zero(endpoint: &Endpoint) -> bool {
    matches!(endpoint, Endpoint::Ip(address) if address.port() == 0)
}

async fn bind_to(endpoint: &Endpoint) -> io::Result<Bound> {
    let address = match endpoint {
        Endpoint::Unix(path) => {
            let (listener, socket) = unix_socket::listen(path)?;
            let (endpoint, listener) = (endpoint.clone(), Listener::Unix(listener));
            return Ok(Bound { endpoint, listener, socket: Some(socket) });
        }
        Endpoint::Ip(address) => *address,
        Endpoint::Name { host, port, .. } => {
            let mut found = lookup_host((host.as_str(), *port)).await?;
            found.next().ok_or(io::ErrorKind::NotFound)?
        }
    };
    let listener = tcp(address)?;
    let endpoint = Endpoint::Ip(listener.local_addr()?);
    Ok(Bound { endpoint, listener: Listener::Tcp(listener), socket: None })
}

/// A TCP port; of IPv6 alone where the address is one, so that both families can be listed side by side.
fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = rustix::net::SocketFlags::CLOEXEC | rustix::net::SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &address)?;
    rustix_listen(&socket, BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn in_words(endpoint: &Endpoint, error: &io::Error, program: &str) -> CommandError {
    let words = errno_text(error);
    let begin = format!("serveHTTPApi: cannot listen on {endpoint} (Addresses.API): {words}");
    let advice = match (error.kind(), endpoint) {
        (io::ErrorKind::AddrInUse, Endpoint::Ip(address)) => format!(
            ". Another program has port {}: stop it, or take another port with '{program} config Addresses.API \
             /ip4/127.0.0.1/tcp/{}' (port 0 takes any that is free)",
            address.port(),
            address.port().checked_add(1).unwrap_or(5001)
        ),
        (io::ErrorKind::AddrInUse, _) => ". Another program listens there".to_owned(),
        (io::ErrorKind::PermissionDenied, Endpoint::Ip(address)) if address.port() < 1024 => {
            ". Ports below 1024 need the capability CAP_NET_BIND_SERVICE".to_owned()
        }
        _ => String::new(),
    };
    CommandError::new(begin + &advice)
}

/// Says where the API is, as Kubo does.
pub(super) fn say(bound: &[Bound], config: &Config, console: &Console) {
    if exposure::is_authorized(config) && !bound.is_empty() {
        console.say("RPC API access is limited by the rules defined in API.Authorizations");
    }
    for Bound { endpoint, .. } in bound {
        console.say(format!("RPC API server listening on {endpoint}"));
    }
}

/// Says that there is no gateway where the config asks for one.
pub(super) fn no_gateway(config: &Config, console: &Console) {
    let configured = config.addresses().is_ok_and(|addresses| !addresses.gateway.is_empty());
    let inherited = systemd::has_inherited("io.ipfs.gateway");
    if configured || inherited {
        console.warn("Addresses.Gateway is passed over: this version has no gateway");
    }
}

/// Names addresses of the swarm that no version of this program knows. Those that it will know are nothing to say about.
fn warn_of_unknown(config: &Config, console: &Console) -> Result<(), CommandError> {
    let addresses = config.addresses().map_err(CommandError::from_error)?;
    let swarm = addresses.swarm.iter().map(|text| ("Swarm", text));
    for (list, text) in swarm.chain(addresses.gateway.iter().map(|text| ("Gateway", text))) {
        let parsed = if list == "Gateway" {
            Endpoint::parse(text).map(|_| ()).map_err(|error| error.to_string())
        } else {
            text.parse::<multiaddr::Multiaddr>().map(|_| ()).map_err(|error| {
                EndpointError::NotMultiaddr { text: text.clone(), why: error.to_string() }.to_string()
            })
        };
        if let Err(words) = parsed {
            console.warn(format!("Addresses.{list}: {words}; it is passed over"));
        }
    }
    Ok(())
}
