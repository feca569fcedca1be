//! What a daemon says of its swarm, in Kubo's lines.

use std::collections::{BTreeMap, BTreeSet};

use multiaddr::{Multiaddr, Protocol};

use super::console::Console;
use crate::node::Node;

/// Says where peers can reach it: each host and port once, with what is spoken there.
pub(super) fn say(node: &Node, console: &Console) {
    let Some(swarm) = node.swarm() else {
        return console.say("Swarm not listening, running in offline mode.");
    };
    for warning in swarm.warnings() {
        console.warn(warning);
    }
    if let Some(fingerprint) = swarm.private_network() {
        console.say("Swarm is limited to private network of peers with the swarm key");
        console.say(format!("Swarm key fingerprint: {fingerprint}"));
    }
    let mut ports: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for address in swarm.local_addresses().listening {
        if let Some((host, protocol)) = port_of(&address) {
            ports.entry(host).or_default().insert(protocol);
        }
    }
    for (host, protocols) in ports {
        let protocols: Vec<&str> = protocols.into_iter().collect();
        console.say(format!("Swarm listening on {host} ({})", protocols.join("+")));
    }
    console.say("Run 'ipfs id' to inspect announced and discovered multiaddrs of this node.");
}

/// `192.0.2.1:4001` or `[::1]:4001`, and TCP or UDP.
fn port_of(address: &Multiaddr) -> Option<(String, &'static str)> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(ip) => ip.to_string(),
        Protocol::Ip6(ip) => format!("[{ip}]"),
        Protocol::Dns(name) | Protocol::Dns4(name) | Protocol::Dns6(name) => name.into_owned(),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some((format!("{host}:{port}"), "TCP")),
        Protocol::Udp(port) => Some((format!("{host}:{port}"), "UDP")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_named_as_kubo_names_it() {
        for (address, expected) in [
            ("/ip4/127.0.0.1/tcp/4001", Some(("127.0.0.1:4001", "TCP"))),
            ("/ip6/::1/udp/4001/quic-v1", Some(("[::1]:4001", "UDP"))),
            ("/ip4/127.0.0.1/tcp/4002/ws", Some(("127.0.0.1:4002", "TCP"))),
            ("/memory/1", None),
        ] {
            let found = port_of(&address.parse().unwrap());
            assert_eq!(
                found.as_ref().map(|(host, protocol)| (host.as_str(), *protocol)),
                expected,
                "{address}"
            );
        }
    }
}
