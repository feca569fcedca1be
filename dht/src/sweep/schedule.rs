//! When which part of the key space is due: the place moves over the space at a steady pace, once around an interval.

use std::time::Duration;

use crate::ipns::Timestamp;
use crate::kad::{KadId, Prefix};

/// Version of the saved form.
const VERSION: u8 = 1;

/// Bytes of the saved form: version, start of the cycle, place.
const STATE_BYTES: usize = 1 + 8 + 32;

/// What a sweep remembers over a restart: 41 bytes, `1 | start of the cycle: i64 seconds since 1970, big-endian | place: 32
/// bytes`. Everything before the place has been announced in this cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedState {
    /// When the cycle began, or would have begun if nothing had been late.
    pub cycle_start: Timestamp,
    /// The first place that is still to be announced.
    pub place: KadId,
}

/// Why bytes are not a saved state. Begin without one: then everything is announced at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the saved state of the sweep has {bytes} bytes or another version; version {VERSION} has {STATE_BYTES}"
)]
pub struct StateError {
    /// How many there were.
    pub bytes: usize,
}

impl SavedState {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(STATE_BYTES);
        out.push(VERSION);
        out.extend_from_slice(&self.cycle_start.unix_seconds().to_be_bytes());
        out.extend_from_slice(self.place.as_bytes());
        out
    }

    /// Reads it.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let error = StateError { bytes: bytes.len() };
        let (version, rest) = bytes.split_first().ok_or(error)?;
        let (start, place) = rest.split_first_chunk::<8>().ok_or(error)?;
        let place: [u8; 32] = place.try_into().map_err(|_| error)?;
        if *version != VERSION {
            return Err(error);
        }
        let cycle_start = Timestamp::from_unix(i64::from_be_bytes(*start), 0);
        Ok(Self { cycle_start, place: KadId::from_bytes(place) })
    }
}

/// Where the sweep is.
#[derive(Debug)]
pub(super) struct Schedule {
    interval: Duration,
    cycle_start: Timestamp,
    /// The first place that is not at work yet.
    place: KadId,
}

/// How far into the space a place is, 0 to 1.
fn fraction(place: &KadId) -> f64 {
    KadId::from_bytes([0; 32]).distance(place).fraction()
}

impl Schedule {
    /// Goes on where the saved state was. Without one, everything is due: nobody knows what was announced before.
    pub(super) fn new(interval: Duration, saved: Option<SavedState>, now: Timestamp) -> Self {
        let fresh = SavedState { cycle_start: before(now, interval), place: KadId::from_bytes([0; 32]) };
        let SavedState { cycle_start, place } = saved.unwrap_or(fresh);
        let mut schedule = Self { interval, cycle_start, place };
        schedule.clamp(now);
        schedule
    }

    /// Keeps the place's time between one interval ago (a node that was away for days begins with what is longest overdue,
    /// as fast as it can, and once) and one interval ahead (a clock that was set back delays nothing for longer).
    fn clamp(&mut self, now: Timestamp) {
        let offset = self.interval.mul_f64(fraction(&self.place));
        let (earliest, latest) =
            (before(before(now, self.interval), offset), before(now.after(self.interval), offset));
        self.cycle_start = self.cycle_start.max(earliest).min(latest);
    }

    /// The first place that is not at work yet.
    pub(super) fn place(&self) -> KadId {
        self.place
    }

    /// When a place of this cycle is due.
    pub(super) fn due_at(&self, place: &KadId) -> Timestamp {
        self.cycle_start.after(self.interval.mul_f64(fraction(place)))
    }

    /// How long until the region of `bits` at the place is due; zero if it is. A region is due with its last place, so that
    /// after a cycle in which all was due at once the next one is an interval later for the only region, too.
    pub(super) fn wait(&mut self, bits: u32, now: Timestamp) -> Duration {
        self.clamp(now);
        self.due_at(&Prefix::of(&self.place, bits).last()).since(now)
    }

    /// A region is at work: the place moves behind it. Whether a new cycle begins.
    pub(super) fn begin(&mut self, region: &Prefix) -> bool {
        if let Some(next) = successor(&region.last()) {
            self.place = next;
            return false;
        }
        self.place = KadId::from_bytes([0; 32]);
        self.cycle_start = self.cycle_start.after(self.interval);
        true
    }

    /// Makes everything due at once, as without a saved state.
    pub(super) fn restart(&mut self, now: Timestamp) {
        *self = Self::new(self.interval, None, now);
    }

    pub(super) fn cycle_start(&self) -> Timestamp {
        self.cycle_start
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }
}

fn before(time: Timestamp, duration: Duration) -> Timestamp {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_unix(time.unix_seconds().saturating_sub(seconds), 0)
}

/// The next place; `None` behind the last one.
pub(super) fn successor(place: &KadId) -> Option<KadId> {
    let mut bytes = *place.as_bytes();
    for byte in bytes.iter_mut().rev() {
        let (sum, is_over) = byte.overflowing_add(1);
        *byte = sum;
        if !is_over {
            return Some(KadId::from_bytes(bytes));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(22 * 3600);

    fn now() -> Timestamp {
        Timestamp::from_unix(1_700_000_000, 0)
    }

    #[test]
    fn the_state_reads_as_it_was_written() {
        let state = SavedState { cycle_start: now(), place: KadId::of(b"x") };
        let mut bytes = state.encode();
        assert_eq!(SavedState::decode(&bytes), Ok(state));
        // Version 1, to the byte.
        assert_eq!(bytes[..9], [1, 0, 0, 0, 0, 0x65, 0x53, 0xf1, 0x00]);
        bytes[0] = 2;
        assert!(SavedState::decode(&bytes).is_err() && SavedState::decode(&[1; 40]).is_err());
    }

    #[test]
    fn regions_are_due_in_turn_and_the_next_cycle_an_interval_later() {
        let state = SavedState { cycle_start: now(), place: KadId::from_bytes([0; 32]) };
        let mut schedule = Schedule::new(INTERVAL, Some(state), now());
        let hours = |wait: Duration| (wait + Duration::from_secs(1800)).as_secs() / 3600;
        assert_eq!(hours(schedule.wait(1, now())), 11);
        assert!(!schedule.begin(&Prefix::of(&schedule.place(), 1)));
        assert_eq!(hours(schedule.wait(1, now())), 22);
        assert!(schedule.begin(&Prefix::of(&schedule.place(), 1)));
        assert_eq!(schedule.cycle_start(), now().after(INTERVAL));
    }

    #[test]
    fn what_was_never_announced_is_due_at_once_and_so_is_what_was_missed() {
        let mut fresh = Schedule::new(INTERVAL, None, now());
        let last = Prefix::of(&KadId::from_bytes([0xff; 32]), 8);
        assert!(fresh.due_at(&last.last()) <= now().after(Duration::from_secs(1)));
        assert!(fresh.wait(8, now()) <= Duration::from_secs(1));
        fresh.begin(&Prefix::ALL);
        assert!(fresh.wait(0, now()) + Duration::from_secs(1) >= INTERVAL, "and then an interval later");
        let place = KadId::from_bytes([0x80; 32]);
        let saved = SavedState { cycle_start: before(now(), INTERVAL * 30), place };
        let mut late = Schedule::new(INTERVAL, Some(saved), now());
        assert_eq!(late.wait(1, now()), Duration::ZERO);
        late.begin(&Prefix::of(&place, 1));
        let behind = now().since(late.due_at(&late.place()));
        assert!(behind <= INTERVAL, "days that were missed are not made up for one by one");
    }
}
