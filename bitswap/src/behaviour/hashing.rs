//! Blocks are named by hashing them: small ones at once, others on the host's threads, side by side.

use std::sync::Arc;

use bytes::Bytes;
use holdfast_dag::cid::Cid;

use crate::host::Host;
use crate::inbox::{Arrived, Credit, From, Inbox, Input, Line};
use crate::message::Payload;

/// Blocks of a message of up to this many bytes in sum are hashed on the connection's task: 10 to 50 us, less than two changes of task.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// Work for one thread.
const JOB_BYTES: usize = 1 << 20;

/// Hashes the blocks of one message and tells the behaviour.
pub(super) fn hash(
    from: From,
    blocks: Vec<Payload>,
    frame_bytes: usize,
    to: (&Arc<Inbox>, &Arc<Line>),
    host: &dyn Host,
) {
    let (inbox, line) = to;
    let mut job = Vec::new();
    let mut bytes = 0;
    let total: usize = blocks.iter().map(|block| block.data.len()).sum();
    if total <= INLINE_BYTES_MAX {
        let arrived = Arrived { blocks: name(blocks), frame_bytes };
        inbox.push(Input::Blocks(from, arrived, Credit::new(line, frame_bytes)));
        return;
    }
    let start = |job: Vec<Payload>, bytes: usize| {
        let (inbox, credit) = (inbox.clone(), Credit::new(line, bytes));
        host.run_blocking(Box::new(move || {
            let arrived = Arrived { blocks: name(job), frame_bytes: bytes };
            inbox.push(Input::Blocks(from, arrived, credit));
        }));
    };
    for block in blocks {
        bytes += block.data.len();
        job.push(block);
        if bytes >= JOB_BYTES {
            start(std::mem::take(&mut job), std::mem::take(&mut bytes));
        }
    }
    if !job.is_empty() {
        start(job, bytes);
    }
}

fn name(blocks: Vec<Payload>) -> Vec<(Cid, Bytes)> {
    blocks.into_iter().filter_map(|block| Some((block.prefix.cid_of(&block.data)?, block.data))).collect()
}
