//! AutoNAT v2's server with limits: libp2p's dials back for whoever asks, as often as they ask, for as long as it takes, and
//! through relays.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use libp2p::autonat::v2::server;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::derive_prelude::Either;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour, THandler,
    THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};
use tokio::time::{Instant, Sleep, sleep_until};

use super::addresses::Scope;
use super::settings::{count, time};
use crate::config::{Config, ValueError};

/// How long a peer is dialled back: whoever asks waits 10 seconds for the answer, and asks again if there is none.
const DIAL_TIME_MAX: Duration = Duration::from_secs(8);

/// `AutoNAT.Throttle`: dials that are done for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutonatThrottle {
    /// `GlobalLimit`. Default 30.
    pub global: usize,
    /// `PeerLimit`. Default 3.
    pub per_peer: usize,
    /// `Interval`. Default 1 min.
    pub interval: Duration,
    /// Whether requests of the second version are served, too: not with `ServiceMode` `legacy-v1`.
    pub v2: bool,
}

impl AutonatThrottle {
    /// Reads it; none where `ServiceMode` is `disabled`.
    pub(super) fn of_config(config: &Config) -> Result<Option<Self>, ValueError> {
        let v2 = match config.text("AutoNAT.ServiceMode")?.as_deref() {
            None | Some("" | "enabled") => true,
            Some("legacy-v1") => false,
            Some("disabled") => return Ok(None),
            Some(other) => {
                let reason =
                    format!("it must be \"enabled\", \"disabled\" or \"legacy-v1\", not \"{other}\"");
                return Err(ValueError { key: "AutoNAT.ServiceMode".to_owned(), reason });
            }
        };
        Ok(Some(Self {
            global: count(config, "AutoNAT.Throttle.GlobalLimit")?.unwrap_or(30),
            per_peer: count(config, "AutoNAT.Throttle.PeerLimit")?.unwrap_or(3),
            interval: time(config, "AutoNAT.Throttle.Interval")?.unwrap_or(Duration::from_secs(60)),
            v2,
        }))
    }
}

/// The behaviour.
pub(super) struct ThrottledServer {
    inner: server::Behaviour,
    throttle: Throttle,
    /// Peers that are being dialled, and until when: as many as are asked for within that time, at most.
    dials: VecDeque<(Instant, ConnectionId)>,
    /// When the first of them has taken too long.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl ThrottledServer {
    pub(super) fn new(limits: AutonatThrottle) -> Self {
        let (inner, throttle) = (server::Behaviour::default(), Throttle::new(limits));
        Self { inner, throttle, dials: VecDeque::new(), alarm: None }
    }

    /// Gives up the dials that take too long: whoever asked is told that nobody is there.
    fn give_up(&mut self, cx: &mut Context<'_>) {
        while let Some(&(until, connection_id)) = self.dials.front() {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(until)));
            if alarm.as_mut().poll(cx).is_pending() {
                return;
            }
            self.alarm = None;
            self.dials.pop_front();
            let failure = DialFailure { peer_id: None, error: &DialError::Aborted, connection_id };
            self.inner.on_swarm_event(FromSwarm::DialFailure(failure));
        }
    }

    /// A dial is over.
    fn ended(&mut self, id: ConnectionId) {
        if self.dials.front().is_some_and(|(_, dial)| *dial == id) {
            self.alarm = None;
        }
        self.dials.retain(|(_, dial)| *dial != id);
    }
}

/// Counts what was done for whom within the interval. It holds as many entries as the global limit allows.
#[derive(Debug)]
struct Throttle {
    limits: AutonatThrottle,
    done: VecDeque<(Instant, PeerId)>,
}

impl Throttle {
    fn new(limits: AutonatThrottle) -> Self {
        Self { limits, done: VecDeque::new() }
    }

    /// Whether one more may be done for this peer; it counts if so.
    fn allow(&mut self, peer: PeerId, now: Instant) -> bool {
        while self
            .done
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= self.limits.interval)
        {
            self.done.pop_front();
        }
        let of_peer = self.done.iter().filter(|(_, known)| *known == peer).count();
        let allowed = self.done.len() < self.limits.global && of_peer < self.limits.per_peer;
        if allowed {
            self.done.push_back((now, peer));
        }
        allowed
    }
}

impl NetworkBehaviour for ThrottledServer {
    type ConnectionHandler = <server::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = server::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        if Scope::of(local) == Scope::Relayed {
            // That of outbound connections serves nobody: what a test costs is more than a relay carries.
            let (role, port_use) = (Endpoint::Listener, PortUse::Reuse);
            return self.inner.handle_established_outbound_connection(id, peer, local, role, port_use);
        }
        self.inner.handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.ended(id);
        self.inner.handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::DialFailure(failure) = &event {
            self.ended(failure.connection_id);
        }
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, id: ConnectionId, event: THandlerOutEvent<Self>) {
        // The request to dial back. Dropping it ends the peer's stream with an error.
        let is_request = matches!(event, Either::Right(Either::Left(_)));
        if is_request && !self.throttle.allow(peer, Instant::now()) {
            tracing::debug!("{peer} asks to be dialled back too often");
            return;
        }
        self.inner.on_connection_handler_event(peer, id, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.give_up(cx);
        let event = self.inner.poll(cx);
        if let Poll::Ready(ToSwarm::Dial { opts }) = &event {
            self.dials.push_back((Instant::now() + DIAL_TIME_MAX, opts.connection_id()));
            self.give_up(cx);
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_autonat_can_be_served_alone() {
        for (mode, v2) in
            [("", Some(true)), ("enabled", Some(true)), ("legacy-v1", Some(false)), ("disabled", None)]
        {
            let config = Config::parse(&format!(r#"{{"AutoNAT":{{"ServiceMode":"{mode}"}}}}"#)).unwrap();
            assert_eq!(AutonatThrottle::of_config(&config).unwrap().map(|limits| limits.v2), v2, "{mode:?}");
        }
    }

    #[test]
    fn peers_at_the_other_end_of_a_circuit_are_served_nothing() {
        let limits = AutonatThrottle { global: 5, per_peer: 2, interval: Duration::from_secs(60), v2: true };
        let (mut server, [relay, far]) = (ThrottledServer::new(limits), [(); 2].map(|()| PeerId::random()));
        let mut serves = |number, local: String, remote: String| {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            let id = ConnectionId::new_unchecked(number);
            matches!(
                server.handle_established_inbound_connection(id, far, &local, &remote),
                Ok(Either::Right(_))
            )
        };
        assert!(serves(1, "/ip4/10.0.0.1/tcp/4001".into(), "/ip4/1.1.1.1/tcp/4001".into()));
        assert!(!serves(2, format!("/ip4/1.1.1.1/tcp/1/p2p/{relay}/p2p-circuit"), format!("/p2p/{far}")));
    }

    #[test]
    fn nobody_is_dialled_for_more_often_than_the_limits_say() {
        let limits = AutonatThrottle { global: 5, per_peer: 2, interval: Duration::from_secs(60), v2: true };
        let (mut throttle, start) = (Throttle::new(limits), Instant::now());
        let greedy = PeerId::random();
        let asked: Vec<bool> = (0..4).map(|_| throttle.allow(greedy, start)).collect();
        assert_eq!(asked, [true, true, false, false]);
        let others: Vec<bool> = (0..5).map(|_| throttle.allow(PeerId::random(), start)).collect();
        assert_eq!(others, [true, true, true, false, false]);
        assert!(throttle.allow(greedy, start + limits.interval));
        assert_eq!(throttle.done.len(), 1);
    }
}
