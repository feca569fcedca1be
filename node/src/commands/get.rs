//! `get`: an archive for those who are elsewhere, files on disk at the terminal.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::{Buf as _, Bytes};
use futures_util::TryStreamExt as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::registry::{Arg, ByteStream, Call, Command, CommandError, InputError, Opt, Request, Response};
use super::{Context, Terminal, paths};
use crate::services::unixfs::{ExtractOptions, GetOptions, NewEntry, untar};

/// Pieces of an archive that wait to be written.
const PIECES_MAX: usize = 8;

/// The level that gzip uses where none is given.
const GZIP_LEVEL_DEFAULT: u32 = 6;

pub(super) fn command() -> Command {
    Command::new("get", "Download IPFS objects.")
        .help(
            "Stores a file or directory on disk: under its name, or where --output says.\n\nUse --archive to get a \
             TAR file, --compress to have it compressed by gzip, and --compression-level (1 to 9) to say how hard.\n\nA \
             file takes its name when it is complete; until then, what had the name stays. Directories merge with those \
             that are there. A file or symlink where a directory goes, and a pipe, socket or device where anything \
             goes, is not removed: the command fails. As --output, a pipe or device is written into.",
        )
        .arg(Arg::text("ipfs-path", "The path to the IPFS object to be output.").required().stdin())
        .opt(Opt::string("output o", "The path where the output should be stored."))
        .opt(Opt::bool("archive a", "Output a TAR archive."))
        .opt(Opt::bool("compress C", "Compress the output with GZIP compression."))
        .opt(Opt::int("compression-level l", "The level of compression (1-9)."))
        .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
        .run(run)
        .terminal(|terminal, call, response| Box::pin(show(terminal, call, response)))
}

/// The level of compression, if any is asked for.
fn level(call: &Call) -> Result<Option<u32>, CommandError> {
    if !call.bool("compress") {
        return Ok(None);
    }
    match call.int_opt("compression-level").map(u32::try_from) {
        None => Ok(Some(GZIP_LEVEL_DEFAULT)),
        Some(Ok(level @ 1..=9)) => Ok(Some(level)),
        Some(_) => Err(CommandError::new("compression level must be between 1 and 9")),
    }
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let (archive, compression) = (request.bool("archive"), level(&request)?);
    let path = paths::parse(request.arg(0))?;
    let node = context.node().await?;
    let name = paths::last_name(&path);
    let root = node.resolve_block(&path).await.map_err(CommandError::from_error)?;
    let options = GetOptions { name: name.clone(), archive, compression };
    // It also finds out whether there is anything to give, before anything is said or written.
    let bytes = node.unixfs().get_cid(&root, options).await.map_err(CommandError::from_error)?;
    // Only whoever sits here may say where files are written.
    if context.is_at_terminal() && !archive && compression.is_none() {
        let total = bytes.size;
        let options = ExtractOptions { target: target(&request), name };
        let written = node.unixfs().extract_cid(root, options).map_err(CommandError::from_error);
        let values = written.map_ok(move |bytes| json!({ "Bytes": bytes, "Total": total }));
        return Ok(Response::Stream(Box::pin(values)));
    }
    Ok(Response::Bytes(ByteStream {
        length: Some(bytes.size),
        content_type: if compression.is_some() { "application/gzip" } else { "application/x-tar" },
        stream: Box::pin(bytes.map_err(CommandError::from_error)),
    }))
}

/// Where the output goes: as asked, or under its name in the working directory.
fn target(call: &Call) -> PathBuf {
    match call.text("output") {
        "" => {
            let name = call.arg(0).trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            PathBuf::from(if matches!(name, "" | "." | "..") { "." } else { name })
        }
        output => PathBuf::from(output),
    }
}

/// The name of an archive ends as one.
fn archive_target(call: &Call) -> PathBuf {
    let mut path = target(call).into_os_string();
    let ends = |path: &std::ffi::OsString, end: &str| path.as_encoded_bytes().ends_with(end.as_bytes());
    if call.bool("archive") && !ends(&path, ".tar") && !ends(&path, ".tar.gz") {
        path.push(".tar");
    }
    if call.bool("compress") && !ends(&path, ".gz") {
        path.push(".gz");
    }
    path.into()
}

