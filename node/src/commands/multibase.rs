//! `multibase`.

use holdfast_dag::base::{BaseError, base_by_name, decode, encode};

use super::blocking::in_place;
use super::registry::{Arg, Command, CommandError, Needs, Opt, Request, Response};
use super::{Context, cid};

/// Most bytes of a file that are encoded or decoded: it is held in memory as a whole, several times over.
const FILE_BYTES_MAX: u64 = 4 << 20;

pub(super) fn command() -> Command {
    Command::new("multibase", "Encode and decode files with multibase format.")
        .needs(Needs::Nothing)
        .subcommand(
            Command::new("decode", "Decode multibase string.")
                .help("Prints the bytes that a multibase text in a file, or on standard input, stands for.")
                .arg(Arg::file("encoded_file", "Encoded data to decode.").required().stdin())
                .needs(Needs::Nothing)
                .run(run),
        )
        .subcommand(
            Command::new("encode", "Encode data into multibase string.")
                .help("Prints the bytes of a file, or of standard input, as a multibase text.")
                .arg(Arg::file("file", "Data to encode.").required().stdin())
                .opt(base())
                .needs(Needs::Nothing)
                .run(run),
        )
        .subcommand(cid::multibase_list())
        .subcommand(
            Command::new("transcode", "Transcode multibase string between bases.")
                .help("Prints a multibase text in a file, or on standard input, in another base.")
                .arg(Arg::file("encoded_file", "Encoded data to decode.").required().stdin())
                .opt(base())
                .needs(Needs::Nothing)
                .run(run),
        )
}

fn base() -> Opt {
    Opt::string("b", "Multibase encoding.").default("base64url")
}

async fn run(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let mut input = request.take_input();
    let name = request.path().last().copied().unwrap_or_default();
    let target = request.text_opt("b").map(base_by_name).transpose().map_err(CommandError::from_error)?;
    let argument = if name == "encode" { "file" } else { "encoded_file" };
    let work = move || {
        let data = input.read_file(argument, FILE_BYTES_MAX)?;
        let data = if name == "encode" { data } else { decode(&data).map_err(words)?.1 };
        Ok::<_, CommandError>(target.map_or_else(|| data.clone(), |base| encode(base, &data)))
    };
    let data = in_place(&context, work).await?;
    Ok(Response::bytes(data, "application/octet-stream"))
}

// By value, so that it can be given to `map_err`.
#[allow(clippy::needless_pass_by_value)]
fn words(error: BaseError) -> CommandError {
    CommandError::new(format!("failed to decode multibase: {error}"))
}
