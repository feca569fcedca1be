//! What a node says about itself: the answer of `id`.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use libp2p_identity::PeerId;

use crate::keys::{IpnsBase, PrivateKey};
use crate::swarm::SwarmHandle;
use crate::swarm::book::Book;

/// How this program calls itself to peers.
pub const AGENT_VERSION: &str = concat!("holdfast/", env!("CARGO_PKG_VERSION"));

/// What `/version` says of this program, at this level of Kubo.
pub(crate) fn version_page(level: &str) -> String {
    let commit = concat!("holdfast-", env!("CARGO_PKG_VERSION"));
    format!("Commit: {commit}\nClient Version: {AGENT_VERSION} (kubo/{level})")
}

/// Identity and addresses of a node. Serializes as Kubo's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct IdInfo {
    /// Peer ID, base58 unless another base was asked for.
    #[serde(rename = "ID")]
    pub id: String,
    /// libp2p protobuf of the public key in base64.
    pub public_key: String,
    /// Multiaddrs ending in `/p2p/<id>`, sorted; none while offline.
    pub addresses: Vec<String>,
    /// Name and version of the program.
    pub agent_version: String,
    /// Protocols that are served, sorted; none while offline.
    pub protocols: Vec<String>,
}

impl IdInfo {
    /// That of a node which is not on a network, with its ID as `format` writes it.
    pub fn offline(key: &PrivateKey, format: IpnsBase) -> Self {
        Self {
            id: format.format(&key.peer_id()),
            public_key: BASE64.encode(&key.public_protobuf()),
            addresses: Vec::new(),
            agent_version: AGENT_VERSION.to_owned(),
            protocols: Vec::new(),
        }
    }

    /// What is known of another peer without asking it: its ID, and its public key where the ID holds that.
    pub fn of_peer(peer: &PeerId, format: IpnsBase) -> Self {
        const IDENTITY: u64 = 0;
        let hash = peer.as_ref();
        let public_key = if hash.code() == IDENTITY { BASE64.encode(hash.digest()) } else { String::new() };
        Self {
            id: format.format(peer),
            public_key,
            addresses: Vec::new(),
            agent_version: String::new(),
            protocols: Vec::new(),
        }
    }

    /// That of a node which is on a network.
    pub fn online(key: &PrivateKey, format: IpnsBase, swarm: &SwarmHandle) -> Self {
        let id = format.format(&key.peer_id());
        // In addresses the ID always has the one form that multiaddrs have.
        let peer = key.peer_id();
        let announced = swarm.local_addresses().announced;
        let mut addresses: Vec<String> =
            announced.iter().map(|address| format!("{address}/p2p/{peer}")).collect();
        addresses.sort_unstable();
        Self {
            id,
            addresses,
            agent_version: swarm.agent().to_owned(),
            protocols: swarm.protocols(),
            ..Self::offline(key, format)
        }
    }

    /// What is known of another peer from having talked to it.
    pub fn of_known(book: &Book, peer: &PeerId, format: IpnsBase) -> Self {
        let mut info = Self::of_peer(peer, format);
        let addresses = book.addresses(peer);
        info.addresses = addresses.iter().map(|address| format!("{address}/p2p/{peer}")).collect();
        info.addresses.sort_unstable();
        if let Some(description) = book.description(peer) {
            if info.public_key.is_empty() {
                info.public_key = BASE64.encode(&description.public_key);
            }
            info.agent_version = description.agent;
            info.protocols = description.protocols;
        }
        info
    }

    /// Fills in a template: `<id>`, `<aver>`, `<pver>`, `<pubkey>`, `<addrs>`, `<protocols>`, `\n` and `\t`.
    pub fn format(&self, template: &str) -> String {
        template
            .replace("<id>", &self.id)
            .replace("<aver>", &self.agent_version)
            .replace("<pver>", "ipfs/0.1.0")
            .replace("<pubkey>", &self.public_key)
            .replace("<addrs>", &self.addresses.join("\n"))
            .replace("<protocols>", &self.protocols.join("\n"))
            .replace("\\n", "\n")
            .replace("\\t", "\t")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{IpnsBase, KeySpec};

    #[test]
    fn says_who_it_is() {
        let key = PrivateKey::generate(KeySpec::parse("ed25519", None).unwrap()).unwrap();
        let mut info = IdInfo::offline(&key, IpnsBase::Base58Multihash);
        let id = key.peer_id().to_string();
        let value = serde_json::to_value(&info).unwrap();
        let keys: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["ID", "PublicKey", "Addresses", "AgentVersion", "Protocols"]);
        assert_eq!(value["ID"], id.as_str());
        assert_eq!(value["Addresses"], serde_json::json!([]));
        assert_eq!(BASE64.decode(info.public_key.as_bytes()).unwrap()[..4], [8, 1, 18, 32]);
        let same = IdInfo::of_peer(&key.peer_id(), IpnsBase::Base58Multihash);
        assert_eq!((&same.id, &same.public_key), (&info.id, &info.public_key), "the ID holds the key");
        assert_eq!(same.agent_version, "");
        info.addresses = vec!["/a".to_owned(), "/b".to_owned()];
        assert_eq!(info.format("<id>\\t<aver>\\n<addrs>"), format!("{id}\t{AGENT_VERSION}\n/a\n/b"));
    }
}
