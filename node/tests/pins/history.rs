//! What callers did, when they called, what they were told, and when: a history, and the pins as it should be.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A CID, by its place in the test's list.
pub(crate) type Key = usize;

/// A pin's name, which tells the call that gave it.
pub(crate) type Name = u32;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    Add {
        key: Key,
        recursive: bool,
        name: Name,
    },
    Remove {
        key: Key,
        recursive: bool,
    },
    Update {
        from: Key,
        to: Key,
        unpin: bool,
    },
    /// What the pins on a CID are, both kinds.
    Get {
        key: Key,
    },
    /// `pin ls` of the CID: the strongest one.
    Show {
        key: Key,
    },
}

impl Ask {
    /// The CIDs that it is about.
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Self::Add { key, .. } | Self::Remove { key, .. } | Self::Get { key } | Self::Show { key } => {
                vec![*key]
            }
            Self::Update { from, to, .. } => vec![*from, *to],
        }
    }
}

/// What a caller is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    NotPinned,
    IsRecursive,
    AlreadyRecursive,
    FromNotPinned,
    ToPinned,
    Pins(Pins),
    /// Kind and name.
    Strongest(Option<(&'static str, Name)>),
}

/// The pins on one CID: names of the recursive and of the direct one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Pins {
    pub(crate) recursive: Option<Name>,
    pub(crate) direct: Option<Name>,
}

/// What is pinned, in the order of the CIDs. Those without pins are not in it, so that equal states are equal.
pub(crate) type State = Vec<(Key, Pins)>;

/// The specification: what the state becomes, if the answer is right in this one.
pub(crate) fn step(state: &State, ask: &Ask, told: &Told) -> Option<State> {
    let of = |key: &Key| state.iter().find(|(at, _)| at == key).map_or_else(Pins::default, |(_, pins)| *pins);
    let with = |changes: Vec<(Key, Pins)>| {
        let mut next = state.clone();
        for (key, pins) in changes {
            next.retain(|(at, _)| *at != key);
            if pins != Pins::default() {
                next.push((key, pins));
            }
        }
        next.sort_unstable_by_key(|(key, _)| *key);
        next
    };
    let (right, next) = match ask {
        Ask::Add { key, recursive: true, name } => {
            (Told::Done, with(vec![(*key, Pins { recursive: Some(*name), direct: None })]))
        }
        Ask::Add { key, recursive: false, name } => {
            let pins = of(key);
            if pins.recursive.is_some() {
                (Told::AlreadyRecursive, state.clone())
            } else {
                (Told::Done, with(vec![(*key, Pins { direct: Some(*name), ..pins })]))
            }
        }
        Ask::Remove { key, recursive } => match of(key) {
            Pins { recursive: Some(_), .. } if !recursive => (Told::IsRecursive, state.clone()),
            Pins { recursive: None, direct: None } => (Told::NotPinned, state.clone()),
            _ => (Told::Done, with(vec![(*key, Pins::default())])),
        },
        Ask::Update { from, to, unpin } => match (of(from), of(to)) {
            (Pins { recursive: None, .. }, _) => (Told::FromNotPinned, state.clone()),
            _ if from == to => (Told::Done, state.clone()),
            (_, Pins { recursive: Some(_), .. }) => (Told::ToPinned, state.clone()),
            (old, new) => {
                let mut changes = vec![(*to, Pins { recursive: old.recursive, ..new })];
                if *unpin {
                    changes.push((*from, Pins { recursive: None, ..old }));
                }
                (Told::Done, with(changes))
            }
        },
        Ask::Get { key } => (Told::Pins(of(key)), state.clone()),
        Ask::Show { key } => {
            let pins = of(key);
            let recursive = pins.recursive.map(|name| ("recursive", name));
            (Told::Strongest(recursive.or(pins.direct.map(|name| ("direct", name)))), state.clone())
        }
    };
    (right == *told).then_some(next)
}

/// One call: its moments come from one counter, so that all of a history are in one order.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) ask: Ask,
    pub(crate) told: Told,
    pub(crate) called: u64,
    pub(crate) returned: u64,
}

/// Takes down calls from many callers.
#[derive(Default)]
pub(crate) struct Recorder {
    clock: AtomicU64,
    calls: Mutex<Vec<Call>>,
}

impl Recorder {
    pub(crate) async fn record(&self, ask: Ask, answer: impl Future<Output = Told>) {
        let called = self.clock.fetch_add(1, Ordering::SeqCst);
        let told = answer.await;
        let returned = self.clock.fetch_add(1, Ordering::SeqCst);
        self.calls.lock().unwrap().push(Call { ask, told, called, returned });
    }

    pub(crate) fn into_calls(self) -> Vec<Call> {
        self.calls.into_inner().unwrap()
    }
}
