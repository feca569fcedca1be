//! Which names are followed over pubsub, and which of them make room for others: whoever can have this node look up a name can
//! have it follow one, and topics are few.

use std::collections::BTreeMap;

use holdfast_dht::ipns::Name;

/// Names that are followed only because they were looked up, at most: a quarter of all topics.
const LOOKED_UP_MAX: usize = 1024;

/// Why a name is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its record is published here. It is followed until somebody says otherwise.
    Published,
    /// Somebody wanted to know its record. It makes room for others.
    LookedUp,
}

/// The names that are followed.
#[derive(Debug)]
pub(super) struct Followed {
    by_topic: BTreeMap<String, Entry>,
    /// How often a name was looked up.
    look_ups: u64,
    max: usize,
}

#[derive(Debug)]
struct Entry {
    name: Name,
    /// Which look-up was the last, where the name makes room for others.
    last: Option<u64>,
}

impl Default for Followed {
    fn default() -> Self {
        Self { by_topic: BTreeMap::new(), look_ups: 0, max: LOOKED_UP_MAX }
    }
}

impl Followed {
    /// The name of a topic that is followed.
    pub(super) fn name(&self, topic: &str) -> Option<Name> {
        self.by_topic.get(topic).map(|entry| entry.name)
    }

    /// All names, in the order of their topics.
    pub(super) fn names(&self) -> Vec<Name> {
        self.by_topic.values().map(|entry| entry.name).collect()
    }

    /// Notes one more use of a name that is followed. Returns whether it is.
    pub(super) fn used(&mut self, topic: &str, why: Why) -> bool {
        let Some(entry) = self.by_topic.get_mut(topic) else { return false };
        entry.last = match why {
            Why::Published => None,
            Why::LookedUp => entry.last.map(|_| self.look_ups),
        };
        self.look_ups += 1;
        true
    }

    /// Adds a name. Returns the topic that is no longer followed, where one has to make room.
    pub(super) fn add(&mut self, topic: String, name: Name, why: Why) -> Option<String> {
        let last = (why == Why::LookedUp).then_some(self.look_ups);
        self.look_ups += 1;
        let others = || self.by_topic.iter().filter_map(|(topic, entry)| Some((entry.last?, topic)));
        let is_full = last.is_some() && others().count() >= self.max;
        let oldest = if is_full { others().min().map(|(_, topic)| topic.clone()) } else { None };
        if let Some(oldest) = &oldest {
            self.by_topic.remove(oldest);
        }
        self.by_topic.insert(topic, Entry { name, last });
        oldest
    }

    /// Removes a topic. Returns whether it was followed.
    pub(super) fn remove(&mut self, topic: &str) -> bool {
        self.by_topic.remove(topic).is_some()
    }
}

#[cfg(test)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn the_name_that_was_looked_up_longest_ago_makes_room_and_published_ones_stay() {
        let mut followed = Followed { max: 3, ..Followed::default() };
        let mut add = |topic: &str, why| {
            if followed.used(topic, why) {
                None
            } else {
                followed.add(topic.to_owned(), PeerId::random().into(), why)
            }
        };
        for topic in ["own", "put", "site"] {
            assert_eq!(add(topic, Why::Published), None);
        }
        for topic in ["a", "b", "c", "a", "own"] {
            assert_eq!(add(topic, Why::LookedUp), None);
        }
        assert_eq!(add("d", Why::LookedUp).as_deref(), Some("b"));
        // What is published stays from then on, and what is looked up has one place more.
        assert_eq!(add("c", Why::Published), None);
        assert_eq!(add("e", Why::LookedUp), None);
        assert_eq!(add("f", Why::LookedUp).as_deref(), Some("a"));
        assert_eq!(add("b", Why::LookedUp).as_deref(), Some("d"));
        let topics: Vec<&str> = followed.by_topic.keys().map(String::as_str).collect();
        assert_eq!(topics, ["b", "c", "e", "f", "own", "put", "site"]);
        assert!(followed.remove("own") && !followed.remove("own"));
        assert_eq!(followed.name("own"), None);
    }
}
