//! How many requests a second are taken from one address, and with one credential.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Callers that are remembered. When there are more, those that have been quiet are forgotten.
const CALLERS_MAX: usize = 16_384;
/// A caller that was quiet may ask this many seconds' worth at once.
const BURST_SECONDS: f64 = 2.0;

/// A limit for each of many callers: a bucket of tokens that fills with time.
#[derive(Debug)]
pub(super) struct RateLimit<K> {
    per_second: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl<K: Eq + Hash> RateLimit<K> {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second: f64::from(per_second.max(1)), buckets: Mutex::default() }
    }

    fn full(&self) -> f64 {
        (self.per_second * BURST_SECONDS).max(1.0)
    }

    /// Takes one request, or says after which time one would be taken.
    pub(super) fn take(&self, caller: K, now: Instant) -> Result<(), Duration> {
        let full = self.full();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= CALLERS_MAX && !buckets.contains_key(&caller) {
            buckets.retain(|_, bucket| self.filled(*bucket, now) < full);
            if buckets.len() >= CALLERS_MAX {
                // So many at once are an attack from everywhere, which this limit cannot stop: begin anew.
                buckets.clear();
            }
        }
        let bucket = buckets.entry(caller).or_insert(Bucket { tokens: full, at: now });
        let tokens = self.filled(*bucket, now);
        let is_taken = tokens >= 1.0;
        *bucket = Bucket { tokens: if is_taken { tokens - 1.0 } else { tokens }, at: now };
        if is_taken { Ok(()) } else { Err(Duration::from_secs_f64((1.0 - tokens) / self.per_second)) }
    }

    fn filled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.tokens + passed * self.per_second).min(self.full())
    }
}

/// What counts as one address: of IPv6, the network of 64 bits, any address of which its owner may take.
pub(super) fn address(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_gets_its_share_and_learns_when_there_is_more() {
        let (limit, start) = (RateLimit::new(2), Instant::now());
        for _ in 0..4 {
            assert_eq!(limit.take("a", start), Ok(()));
        }
        assert_eq!(limit.take("a", start), Err(Duration::from_millis(500)));
        assert_eq!(limit.take("b", start), Ok(()), "others have their own");
        let later = start + Duration::from_millis(500);
        assert_eq!(limit.take("a", later), Ok(()));
        assert!(limit.take("a", later).is_err());
        let much_later = start + Duration::from_secs(3600);
        let taken = (0..100).filter(|_| limit.take("a", much_later).is_ok()).count();
        assert_eq!(taken, 4, "it does not pile up");
    }

    #[test]
    fn the_table_stays_small_however_many_ask() {
        let (limit, mut now) = (RateLimit::new(1), Instant::now());
        for caller in 0..3 * CALLERS_MAX {
            now += Duration::from_micros(1);
            assert_eq!(limit.take(caller, now), Ok(()));
            assert!(limit.buckets.lock().unwrap().len() <= CALLERS_MAX);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let ip = |text: &str| address(text.parse().unwrap());
        assert_eq!(ip("2001:db8::1"), ip("2001:db8::ffff:0:2"));
        assert_ne!(ip("2001:db8::1"), ip("2001:db8:0:1::1"));
        assert_eq!(ip("::ffff:192.0.2.1"), ip("192.0.2.1"));
        assert_ne!(ip("192.0.2.1"), ip("192.0.2.2"));
    }
}
