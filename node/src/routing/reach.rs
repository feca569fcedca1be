//! Reaching a peer whose addresses nobody here knows, or knows no longer.

use libp2p::{Multiaddr, PeerId};

use super::Routing;
use crate::swarm::{ConnectError, Need, SwarmHandle};

/// Sees to it that there is a connection to a peer: by these addresses and those that are known of it, and where that fails
/// by those that the DHTs know. The error is that of the last attempt, or of the first where the DHTs know nothing.
///
/// A search takes up to a minute: whoever waits says how long. A connection through a relay that is there already may be enough.
pub(crate) async fn reach(
    need: Need,
    swarm: &SwarmHandle,
    routing: Option<&Routing>,
    peer: PeerId,
    addresses: &[Multiaddr],
) -> Result<(), ConnectError> {
    let first = swarm.connect_for(need, peer, addresses).await;
    let is_unknown = matches!(
        first,
        Err(ConnectError::NoAddresses(_) | ConnectError::Failed { .. } | ConnectError::Resolve(_))
    );
    let Some(routing) = routing.filter(|_| is_unknown) else { return first };
    match routing.find_peer(peer, None).await {
        Ok(found) if !found.addresses.is_empty() => {
            // Strangers said these: names in them are resolved within the bounds for such.
            swarm.book().hear(peer, found.addresses);
            swarm.connect_for(need, peer, &[]).await
        }
        Ok(_) => first,
        Err(error) => {
            tracing::debug!("{peer} was looked for in vain: {error}");
            first
        }
    }
}
