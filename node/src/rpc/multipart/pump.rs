//! The sending end of an upload: reads the body of a request as it comes and hands its parts to the command.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::commands::registry::{Input, InputError};
use crate::http::Body;

use super::disposition::{parameter, parse};
use super::feed::{Entries, Message};
use super::head::{PartHead, PartKind};
use super::parser::{Event, MultipartError, Parser};

/// Messages between the body and the command. A message holds what was read at once, some 64 KiB.
const MESSAGES_WAITING: usize = 8;
/// Top-level directories that are remembered, so that one which is announced again is passed over.
const DIRECTORIES_KNOWN: usize = 65_536;
/// Bytes behind the last part that are read, so that the connection can be used again.
const EPILOGUE_BYTES_MAX: usize = 64 << 10;
/// How long the command waits for that. What follows the last part comes with it, as a rule.
const EPILOGUE_WAIT_MAX: Duration = Duration::from_millis(20);

/// The boundary of a multipart body; `None` if the body is said to be something else.
pub(in crate::rpc) fn boundary(content_type: &[u8]) -> Option<Result<String, MultipartError>> {
    let (media_type, parameters) = parse(content_type);
    (media_type == "multipart/form-data").then(|| {
        let boundary = parameter(&parameters, "boundary").ok_or(MultipartError::Boundary)?;
        String::from_utf8(boundary.into_owned()).map_err(|_| MultipartError::Boundary)
    })
}

/// An upload that is being read. Dropping it ends that.
#[derive(Debug)]
pub(in crate::rpc) struct Upload {
    task: JoinHandle<()>,
    is_too_large: Arc<AtomicBool>,
}

