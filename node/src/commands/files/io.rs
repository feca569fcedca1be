//! `files read` and `files write`.

use std::io::{self, Read};

use futures_util::TryStreamExt as _;

use super::super::Context;
use super::super::registry::{
    Arg, ByteStream, Call, Command, CommandError, Input, InputError, Opt, Request, Response,
};
use super::options::{cid_builder, cid_options, path};
use crate::services::files::{FilesError, WriteOptions};

pub(super) fn read() -> Command {
    Command::new("read", "Read a file from MFS.")
        .help("Prints a file, or a part of it.")
        .arg(Arg::text("path", "Path to file to be read.").required())
        .opt(Opt::int64("offset o", "Byte offset to begin reading from."))
        .opt(Opt::int64("count n", "Maximum number of bytes to read."))
        .run(run_read)
}

async fn run_read(context: Context, request: Request) -> Result<Response, CommandError> {
    let path = path(request.arg(0))?;
    let files = context.node().await?.files();
    // What is there comes first, then whether the numbers make sense, as in Kubo.
    let told = |error: FilesError| match error {
        FilesError::NotExist | FilesError::NotADirectoryOnTheWay(_) => {
            CommandError::new(format!("{path}: {error}"))
        }
        other => CommandError::from_error(other),
    };
    let offset = u64::try_from(request.int("offset"));
    let count = request.int_opt("count").map(u64::try_from).transpose();
    let wanted = count.unwrap_or(Some(0));
    let file = files.read(path.clone(), offset.unwrap_or(0), wanted).await.map_err(told)?;
    if offset.is_err() {
        return Err(CommandError::new("cannot specify negative offset"));
    }
    if count.is_err() {
        return Err(CommandError::new("cannot specify negative 'count'"));
    }
    Ok(Response::Bytes(ByteStream {
        length: Some(file.length()),
        content_type: "text/plain",
        stream: Box::pin(file.map_err(CommandError::from_error)),
    }))
}

pub(super) fn write() -> Command {
    Command::new("write", "Append to (modify) a file in MFS.")
        .help(
            "Writes all of the input into a file, from an offset on. What is there is overwritten in place, what \
             goes beyond the end is appended in the trickle layout: the CID is another than that of 'add'. To put a \
             whole file into the tree, use 'add --to-files'.",
        )
        .arg(Arg::text("path", "Path to write to.").required())
        .arg(Arg::file("data", "Data to write.").required().stdin())
        .opt(Opt::int64("offset o", "Byte offset to begin writing at."))
        .opt(Opt::bool("create e", "Create the file if it does not exist."))
        .opt(Opt::bool("parents p", "Make parent directories as needed."))
        .opt(Opt::bool("truncate t", "Truncate the file to size zero before writing."))
        .opt(Opt::int64("count n", "Maximum number of bytes to read."))
        .opt(Opt::bool(
            "raw-leaves",
            "Use raw blocks for newly created leaf nodes. Default: Import.UnixFSRawLeaves.",
        ))
        .opts(cid_options())
        .run(run_write)
}

async fn run_write(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let path = path(request.arg(0))?;
    let files = context.node().await?.files();
    let options = write_options(&request)?;
    let input = Upload { input: request.take_input(), reader: None };
    files.write(path, options, input).await.map_err(CommandError::from_error)?;
    Ok(Response::Empty)
}

fn write_options(call: &Call) -> Result<WriteOptions, CommandError> {
    let offset = u64::try_from(call.int("offset"))
        .map_err(|_| CommandError::new("cannot have negative write offset"))?;
    let count = call.int_opt("count").map(u64::try_from).transpose();
    Ok(WriteOptions {
        offset,
        count: count.map_err(|_| CommandError::new("cannot have negative byte count"))?,
        create: call.bool("create"),
        parents: call.bool("parents"),
        truncate: call.bool("truncate"),
        raw_leaves: call.bool_opt("raw-leaves"),
        cid: cid_builder(call)?,
        unflushed: !call.bool("flush"),
    })
}

/// The first file of the input. It is opened by whoever reads, on a thread that may wait.
struct Upload {
    input: Input,
    reader: Option<Box<dyn Read + Send>>,
}

impl Read for Upload {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(reader) = &mut self.reader {
            return reader.read(buffer);
        }
        let file = self.input.next_file().map_err(io::Error::other)?;
        let file = file.ok_or_else(|| io::Error::other(InputError::Missing("data")))?;
        self.reader.insert(file).read(buffer)
    }
}
