//! How many rows the table has: a row itself, written with what it counts, so that it is right after a crash too.

use holdfast_dht::kad::Scope;

/// First byte of the row.
const VERSION: u8 = 1;

/// How many rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    /// Keys that are announced again and again.
    pub(super) keys: u64,
    wan: u64,
    lan: u64,
}

impl Counts {
    /// New keys that wait for a DHT.
    pub(super) fn waiting(&self, scope: Scope) -> u64 {
        match scope {
            Scope::Wan => self.wan,
            Scope::Lan => self.lan,
        }
    }

    /// The same, to be changed.
    pub(super) fn waiting_mut(&mut self, scope: Scope) -> &mut u64 {
        match scope {
            Scope::Wan => &mut self.wan,
            Scope::Lan => &mut self.lan,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let numbers = [self.keys, self.wan, self.lan].map(u64::to_be_bytes);
        [&[VERSION], numbers.as_flattened()].concat()
    }

    /// `None` for a row that is damaged or of another version.
    pub(super) fn decode(row: &[u8]) -> Option<Self> {
        let (numbers, rest) = row.strip_prefix(&[VERSION])?.as_chunks::<8>();
        let &[keys, wan, lan] = numbers else { return None };
        let [keys, wan, lan] = [keys, wan, lan].map(u64::from_be_bytes);
        rest.is_empty().then_some(Self { keys, wan, lan })
    }
}