async fn show(terminal: &mut Terminal, call: &Call, response: Response) -> Result<(), CommandError> {
    match response {
        // A daemon elsewhere gives an archive of what is to be written here.
        Response::Bytes(bytes) if !call.bool("archive") && !call.bool("compress") => {
            unpack(terminal, call, bytes).await
        }
        Response::Bytes(bytes) => save(terminal, call, &archive_target(call), bytes).await,
        Response::Stream(mut values) => {
            say(terminal, "file(s)", &target(call))?;
            let mut progress = line(terminal, call);
            while let Some(value) = terminal.next(&mut values).await? {
                let (value, number) = (value?, |value: &Value, name| value.get(name).and_then(Value::as_u64));
                progress.set_total(number(&value, "Total"));
                progress.add_bytes(number(&value, "Bytes").unwrap_or(0));
            }
            Ok(())
        }
        Response::Empty | Response::One(_) => Ok(()),
    }
}

fn line(terminal: &Terminal, call: &Call) -> super::Progress {
    super::Progress::new("get", None, terminal.err_is_terminal && call.bool("progress"))
}

fn say(terminal: &mut Terminal, what: &str, path: &Path) -> Result<(), CommandError> {
    let text = format!("Saving {what} to {}", path.display());
    terminal.print_line(&text)?;
    terminal.flush()
}

async fn save(
    terminal: &mut Terminal,
    call: &Call,
    path: &Path,
    mut bytes: ByteStream,
) -> Result<(), CommandError> {
    let failed = |operation| {
        let path = path.display().to_string();
        move |error| CommandError::from(InputError::Io { operation, path, error })
    };
    let target = path.to_owned();
    let (mut file, new) = on_disk(move || NewArchive::begin(&target)).await?.map_err(failed("open"))?;
    say(terminal, "archive", path)?;
    let mut progress = line(terminal, call);
    progress.set_total(bytes.length);
    while let Some(piece) = terminal.next(&mut bytes.stream).await? {
        let piece = piece?;
        progress.add_bytes(piece.len() as u64);
        let written = on_disk(move || {
            let outcome = file.write_all(&piece);
            (file, outcome)
        });
        let outcome;
        (file, outcome) = written.await?;
        outcome.map_err(failed("write"))?;
    }
    new.finish().map_err(failed("rename"))
}

/// Writes the entries of an archive as they come.
async fn unpack(terminal: &mut Terminal, call: &Call, mut bytes: ByteStream) -> Result<(), CommandError> {
    let target = target(call);
    say(terminal, "file(s)", &target)?;
    let mut progress = line(terminal, call);
    progress.set_total(bytes.length);
    let (pieces, stream) = mpsc::channel(PIECES_MAX);
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut stream = PieceReader { pieces: stream, piece: Bytes::new() };
        let unpacked = untar(&mut stream, &target, |_| {}).map_err(CommandError::from_error);
        // What follows the last entry is padding: it is read so that the sender sees the end.
        unpacked.map(|()| io::copy(&mut stream, &mut io::sink()))
    });
    let mut failure = None;
    while let Some(piece) = terminal.next(&mut bytes.stream).await? {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                // The disk's side must not take it for the end.
                failure = Some(error.clone());
                let _ = pieces.send(Err(io::Error::other(error.message))).await;
                break;
            }
        };
        progress.add_bytes(piece.len() as u64);
        // It ends early where it fails.
        if pieces.send(Ok(piece)).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let unpacked = unpacking.await.map_err(CommandError::from_error)?;
    match failure {
        Some(failure) => Err(failure),
        None => unpacked.map(|_| ()),
    }
}

/// Pieces that come over a channel, as one stream to be read on a thread that may block.
struct PieceReader {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

/// An archive that is not complete: under a temporary name, which is removed with this value.
struct NewArchive {
    /// The temporary file; none for what is written into, such as a pipe.
    entry: Option<NewEntry<OwnedFd>>,
}

impl NewArchive {
    fn begin(path: &Path) -> io::Result<(File, Self)> {
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            return Ok((File::options().write(true).open(path)?, Self { entry: None }));
        }
        if path.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        // The archive's name is the user's own word: a link stays, and leads to the new archive.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let (file, entry) = NewEntry::file(OwnedFd::from(File::open(folder)?), name)?;
        Ok((file, Self { entry: Some(entry) }))
    }

    /// Gives the archive its name.
    fn finish(self) -> io::Result<()> {
        Ok(self.entry.map_or(Ok(()), NewEntry::rename)?)
    }
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CommandError> {
    tokio::task::spawn_blocking(work).await.map_err(CommandError::from_error)
}
