//! Messages of mDNS.

use std::time::Duration;

use holdfast::swarm::mdns::message::{Heard, answer, read};

/// A text in a record holds so many bytes.
const TEXT_BYTES_MAX: usize = 255;

/// Whatever is read of a neighbour, and fits into a message, is read again when it is said again.
pub fn mdns(data: &[u8]) {
    let Some(Heard::Peers(peers)) = read(data) else { return };
    assert!(!peers.is_empty() && peers.len() <= 32, "{} addresses of one message", peers.len());
    for (peer, address, ttl) in peers {
        assert!(ttl <= Duration::from_secs(u32::MAX.into()));
        let said = answer("name", peer, std::slice::from_ref(&address), ttl);
        let fits = format!("dnsaddr={address}/p2p/{peer}").len() <= TEXT_BYTES_MAX;
        let expected = fits.then(|| Heard::Peers(vec![(peer, address, ttl)]));
        assert_eq!(read(&said), expected);
    }
}
