//! The files of a call as a multipart body, in the form that Kubo's clients send.

use std::fmt::Write as _;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::commands::registry::{
    CommandError, Entry, EntryKind, Input, InputError, ModeAndTime, Response, errno_text,
};
use crate::services::unixfs::add::AddError;

/// Bytes that are read, and sent, at a time.
const PIECE_BYTES: usize = 256 << 10;

type Pieces = mpsc::Sender<Result<Bytes, String>>;

/// What is to be sent, and how its parts are told apart.
pub(super) struct Upload {
    content: Content,
    boundary: String,
}

enum Content {
    /// Files and folders; what cannot be read is noted here and left out, where that is not an error.
    Input(Input, Option<Skipped>),
    /// Arguments, one a line.
    Args(Vec<String>),
}

/// Why a body ends early.
enum Stop {
    /// Nobody takes it any more.
    Gone,
    /// In full words.
    Failed(String),
}

impl Upload {
    /// The files of a call.
    pub(super) fn of_input(input: Input, skipped: Option<Skipped>) -> Self {
        Self::new(Content::Input(input, skipped))
    }

    /// Arguments that did not fit into the query.
    pub(super) fn of_args(args: Vec<String>) -> Self {
        Self::new(Content::Args(args))
    }

    fn new(content: Content) -> Self {
        // Long and random: nothing that is sent holds it.
        Self { content, boundary: format!("holdfast{:032x}", rand::random::<u128>()) }
    }

    /// The header that goes with it.
    pub(super) fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={}", self.boundary)
    }

    /// Makes all of it. Blocking; it ends when nobody takes it any more.
    pub(super) fn write(self, pieces: &Pieces) {
        let mut out = Out { pieces, buffer: BytesMut::new() };
        let written = match self.content {
            Content::Input(input, skipped) => {
                write_entries(input, skipped.as_ref(), &self.boundary, &mut out)
            }
            Content::Args(args) => write_args(&args, &self.boundary, &mut out),
        };
        let ended = written.and_then(|()| {
            out.push(format!("--{}--\r\n", self.boundary).as_bytes())?;
            out.flush()
        });
        if let Err(Stop::Failed(words)) = ended {
            // Nobody may be there to hear it.
            let _ = pieces.blocking_send(Err(words));
        }
    }
}

/// Gathers small parts.
struct Out<'p> {
    pieces: &'p Pieces,
    buffer: BytesMut,
}

impl Out<'_> {
    fn push(&mut self, data: &[u8]) -> Result<(), Stop> {
        self.buffer.extend_from_slice(data);
        if self.buffer.len() < PIECE_BYTES { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.pieces.blocking_send(Ok(self.buffer.split().freeze())).map_err(|_| Stop::Gone)
    }

    /// Copies all that a file holds. `patient`: it may take its time, so what there is goes out before each read.
    fn copy(&mut self, mut reader: impl Read, first: &[u8], patient: bool, path: &[u8]) -> Result<(), Stop> {
        self.push(first)?;
        let mut room = vec![0; PIECE_BYTES];
        loop {
            if patient {
                self.flush()?;
            }
            let count = match reader.read(&mut room) {
                Ok(count) => count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let path = String::from_utf8_lossy(path).into_owned();
                    return Err(Stop::Failed(format!("read {path}: {}", errno_text(&error))));
                }
            };
            if count == 0 {
                return Ok(());
            }
            self.push(room.get(..count).unwrap_or_default())?;
        }
    }
}

fn write_args(args: &[String], boundary: &str, out: &mut Out<'_>) -> Result<(), Stop> {
    let part = part(boundary, b"stdin", ModeAndTime::default(), "application/octet-stream");
    out.push(part.as_bytes())?;
    for arg in args {
        out.push(arg.as_bytes())?;
        out.push(b"\n")?;
    }
    out.push(b"\r\n")
}

fn write_entries(
    input: Input,
    skipped: Option<&Skipped>,
    boundary: &str,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    for entry in input {
        let entry = match (entry, skipped) {
            (Ok(entry), _) => entry,
            (Err(InputError::Entry(words)), Some(skipped)) => {
                skipped.note(words);
                continue;
            }
            (Err(error), _) => return Err(Stop::Failed(error.to_string())),
        };
        write_entry(entry, skipped, boundary, out)?;
    }
    Ok(())
}

fn write_entry(
    entry: Entry,
    skipped: Option<&Skipped>,
    boundary: &str,
    out: &mut Out<'_>,
) -> Result<(), Stop> {
    let Entry { path, kind, meta, disk_path } = entry;
    let begin = |kind: &str| part(boundary, &path, meta, kind);
    match kind {
        EntryKind::Directory => out.push(begin("application/x-directory").as_bytes())?,
        EntryKind::Symlink(target) => {
            out.push(begin("application/symlink").as_bytes())?;
            out.push(&target)?;
        }
        EntryKind::File { mut reader, .. } => {
            // A file that cannot be read at all is found out before anything is said of it.
            let mut first = [0; 4096];
            let count = match disk_path.as_ref().map_or(Ok(0), |_| reader.read(&mut first)) {
                Ok(count) => count,
                Err(error) => {
                    let shown = disk_path.unwrap_or_default();
                    let words = format!("open {}: {}", shown.display(), errno_text(&error));
                    return match skipped {
                        Some(skipped) => {
                            skipped.note(words);
                            Ok(())
                        }
                        None => Err(Stop::Failed(words)),
                    };
                }
            };
            out.push(begin("application/octet-stream").as_bytes())?;
            let first = first.get(..count).unwrap_or_default();
            out.copy(reader, first, disk_path.is_none(), &path)?;
        }
    }
    out.push(b"\r\n")
}

