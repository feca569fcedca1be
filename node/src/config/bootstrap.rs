//! The bootstrap list: the peers that a node knows before it knows any.

use multiaddr::{Multiaddr, Protocol};
use serde_json::json;

use super::{Config, ValueError};
use crate::go_text::go_quote;

/// The placeholder for values that come with the node's version rather than from the config.
pub const AUTO: &str = "auto";

/// What `"auto"` stands for in the bootstrap list: the public IPFS network's own peers.
pub const DEFAULT_BOOTSTRAP: [&str; 6] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
    "/ip4/104.131.131.82/udp/4001/quic-v1/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
];

/// Why the bootstrap list was not read or changed. The text is Kubo's where Kubo has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// No peer was given.
    #[error("no bootstrap peers to add")]
    NothingToAdd,
    /// An address does not parse.
    #[error("failed to parse multiaddr {}: {reason}", go_quote(.text))]
    Multiaddr {
        /// The address.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An address names no peer.
    #[error("invalid bootstrap address: {0}")]
    NoPeer(String),
    /// An address is nothing but a peer.
    #[error("bootstrap address without a transport: {0}")]
    NoTransport(String),
    /// An address that is to be removed names no peer.
    #[error("invalid p2p multiaddr")]
    InvalidP2p,
    /// The default peers were asked for, but AutoConf is off.
    #[error(
        "cannot add default bootstrap peers: AutoConf is disabled (AutoConf.Enabled=false). Enable AutoConf by setting \
         AutoConf.Enabled=true in your config, or add specific peer addresses instead"
    )]
    AutoConfOff,
    /// One of the default peers cannot be removed alone.
    #[error(
        "cannot remove individual bootstrap peers when using 'auto' placeholder: the 'auto' value is managed by AutoConf. \
         Either disable AutoConf by setting AutoConf.Enabled=false and replace 'auto' with specific peer addresses, or use \
         'ipfs bootstrap rm --all' to remove all peers"
    )]
    RemoveFromAuto,
    /// The list in the config is not one.
    #[error(transparent)]
    Value(#[from] ValueError),
}

/// Reads a multiaddr; `/ipfs/<peer>` is the old form of `/p2p/<peer>`.
pub fn parse_multiaddr(text: &str) -> Result<Multiaddr, BootstrapError> {
    let fail = |reason: String| BootstrapError::Multiaddr { text: text.to_owned(), reason };
    if !text.starts_with('/') {
        return Err(fail("must begin with /".to_owned()));
    }
    text.replace("/ipfs/", "/p2p/").parse().map_err(|error| match error {
        multiaddr::Error::UnknownProtocolString(name) => fail(format!("unknown protocol {name}")),
        multiaddr::Error::InvalidProtocolString | multiaddr::Error::InvalidMultiaddr => {
            fail("unexpected end of multiaddr".to_owned())
        }
        other => fail(other.to_string()),
    })
}

/// Splits `<transport>/p2p/<peer>`: the peer ID and the transport (which may be empty).
fn split(address: &Multiaddr) -> Option<(String, Multiaddr)> {
    let mut transport = address.clone();
    match transport.pop() {
        Some(Protocol::P2p(peer)) => Some((peer.to_base58(), transport)),
        _ => None,
    }
}

impl Config {
    /// The bootstrap list as it is in the config, with `"auto"` where that stands. (Kubo's text form sorts it.)
    pub fn bootstrap(&self) -> Result<Vec<String>, ValueError> {
        self.text_list("Bootstrap")
    }

    /// The bootstrap list with [`DEFAULT_BOOTSTRAP`] in the place of the first `"auto"`, and nothing in that of others. It stands
    /// for the public network: for nobody where `private` says that there is another, and where AutoConf is off.
    pub fn bootstrap_expanded(&self, private: bool) -> Result<Vec<String>, ValueError> {
        let is_known = !private && self.auto_conf()?;
        let mut defaults = if is_known { DEFAULT_BOOTSTRAP.map(str::to_owned).to_vec() } else { Vec::new() };
        let mut peers = Vec::new();
        for peer in self.bootstrap()? {
            if peer == AUTO { peers.append(&mut defaults) } else { peers.push(peer) }
        }
        Ok(peers)
    }

    /// Adds peers at the front of the list, and returns those that were given, each once. `default` means `auto`.
    pub fn bootstrap_add(&mut self, peers: &[String]) -> Result<Vec<String>, BootstrapError> {
        if peers.is_empty() {
            return Err(BootstrapError::NothingToAdd);
        }
        let mut added: Vec<String> = Vec::with_capacity(peers.len());
        for peer in peers {
            let peer = if peer == "default" { AUTO } else { peer };
            if peer == AUTO && !self.auto_conf()? {
                return Err(BootstrapError::AutoConfOff);
            }
            if !added.iter().any(|known| known == peer) {
                added.push(peer.to_owned());
            }
        }
        for peer in added.iter().filter(|peer| *peer != AUTO) {
            let (_, transport) =
                split(&parse_multiaddr(peer)?).ok_or_else(|| BootstrapError::NoPeer(peer.clone()))?;
            if transport.is_empty() {
                return Err(BootstrapError::NoTransport(peer.clone()));
            }
        }
        let mut list = added.clone();
        for peer in self.bootstrap()? {
            if !list.contains(&peer) {
                list.push(peer);
            }
        }
        self.put("Bootstrap", json!(list));
        Ok(added)
    }

