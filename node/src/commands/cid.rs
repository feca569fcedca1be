//! `cid`.

use holdfast_dag::base::{BASES, base_code, base_prefix};
use holdfast_dag::cid_text::{CidConversion, CidInspection, inspect};
use holdfast_dag::hash::HashKind;
use holdfast_dag::ipld::{CODECS, SUPPORTED};
use serde_json::{Value, json};

use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response};
use super::{Context, Terminal, words_in};

pub(super) fn command() -> Command {
    Command::new("cid", "Convert and discover properties of CIDs.")
        .needs(Needs::Nothing)
        .subcommand(
            Command::new("base32", "Convert CIDs to Base32 CID version 1.")
                .help("Prints each CID in the form that is the same for everybody: version 1 in base32.")
                .arg(Arg::text("cid", "CIDs to convert.").required().variadic().stdin())
                .needs(Needs::Nothing)
                .run(|_, request: Request| std::future::ready(Ok(convert(&request, &CidConversion::base32()))))
                .failure(not_shown)
                .terminal(|terminal, call, response| Box::pin(show(terminal, call, response))),
        )
        .subcommand(list(bases(), "bases", "List available multibase encodings."))
        .subcommand(list(codecs(), "codecs", "List available CID multicodecs."))
        .subcommand(format())
        .subcommand(list(codecs(), "hashes", "List available multihashes."))
        .subcommand(
            Command::new("inspect", "Inspect and display detailed information about a CID.")
                .help(
                    "Takes a CID apart: version, multibase, multicodec, multihash, and the same CID in version 0 (if \
                     there is such a CID) and version 1.",
                )
                .arg(Arg::text("cid", "CID to inspect.").required().stdin())
                .needs(Needs::Nothing)
                .run(|_, request: Request| std::future::ready(Ok(Response::One(inspection(request.arg(0))))))
                .text(inspection_text)
                .failure(|value| words_in(value, "errorMsg"))
                .plain_output(),
        )
}

fn format() -> Command {
    Command::new("format", "Format and convert a CID in various useful ways.")
        .help(
            "Prints CIDs in another form.\n\nThe format (-f) is a text with these in it:\n\n  %%  a literal %\n  %b  \
             multibase name\n  %B  multibase code\n  %v  version string\n  %V  version number\n  %c  multicodec \
             name\n  %C  multicodec code\n  %h  multihash name\n  %H  multihash code\n  %L  length of the digest in \
             bytes\n  %m  multihash, encoded in the base (with its prefix)\n  %M  multihash, encoded in the base \
             (without a prefix)\n  %d  digest, encoded in the base (with its prefix)\n  %D  digest, encoded in the \
             base (without a prefix)\n  %s  CID, encoded in the base (1)\n  %S  CID, encoded in the base without a \
             prefix\n  %P  CID prefix: %v-%c-%h-%L\n\n(1) Version 0 has base58btc only, without a prefix.",
        )
        .arg(Arg::text("cid", "CIDs to format.").required().variadic().stdin())
        .opt(Opt::string("f", "Printf style format string.").default("%s"))
        .opt(Opt::string("v", "CID version to convert to."))
        .opt(Opt::string("mc", "CID multicodec to convert to."))
        .opt(Opt::string("b", "Multibase to display CID in."))
        .needs(Needs::Nothing)
        .run(|_, request: Request| std::future::ready(run_format(&request)))
        .failure(not_shown)
        .terminal(|terminal, call, response| Box::pin(show(terminal, call, response)))
}

/// What is said in the end where a CID could not be shown.
const NOT_SHOWN: &str = "errors while displaying some entries";

fn not_shown(value: &Value) -> Option<String> {
    words_in(value, "ErrorMsg").map(|_| NOT_SHOWN.to_owned())
}

fn run_format(call: &Call) -> Result<Response, CommandError> {
    let conversion = CidConversion::new(call.text("f"), call.text("v"), call.text("mc"), call.text("b"))
        .map_err(CommandError::from_error)?;
    Ok(convert(call, &conversion))
}

/// One value a CID. An error that no other CID could escape ends the stream.
fn convert(call: &Call, conversion: &CidConversion) -> Response {
    let (call, conversion) = (call.clone(), conversion.clone());
    let count = call.args().len();
    let values = (0..count).map(move |index| {
        let text = call.arg(index);
        match conversion.apply(text) {
            Ok(formatted) => Ok(
                json!({ "CidStr": text, "Formatted": String::from_utf8_lossy(&formatted), "ErrorMsg": "" }),
            ),
            Err(error) if error.is_fatal() => Err(CommandError::from_error(error)),
            Err(error) => Ok(json!({ "CidStr": text, "Formatted": "", "ErrorMsg": error.to_string() })),
        }
    });
    Response::Stream(Box::pin(futures_util::stream::iter(values)))
}

/// At the terminal: forms on standard output, complaints on standard error, and the first does not wait for the last.
async fn show(terminal: &mut Terminal, _call: &Call, response: Response) -> Result<(), CommandError> {
    let Response::Stream(mut values) = response else { return Ok(()) };
    let mut failed = false;
    while let Some(value) = terminal.next(&mut values).await? {
        let value = value?;
        let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        match field("ErrorMsg") {
            "" => terminal.print_line(field("Formatted"))?,
            error => {
                failed = true;
                terminal.complain(&format!("{}: {error}", terminal.safe(field("CidStr"))));
            }
        }
    }
    if failed {
        return Err(CommandError::new(NOT_SHOWN));
    }
    Ok(())
}

