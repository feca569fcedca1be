//! Waiting for a condition, with a bound.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long a test waits for what should take milliseconds to seconds.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer, at most for [`PATIENCE`].
///
/// # Panics
/// When there is none, with what was waited for and what was seen last.
#[track_caller]
pub fn wait_until<T, S: Debug>(what: &str, ask: impl FnMut() -> Result<T, S>) -> T {
    wait_within(PATIENCE, what, ask)
}

/// The same with a bound of its own.
///
/// # Panics
/// When there is no answer within it.
#[track_caller]
pub fn wait_within<T, S: Debug>(bound: Duration, what: &str, mut ask: impl FnMut() -> Result<T, S>) -> T {
    let until = Instant::now() + bound;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if Instant::now() >= until => panic!("{what}: not within {bound:?}, but {seen:?}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