    /// Removes addresses from the list (all of a peer's, where only `/p2p/<peer>` is given), and returns those removed.
    pub fn bootstrap_remove(&mut self, peers: &[String]) -> Result<Vec<String>, BootstrapError> {
        let list = self.bootstrap()?;
        if list.iter().any(|peer| peer == AUTO) && self.auto_conf()? {
            return Err(BootstrapError::RemoveFromAuto);
        }
        let mut unwanted = Vec::with_capacity(peers.len());
        for peer in peers {
            unwanted.push(split(&parse_multiaddr(peer)?).ok_or(BootstrapError::InvalidP2p)?);
        }
        let mut removed = Vec::new();
        let mut kept = Vec::new();
        for text in list {
            // What does not parse (also `auto` with AutoConf off) cannot be meant, and stays.
            let known = parse_multiaddr(&text).ok().and_then(|address| split(&address));
            let goes = known.is_some_and(|(peer, transport)| {
                unwanted.iter().any(|(other, only)| *other == peer && (only.is_empty() || *only == transport))
            });
            if goes { removed.push(text) } else { kept.push(text) }
        }
        self.put("Bootstrap", json!(kept));
        Ok(removed)
    }

    /// Empties the list, and returns what was in it.
    pub fn bootstrap_remove_all(&mut self) -> Result<Vec<String>, BootstrapError> {
        let removed = self.bootstrap()?;
        self.put("Bootstrap", json!([]));
        Ok(removed)
    }

    /// Whether `"auto"` has a meaning: `AutoConf.Enabled`, default true.
    pub(crate) fn auto_conf(&self) -> Result<bool, ValueError> {
        Ok(self.flag("AutoConf.Enabled")?.unwrap_or(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWGC6TvWhfapngX6wvJHMYvKpDMXPb3ZnCZ6dMoaMtimQ5";

    fn owned(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn adds_and_removes() {
        let mut config = Config::defaults();
        config.apply_profiles("test").unwrap();
        assert_eq!(config.bootstrap().unwrap(), Vec::<String>::new());
        assert_eq!(config.bootstrap_add(&owned(&[PEER, PEER])).unwrap(), [PEER]);
        assert_eq!(config.bootstrap_add(&owned(&[DEFAULT_BOOTSTRAP[4]])).unwrap(), [DEFAULT_BOOTSTRAP[4]]);
        assert_eq!(config.bootstrap().unwrap(), [DEFAULT_BOOTSTRAP[4], PEER]);
        assert_eq!(config.bootstrap_remove(&owned(&[DEFAULT_BOOTSTRAP[5]])).unwrap(), Vec::<String>::new());
        let whole_peer = "/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ";
        assert_eq!(config.bootstrap_remove(&owned(&[whole_peer])).unwrap(), [DEFAULT_BOOTSTRAP[4]]);
        assert_eq!(config.bootstrap_remove_all().unwrap(), [PEER]);
        assert_eq!(config.bootstrap().unwrap(), Vec::<String>::new());
    }

    #[test]
    fn every_default_peer_is_an_address() {
        for peer in DEFAULT_BOOTSTRAP {
            assert!(split(&parse_multiaddr(peer).unwrap()).is_some(), "{peer}");
        }
        let mut config = Config::defaults();
        config.put("Bootstrap", json!([AUTO, PEER, AUTO]));
        assert_eq!(config.bootstrap_expanded(false).unwrap(), [&DEFAULT_BOOTSTRAP[..], &[PEER]].concat());
        assert_eq!(config.bootstrap_expanded(true).unwrap(), [PEER]);
    }

    #[test]
    fn auto_is_kept_whole() {
        let mut config = Config::defaults();
        assert_eq!(config.bootstrap().unwrap(), [AUTO]);
        assert_eq!(config.bootstrap_add(&owned(&["default"])).unwrap(), [AUTO]);
        assert_eq!(config.bootstrap_remove(&owned(&[PEER])), Err(BootstrapError::RemoveFromAuto));
        config.apply_profiles("autoconf-off").unwrap();
        assert_eq!(config.bootstrap_add(&owned(&["auto"])), Err(BootstrapError::AutoConfOff));
    }

    #[test]
    fn bad_addresses_use_kubos_words() {
        let mut config = Config::defaults();
        for (peers, words) in [
            (vec![], "no bootstrap peers to add"),
            (vec!["foo"], "failed to parse multiaddr \"foo\": must begin with /"),
            (vec!["/foo/1"], "failed to parse multiaddr \"/foo/1\": unknown protocol foo"),
            (vec!["/ip4/127.0.0.1/tcp/4001"], "invalid bootstrap address: /ip4/127.0.0.1/tcp/4001"),
            (
                vec!["/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ"],
                "bootstrap address without a transport: /p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
            ),
        ] {
            assert_eq!(config.bootstrap_add(&owned(&peers)).unwrap_err().to_string(), words);
        }
        assert_eq!(config, Config::defaults());
    }
}
