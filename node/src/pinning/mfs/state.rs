//! When the files root is to be pinned at one service, and when its pin is to be looked at. No I/O, no clock.

use std::time::{Duration, Instant};

use holdfast_dag::cid::Cid;

use super::super::answer::{PinState, RemotePin, RequestId};
use crate::config::MfsPolicy;

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing.
    Wait,
    /// Ask the service for a pin of the root, in the place of the one before.
    Pin,
    /// Ask how far it is with the pin that it was asked for.
    Look(RequestId),
}

/// What is known of the pin at one service.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Under which policy all the rest was learned.
    policy: Option<MfsPolicy>,
    /// The last pin that the service took.
    kept: Option<Kept>,
    /// When it was last asked for one, whatever came of it.
    asked: Option<Instant>,
    /// Whether that failed.
    has_failed: bool,
}

#[derive(Debug)]
struct Kept {
    cid: Cid,
    request: RequestId,
    state: PinState,
}

impl State {
    /// What is to be done for this root. A policy that was changed begins anew. `interval_min`: the least that the time
    /// between two requests may be, whatever the policy says; after a failure it is that time.
    pub(super) fn step(
        &mut self,
        policy: &MfsPolicy,
        root: &Cid,
        now: Instant,
        interval_min: Duration,
    ) -> Step {
        if self.policy.as_ref() != Some(policy) {
            *self = Self { policy: Some(policy.clone()), ..Self::default() };
        }
        let interval = if self.has_failed { interval_min } else { policy.repin_interval.max(interval_min) };
        let is_time = self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= interval);
        match &self.kept {
            Some(kept) if kept.cid == *root => match kept.state {
                PinState::Queued | PinState::Pinning => Step::Look(kept.request.clone()),
                PinState::Failed if is_time => Step::Pin,
                PinState::Pinned | PinState::Failed => Step::Wait,
            },
            _ if is_time => Step::Pin,
            _ => Step::Wait,
        }
    }

    /// The service took the request for a pin, or has had one for this root.
    pub(super) fn taken(&mut self, pin: &RemotePin, now: Instant) {
        let (cid, request, state) = (pin.cid, pin.request.clone(), pin.state);
        self.kept = Some(Kept { cid, request, state });
        (self.asked, self.has_failed) = (Some(now), false);
    }

    /// It was asked for a pin and did not take the request.
    pub(super) fn failed(&mut self, now: Instant) {
        (self.asked, self.has_failed) = (Some(now), true);
    }

    /// It told how far it is; whether that is news.
    pub(super) fn looked(&mut self, pin: &RemotePin) -> bool {
        let Some(kept) = self.kept.as_mut().filter(|kept| kept.request == pin.request) else { return false };
        std::mem::replace(&mut kept.state, pin.state) != pin.state
    }

    /// It no longer knows the pin that it took.
    pub(super) fn lost(&mut self) {
        self.kept = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::answer;
    use super::*;
    use crate::config::RemoteAccess;

    const A: &str = "bafkreiafdxaehozptg73zud3kraoqdyc4vg2jzpwad26m4cnwj4gopmshm";
    const B: &str = "bafkreifjjcie6lypi6ny7amxnfftagclbuxndqonfipmb64f2km2devei4";
    const MIN: Duration = Duration::from_secs(60);

    fn policy(interval_s: u64) -> MfsPolicy {
        let access = RemoteAccess { endpoint: "http://127.0.0.1:1".to_owned(), key: "k".to_owned() };
        MfsPolicy { access, pin_name: String::new(), repin_interval: Duration::from_secs(interval_s) }
    }

    fn pin(id: &str, state: &str, cid: &str) -> RemotePin {
        let text = format!(r#"{{"requestid":"{id}","status":"{state}","pin":{{"cid":"{cid}"}}}}"#);
        answer::pin(text.as_bytes()).unwrap()
    }

    fn after(begin: Instant, seconds: u64) -> Instant {
        begin + Duration::from_secs(seconds)
    }

    #[test]
    fn a_root_is_pinned_once_followed_to_its_end_and_pinned_anew_when_it_changed() {
        let (mut state, begin) = (State::default(), Instant::now());
        let (a, b) = (A.parse().unwrap(), B.parse().unwrap());
        let step = |state: &mut State, root: &Cid, at| state.step(&policy(300), root, after(begin, at), MIN);
        assert_eq!(step(&mut state, &a, 0), Step::Pin);
        let queued = pin("1", "queued", A);
        state.taken(&queued, begin);
        assert_eq!(step(&mut state, &a, 1), Step::Look(queued.request.clone()));
        assert!(!state.looked(&queued), "no news");
        assert!(state.looked(&pin("1", "pinned", A)));
        assert_eq!(step(&mut state, &a, 10_000), Step::Wait, "it has not changed");
        assert_eq!(step(&mut state, &b, 299), Step::Wait, "not before the interval is over");
        assert_eq!(step(&mut state, &b, 300), Step::Pin);
        state.taken(&pin("2", "pinned", B), after(begin, 300));
        assert_eq!(step(&mut state, &b, 301), Step::Wait);
        assert!(!state.looked(&pin("1", "failed", A)), "of another request");
    }

    #[test]
    fn what_failed_is_asked_for_again_after_the_least_time() {
        let (mut state, begin) = (State::default(), Instant::now());
        let a = A.parse().unwrap();
        assert_eq!(state.step(&policy(300), &a, begin, MIN), Step::Pin);
        state.failed(begin);
        assert_eq!(state.step(&policy(300), &a, after(begin, 59), MIN), Step::Wait);
        assert_eq!(state.step(&policy(300), &a, after(begin, 60), MIN), Step::Pin);
        // The service took it, and gave up later.
        state.taken(&pin("1", "pinning", A), after(begin, 60));
        assert!(state.looked(&pin("1", "failed", A)));
        assert_eq!(state.step(&policy(300), &a, after(begin, 359), MIN), Step::Wait);
        assert_eq!(state.step(&policy(300), &a, after(begin, 360), MIN), Step::Pin);
        state.lost();
        assert_eq!(state.step(&policy(300), &a, after(begin, 360), MIN), Step::Pin);
    }

    #[test]
    fn a_policy_that_was_changed_begins_anew_and_no_interval_is_below_the_least() {
        let (mut state, begin) = (State::default(), Instant::now());
        let (a, b) = (A.parse().unwrap(), B.parse().unwrap());
        assert_eq!(state.step(&policy(1), &a, begin, MIN), Step::Pin);
        state.taken(&pin("1", "pinned", A), begin);
        assert_eq!(state.step(&policy(1), &b, after(begin, 59), MIN), Step::Wait);
        assert_eq!(state.step(&policy(2), &b, after(begin, 59), MIN), Step::Pin);
    }
}
