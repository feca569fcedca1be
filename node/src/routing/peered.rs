//! Peered nodes that are away are looked for by their IDs: those listed without an address, and those that have moved.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::stream::{self, StreamExt as _};
use libp2p::PeerId;
use tokio::time::{Instant, sleep, timeout};

use super::{Routing, reach};
use crate::swarm::{Gone, Need, SwarmHandle};

/// Time between two looks at who is away.
const PERIOD: Duration = Duration::from_secs(5);
/// How long one is left to those who dial it by the addresses that are known, and then again after the first search.
const WAIT_MIN: Duration = Duration::from_secs(10);
/// The same after many searches: the longest wait of Kubo's peering.
const WAIT_MAX: Duration = Duration::from_secs(600);
/// Searches at once.
const AT_ONCE_MAX: usize = 4;
/// Peers that are looked for at one look.
const AT_A_LOOK_MAX: usize = 16;
/// How long one search, and dialling what it found, may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// When a peer that is away is looked for next.
#[derive(Debug, Clone, Copy)]
struct Turn {
    searches: u32,
    next: Instant,
}

/// Who is away. It does no I/O and knows no clock.
#[derive(Debug, Default)]
struct Away {
    turns: HashMap<PeerId, Turn>,
}

impl Away {
    /// Takes who is away now, each with whether an address of it is known, and says who is to be looked for.
    fn due(&mut self, away: &[(PeerId, bool)], now: Instant) -> Vec<PeerId> {
        let still: HashSet<PeerId> = away.iter().map(|(peer, _)| *peer).collect();
        self.turns.retain(|peer, _| still.contains(peer));
        let mut due = Vec::new();
        for (peer, has_address) in away {
            let first = if *has_address { now + WAIT_MIN } else { now };
            let turn = self.turns.entry(*peer).or_insert(Turn { searches: 0, next: first });
            if turn.next <= now && due.len() < AT_A_LOOK_MAX {
                let wait = WAIT_MIN.saturating_mul(1 << turn.searches.min(10)).min(WAIT_MAX);
                (turn.searches, turn.next) = (turn.searches.saturating_add(1), now + wait);
                due.push(*peer);
            }
        }
        due
    }
}

/// Looks for peered nodes that are away until the swarm has ended.
pub(crate) async fn find_peered(swarm: SwarmHandle, routing: Routing) {
    let mut away = Away::default();
    loop {
        sleep(PERIOD).await;
        // Without anybody to ask, a search would only make the next one come later.
        if !routing.knows_anybody() {
            continue;
        }
        let Ok(now_away) = who_is_away(&swarm).await else { return };
        let due = stream::iter(away.due(&now_away, Instant::now()));
        let (swarm, routing) = (&swarm, &routing);
        let searches = due.for_each_concurrent(AT_ONCE_MAX, |peer| async move {
            match timeout(TIME_MAX, reach(Need::Direct, swarm, Some(routing), peer, &[])).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!("the peered node {peer} was looked for: {error}"),
                Err(_) => tracing::debug!("the peered node {peer} was looked for, for a minute"),
            }
        });
        searches.await;
    }
}

/// The peered nodes without a direct connection, each with whether an address of it is known.
async fn who_is_away(swarm: &SwarmHandle) -> Result<Vec<(PeerId, bool)>, Gone> {
    let peered = swarm.peering_list().await?;
    if peered.is_empty() {
        return Ok(Vec::new());
    }
    let direct = swarm.connections().await?.into_iter().filter(|open| !open.relayed);
    let connected: HashSet<PeerId> = direct.map(|open| open.peer).collect();
    let away = peered.into_iter().filter(|(peer, _)| !connected.contains(peer));
    Ok(away
        .map(|(peer, addresses)| (peer, !addresses.is_empty() || !swarm.book().addresses(&peer).is_empty()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_no_address_is_looked_for_at_once_and_then_ever_less_often() {
        let (start, mut away) = (Instant::now(), Away::default());
        let [nameless, dialled] = [PeerId::random(), PeerId::random()];
        let both = [(nameless, false), (dialled, true)];
        assert_eq!(away.due(&both, start), [nameless], "the other is dialled first");
        assert_eq!(away.due(&both, start + WAIT_MIN), [nameless, dialled]);
        let mut now = start + WAIT_MIN;
        let mut searches = Vec::new();
        for _ in 0..1000 {
            now += PERIOD;
            if away.due(&both[..1], now) == [nameless] {
                searches.push(now);
            }
        }
        let waits: Vec<u64> = searches.windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert_eq!(waits.last(), Some(&WAIT_MAX.as_secs()));
        assert!(away.due(&[], now).is_empty());
        assert_eq!(away.due(&both[..1], now), [nameless], "one that was there meanwhile begins anew");
    }
}