/// A table of names and numbers, with the options that its lister has.
fn list(options: Vec<Opt>, name: &'static str, tagline: &'static str) -> Command {
    Command::new(name, tagline).opts(options).needs(Needs::Nothing).run(run_list).text(if name == "bases" {
        bases_text
    } else {
        names_text
    })
}

/// The options of `cid bases` and `multibase list`.
fn bases() -> Vec<Opt> {
    vec![
        Opt::bool("prefix", "Also include the single letter prefixes in addition to the code."),
        Opt::bool("numeric", "Also include numeric codes."),
    ]
}

/// The options of `cid codecs` and `cid hashes`.
fn codecs() -> Vec<Opt> {
    vec![
        Opt::bool("numeric n", "Also include numeric codes."),
        Opt::bool("supported s", "List only those that commands of this node know more of than the name."),
    ]
}

/// `multibase list`: the same as `cid bases`.
pub(super) fn multibase_list() -> Command {
    list(bases(), "list", "List available multibase encodings.").text(bases_text)
}

async fn run_list(_context: Context, request: Request) -> Result<Response, CommandError> {
    let row = |code: u64, name: &str| json!({ "Code": code, "Name": name });
    let rows: Vec<Value> = match request.path().last() {
        Some(&"codecs") => {
            let shown = |code: &u64| !request.bool("supported") || SUPPORTED.contains(code);
            CODECS.iter().filter(|(code, _)| shown(code)).map(|(code, name)| row(*code, name)).collect()
        }
        Some(&"hashes") => HashKind::all().map(|kind| row(kind.code(), &kind.name())).collect(),
        _ => BASES.iter().map(|(base, name)| row(u64::from(base_code(*base)), name)).collect(),
    };
    Ok(Response::One(Value::Array(rows)))
}

/// Names with the letters that stand for them.
fn bases_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let (prefix, numeric) = (call.bool("prefix"), call.bool("numeric"));
    let mut rows = rows(value);
    // Kubo's order: by letter, lower case before upper case.
    let key = |code: u64| {
        let letter = u32::try_from(code).ok().and_then(char::from_u32).unwrap_or_default();
        (letter.to_lowercase().next().unwrap_or_default(), std::cmp::Reverse(code))
    };
    rows.sort_by_key(|(code, _)| key(*code));
    for (code, name) in rows {
        let known = BASES.iter().find(|(base, _)| u64::from(base_code(*base)) == code);
        let letter = known.map_or(' ', |(base, _)| base_prefix(*base));
        let line = match (prefix, numeric) {
            (true, true) => format!("{letter} {code:7}  {name}\n"),
            (true, false) => format!("{letter}  {name}\n"),
            (false, true) => format!("{code:7}  {name}\n"),
            (false, false) => format!("{name}\n"),
        };
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}

/// Names, by number.
fn names_text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let mut rows = rows(value);
    rows.sort_by_key(|(code, _)| *code);
    for (code, name) in rows {
        let line = if call.bool("numeric") { format!("{code:5}  {name}\n") } else { format!("{name}\n") };
        out.extend_from_slice(line.as_bytes());
    }
    Ok(())
}

fn rows(value: &Value) -> Vec<(u64, &str)> {
    let rows = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let code = |row: &Value| row.get("Code").and_then(Value::as_u64).unwrap_or_default();
    rows.iter().filter_map(|row| Some((code(row), row.get("Name")?.as_str()?))).collect()
}

/// What `cid inspect` answers. The text form is made where the parts are known, so a text that came over RPC is
/// made from the CID again.
fn inspection(text: &str) -> Value {
    match inspect(text) {
        Ok(found) => inspected(&found),
        Err(words) => json!({
            "cid": text,
            "version": 0,
            "multibase": { "prefix": "", "name": "" },
            "multicodec": { "code": 0, "name": "" },
            "multihash": { "code": 0, "name": "", "length": 0, "digest": "" },
            "cidV1": "",
            "errorMsg": words,
        }),
    }
}

fn inspected(found: &CidInspection) -> Value {
    use holdfast_dag::base::{Base, base_name, encode_bare};

    let hash = found.cid.hash();
    let prefix = if u64::from(found.cid.version()) == 0 { 'z' } else { found.base.code() };
    let digest = encode_bare(Base::Base16Lower, hash.digest());
    let mut value = json!({
        "cid": found.text,
        "version": u64::from(found.cid.version()),
        "multibase": { "prefix": prefix.to_string(), "name": base_name(found.base) },
        "multicodec": { "code": found.cid.codec(), "name": found.codec_name },
        "multihash": {
            "code": hash.code(),
            "name": found.hash_name,
            "length": hash.digest().len(),
            "digest": String::from_utf8_lossy(&digest),
        },
    });
    if let Some(v0) = &found.v0 {
        set(&mut value, "cidV0", v0);
    }
    set(&mut value, "cidV1", &found.v1);
    value
}

fn set(value: &mut Value, name: &str, text: &str) {
    if let Value::Object(map) = value {
        map.insert(name.to_owned(), Value::from(text));
    }
}

fn inspection_text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
    match field("errorMsg") {
        "" => {
            let found = inspect(field("cid")).map_err(CommandError::new)?;
            out.extend_from_slice(found.to_string().as_bytes());
            Ok(())
        }
        error => Err(CommandError::new(error)),
    }
}
