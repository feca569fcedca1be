//! How much a peer is asked for at once, and how long it may be silent: from its latency and its rate.

use std::time::{Duration, Instant};

use crate::config::Config;

/// No window is smaller: one block of the usual size.
const WINDOW_BYTES_MIN: usize = 256 << 10;

/// The window covers at least this much time at the peer's rate, however near it is: the work of both sides comes in batches.
const COVERED_MIN: Duration = Duration::from_millis(10);

/// The rate is measured over at least this much time.
const SAMPLE_MIN: Duration = Duration::from_millis(20);

/// A peer that was asked for nothing for this long begins a new measurement.
const IDLE_MIN: Duration = Duration::from_secs(1);

/// How long the shortest latency counts.
const SHORTEST_AGE_MAX: Duration = Duration::from_secs(10);

/// Latency that is assumed of peers that have not answered yet, for comparing them.
const LATENCY_START: Duration = Duration::from_millis(100);

/// Rate that is assumed of them, in bytes a second.
const RATE_START: f64 = 1e6;

/// What is known of a peer's speed, and what is under way from it.
#[derive(Debug)]
pub(super) struct Flow {
    window: usize,
    in_flight_bytes: usize,
    in_flight_count: usize,
    /// Mean time from asking to an answer, waiting in the peer's queue included.
    latency: Option<Duration>,
    /// Shortest such time of late, and since when it counts.
    shortest: Option<(Duration, Instant)>,
    /// Bytes a second while something was under way.
    rate: Option<f64>,
    sample: Option<(Instant, usize)>,
    last_progress: Option<Instant>,
    /// Whether the next block was asked for when nothing else was: its latency is that of the line.
    is_probing: bool,
}

impl Flow {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            window: config.window_bytes_start,
            in_flight_bytes: 0,
            in_flight_count: 0,
            latency: None,
            shortest: None,
            rate: None,
            sample: None,
            last_progress: None,
            is_probing: false,
        }
    }

    /// Whether one more block of this size may be asked for; one always may.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.in_flight_count == 0 || self.in_flight_bytes + bytes <= self.window
    }

    pub(super) fn reserve(&mut self, bytes: usize, now: Instant) {
        if self.in_flight_count == 0 {
            self.is_probing = true;
            if self.last_progress.is_none_or(|at| now.duration_since(at) > IDLE_MIN) {
                self.sample = None;
            }
        }
        self.in_flight_bytes += bytes;
        self.in_flight_count += 1;
    }

    pub(super) fn release(&mut self, bytes: usize) {
        debug_assert!(self.in_flight_count > 0, "what is released was reserved");
        self.in_flight_bytes = self.in_flight_bytes.saturating_sub(bytes);
        self.in_flight_count = self.in_flight_count.saturating_sub(1);
    }

    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight_count
    }

    #[cfg(test)]
    pub(super) fn window(&self) -> usize {
        self.window
    }

    /// Notes the time from asking to an answer that was not a block.
    pub(super) fn on_latency(&mut self, took: Duration, now: Instant) {
        self.latency = Some(self.latency.map_or(took, |mean| (mean + took) / 2));
        match self.shortest {
            Some((shortest, since)) if shortest < took && now.duration_since(since) < SHORTEST_AGE_MAX => {}
            // What is longer than the old one may have waited behind blocks: it counts for no more than twice as far.
            Some((shortest, _)) => self.shortest = Some((took.min(2 * shortest), now)),
            None => self.shortest = Some((took, now)),
        }
    }

    /// Notes the time from asking to a block. It says how far the peer is only if the block had not to wait for others; otherwise a
    /// large window would make itself look necessary.
    pub(super) fn on_block_latency(&mut self, took: Duration, now: Instant) {
        if std::mem::take(&mut self.is_probing) {
            self.on_latency(took, now);
        } else {
            self.latency = Some(self.latency.map_or(took, |mean| (mean + took) / 2));
        }
    }

    /// Notes that bytes came, whole blocks or not.
    pub(super) fn on_progress(&mut self, now: Instant) {
        self.last_progress = Some(now);
    }

    /// Notes a block that was asked for, before it is released.
    pub(super) fn on_block(&mut self, bytes: usize, now: Instant, config: &Config) {
        self.on_progress(now);
        let Some((since, sum)) = &mut self.sample else {
            // What came before the first block was waiting, not rate.
            self.sample = Some((now, 0));
            return;
        };
        *sum += bytes;
        let time = now.duration_since(*since);
        // Never by bytes alone, and over a round trip at least: blocks come in bursts, and parts of one would look infinitely fast or slow.
        if time < self.shortest.map_or(SAMPLE_MIN, |(shortest, _)| shortest.max(SAMPLE_MIN)) {
            return;
        }
        let seen = *sum as f64 / time.as_secs_f64();
        self.rate = Some(self.rate.map_or(seen, |rate| 0.7 * rate + 0.3 * seen));
        self.sample = Some((now, 0));
        self.adapt(config);
    }

    /// Twice what the line holds, approached by doubling at most.
    fn adapt(&mut self, config: &Config) {
        let (Some(rate), Some((shortest, _))) = (self.rate, self.shortest) else { return };
        let covered = (2 * shortest).max(COVERED_MIN);
        let aim = (rate * covered.as_secs_f64()).clamp(0.0, config.window_bytes_max as f64);
        #[expect(clippy::cast_sign_loss, reason = "clamped")]
        let aim = aim as usize;
        self.window =
            aim.clamp(self.window / 2, 2 * self.window).clamp(WINDOW_BYTES_MIN, config.window_bytes_max);
    }

    /// Notes that the peer did not answer in time.
    pub(super) fn on_silence(&mut self) {
        self.window = (self.window / 2).max(WINDOW_BYTES_MIN);
    }

    /// How long an answer may take: twice the usual (boxo), in bounds.
    pub(super) fn silence_limit(&self, config: &Config) -> Duration {
        let usual = self.latency.map_or(config.silence_start, |latency| 2 * latency);
        usual.clamp(config.silence_min, config.silence_max)
    }

    /// When to take a want of the peer for unanswered: after [`Flow::silence_limit`], and the time that what is under way needs, in
    /// which nothing at all came from it; or when
    /// everything that could lie before it in the peer's queue has had four times the time it needs.
    pub(super) fn deadline(&self, asked: Instant, config: &Config) -> Instant {
        let since = self.last_progress.map_or(asked, |progress| progress.max(asked));
        let rate = self.rate.unwrap_or(RATE_START).max(1e4);
        let queue = Duration::from_secs_f64(4.0 * self.window as f64 / rate);
        let busy = Duration::from_secs_f64(self.in_flight_bytes as f64 / rate);
        let limit = (self.silence_limit(config) + busy).min(config.silence_max);
        (since + limit).min(asked + config.silence_max + queue)
    }

    /// When a block of this size would come if it were asked for now.
    pub(super) fn expected(&self, bytes: usize) -> Duration {
        let latency = self.shortest.map_or(LATENCY_START, |(shortest, _)| shortest);
        let rate = self.rate.unwrap_or(RATE_START).max(1.0);
        latency + Duration::from_secs_f64((self.in_flight_bytes + bytes) as f64 / rate)
    }
}
