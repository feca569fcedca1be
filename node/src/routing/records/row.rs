//! The bytes of rows: `docs/network.md` has them.

use std::time::Duration;

use holdfast_dht::ipns::Timestamp;
use holdfast_dht::kad::Scope;
use holdfast_dht::records::PROVIDER_ADDRESS_BYTES_MAX;
use libp2p::Multiaddr;

/// First byte of every row.
pub(super) const ROW_VERSION: u8 = 1;

/// Bytes of a row's key that say which scope and key it is of.
const PLACE_BYTES: usize = 1 + 32;

pub(super) fn scope_byte(scope: Scope) -> u8 {
    match scope {
        Scope::Wan => 0,
        Scope::Lan => 1,
    }
}

/// The peer that a row of providers is about.
pub(super) fn peer_of(row_key: &[u8]) -> &[u8] {
    row_key.get(PLACE_BYTES..).unwrap_or_default()
}

pub(super) fn provider_row(addresses: &[Multiaddr], now: Timestamp) -> Vec<u8> {
    let mut row = row_head(now);
    let mut room = PROVIDER_ADDRESS_BYTES_MAX;
    for address in addresses {
        let (length, Some(left)) = (address.len(), room.checked_sub(address.len())) else { break };
        let Ok(bytes) = u16::try_from(length) else { break };
        room = left;
        row.extend_from_slice(&bytes.to_be_bytes());
        row.extend_from_slice(address.as_ref());
    }
    row
}

pub(super) fn row_head(now: Timestamp) -> Vec<u8> {
    let seconds = u64::try_from(now.unix_seconds()).unwrap_or_default();
    [&[ROW_VERSION], seconds.to_be_bytes().as_slice()].concat()
}

/// When a row came, and what follows. `None` for a row that is damaged or of another version: it counts as expired.
pub(super) fn split_row(row: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (seconds, rest) = row.strip_prefix(&[ROW_VERSION])?.split_first_chunk::<8>()?;
    let seconds = i64::try_from(u64::from_be_bytes(*seconds)).ok()?;
    Some((Timestamp::from_unix(seconds, 0), rest))
}

pub(super) fn split_addresses(mut rest: &[u8]) -> Vec<Multiaddr> {
    let mut addresses = Vec::new();
    while let Some((bytes, after)) = rest.split_first_chunk::<2>() {
        let Some((address, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*bytes))) else {
            break;
        };
        addresses.extend(Multiaddr::try_from(address.to_vec()).ok());
        rest = after;
    }
    addresses
}

/// Whether a row is older than it may become, by the wall clock.
pub(super) fn is_over(received: Timestamp, lifetime: Duration, now: Timestamp) -> bool {
    received.after(lifetime) <= now
}
