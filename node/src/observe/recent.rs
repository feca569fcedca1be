//! What happened in the last minute: a count and a sum for each of its seconds.

use std::time::Duration;

/// Seconds that are looked back at.
pub(super) const WINDOW_SECONDS: u64 = 60;

/// Sums by second, over a sliding minute. It takes a second at most for what is older to be forgotten.
#[derive(Debug)]
pub(super) struct Recent {
    slots: [Slot; WINDOW_SECONDS as usize],
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The second since the start that it is about, plus one: 0 is "never used".
    second: u64,
    count: u64,
    time: Duration,
}

/// What the last minute came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LastMinute {
    /// Requests that ended in it.
    pub(super) count: u64,
    /// The time that they took together.
    pub(super) time: Duration,
}

impl Default for Recent {
    fn default() -> Self {
        Self { slots: [Slot::default(); WINDOW_SECONDS as usize] }
    }
}

impl Recent {
    /// Notes one that ended at `since_start` and took `time`.
    pub(super) fn note(&mut self, since_start: Duration, time: Duration) {
        let second = since_start.as_secs();
        let Some(slot) = self.slots.get_mut((second % WINDOW_SECONDS) as usize) else { return };
        if slot.second != second + 1 {
            *slot = Slot { second: second + 1, ..Slot::default() };
        }
        slot.count += 1;
        slot.time += time;
    }

    /// The minute that ends at `since_start`.
    pub(super) fn last_minute(&self, since_start: Duration) -> LastMinute {
        let now = since_start.as_secs() + 1;
        let fresh = self.slots.iter().filter(|slot| slot.second > 0 && slot.second + WINDOW_SECONDS > now);
        fresh.fold(LastMinute::default(), |sum, slot| LastMinute {
            count: sum.count + slot.count,
            time: sum.time + slot.time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_later_it_is_forgotten() {
        let (mut recent, ten) = (Recent::default(), Duration::from_millis(10));
        let at = Duration::from_secs;
        recent.note(at(0), ten);
        recent.note(at(5), ten);
        recent.note(at(5), ten);
        assert_eq!(recent.last_minute(at(5)), LastMinute { count: 3, time: 3 * ten });
        assert_eq!(recent.last_minute(at(59)).count, 3);
        assert_eq!(recent.last_minute(at(60)).count, 2);
        assert_eq!(recent.last_minute(at(65)), LastMinute::default());
        recent.note(at(65), ten);
        assert_eq!(recent.last_minute(at(65)).count, 1);
    }
}