/// The head of a part. Mode and time go into the name of its field, as Kubo has it.
fn part(boundary: &str, path: &[u8], meta: ModeAndTime, kind: &str) -> String {
    let mut field = "file".to_owned();
    let mut separator = '?';
    let mut append = |name: &str, value: String| {
        // Writing to a String does not fail.
        let _ = write!(field, "{separator}{name}={value}");
        separator = '&';
    };
    if let Some(mode) = meta.mode {
        append("mode", format!("{mode:04o}"));
    }
    if let Some(mtime) = meta.mtime {
        append("mtime", mtime.to_string());
        if let Some(nanos) = meta.mtime_nanos {
            append("mtime-nsecs", nanos.to_string());
        }
    }
    let name: String = form_urlencoded::byte_serialize(path).collect();
    format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\nContent-Type: \
         {kind}\r\n\r\n"
    )
}

/// What could not be read and was left out: told among the values of the response, and at their end.
#[derive(Debug, Clone, Default)]
pub(super) struct Skipped(Arc<Mutex<Noted>>);

#[derive(Debug, Default)]
struct Noted {
    untold: Vec<String>,
    count: u64,
    first: Option<String>,
}

impl Skipped {
    fn note(&self, words: String) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.count += 1;
        noted.first.get_or_insert_with(|| words.clone());
        noted.untold.push(words);
    }

    /// What was not told yet, as the values that a walk here would give.
    fn untold(&self) -> Vec<Value> {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noted.untold.drain(..).map(|words| json!({ "Name": "", "Error": words })).collect()
    }

    /// How it all ends, if something was left out.
    fn error(&self) -> Option<CommandError> {
        let noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = noted.first.clone()?;
        Some(CommandError::from_error(AddError::Unreadable { count: noted.count, first }))
    }

    /// A response that tells of it.
    pub(super) fn told(self, response: Result<Response, CommandError>) -> Result<Response, CommandError> {
        let values = match response {
            Ok(Response::Stream(values)) => values,
            // Nothing may have been left to send.
            Err(error) => match self.error() {
                None => return Err(error),
                Some(_) => futures_util::stream::empty().boxed(),
            },
            other => return other,
        };
        let (mid, end) = (self.clone(), self);
        let values = values.flat_map(move |value| {
            let skipped = mid.untold().into_iter().map(Ok);
            futures_util::stream::iter(skipped.chain([value]).collect::<Vec<_>>())
        });
        let last = futures_util::stream::once(async move {
            let skipped = end.untold().into_iter().map(Ok);
            futures_util::stream::iter(skipped.chain(end.error().map(Err)).collect::<Vec<_>>())
        });
        Ok(Response::Stream(values.chain(last.flatten()).boxed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(upload: Upload) -> Result<String, String> {
        let (pieces, mut body) = mpsc::channel(64);
        upload.write(&pieces);
        drop(pieces);
        let mut text = String::new();
        while let Some(piece) = body.blocking_recv() {
            text.push_str(std::str::from_utf8(&piece?).unwrap());
        }
        Ok(text)
    }

    fn entry(path: &[u8], kind: EntryKind) -> Entry {
        Entry { path: path.to_vec(), kind, meta: ModeAndTime::default(), disk_path: None }
    }

    #[test]
    fn a_tree_is_sent_in_parts_with_its_names_escaped() {
        let file =
            |text: &'static str| EntryKind::File { reader: Box::new(text.as_bytes()), size_hint: None };
        let mut with_meta = entry(b"d/link", EntryKind::Symlink(b"else/where".to_vec()));
        with_meta.meta = ModeAndTime { mode: Some(0o644), mtime: Some(-5), mtime_nanos: Some(7) };
        let entries = vec![entry(b"d", EntryKind::Directory), entry(b"d/a b\xff", file("hello")), with_meta];
        let upload = Upload::of_input(Input::new(entries.into_iter().map(Ok)), None);
        let boundary = upload.boundary.clone();
        assert_eq!(upload.content_type(), format!("multipart/form-data; boundary={boundary}"));
        let expected = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d\"\r\nContent-Type: \
             application/x-directory\r\n\r\n\r\n\
             --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"d%2Fa+b%FF\"\r\nContent-Type: \
             application/octet-stream\r\n\r\nhello\r\n\
             --B\r\nContent-Disposition: form-data; name=\"file?mode=0644&mtime=-5&mtime-nsecs=7\"; \
             filename=\"d%2Flink\"\r\nContent-Type: application/symlink\r\n\r\nelse/where\r\n--B--\r\n";
        assert_eq!(sent(upload).unwrap().replace(&boundary, "B"), expected);
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_told_or_ends_the_body() {
        let entries = || {
            let file = EntryKind::File { reader: Box::new("x".as_bytes()), size_hint: None };
            vec![Err(InputError::Entry("open a: permission denied".to_owned())), Ok(entry(b"b", file))]
                .into_iter()
        };
        assert_eq!(
            sent(Upload::of_input(Input::new(entries()), None)).unwrap_err(),
            "open a: permission denied"
        );
        let skipped = Skipped::default();
        let body = sent(Upload::of_input(Input::new(entries()), Some(skipped.clone()))).unwrap();
        assert!(body.contains("filename=\"b\"") && !body.contains("filename=\"a\""));
        assert_eq!(skipped.untold(), [json!({ "Name": "", "Error": "open a: permission denied" })]);
        assert_eq!(skipped.untold(), Vec::<Value>::new(), "once");
        let words = skipped.error().unwrap().message;
        assert_eq!(words, "1 entry could not be read: open a: permission denied");
    }
}