impl Upload {
    /// Whether it was refused for its size.
    pub(in crate::rpc) fn is_too_large(&self) -> bool {
        self.is_too_large.load(Ordering::Relaxed)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Begins to read an upload, of at most `bytes_max` bytes. Its entries may come in any order.
pub(in crate::rpc) fn open(
    body: Body,
    boundary: &str,
    bytes_max: Option<u64>,
) -> Result<(Input, Upload), MultipartError> {
    let parser = Parser::new(boundary)?;
    let (sender, messages) = mpsc::channel(MESSAGES_WAITING);
    let is_too_large = Arc::new(AtomicBool::new(false));
    let source = Source { body, parser, bytes: 0, bytes_max, is_too_large: Arc::clone(&is_too_large) };
    let task = tokio::spawn(pump(source, sender));
    Ok((Input::new(Entries::new(messages)).in_any_order(), Upload { task, is_too_large }))
}

/// The first part of an upload as a whole, up to `bytes_max`.
pub(in crate::rpc) async fn first_file(
    body: Body,
    boundary: &str,
    bytes_max: u64,
) -> Result<Option<Vec<u8>>, String> {
    let parser = Parser::new(boundary).map_err(|error| error.to_string())?;
    let mut source = Source { body, parser, bytes: 0, bytes_max: None, is_too_large: Arc::default() };
    let mut file: Option<Vec<u8>> = None;
    while let Some(event) = source.next().await? {
        match (event, &mut file) {
            (Event::Part(_), None) => file = Some(Vec::new()),
            (Event::Data(data), Some(file)) => {
                file.extend_from_slice(&data);
                if file.len() as u64 > bytes_max {
                    return Err(InputError::TooLarge { bytes_max }.to_string());
                }
            }
            _ => break,
        }
    }
    Ok(file)
}

/// A body and its parser.
struct Source {
    body: Body,
    parser: Parser,
    bytes: u64,
    bytes_max: Option<u64>,
    is_too_large: Arc<AtomicBool>,
}

impl Source {
    /// The next event; `None` behind the last part.
    async fn next(&mut self) -> Result<Option<Event>, String> {
        loop {
            if let Some(event) = self.parser.next().map_err(|error| error.to_string())? {
                return Ok(Some(event));
            }
            if self.parser.is_at_end() {
                return Ok(None);
            }
            match self.body.next().await {
                Some(Ok(data)) => {
                    self.bytes += data.len() as u64;
                    if let Some(bytes_max) = self.bytes_max.filter(|max| self.bytes > *max) {
                        self.is_too_large.store(true, Ordering::Relaxed);
                        return Err(too_large(bytes_max));
                    }
                    self.parser.push(&data);
                }
                Some(Err(error)) => return Err(error.to_string()),
                None => {
                    self.parser.finish().map_err(|error| error.to_string())?;
                    return Ok(None);
                }
            }
        }
    }

    /// Reads on to the end of the body, if that is near.
    async fn drain(&mut self) {
        let mut bytes = 0;
        while bytes <= EPILOGUE_BYTES_MAX
            && let Some(Ok(data)) = self.body.next().await
        {
            bytes += data.len();
        }
    }
}

/// What is said of an upload beyond its limit.
pub(in crate::rpc) fn too_large(bytes_max: u64) -> String {
    format!(
        "the upload is larger than {bytes_max} bytes, which is what API.MaxUploadSize of the config allows"
    )
}

/// Reads the body to its end, or until nobody wants it any more.
async fn pump(mut source: Source, sender: mpsc::Sender<Message>) {
    let mut filter = Filter::default();
    loop {
        let message = match source.next().await {
            Ok(Some(event)) => match filter.message(event) {
                Some(message) => message,
                None => continue,
            },
            Ok(None) => Message::End,
            Err(error) => Message::Failed(error),
        };
        let is_whole = matches!(message, Message::End);
        if is_whole {
            // A connection whose request was read to its end before the answer begins can be used again.
            let _ = timeout(EPILOGUE_WAIT_MAX, source.drain()).await;
        }
        let is_last = is_whole || matches!(message, Message::Failed(_));
        if sender.send(message).await.is_err() || is_last {
            break;
        }
    }
    drop(sender);
    if source.parser.is_at_end() {
        source.drain().await;
    }
}

/// Turns events into messages, without directories that were announced before.
#[derive(Default)]
struct Filter {
    /// Top-level directories, announced or implied.
    known: HashSet<Vec<u8>>,
    is_passed_over: bool,
}

impl Filter {
    fn message(&mut self, event: Event) -> Option<Message> {
        if let Event::Part(head) = &event {
            self.is_passed_over = self.is_repeated(head);
        }
        if self.is_passed_over {
            return None;
        }
        Some(match event {
            Event::Part(head) => Message::Entry(head),
            Event::Data(data) => Message::Data(data),
            Event::PartEnd => Message::EntryEnd,
        })
    }

    /// Whether it is a directory at the top that is there already. Below the top, being announced twice does no harm.
    fn is_repeated(&mut self, head: &PartHead) -> bool {
        let slash = head.path.iter().position(|byte| *byte == b'/');
        if slash.is_none() && head.kind != PartKind::Directory {
            return false;
        }
        let top = head.path.get(..slash.unwrap_or(head.path.len())).unwrap_or_default();
        let is_known = self.known.contains(top);
        if !is_known && self.known.len() < DIRECTORIES_KNOWN {
            self.known.insert(top.to_owned());
        }
        is_known && slash.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::commands::registry::{EntryKind, ModeAndTime};

    fn part(filename: &str, content_type: &str, data: &str) -> String {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\nContent-Type: \
             {content_type}\r\n\r\n{data}\r\n"
        )
    }

    /// Paths with contents, as a command reads them on a thread that may wait.
    async fn read(body: String, bytes_max: Option<u64>) -> Vec<Result<(String, String), String>> {
        let (input, upload) = open(Body::from_bytes(body), "b", bytes_max).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let entries = input.map(|entry| {
                let entry = entry.map_err(|error| error.to_string())?;
                let content = match entry.kind {
                    EntryKind::File { mut reader, .. } => {
                        let mut text = String::new();
                        reader.read_to_string(&mut text).map_err(|error| error.to_string())?;
                        text
                    }
                    EntryKind::Directory => "directory".to_owned(),
                    EntryKind::Symlink(target) => format!("-> {}", String::from_utf8(target).unwrap()),
                };
                Ok((String::from_utf8(entry.path).unwrap(), content))
            });
            entries.collect()
        });
        let entries = read.await.unwrap();
        drop(upload);
        entries
    }

    #[tokio::test]
    async fn a_tree_comes_out_as_it_was_sent() {
        let body = [
            part("d", "application/x-directory", ""),
            part("d%2Fx", "application/octet-stream", "one"),
            part("d", "application/x-directory", ""),
            part("d%2Fs", "application/symlink", "x"),
            part("e/f", "text/plain", ""),
            part("e", "application/x-directory", ""),
            part("top", "text/plain", "t"),
            "--b--\r\n".to_owned(),
        ];
        let got: Vec<_> = read(body.concat(), None).await.into_iter().map(Result::unwrap).collect();
        let got: Vec<_> = got.iter().map(|(path, content)| (&path[..], &content[..])).collect();
        assert_eq!(got, [("d", "directory"), ("d/x", "one"), ("d/s", "-> x"), ("e/f", ""), ("top", "t")]);
    }

