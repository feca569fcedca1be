//! Where the API and the gateway listen: as the service manager, the command line or the config says.

use std::io;
use std::net::SocketAddr;

use rustix::net::{AddressFamily, SocketType, bind, listen as rustix_listen, socket_with, sockopt};
use tokio::net::{TcpListener, lookup_host};

use super::console::Console;
use super::unix_socket::{self, SocketFile};
use super::{exposure, systemd};
use crate::commands::registry::{Call, CommandError, errno_text};
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
    call: &Call,
    program: &str,
    console: &Console,
) -> Result<Vec<Bound>, CommandError> {
    let bound = systemd::inherited("io.ipfs.api").map_err(CommandError::from_error)?;
    let texts = api_texts(config, call)?;
    let endpoints = endpoints(&texts, &bound, "Addresses.API", console);
    if endpoints.is_empty() && bound.is_empty() && !texts.is_empty() {
        return Err(CommandError::new(
            "none of the addresses in Addresses.API can be listened on; give one such as /ip4/127.0.0.1/tcp/5001",
        ));
    }
    warn_of_unknown(config, call.bool("offline"), console)?;
    exposure::check(bound.iter().map(|bound| &bound.endpoint).chain(&endpoints), config, program)?;
    bind_all(bound, endpoints, &API, program).await
}

/// Refuses what the config and the flags say of the API's addresses, before the node is opened and meets anybody.
pub(super) fn check_api(config: &Config, call: &Call, program: &str) -> Result<(), CommandError> {
    let endpoints: Vec<Endpoint> =
        api_texts(config, call)?.iter().filter_map(|text| Endpoint::parse(text).ok()).collect();
    exposure::check(&endpoints, config, program)
}

fn api_texts(config: &Config, call: &Call) -> Result<Vec<String>, CommandError> {
    match call.text("api") {
        "" => Ok(config.addresses().map_err(CommandError::from_error)?.api),
        text => Ok(vec![text.to_owned()]),
    }
}

/// Listens for the gateway, which everybody may reach.
pub(super) async fn gateway(
    config: &Config,
    program: &str,
    console: &Console,
) -> Result<Vec<Bound>, CommandError> {
    let bound = systemd::inherited("io.ipfs.gateway").map_err(CommandError::from_error)?;
    let texts = config.addresses().map_err(CommandError::from_error)?.gateway;
    let endpoints = endpoints(&texts, &bound, GATEWAY.key, console);
    bind_all(bound, endpoints, &GATEWAY, program).await
}

/// One of the servers, as texts name it.
struct Server {
    /// How Kubo begins the error.
    function: &'static str,
    /// The key of its addresses.
    key: &'static str,
    /// A port beside Kubo's default.
    other_port: u16,
}

const API: Server = Server { function: "serveHTTPApi", key: "Addresses.API", other_port: 5001 };
const GATEWAY: Server = Server { function: "serveHTTPGateway", key: "Addresses.Gateway", other_port: 8080 };

/// The places that these addresses name, beside those that are listened on already. Others are named and passed over.
fn endpoints(texts: &[String], bound: &[Bound], key: &str, console: &Console) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for text in texts {
        match Endpoint::parse(text) {
            Ok(endpoint) if endpoints.contains(&endpoint) && !has_port_zero(&endpoint) => {}
            Ok(endpoint) if bound.iter().any(|bound| bound.endpoint == endpoint) => {}
            Ok(endpoint) => endpoints.push(endpoint),
            Err(error) => console.warn(format!("{key}: {error}; it is passed over")),
        }
    }
    endpoints
}

async fn bind_all(
    mut bound: Vec<Bound>,
    endpoints: Vec<Endpoint>,
    server: &Server,
    program: &str,
) -> Result<Vec<Bound>, CommandError> {
    for endpoint in endpoints {
        let listening = bind_to(&endpoint).await;
        bound.push(listening.map_err(|error| in_words(&endpoint, &error, server, program))?);
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

fn in_words(endpoint: &Endpoint, error: &io::Error, server: &Server, program: &str) -> CommandError {
    let words = errno_text(error);
    let Server { function, key, other_port } = server;
    let begin = format!("{function}: cannot listen on {endpoint} ({key}): {words}");
    let advice = match (error.kind(), endpoint) {
        (io::ErrorKind::AddrInUse, Endpoint::Ip(address)) => format!(
            ". Another program has port {}: stop it, or take another port with '{program} config {key} \
             /ip4/127.0.0.1/tcp/{}' (port 0 takes any that is free)",
            address.port(),
            address.port().checked_add(1).unwrap_or(*other_port)
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
        if let Endpoint::Ip(address) = endpoint {
            console.say(format!("WebUI: http://{address}/webui"));
        }
    }
}

/// Says where the gateway is, as Kubo does.
pub(super) fn say_gateway(bound: &[Bound], console: &Console) {
    for Bound { endpoint, .. } in bound {
        console.say(format!("Gateway server listening on {endpoint}"));
    }
}

/// Names addresses that are none. Those of the swarm are named by the swarm itself, where there is one.
fn warn_of_unknown(config: &Config, offline: bool, console: &Console) -> Result<(), CommandError> {
    let addresses = config.addresses().map_err(CommandError::from_error)?;
    for text in addresses.swarm.iter().filter(|_| offline) {
        if let Err(error) = text.parse::<multiaddr::Multiaddr>() {
            let words = EndpointError::NotMultiaddr { text: text.clone(), why: error.to_string() };
            console.warn(format!("Addresses.Swarm: {words}; it is passed over"));
        }
    }
    Ok(())
}
