//! Is a history linearizable: did every call take effect at one moment between its beginning and its end?
//!
//! The search is that of Wing and Gong, with Lowe's memory of what was tried. Histories of different objects can be
//! checked apart (Herlihy and Wing's locality). An object here is a CID together with all CIDs that updates join it to,
//! directly or by way of others: an update changes two CIDs at one moment, so that each by itself would be no object.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Call, Key, State, step};

/// The key that stands for the object of a key.
fn find(leader: &BTreeMap<Key, Key>, key: Key) -> Key {
    match leader.get(&key) {
        Some(next) if *next != key => find(leader, *next),
        _ => key,
    }
}

/// The calls of each object. CIDs that an update names together are of one.
pub(crate) fn objects(calls: &[Call]) -> Vec<Vec<Call>> {
    let mut leader: BTreeMap<Key, Key> = BTreeMap::new();
    for call in calls {
        let keys = call.ask.keys();
        for key in &keys {
            leader.entry(*key).or_insert(*key);
        }
        if let [a, b] = keys[..] {
            let (a, b) = (find(&leader, a), find(&leader, b));
            leader.insert(a, b);
        }
    }
    let mut apart: BTreeMap<Key, Vec<Call>> = BTreeMap::new();
    for call in calls {
        apart.entry(find(&leader, call.ask.keys()[0])).or_default().push(call.clone());
    }
    apart.into_values().collect()
}

/// Checks every object; the calls of one that has no order which explains its answers.
pub(crate) fn check(calls: &[Call]) -> Result<(), Vec<Call>> {
    objects(calls).into_iter().try_for_each(|object| if linearizable(&object) { Ok(()) } else { Err(object) })
}

/// Beginning or end of a call, in a list from which calls are lifted when they are given their place.
struct Event {
    call: usize,
    is_end: bool,
    next: usize,
    previous: usize,
}

const HEAD: usize = 0;

/// Orders that may be tried before the checker gives up: far more than a history of a few callers needs.
const TRIED_MAX: usize = 20_000_000;

/// Which calls have their place: all before one, and few after it, because few overlap.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Placed {
    all_before: usize,
    more: Vec<usize>,
}

impl Placed {
    fn add(&mut self, call: usize) {
        let at = self.more.partition_point(|other| *other < call);
        self.more.insert(at, call);
        let whole =
            self.more.iter().enumerate().take_while(|(at, more)| **more == self.all_before + at).count();
        self.more.drain(..whole);
        self.all_before += whole;
    }

    fn remove(&mut self, call: usize) {
        if call < self.all_before {
            self.more.splice(0..0, call + 1..self.all_before);
            self.all_before = call;
        } else {
            self.more.retain(|other| *other != call);
        }
    }
}

fn linearizable(calls: &[Call]) -> bool {
    let mut calls: Vec<&Call> = calls.iter().collect();
    calls.sort_by_key(|call| call.called);
    let mut order: Vec<(u64, usize, bool)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        assert!(call.called < call.returned);
        order.push((call.called, number, false));
        order.push((call.returned, number, true));
    }
    order.sort_unstable();
    let last = order.len() + 1;
    let mut events = vec![Event { call: usize::MAX, is_end: false, next: 1, previous: last }];
    let mut ends = vec![0; calls.len()];
    for (at, (_, call, is_end)) in order.into_iter().enumerate() {
        events.push(Event { call, is_end, next: at + 2, previous: at });
        if is_end {
            ends[call] = at + 1;
        }
    }
    events.push(Event { call: usize::MAX, is_end: false, next: HEAD, previous: last - 1 });

    let (mut state, mut placed) = (State::new(), Placed::default());
    let mut tried: HashSet<(Placed, State)> = HashSet::new();
    let mut back: Vec<(usize, State)> = Vec::new();
    let mut at = events[HEAD].next;
    while events[HEAD].next != last {
        let Event { call, is_end, next, .. } = events[at];
        if is_end {
            // A call has ended, and found no place before its end: the last one placed has to go elsewhere.
            let Some((begun, before)) = back.pop() else { return false };
            state = before;
            let call = events[begun].call;
            placed.remove(call);
            unlift(&mut events, ends[call]);
            unlift(&mut events, begun);
            at = events[begun].next;
            continue;
        }
        let mut with = placed.clone();
        with.add(call);
        let stepped = step(&state, &calls[call].ask, &calls[call].told);
        match stepped.filter(|after| tried.insert((with.clone(), after.clone()))) {
            Some(after) => {
                assert!(tried.len() < TRIED_MAX, "{} calls are too many for this checker", calls.len());
                back.push((at, std::mem::replace(&mut state, after)));
                placed = with;
                lift(&mut events, at);
                lift(&mut events, ends[call]);
                at = events[HEAD].next;
            }
            None => at = next,
        }
    }
    true
}

fn lift(events: &mut [Event], at: usize) {
    let (next, previous) = (events[at].next, events[at].previous);
    events[previous].next = next;
    events[next].previous = previous;
}

fn unlift(events: &mut [Event], at: usize) {
    let (next, previous) = (events[at].next, events[at].previous);
    events[previous].next = at;
    events[next].previous = at;
}

/// The checker itself: what it must let pass, and what it must not.
mod tests {
    use super::*;
    use crate::history::{Ask, Name, Pins, Told};

