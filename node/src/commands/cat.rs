//! `cat`.

use futures_util::TryStreamExt as _;

use super::Context;
use super::paths;
use super::registry::{Arg, ByteStream, Command, CommandError, Opt, Request, Response};
use crate::services::unixfs::CatOptions;

pub(super) fn command() -> Command {
    Command::new("cat", "Show IPFS object data.")
        .help("Writes the contained data of files to standard output, one after the other.")
        .arg(
            Arg::text("ipfs-path", "The path to the IPFS objects to be output.")
                .required()
                .variadic()
                .stdin(),
        )
        .opt(Opt::int64("offset o", "Byte offset to begin reading from."))
        .opt(Opt::int64("length l", "Maximum number of bytes to read."))
        .opt(Opt::bool("progress p", "Show progress where a person sees it.").default(true))
        .run(run)
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let not_negative = |name: &str| {
        let number = request.int_opt(name).map(u64::try_from).transpose();
        number.map_err(|_| CommandError::new(format!("cannot specify negative {name}")))
    };
    let (offset, length) = (not_negative("offset")?.unwrap_or(0), not_negative("length")?);
    let paths = paths::parse_all(request.args())?;
    let files = context.node().await?.unixfs().cat(&paths, CatOptions { offset, length }).await;
    let files = files.map_err(CommandError::from_error)?;
    Ok(Response::Bytes(ByteStream {
        length: Some(files.length()),
        content_type: "text/plain",
        stream: Box::pin(files.map_err(CommandError::from_error)),
    }))
}
