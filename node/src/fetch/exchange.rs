//! The seam to whoever gets blocks from other nodes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use holdfast_dag::cid::Cid;

/// Peers that [`Tried`] names; the others are only counted.
pub const PEERS_NAMED_MAX: usize = 16;

/// Peers that a sentence about [`Tried`] names.
const PEERS_TOLD: usize = 3;

/// Whoever gets blocks from other nodes and gives ours to them.
///
/// Its methods return at once. Its streams may be polled on any thread, also where no async runtime is entered.
pub trait Exchange: Send + Sync + 'static {
    /// Begins to get what belongs together: the DAG below `root`, or a part of it.
    fn session(&self, root: &Cid) -> Arc<dyn Session>;

    /// Blocks are in the store now and can be read there, each with its size in bytes, whoever put them. Peers that want
    /// them can be served, and whatever waits for them here finds them by itself.
    fn stored(&self, blocks: Vec<(Cid, u64)>);

    /// Whether every block that its sessions give was hashed and matches its CID. Default: no, and then each is hashed
    /// before anybody sees it.
    fn verifies(&self) -> bool {
        false
    }
}

/// Getting the blocks of one DAG.
pub trait Session: Send + Sync + 'static {
    /// Asks for blocks, and gives them in the order in which they come, each once. Nothing is asked for any more when
    /// the stream is dropped. It ends when all have come; if it ends before, the others are not to be had.
    ///
    /// Callers bound what they ask for: about 32 MiB a session, in at most 1,024 blocks.
    fn get(&self, cids: Vec<Cid>) -> BoxStream<'static, (Cid, Bytes)>;

    /// What was tried so far.
    fn tried(&self) -> Tried;
}

/// What a session has tried.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Peer IDs of those that were asked, at most [`PEERS_NAMED_MAX`] of them.
    pub peers: Vec<String>,
    /// How many peers were asked.
    pub peers_asked: u64,
    /// How many of them said that they do not have what is still wanted.
    pub dont_have: u64,
    /// Searches for providers.
    pub searches: u64,
}

impl fmt::Display for Tried {
    /// `4 peers asked (12D3KooW..., 12D3KooW..., 12D3KooW..., ...), 2 of them do not have it, 1 search for providers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peers_asked {
            0 => f.write_str("no peer to ask")?,
            1 => f.write_str("1 peer asked")?,
            peers => write!(f, "{peers} peers asked")?,
        }
        if let Some((first, more)) = self.peers.split_first() {
            write!(f, " ({first}")?;
            more.iter().take(PEERS_TOLD - 1).try_for_each(|peer| write!(f, ", {peer}"))?;
            f.write_str(if self.peers_asked > PEERS_TOLD as u64 { ", ...)" } else { ")" })?;
        }
        match (self.dont_have, self.peers_asked) {
            (0, _) => {}
            (1, 1) => f.write_str(", it does not have it")?,
            (1, _) => f.write_str(", 1 of them does not have it")?,
            (peers, _) => write!(f, ", {peers} of them do not have it")?,
        }
        match self.searches {
            0 => f.write_str(", no search for providers"),
            1 => f.write_str(", 1 search for providers"),
            searches => write!(f, ", {searches} searches for providers"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_told_in_a_sentence() {
        let told = |peers_asked, dont_have, searches| {
            Tried { peers: Vec::new(), peers_asked, dont_have, searches }.to_string()
        };
        let named = |peers_asked| {
            let peers = (0..peers_asked).map(|number| format!("Qm{number}")).collect();
            Tried { peers, peers_asked, dont_have: 0, searches: 0 }.to_string()
        };
        assert_eq!(named(1), "1 peer asked (Qm0), no search for providers");
        assert_eq!(named(3), "3 peers asked (Qm0, Qm1, Qm2), no search for providers");
        assert_eq!(named(4), "4 peers asked (Qm0, Qm1, Qm2, ...), no search for providers");
        assert_eq!(told(0, 0, 0), "no peer to ask, no search for providers");
        assert_eq!(told(1, 1, 1), "1 peer asked, it does not have it, 1 search for providers");
        assert_eq!(told(3, 2, 4), "3 peers asked, 2 of them do not have it, 4 searches for providers");
    }
}