    const A: Name = 1;
    const OLD: Name = 2;
    const NEW: Name = 3;

    fn add(key: Key, name: Name) -> Ask {
        Ask::Add { key, recursive: true, name }
    }

    fn remove(key: Key) -> Ask {
        Ask::Remove { key, recursive: true }
    }

    fn update(from: Key, to: Key) -> Ask {
        Ask::Update { from, to, unpin: true }
    }

    fn show(key: Key) -> Ask {
        Ask::Show { key }
    }

    fn seen(name: Option<Name>) -> Told {
        Told::Strongest(name.map(|name| ("recursive", name)))
    }

    fn is_right(calls: &[(Ask, Told, u64, u64)]) -> bool {
        let calls: Vec<Call> = calls
            .iter()
            .map(|(ask, told, called, returned)| Call {
                ask: ask.clone(),
                told: told.clone(),
                called: *called,
                returned: *returned,
            })
            .collect();
        check(&calls).is_ok()
    }

    #[test]
    fn one_call_after_the_other_has_one_order_only() {
        use Told::{Done, NotPinned};
        let right = [
            (add(0, A), Done, 0, 1),
            (show(0), seen(Some(A)), 2, 3),
            (remove(0), Done, 4, 5),
            (remove(0), NotPinned, 6, 7),
            (show(0), seen(None), 8, 9),
        ];
        assert!(is_right(&right));
        for at in 0..right.len() {
            let mut wrong = right.clone();
            wrong[at].1 = match &wrong[at].1 {
                Done if at == 0 => Told::AlreadyRecursive,
                Done => NotPinned,
                NotPinned => Done,
                Told::Strongest(None) => seen(Some(A)),
                _ => seen(None),
            };
            assert!(!is_right(&wrong), "{:?}", wrong[at]);
        }
    }

    #[test]
    fn calls_at_the_same_time_may_go_either_way_but_not_both() {
        use Told::{Done, NotPinned};
        let pinned = (add(0, A), Done, 0, 1);
        let both = |first: Told, second: Told| {
            is_right(&[pinned.clone(), (remove(0), first, 2, 5), (remove(0), second, 3, 4)])
        };
        assert!(both(Done, NotPinned) && both(NotPinned, Done));
        assert!(!both(Done, Done), "one pin was removed twice");
        assert!(!both(NotPinned, NotPinned), "a pin was there, and nobody removed it");
    }

    #[test]
    fn what_was_seen_once_is_not_unseen() {
        let during = (add(0, A), Told::Done, 0, 9);
        let order = |first, second| {
            is_right(&[during.clone(), (show(0), seen(first), 1, 2), (show(0), seen(second), 3, 4)])
        };
        assert!(order(None, Some(A)) && order(None, None) && order(Some(A), Some(A)));
        assert!(!order(Some(A), None));
    }

    #[test]
    fn an_update_has_one_moment_for_both_its_cids() {
        let told = |from: Option<Name>, to: Option<Name>| {
            is_right(&[
                (add(0, A), Told::Done, 0, 1),
                (update(0, 1), Told::Done, 2, 9),
                (show(0), seen(from), 3, 4),
                (show(1), seen(to), 5, 6),
            ])
        };
        assert!(told(Some(A), None) && told(Some(A), Some(A)) && told(None, Some(A)));
        assert!(!told(None, None), "the old pin was gone before the new one was there");
        // Each CID by itself would have a right history here: the two belong together.
        assert!(!is_right(&[
            (add(0, A), Told::Done, 0, 1),
            (update(0, 1), Told::Done, 2, 9),
            (show(1), seen(Some(A)), 3, 4),
            (show(0), seen(Some(A)), 5, 6),
        ]));
    }

    #[test]
    fn a_name_that_was_replaced_is_not_carried_over() {
        let named = |name: Name| {
            is_right(&[
                (add(0, OLD), Told::Done, 0, 1),
                (update(0, 1), Told::Done, 2, 9),
                (add(0, NEW), Told::Done, 3, 4),
                (show(0), seen(None), 10, 11),
                (show(1), seen(Some(name)), 12, 13),
            ])
        };
        assert!(named(NEW));
        assert!(!named(OLD), "the update took the old name after the new one was acknowledged");
    }

    #[test]
    fn objects_are_what_updates_join() {
        let call = |ask: Ask, at: u64| Call { ask, told: Told::Done, called: at, returned: at + 1 };
        let calls = [
            call(add(0, A), 0),
            call(update(1, 2), 2),
            call(add(3, A), 4),
            call(update(2, 3), 6),
            call(add(4, A), 8),
        ];
        let mut sizes: Vec<usize> = objects(&calls).iter().map(Vec::len).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [1, 1, 3]);
    }

    #[test]
    fn a_direct_and_a_recursive_pin_are_told_apart() {
        let both = Pins { recursive: Some(OLD), direct: Some(NEW) };
        let calls = |pins: Pins| {
            is_right(&[
                (add(0, OLD), Told::Done, 0, 1),
                (Ask::Add { key: 1, recursive: false, name: NEW }, Told::Done, 2, 3),
                (update(0, 1), Told::Done, 4, 5),
                (Ask::Get { key: 1 }, Told::Pins(pins), 6, 7),
            ])
        };
        assert!(calls(both));
        assert!(!calls(Pins { direct: None, ..both }));
    }
}
