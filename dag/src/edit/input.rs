//! What is to be written, read as it is needed.

use std::io::Read;

use bytes::{Bytes, BytesMut};

use super::EditError;
use crate::chunker::ChunkerSpec;

/// Bytes that are asked of the reader at least.
const READ_BYTES: usize = 64 << 10;

/// A reader that can be asked whether there is more, and that gives chunks. It holds one chunk, and what was read
/// beyond it.
pub(super) struct Input<'a> {
    reader: &'a mut dyn Read,
    buffer: BytesMut,
    ended: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(reader: &'a mut dyn Read) -> Self {
        Self { reader, buffer: BytesMut::new(), ended: false }
    }

    /// Reads on, at least one byte unless the end was reached.
    fn read_more(&mut self, wanted: usize) -> Result<(), EditError> {
        let old = self.buffer.len();
        self.buffer.resize(old + wanted.max(READ_BYTES), 0);
        let space = self.buffer.get_mut(old..).unwrap_or_default();
        let read = loop {
            match self.reader.read(space) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(EditError::Input)?;
        self.buffer.truncate(old + read);
        self.ended = read == 0;
        Ok(())
    }

    /// Whether all was taken.
    pub(super) fn is_done(&mut self) -> Result<bool, EditError> {
        while self.buffer.is_empty() && !self.ended {
            self.read_more(0)?;
        }
        Ok(self.buffer.is_empty())
    }

    /// Overwrites the start of `target` with as much as there is.
    pub(super) fn overwrite(&mut self, target: &mut [u8]) -> Result<(), EditError> {
        let mut rest = target;
        while !rest.is_empty() && !self.is_done()? {
            let take = self.buffer.len().min(rest.len());
            let (now, later) = rest.split_at_mut(take);
            now.copy_from_slice(&self.buffer.split_to(take));
            rest = later;
        }
        Ok(())
    }

    /// The next chunk; `None` at the end.
    pub(super) fn chunk(&mut self, chunker: &ChunkerSpec) -> Result<Option<Bytes>, EditError> {
        loop {
            if let Some(cut) = chunker.cut(&self.buffer, self.ended) {
                return Ok(Some(self.buffer.split_to(cut).freeze()));
            }
            if self.ended {
                return Ok(None);
            }
            let missing = chunker.chunk_bytes_max().saturating_sub(self.buffer.len());
            self.read_more(missing)?;
        }
    }
}
