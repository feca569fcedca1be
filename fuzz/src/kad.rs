//! Messages of the DHT.

use holdfast_dht::kad::{MESSAGE_BYTES_MAX, Message};

/// Peers of a kind and addresses of a peer that are read of one message at most.
const READ_MAX: [usize; 3] = [32, 1_024, 32];

/// A message that is read is within its bounds, and what it says is written and read again as the same.
pub fn kad(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    let [closer_max, providers_max, addresses_max] = READ_MAX;
    assert!(data.len() <= MESSAGE_BYTES_MAX && message.key.len() <= 256);
    assert!(message.closer.len() <= closer_max && message.providers.len() <= providers_max);
    let mut peers = message.closer.iter().chain(&message.providers);
    assert!(peers.all(|peer| peer.addresses.len() <= addresses_max));
    let written = message.encode();
    assert_eq!(Message::decode(&written).as_ref(), Ok(&message), "a message reads as it was written");
    let framed = message.encode_framed();
    assert!(framed.ends_with(&written) && framed.len() - written.len() <= 4);
}
