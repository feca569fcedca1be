//! Bitswap messages and the frames that they travel in.

use bytes::Bytes;
use holdfast_bitswap::message::{Assembler, MESSAGE_BYTES_MAX, Version, decode, encode};

/// A message that is read is written and read again as the same; frames come out whole and no larger than allowed, and nothing is
/// allocated for what was only announced.
pub fn bitswap(data: &[u8]) {
    if let Ok(message) = decode(&Bytes::copy_from_slice(data)) {
        for version in Version::ALL {
            let written = encode(&message, version).concat();
            let again = frames(&written);
            let [frame] = again.as_slice() else { panic!("one message is one frame") };
            let again = decode(frame).expect("what was written can be read");
            assert_eq!(again.blocks.len(), message.blocks.len());
            if version == Version::V1_2 {
                assert!(again.entries == message.entries && again.presences == message.presences);
                assert_eq!(again.blocks, message.blocks);
            }
        }
    }
    frames(data);
}

fn frames(mut wire: &[u8]) -> Vec<Bytes> {
    let mut assembler = Assembler::default();
    let mut frames = Vec::new();
    let whole = wire.len();
    loop {
        loop {
            match assembler.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(_) => return frames,
            }
        }
        assert!(assembler.held_bytes() <= MESSAGE_BYTES_MAX.min((64 << 10) + 2 * whole));
        if wire.is_empty() {
            return frames;
        }
        let space = assembler.space();
        let count = space.len().min(wire.len());
        let (now, rest) = wire.split_at(count);
        space.get_mut(..count).expect("cut to fit").copy_from_slice(now);
        assembler.filled(count);
        wire = rest;
    }
}