    #[tokio::test]
    async fn an_upload_that_is_cut_anywhere_ends_in_an_error() {
        let whole = [part("f", "text/plain", "content"), part("g", "text/plain", "more"), "--b--".to_owned()]
            .concat();
        for cut in 0..whole.len() {
            let got = read(whole[..cut].to_owned(), None).await;
            let (last, before) = got.split_last().unwrap();
            assert!(last.as_ref().unwrap_err().contains("unexpected EOF"), "cut at {cut}: {last:?}");
            for entry in before {
                match entry {
                    Ok((name, text)) => {
                        assert!([("f", "content"), ("g", "more")].contains(&(&name[..], &text[..])));
                    }
                    Err(error) => assert!(error.contains("unexpected EOF"), "cut at {cut}"),
                }
            }
        }
    }

    #[tokio::test]
    async fn an_upload_beyond_the_limit_is_refused() {
        let body = [part("f", "text/plain", &"x".repeat(1000)), "--b--".to_owned()].concat();
        assert!(read(body.clone(), Some(2000)).await[0].is_ok());
        let got = read(body, Some(500)).await;
        assert!(got[0].as_ref().unwrap_err().contains("API.MaxUploadSize"), "{got:?}");
    }

    #[tokio::test]
    async fn what_a_command_does_not_read_is_passed_over() {
        let body =
            [part("f", "text/plain", &"x".repeat(100_000)), part("g", "text/plain", "y"), "--b--".to_owned()];
        let (mut input, upload) = open(Body::from_bytes(body.concat()), "b", None).unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut first = input.next_file().unwrap().unwrap();
            let mut second = input.next_file().unwrap().unwrap();
            let (mut text, mut none) = (String::new(), String::new());
            second.read_to_string(&mut text).unwrap();
            assert!(first.read_to_string(&mut none).is_err());
            assert!(input.next_file().unwrap().is_none());
            text
        });
        assert_eq!(read.await.unwrap(), "y");
        drop(upload);
    }

    #[tokio::test]
    async fn a_reader_whose_upload_was_given_up_gets_an_error_and_no_end() {
        let (sender, messages) = mpsc::channel(4);
        let head = PartHead { kind: PartKind::File, path: b"f".to_vec(), meta: ModeAndTime::default() };
        sender.send(Message::Entry(head)).await.unwrap();
        sender.send(Message::Data("half".into())).await.unwrap();
        drop(sender);
        let mut input = Input::new(Entries::new(messages));
        let read = tokio::task::spawn_blocking(move || {
            let mut data = Vec::new();
            let outcome = input.next_file().unwrap().unwrap().read_to_end(&mut data);
            (outcome.is_err(), data, input.next().is_some_and(|entry| entry.is_err()))
        });
        assert_eq!(read.await.unwrap(), (true, b"half".to_vec(), true));
    }

    #[tokio::test]
    async fn the_first_part_is_read_as_a_whole() {
        let body =
            [part("f", "text/plain", "a\nb"), part("g", "text/plain", "c"), "--b--".to_owned()].concat();
        assert_eq!(first_file(Body::from_bytes(body.clone()), "b", 3).await.unwrap().unwrap(), b"a\nb");
        assert!(
            first_file(Body::from_bytes(body), "b", 2).await.unwrap_err().contains("larger than 2 bytes")
        );
        assert_eq!(first_file(Body::from_bytes("--b--"), "b", 2).await, Ok(None));
        assert!(first_file(Body::from_bytes("--b\r\n\r\nx"), "b", 9).await.is_err());
    }

    #[test]
    fn the_boundary_stands_in_the_content_type() {
        assert_eq!(boundary(b"multipart/form-data; boundary=\"a b\"").unwrap().unwrap(), "a b");
        assert_eq!(boundary(b"Multipart/Form-Data;boundary=x").unwrap().unwrap(), "x");
        assert_eq!(boundary(b"multipart/form-data").unwrap(), Err(MultipartError::Boundary));
        assert!(boundary(b"application/octet-stream").is_none());
        assert!(boundary(b"").is_none());
    }
}
