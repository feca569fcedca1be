//! Blocks are named by hashing them: small ones at once, others on the host's threads, a message at a time and several side by side.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_dag::cid::Cid;

use crate::host::Host;
use crate::inbox::{Arrived, Credit, From, Inbox, Input, Line};
use crate::message::Payload;

/// Blocks of a message of up to this many bytes in sum are hashed on the connection's task: 10 to 50 us, less than two changes of task.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// Hashes the blocks of one message, which is `frame_bytes` long, and tells the behaviour. All of them in one job: only who sees
/// them together can tell whether those that are wanted are worth the memory of the message.
pub(super) fn hash(
    from: From,
    blocks: Vec<Payload>,
    frame_bytes: usize,
    to: (&Arc<Inbox>, &Arc<Line>),
    host: &dyn Host,
) {
    let (inbox, line) = to;
    let total: usize = blocks.iter().map(|block| block.data.len()).sum();
    let credit = Credit::new(line, frame_bytes);
    if total <= INLINE_BYTES_MAX {
        let arrived = Arrived { blocks: name(blocks), frame_bytes };
        inbox.push(Input::Blocks(from, arrived, credit));
        return;
    }
    let inbox = inbox.clone();
    host.run_blocking(Box::new(move || {
        let arrived = Arrived { blocks: name(blocks), frame_bytes };
        inbox.push(Input::Blocks(from, arrived, credit));
    }));
}

fn name(blocks: Vec<Payload>) -> Vec<(Cid, Bytes)> {
    blocks.into_iter().filter_map(|block| Some((block.prefix.cid_of(&block.data)?, block.data))).collect()
}

#[cfg(test)]
mod tests {
    use futures_util::future::BoxFuture;
    use libp2p::PeerId;
    use libp2p::swarm::ConnectionId;

    use super::*;
    use crate::message::Prefix;
    use crate::room::Room;
    use crate::sim::blocks;

    struct Here;

    impl Host for Here {
        fn presence(&self, _: Vec<Cid>) -> BoxFuture<'static, Vec<Option<u64>>> {
            unreachable!("nobody asks")
        }
        fn read(&self, _: Vec<Cid>) -> BoxFuture<'static, Vec<Option<Bytes>>> {
            unreachable!("nobody asks")
        }
        fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) {
            work();
        }
    }

    /// 3.9 MB of junk and a small block behind it.
    #[test]
    fn all_blocks_of_a_message_come_with_the_size_of_the_whole() {
        let (inbox, line) = (Arc::<Inbox>::default(), Arc::new(Line::new(&Arc::new(Room::of_all(1 << 30)))));
        let all: Vec<_> = blocks(39, 100_000).into_iter().chain(blocks(1, 64 << 10)).collect();
        let payload =
            |(cid, data): &(Cid, Bytes)| Payload { prefix: Prefix::of(cid).unwrap(), data: data.clone() };
        let from = (PeerId::random(), ConnectionId::new_unchecked(1));
        hash(from, all.iter().map(payload).collect(), 4 << 20, (&inbox, &line), &Here);
        let mut inputs = Vec::new();
        inbox.take(&mut inputs, futures_util::task::noop_waker_ref());
        let Ok([Input::Blocks(_, arrived, _)]) = <[Input; 1]>::try_from(inputs) else { panic!("together") };
        assert_eq!((arrived.blocks, arrived.frame_bytes), (all, 4 << 20));
    }
}
