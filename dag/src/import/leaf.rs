//! Leaves: chunks as blocks, without copying them.

use bytes::Bytes;

use crate::block::BlockBytes;
use crate::cid::codec;
use crate::pb::{put_uint, put_varint};
use crate::unixfs::{NodeType, UnixFs};

use super::{FileMeta, ImportParams, Layout};

/// How chunks become leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeafFormat {
    raw: bool,
    kind: NodeType,
}

impl LeafFormat {
    /// Balanced leaves are of type File, trickle leaves of type Raw.
    pub(crate) fn of(params: &ImportParams) -> Self {
        let kind = match params.layout {
            Layout::Balanced => NodeType::File,
            Layout::Trickle => NodeType::Raw,
        };
        Self { raw: params.raw_leaves, kind }
    }

    pub(crate) fn codec(self) -> u64 {
        if self.raw { codec::RAW } else { codec::DAG_PB }
    }

    /// The cut that an empty file has: one empty leaf in the balanced layout, none in the trickle one.
    pub(crate) fn cut_of_nothing(self, file_is_empty: bool) -> Option<usize> {
        (file_is_empty && self.kind == NodeType::File).then_some(0)
    }

    /// A leaf. `root_meta` is given where it is the only one, so that it may be the root of its file. That it is in
    /// the balanced layout; raw leaves have no place for it.
    pub(crate) fn frame(self, chunk: Bytes, root_meta: Option<FileMeta>) -> BlockBytes {
        if self.raw {
            return chunk.into();
        }
        let meta = root_meta.filter(|_| self.kind == NodeType::File).unwrap_or_default();
        let filesize = chunk.len() as u64;
        let message = UnixFs {
            filesize: Some(filesize),
            mode: meta.mode_bits(),
            mtime: meta.mtime,
            ..UnixFs::new(self.kind)
        };
        // The message is encoded without its data, which then goes in behind the type.
        let mut tail = message.encode();
        let mut data_field = Vec::with_capacity(12);
        put_uint(&mut data_field, 1, self.kind as u64);
        tail.drain(..data_field.len());
        if filesize > 0 {
            put_varint(&mut data_field, 2 << 3 | 2);
            put_varint(&mut data_field, filesize);
        }
        let mut head = Vec::with_capacity(24);
        put_varint(&mut head, 1 << 3 | 2);
        put_varint(&mut head, (data_field.len() + chunk.len() + tail.len()) as u64);
        head.extend_from_slice(&data_field);
        BlockBytes::framed(&head, chunk, &tail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::put_bytes;
    use crate::unixfs::Mtime;

    #[test]
    fn a_framed_leaf_is_the_encoded_message() {
        let metas = [
            FileMeta::default(),
            FileMeta { mode: Some(0o10_0644), mtime: Some(Mtime { seconds: -1, nanos: Some(999_999_999) }) },
        ];
        for (length, meta) in [0, 1, 127, 128, 262_144, 2_096_896].into_iter().zip(metas.into_iter().cycle())
        {
            let chunk = Bytes::from(vec![7; length]);
            for kind in [NodeType::File, NodeType::Raw] {
                let meta = if kind == NodeType::File { meta } else { FileMeta::default() };
                let message = UnixFs {
                    data: (length > 0).then_some(&chunk[..]),
                    filesize: Some(length as u64),
                    mode: meta.mode.map(|_| 0o644),
                    mtime: meta.mtime,
                    ..UnixFs::new(kind)
                };
                let mut expected = Vec::new();
                put_bytes(&mut expected, 1, &message.encode());
                let leaf = LeafFormat { raw: false, kind }.frame(chunk.clone(), Some(meta));
                assert_eq!(leaf.to_bytes(), expected, "{length} {kind:?}");
                assert!(length == 0 || leaf.parts()[1].as_ptr() == chunk.as_ptr(), "copied");
            }
        }
    }
}
