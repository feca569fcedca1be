//! The receiving end of an upload: what commands read, on threads that may wait.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, Bytes};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;

use crate::commands::registry::{Entry, EntryKind, InputError};
use crate::pool::aside;

use super::head::{PartHead, PartKind};

/// What is said when the other end is gone without a last word.
const CUT: &str = "unexpected EOF: the upload ended before its end";

/// A piece of an upload, in the order of the body.
#[derive(Debug)]
pub(super) enum Message {
    /// A file, directory or symlink begins.
    Entry(PartHead),
    /// Bytes of it.
    Data(Bytes),
    /// It ends.
    EntryEnd,
    /// That was all.
    End,
    /// The upload cannot be read on, in full words.
    Failed(String),
}

/// What has come and was not read.
#[derive(Debug)]
struct Feed {
    messages: mpsc::Receiver<Message>,
    /// Counts entries. A reader of an older one has been passed over.
    number: u64,
    /// Whether the entry of that number was read to its end.
    is_read: bool,
    rest: Bytes,
    outcome: Option<Result<(), String>>,
}

impl Feed {
    /// The next message; an end or a failure is remembered.
    fn next(&mut self) -> Option<Message> {
        if self.outcome.is_some() {
            return None;
        }
        let next = match self.messages.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Disconnected) => None,
            // Others may work while this client takes its time.
            Err(TryRecvError::Empty) => aside(|| self.messages.blocking_recv()),
        };
        match next {
            Some(Message::End) => self.outcome = Some(Ok(())),
            Some(Message::Failed(error)) => self.outcome = Some(Err(error)),
            None => self.outcome = Some(Err(CUT.to_owned())),
            Some(message) => return Some(message),
        }
        None
    }

    /// Why there is nothing more, if that is no good reason.
    fn failure(&self) -> Option<String> {
        self.outcome.as_ref().and_then(|outcome| outcome.as_ref().err().cloned())
    }

    /// More bytes of the entry that is being read; nothing at its end.
    fn data(&mut self) -> io::Result<()> {
        while self.rest.is_empty() && !self.is_read {
            match self.next() {
                Some(Message::Data(data)) => self.rest = data,
                Some(_) => self.is_read = true,
                None => return Err(io::Error::other(self.failure().unwrap_or_else(|| CUT.to_owned()))),
            }
        }
        Ok(())
    }
}

/// The entries of an upload. What of an entry was not read is passed over.
pub(super) struct Entries {
    feed: Arc<Mutex<Feed>>,
    is_over: bool,
}

impl Entries {
    pub(super) fn new(messages: mpsc::Receiver<Message>) -> Self {
        let feed = Feed { messages, number: 0, is_read: true, rest: Bytes::new(), outcome: None };
        Self { feed: Arc::new(Mutex::new(feed)), is_over: false }
    }
}

impl Iterator for Entries {
    type Item = Result<Entry, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match feed.next() {
                Some(Message::Entry(head)) => {
                    feed.number += 1;
                    (feed.is_read, feed.rest) = (false, Bytes::new());
                    let number = feed.number;
                    drop(feed);
                    let reader = PartReader { feed: Arc::clone(&self.feed), number };
                    let entry = entry(head, reader);
                    self.is_over = entry.is_err();
                    return Some(entry);
                }
                Some(_) => {}
                None => {
                    self.is_over = true;
                    return feed.failure().map(|error| Err(InputError::Other(error)));
                }
            }
        }
    }
}

/// Longest target of a symlink, in bytes.
const TARGET_BYTES_MAX: u64 = 64 << 10;

fn entry(head: PartHead, reader: PartReader) -> Result<Entry, InputError> {
    let kind = match head.kind {
        PartKind::File => EntryKind::File { reader: Box::new(reader), size_hint: None },
        PartKind::Directory => EntryKind::Directory,
        PartKind::Symlink => {
            let mut target = Vec::new();
            let read = reader.take(TARGET_BYTES_MAX + 1).read_to_end(&mut target);
            read.map_err(|error| InputError::Other(error.to_string()))?;
            if target.len() as u64 > TARGET_BYTES_MAX {
                return Err(InputError::TooLarge { bytes_max: TARGET_BYTES_MAX });
            }
            EntryKind::Symlink(target)
        }
    };
    Ok(Entry { path: head.path, kind, meta: head.meta, disk_path: None })
}

/// The bytes of one part. An upload that is cut is an error here, never the end of the file.
struct PartReader {
    feed: Arc<Mutex<Feed>>,
    number: u64,
}

impl Read for PartReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut feed = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if feed.number != self.number {
            return Err(io::Error::other("this file of the upload was passed over"));
        }
        feed.data()?;
        let count = feed.rest.len().min(buffer.len());
        if let Some(target) = buffer.get_mut(..count) {
            feed.rest.copy_to_slice(target);
        }
        Ok(count)
    }
}
