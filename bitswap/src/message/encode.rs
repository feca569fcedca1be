//! Messages to buffers: headers, and blocks as they are.

use bytes::Bytes;
use holdfast_dag::cid::Version as CidVersion;
use quick_protobuf::Writer;
use quick_protobuf::sizeofs::{sizeof_int32, sizeof_len, sizeof_varint};

use super::{Entry, Message, Payload, Prefix, Presence, Version, WantType};

/// Blocks of up to this many bytes are copied behind their header: a piece of its own would cost more than the copy.
const INLINE_BYTES_MAX: usize = 4096;

/// Encodes a message with its length prefix, as pieces that are to be written one after another.
///
/// Blocks larger than 4 KiB are pieces of their own and are not copied. What the version does not know is left out: presences and
/// want-haves before 1.2.0, prefixes before 1.1.0, and with them blocks that a CIDv0 cannot name are sent as bare bytes.
pub fn encode(message: &Message, version: Version) -> Vec<Bytes> {
    let entries: Vec<_> = message.entries.iter().filter(|entry| is_known(entry, version)).collect();
    let wantlist: usize =
        entries.iter().map(|entry| field(entry_len(entry))).sum::<usize>() + if message.full { 2 } else { 0 };
    let presences: &[Presence] = if version.has_presence() { &message.presences } else { &[] };
    let pending =
        if version.has_prefix() { i32::try_from(message.pending_bytes).unwrap_or(i32::MAX) } else { 0 };
    let len = field(wantlist)
        + message.blocks.iter().map(|block| block_len(block, version)).sum::<usize>()
        + presences.iter().map(|presence| field(presence_len(presence))).sum::<usize>()
        + if pending == 0 { 0 } else { 1 + sizeof_int32(pending) };

    let mut pieces = Pieces::default();
    pieces.number(len);
    // The field is written even when it is empty: peers before boxo 0.31 fail on messages without it.
    pieces.head(1, wantlist);
    for entry in entries {
        pieces.entry(entry);
    }
    if message.full {
        pieces.flag(2);
    }
    for block in &message.blocks {
        pieces.block(block, version);
    }
    for presence in presences {
        pieces.presence(presence);
    }
    if pending != 0 {
        pieces.varint_field(5, u64::from(pending.unsigned_abs()));
    }
    let pieces = pieces.finish();
    debug_assert_eq!(
        pieces.iter().map(Bytes::len).sum::<usize>(),
        sizeof_varint(len as u64) + len,
        "the length is computed from the same fields"
    );
    pieces
}

fn is_known(entry: &Entry, version: Version) -> bool {
    version.has_presence() || entry.want_type == WantType::Block || entry.cancel
}

/// Bytes of a field of this many bytes, with tag and length. All tags here take one byte.
fn field(len: usize) -> usize {
    1 + sizeof_len(len)
}

fn entry_len(entry: &Entry) -> usize {
    let priority = if entry.priority == 0 { 0 } else { 1 + sizeof_int32(entry.priority) };
    let flags = [entry.cancel, entry.want_type == WantType::Have, entry.send_dont_have];
    field(entry.cid.encoded_len()) + priority + 2 * flags.into_iter().filter(|set| *set).count()
}

fn presence_len(presence: &Presence) -> usize {
    field(presence.cid.encoded_len()) + if presence.have { 0 } else { 2 }
}

fn prefix_len(prefix: &Prefix) -> usize {
    sizeof_varint(u64::from(prefix.version == CidVersion::V1))
        + sizeof_varint(prefix.codec)
        + sizeof_varint(prefix.hash.code())
        + sizeof_varint(prefix.digest_len as u64)
}

fn payload_len(block: &Payload) -> usize {
    field(prefix_len(&block.prefix)) + field(block.data.len())
}

fn block_len(block: &Payload, version: Version) -> usize {
    field(if version.has_prefix() { payload_len(block) } else { block.data.len() })
}

#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    head: Vec<u8>,
}

impl Pieces {
    fn write(&mut self, what: impl FnOnce(&mut Writer<&mut Vec<u8>>) -> quick_protobuf::Result<()>) {
        what(&mut Writer::new(&mut self.head)).expect("invariant: writing to memory does not fail");
    }

    fn number(&mut self, number: usize) {
        self.write(|writer| writer.write_varint(number as u64));
    }

    /// Tag and length of a field that follows.
    fn head(&mut self, field: u32, len: usize) {
        self.write(|writer| writer.write_tag(field << 3 | 2).and_then(|()| writer.write_varint(len as u64)));
    }

    fn varint_field(&mut self, field: u32, value: u64) {
        self.write(|writer| writer.write_tag(field << 3).and_then(|()| writer.write_varint(value)));
    }

    fn flag(&mut self, field: u32) {
        self.varint_field(field, 1);
    }

    fn cid(&mut self, field: u32, cid: &holdfast_dag::cid::Cid) {
        self.head(field, cid.encoded_len());
        cid.write_bytes(&mut self.head).expect("invariant: writing to memory does not fail");
    }

    fn entry(&mut self, entry: &Entry) {
        self.head(1, entry_len(entry));
        self.cid(1, &entry.cid);
        if entry.priority != 0 {
            self.write(|writer| writer.write_tag(2 << 3).and_then(|()| writer.write_int32(entry.priority)));
        }
        if entry.cancel {
            self.flag(3);
        }
        if entry.want_type == WantType::Have {
            self.flag(4);
        }
        if entry.send_dont_have {
            self.flag(5);
        }
    }

    fn presence(&mut self, presence: &Presence) {
        self.head(4, presence_len(presence));
        self.cid(1, &presence.cid);
        if !presence.have {
            self.flag(2);
        }
    }

    fn block(&mut self, block: &Payload, version: Version) {
        if version.has_prefix() {
            let prefix = &block.prefix;
            self.head(3, payload_len(block));
            self.head(1, prefix_len(prefix));
            self.number(usize::from(prefix.version == CidVersion::V1));
            self.write(|writer| writer.write_varint(prefix.codec));
            self.write(|writer| writer.write_varint(prefix.hash.code()));
            self.number(prefix.digest_len);
        }
        self.head(2, block.data.len());
        if block.data.len() <= INLINE_BYTES_MAX {
            self.head.extend_from_slice(&block.data);
        } else {
            self.done.push(std::mem::take(&mut self.head).into());
            self.done.push(block.data.clone());
        }
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.head.is_empty() {
            self.done.push(self.head.into());
        }
        self.done
    }
}
