//! Who wants to know what runs: the table of requests, and metrics.

use crate::commands::registry::Call;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer went out whole.
    Success,
    /// It was answered with an error, before or after the first byte.
    Error,
}

/// Hears of every command that comes through the door.
pub trait Watch: Send + Sync + 'static {
    /// A command begins. It ends when what this returns is dropped.
    fn begin(&self, call: &Call) -> Box<dyn Watched>;
}

/// A command that runs. If it is dropped without an outcome, whoever called went away.
pub trait Watched: Send {
    /// Says how it ends. The last word counts.
    fn set_outcome(&mut self, outcome: Outcome);
}

/// Nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: &Call) -> Box<dyn Watched> {
        Box::new(Self)
    }
}

impl Watched for Unwatched {
    fn set_outcome(&mut self, _: Outcome) {}
}
