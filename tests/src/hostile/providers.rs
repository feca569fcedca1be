//! Asking one node, and nobody else, which providers it keeps for a CID (GET_PROVIDERS).

use std::io;

use libp2p::identity::Keypair;
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::names::DHT_MESSAGE_BYTES_MAX;
use super::words::{binary, bytes_field, fields, framed, number_field};
use super::{Hostile, STREAM_WAIT_MAX, attend, hear_frame, send};
use crate::netns::Place;
use crate::wait::wait_until;

/// The DHT of the internet.
pub const WAN_DHT: &str = "/ipfs/kad/1.0.0";

const GET_PROVIDERS: u64 = 3;

/// A provider, and the addresses that its record has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Its peer ID.
    pub id: String,
    /// Its addresses.
    pub addresses: Vec<String>,
}

/// Asks a node, from a place, for the providers of a CID, as a peer that it has never met; `None` where it does not speak the
/// protocol.
///
/// # Panics
/// When the address or the CID is none.
pub fn providers_at(
    place: &Place,
    protocol: &str,
    node: &str,
    cid: &str,
) -> io::Result<Option<Vec<Provider>>> {
    let asking = || {
        place.enter();
        Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(async { timeout(STREAM_WAIT_MAX, ask(protocol, node, &multihash(cid))).await? })
    };
    std::thread::scope(|scope| scope.spawn(asking).join().expect("a CID and an address"))
}

/// Asks a node, from the place `at`, until it keeps a record of a provider with an address of the place `of`, and returns the
/// record's addresses.
///
/// # Panics
/// When it does not in time.
#[track_caller]
pub fn wait_for_record(
    at: &Place,
    protocol: &str,
    node: &str,
    cid: &str,
    provider: &str,
    of: &Place,
) -> Vec<String> {
    let own = format!("/{}/", of.address());
    wait_until("a provider record", || {
        let kept = providers_at(at, protocol, node, cid);
        let records = kept.iter().flatten().flatten().filter(|kept| kept.id == provider);
        let mut known = records.map(|kept| kept.addresses.clone());
        known.find(|known| known.iter().any(|address| address.contains(&own))).ok_or(kept)
    })
}

/// The multihash of a CID as text, of version 0, or of version 1 in base32 with a codec of one byte.
fn multihash(cid: &str) -> Vec<u8> {
    // The first version is a bare multihash in base58, and so is the name of a peer.
    let bare = cid.starts_with("Qm").then(|| cid.parse::<PeerId>().expect("a CID").to_bytes());
    bare.unwrap_or_else(|| binary(cid)[2..].to_vec())
}

async fn ask(protocol: &str, node: &str, key: &[u8]) -> io::Result<Option<Vec<Provider>>> {
    let (peer, opened) = Hostile::connect(&Keypair::generate_ed25519(), node).await?;
    let attending = tokio::spawn(attend(opened));
    let Some(mut stream) = peer.open(protocol).await? else { return Ok(None) };
    let mut message = Vec::new();
    number_field(&mut message, 1, GET_PROVIDERS);
    bytes_field(&mut message, 2, key);
    if !send(&mut stream, &framed(&message)).await {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let answer = hear_frame(&mut stream, DHT_MESSAGE_BYTES_MAX).await?;
    attending.abort();
    Ok(Some(providers_in(&answer).ok_or(io::ErrorKind::InvalidData)?))
}

fn providers_in(answer: &[u8]) -> Option<Vec<Provider>> {
    let of = |number: u64, message| fields(message).into_iter().filter(move |field| field.0 == number);
    let provider = |message| {
        let id = PeerId::from_bytes(of(1, message).next()?.1).ok()?.to_string();
        let address = |bytes: &[u8]| Some(Multiaddr::try_from(bytes.to_vec()).ok()?.to_string());
        let addresses = of(2, message).map(|(_, bytes)| address(bytes)).collect::<Option<_>>()?;
        Some(Provider { id, addresses })
    };
    of(9, answer).map(|(_, message)| provider(message)).collect()
}
