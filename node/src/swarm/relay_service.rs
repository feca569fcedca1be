//! `Swarm.RelayService`: being a relay for others, and how much of one.
//!
//! libp2p bounds reservations by peer, which costs nothing to become. How many there are of one IP address is counted here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, relay};

use super::filters::ip_of;
use super::settings::{count, time};
use crate::config::{Config, ValueError};

/// Kubo's size of the buffers of a circuit, and reservations of one network (an autonomous system).
const BUFFER_BYTES_KUBO: usize = 2048;
const RESERVATIONS_PER_ASN_KUBO: usize = 32;

/// What a relay does for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelayLimits {
    /// `MaxReservations`. Default 128.
    pub reservations: usize,
    /// `MaxReservationsPerPeer`. Default 1.
    pub reservations_per_peer: usize,
    /// `MaxReservationsPerIP`. Default 8.
    pub reservations_per_ip: usize,
    /// `ReservationTTL`. Default 1 h.
    pub reservation: Duration,
    /// `MaxCircuits`, of one peer. Default 16.
    pub circuits_per_peer: usize,
    /// `ConnectionDurationLimit`. Default 2 min.
    pub circuit: Duration,
    /// `ConnectionDataLimit` in bytes. Default 128 KiB.
    pub circuit_bytes: u64,
}

impl RelayLimits {
    /// Reads them; none where the service is not enabled. What has no effect is said in `warnings`.
    pub(super) fn of_config(config: &Config, warnings: &mut Vec<String>) -> Result<Option<Self>, ValueError> {
        if config.flag("Swarm.RelayService.Enabled")? != Some(true) {
            return Ok(None);
        }
        let key = |name: &str| format!("Swarm.RelayService.{name}");
        for (name, kubo, why) in [
            ("BufferSize", BUFFER_BYTES_KUBO, "a circuit has two buffers of 8 KiB"),
            (
                "MaxReservationsPerASN",
                RESERVATIONS_PER_ASN_KUBO,
                "nobody here knows which network an address is in",
            ),
        ] {
            if count(config, &key(name))?.is_some_and(|said| said != kubo) {
                warnings.push(format!("{} has no effect: {why}", key(name)));
            }
        }
        Ok(Some(Self {
            reservations: count(config, &key("MaxReservations"))?.unwrap_or(128),
            reservations_per_peer: count(config, &key("MaxReservationsPerPeer"))?.unwrap_or(1),
            reservations_per_ip: count(config, &key("MaxReservationsPerIP"))?.unwrap_or(8),
            reservation: time(config, &key("ReservationTTL"))?.unwrap_or(Duration::from_secs(3600)),
            circuits_per_peer: count(config, &key("MaxCircuits"))?.unwrap_or(16),
            circuit: time(config, &key("ConnectionDurationLimit"))?.unwrap_or(Duration::from_secs(120)),
            circuit_bytes: count(config, &key("ConnectionDataLimit"))?.unwrap_or(128 << 10) as u64,
        }))
    }
}

/// The relay, which asks `reservations` before it grants one.
pub(super) fn behaviour(us: PeerId, limits: RelayLimits, reservations: &Reservations) -> relay::Behaviour {
    let mut config = relay::Config {
        max_reservations: limits.reservations,
        max_reservations_per_peer: limits.reservations_per_peer,
        reservation_duration: limits.reservation,
        // All circuits together: no more than one for each reservation.
        max_circuits: limits.reservations,
        max_circuits_per_peer: limits.circuits_per_peer,
        max_circuit_duration: limits.circuit,
        max_circuit_bytes: limits.circuit_bytes,
        ..relay::Config::default()
    };
    // It is asked last, when nothing else is against it.
    let reservations = reservations.clone();
    config.reservation_rate_limiters.push(Box::new(move |peer: PeerId, address: &Multiaddr, now| {
        reservations.grant(peer, address, now, &limits)
    }));
    relay::Behaviour::new(us, config)
}

/// Who holds a reservation, from which address, and until when. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Reservations {
    held: Arc<Mutex<HashMap<PeerId, (IpAddr, Instant)>>>,
}

impl Reservations {
    fn lock(&self) -> MutexGuard<'_, HashMap<PeerId, (IpAddr, Instant)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a reservation, unless its address has as many as it may. Of a peer, the newest counts.
    fn grant(&self, peer: PeerId, address: &Multiaddr, now: Instant, limits: &RelayLimits) -> bool {
        let Some(ip) = ip_of(address) else { return true };
        let mut held = self.lock();
        held.retain(|_, (_, until)| *until > now);
        let others = held.iter().filter(|(holder, (theirs, _))| **holder != peer && *theirs == ip).count();
        let is_granted = others < limits.reservations_per_ip;
        if is_granted {
            held.insert(peer, (ip, now + limits.reservation));
        }
        is_granted
    }

    /// The peer holds no reservation any more: its time is over, or its connection is.
    pub(super) fn left(&self, peer: &PeerId) {
        self.lock().remove(peer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(text: &str) -> (Option<RelayLimits>, Vec<String>) {
        let (config, mut warnings) =
            (Config::parse(&format!(r#"{{"Swarm":{{"RelayService":{text}}}}}"#)).unwrap(), Vec::new());
        (RelayLimits::of_config(&config, &mut warnings).unwrap(), warnings)
    }

    #[test]
    fn what_a_relay_cannot_do_is_said_where_it_is_asked_for() {
        let (limits, warnings) = of_text(r#"{"Enabled":true,"BufferSize":2048,"MaxReservationsPerASN":32}"#);
        assert_eq!((limits.unwrap().reservations_per_ip, warnings), (8, Vec::new()));
        let others =
            r#"{"Enabled":true,"BufferSize":4096,"MaxReservationsPerASN":4,"MaxReservationsPerIP":3}"#;
        let (limits, warnings) = of_text(others);
        assert_eq!((limits.unwrap().reservations_per_ip, warnings.len()), (3, 2), "{warnings:?}");
        assert!(warnings[0].starts_with("Swarm.RelayService.BufferSize has no effect"), "{warnings:?}");
        assert_eq!(of_text(r#"{"BufferSize":4096}"#), (None, Vec::new()), "nobody is served");
    }

    #[test]
    fn one_address_holds_so_many_reservations_until_they_end_or_their_peers_leave() {
        let mut limits = of_text(r#"{"Enabled":true}"#).0.unwrap();
        (limits.reservations_per_ip, limits.reservation) = (2, Duration::from_secs(60));
        let (held, start) = (Reservations::default(), Instant::now());
        let [a, b, c] = [(); 3].map(|()| PeerId::random());
        let here: Multiaddr = "/ip4/10.0.0.1/tcp/4001".parse().unwrap();
        let there: Multiaddr = "/ip4/10.0.0.2/udp/4001/quic-v1".parse().unwrap();
        let grant =
            |peer, address, seconds| held.grant(peer, address, start + Duration::from_secs(seconds), &limits);
        assert!(grant(a, &here, 0) && grant(b, &here, 10));
        assert!(!grant(c, &here, 20) && grant(c, &there, 20), "it may have one from elsewhere");
        assert!(grant(a, &here, 30), "a renewal is none more");
        assert!(!grant(c, &here, 40));
        assert!(grant(c, &here, 70), "b's has ended");
        held.left(&a);
        assert!(grant(b, &here, 80));
        assert_eq!(held.lock().len(), 2);
    }
}
