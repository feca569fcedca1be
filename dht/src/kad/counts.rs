//! How many messages came and went, by what they ask for.

use super::Kind;

/// Messages of one kind since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Requests that peers sent.
    pub inbound: u64,
    /// Requests that were sent to peers.
    pub outbound: u64,
    /// Of those sent, the ones that peers did not answer as they should have.
    pub outbound_failed: u64,
}

/// Messages of all kinds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts([MessageCounts; 6]);

impl Counts {
    pub(super) fn of(&mut self, kind: Kind) -> Option<&mut MessageCounts> {
        self.0.get_mut(kind as usize)
    }

    /// The counts, by the name of the message in the protocol.
    pub fn by_name(&self) -> impl Iterator<Item = (&'static str, MessageCounts)> {
        // In the order of their numbers.
        let names = ["PUT_VALUE", "GET_VALUE", "ADD_PROVIDER", "GET_PROVIDERS", "FIND_NODE", "PING"];
        names.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_under_their_names() {
        let mut counts = Counts::default();
        for (kind, name) in [(Kind::AddProvider, "ADD_PROVIDER"), (Kind::Ping, "PING")] {
            if let Some(of_kind) = counts.of(kind) {
                of_kind.inbound += 3;
            }
            let found = counts.by_name().find(|(of, _)| *of == name).map(|(_, counts)| counts.inbound);
            assert_eq!(found, Some(3));
        }
        assert_eq!(counts.by_name().filter(|(_, counts)| counts.inbound > 0).count(), 2);
    }
}
