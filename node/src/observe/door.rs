//! What the door to the commands tells: each request, from its beginning to its end.

use super::{Outcome, RequestGuard, Requests};
use crate::commands::registry::Call;
use crate::rpc;

impl rpc::Watch for Requests {
    fn begin(&self, call: &Call) -> Box<dyn rpc::Watched> {
        Box::new(self.begin(call))
    }
}

impl rpc::Watched for RequestGuard {
    fn set_outcome(&mut self, outcome: rpc::Outcome) {
        self.set_outcome(match outcome {
            rpc::Outcome::Success => Outcome::Success,
            rpc::Outcome::Error => Outcome::Error,
        });
    }
}
