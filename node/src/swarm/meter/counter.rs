//! Bytes in and out, and how many there are a second.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How much of a rate is the last second's.
const NEWEST_SHARE: f64 = 0.25;

/// Traffic since the beginning, and now.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Traffic {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Bytes received a second, a moving average over about four seconds.
    pub rate_in: f64,
    /// Bytes sent a second.
    pub rate_out: f64,
}

/// Counts from any thread; rates are made by whoever calls [`Counter::tick`].
#[derive(Debug)]
pub(super) struct Counter {
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    rates: Mutex<Rates>,
}

#[derive(Debug)]
struct Rates {
    at: Instant,
    bytes_in: u64,
    bytes_out: u64,
    rate_in: f64,
    rate_out: f64,
}

impl Counter {
    pub(super) fn new(now: Instant) -> Self {
        let rates = Rates { at: now, bytes_in: 0, bytes_out: 0, rate_in: 0.0, rate_out: 0.0 };
        Self { bytes_in: AtomicU64::new(0), bytes_out: AtomicU64::new(0), rates: Mutex::new(rates) }
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn wrote(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Brings the rates up to date.
    pub(super) fn tick(&self, now: Instant) {
        let (bytes_in, bytes_out) =
            (self.bytes_in.load(Ordering::Relaxed), self.bytes_out.load(Ordering::Relaxed));
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let seconds = now.saturating_duration_since(rates.at).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let mix = |old: f64, bytes: u64| {
            let mixed = old.mul_add(1.0 - NEWEST_SHARE, NEWEST_SHARE * bytes as f64 / seconds);
            // Otherwise an idle connection would never come to rest.
            if mixed < 0.5 { 0.0 } else { mixed }
        };
        rates.rate_in = mix(rates.rate_in, bytes_in - rates.bytes_in);
        rates.rate_out = mix(rates.rate_out, bytes_out - rates.bytes_out);
        (rates.at, rates.bytes_in, rates.bytes_out) = (now, bytes_in, bytes_out);
    }

    pub(super) fn traffic(&self) -> Traffic {
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        Traffic {
            bytes_in: self.bytes_in.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
            rate_in: rates.rate_in,
            rate_out: rates.rate_out,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_follow_the_traffic_and_come_to_rest() {
        let start = Instant::now();
        let counter = Counter::new(start);
        for second in 1..=60 {
            counter.read(1000);
            counter.wrote(10);
            counter.tick(start + Duration::from_secs(second));
        }
        let busy = counter.traffic();
        assert_eq!((busy.bytes_in, busy.bytes_out), (60_000, 600));
        assert!((busy.rate_in - 1000.0).abs() < 1.0 && (busy.rate_out - 10.0).abs() < 1.0, "{busy:?}");
        for second in 61..=120 {
            counter.tick(start + Duration::from_secs(second));
        }
        let idle = counter.traffic();
        assert_eq!((idle.rate_in, idle.rate_out, idle.bytes_in), (0.0, 0.0, 60_000));
    }
}
