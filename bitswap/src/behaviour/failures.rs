//! Failures of the stream out, and what follows from them. It knows no clock.

use std::time::{Duration, Instant};

/// After a failure the next stream is opened after this long, and twice as long each time it fails again.
const BACK_OFF_START: Duration = Duration::from_millis(100);

/// Streams in a row that could not be opened, after which the peer counts as one that does not speak Bitswap: a peer that has too much
/// to do gets half a minute.
const UNOPENED_MAX: u32 = 10;

/// The same of streams that were opened and soon lost.
const LOST_MAX: u32 = 30;

/// A stream that lived for so long is no failure: what became of those before is forgotten.
const STEADY_AFTER: Duration = Duration::from_secs(5);

/// Failures further apart than this have nothing to do with each other. Those in a row are nearer: a stream has 10 s to be agreed on,
/// and the longest back-off is 6.4 s.
const APART: Duration = Duration::from_secs(60);

/// What failed lately.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Streams that could not be opened since one took a message.
    unopened: u32,
    /// Streams that were lost soon after they were opened.
    lost: u32,
    last: Option<Instant>,
}

impl Failures {
    /// A stream could not be opened. Says how long to wait for the next; nothing if there is to be none.
    pub(super) fn on_unopened(&mut self, now: Instant) -> Option<Duration> {
        self.note(now);
        self.unopened += 1;
        self.pause()
    }

    /// A stream was lost. The same.
    pub(super) fn on_lost(&mut self, opened_at: Instant, now: Instant) -> Option<Duration> {
        self.note(now);
        if now.duration_since(opened_at) >= STEADY_AFTER {
            (self.unopened, self.lost) = (0, 0);
        }
        self.lost += 1;
        self.pause()
    }

    /// A stream took a message: the peer does open them. One that resets them may have taken it all the same.
    pub(super) fn on_sent(&mut self) {
        self.unopened = 0;
    }

    fn note(&mut self, now: Instant) {
        let before = self.last.replace(now);
        if before.is_some_and(|at| now.duration_since(at) >= APART) {
            (self.unopened, self.lost) = (0, 0);
        }
    }

    fn pause(&self) -> Option<Duration> {
        let is_enough = self.unopened >= UNOPENED_MAX || self.lost >= LOST_MAX;
        (!is_enough).then(|| BACK_OFF_START * 2_u32.pow((self.unopened + self.lost).min(6)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_peer_that_opens_no_stream_ten_times_in_a_row_is_refused() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        for _ in 1..UNOPENED_MAX {
            now += failures.on_unopened(now).expect("it has another try") + 10 * SECOND;
        }
        assert_eq!(failures.on_unopened(now), None);
    }

    #[test]
    fn failures_that_are_far_apart_are_forgotten() {
        let (mut failures, mut now) = (Failures::default(), Instant::now());
        for _ in 0..100 {
            assert_eq!(failures.on_unopened(now), Some(2 * BACK_OFF_START));
            now += 3600 * SECOND;
            assert_eq!(failures.on_lost(now, now + SECOND), Some(2 * BACK_OFF_START));
            now += 3600 * SECOND;
        }
    }

    #[test]
    fn a_stream_that_took_a_message_forgets_those_that_were_not_opened() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..10 {
            for _ in 1..UNOPENED_MAX {
                assert!(failures.on_unopened(now).is_some(), "the last one took a message");
            }
            failures.on_sent();
        }
    }

    #[test]
    fn streams_that_take_messages_and_are_lost_at_once_end_all_the_same() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let pauses: Vec<_> = (1..LOST_MAX)
            .map(|_| {
                failures.on_sent();
                failures.on_lost(now, now).expect("it has another try")
            })
            .collect();
        assert!(pauses.is_sorted() && pauses[0] < pauses[5], "{pauses:?}");
        failures.on_sent();
        assert_eq!(failures.on_lost(now, now), None);
    }

    #[test]
    fn a_stream_that_lived_a_while_forgets_all_failures() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..9 {
            failures.on_unopened(now);
        }
        assert_eq!(failures.on_lost(now, now + STEADY_AFTER), Some(2 * BACK_OFF_START));
    }
}
