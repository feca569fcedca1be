//! `name inspect`: what a record says, and whether it is to be believed.

use std::fmt::Write as _;
use std::time::SystemTime;

use data_encoding::HEXLOWER;
use holdfast_dht::ipns::{Name, Record, Timestamp};
use serde_json::{Value, json};

use super::Context;
use super::blocking::read_input;
use super::registry::{Arg, Call, Command, CommandError, Needs, Opt, Request, Response, Status};
use crate::config::GoDuration;
use crate::go_text::go_quote;

/// Longest record that is looked at, in bytes: what is longer than a record may be is told so.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Bytes in a line of a hex dump.
const DUMP_LINE_BYTES: usize = 16;

pub(super) fn command() -> Command {
    Command::new("inspect", "Inspect an IPNS record.")
        .help(
            "Prints what is in a record.\n\n  $ {program} name get <name> | {program} name inspect --verify <name>\n\n\
             --verify checks the signature against the key of a name, and whether the record is still valid.",
        )
        .arg(Arg::file("record", "The IPNS record payload to be verified.").required().stdin())
        .opt(Opt::string("verify", "CID of the public IPNS key to validate against."))
        .opt(Opt::bool("dump", "Include a full hex dump of the raw Protobuf record.").default(true))
        .needs(Needs::Nothing)
        .status(Status::Experimental)
        .run(run)
        .text(text)
        .plain_output()
}

async fn run(context: Context, mut request: Request) -> Result<Response, CommandError> {
    let bytes = read_input(&context, request.take_input(), "record", READ_BYTES_MAX).await?;
    let record = Record::decode(&bytes).map_err(CommandError::from_error)?;
    let validation = request.text_opt("verify").map(|name| verify(&record, name)).transpose()?;
    let dump = if request.bool("dump") { hex_dump(&bytes) } else { String::new() };
    Ok(Response::One(json!({
        "Entry": entry(&record),
        "PbSize": bytes.len(),
        "SignatureType": record.signature_type().to_string(),
        "HexDump": dump,
        "Validation": validation,
    })))
}

/// The fields that can be read.
fn entry(record: &Record) -> Value {
    json!({
        "Value": record.value().map(|path| path.to_string()).unwrap_or_default(),
        "ValidityType": record.validity_type().ok().and_then(|number| i64::try_from(number).ok()),
        "Validity": record.end_of_life().ok().map(|end| end.to_string()),
        "Sequence": record.sequence().ok(),
        "TTL": record.ttl_nanos().ok().flatten(),
    })
}

fn verify(record: &Record, name: &str) -> Result<Value, CommandError> {
    let name: Name = name.parse().map_err(CommandError::from_error)?;
    let verdict = record.validate(&name, Timestamp::from(SystemTime::now()));
    let reason = verdict.err().map(|error| error.to_string()).unwrap_or_default();
    Ok(json!({ "Valid": reason.is_empty(), "Reason": reason, "Name": name.to_string() }))
}

fn text(_call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let field = |name: &str| value.pointer(name).filter(|value| !value.is_null());
    let string = |name: &str| field(name).and_then(Value::as_str).unwrap_or_default();
    let mut lines = Vec::new();
    if !string("/Entry/Value").is_empty() {
        lines.push(("Value:", go_quote(string("/Entry/Value"))));
    }
    lines.extend(field("/Entry/ValidityType").map(|kind| ("Validity Type:", kind.to_string())));
    lines.extend(field("/Entry/Validity").and_then(Value::as_str).map(|end| ("Validity:", go_quote(end))));
    lines.extend(field("/Entry/Sequence").map(|number| ("Sequence:", number.to_string())));
    if let Some(ttl) = field("/Entry/TTL").and_then(Value::as_i64) {
        lines.push(("TTL:", GoDuration { nanos: ttl }.to_string()));
    }
    lines.extend(field("/PbSize").map(|bytes| ("Protobuf Size:", bytes.to_string())));
    lines.push(("Signature Type:", string("/SignatureType").to_owned()));
    let mut shown = columns("", &lines);
    match field("/Validation") {
        None => shown.push_str("\nThis record was not verified. Pass '--verify k51...' to verify.\n"),
        Some(validation) => {
            let valid = validation.get("Valid").and_then(Value::as_bool).unwrap_or_default();
            let mut lines = vec![("Valid:", valid.to_string())];
            if !string("/Validation/Reason").is_empty() {
                lines.push(("Reason:", string("/Validation/Reason").to_owned()));
            }
            lines.push(("Name:", string("/Validation/Name").to_owned()));
            shown.push_str("\nValidation results:\n");
            shown.push_str(&columns(" ", &lines));
        }
    }
    if !string("/HexDump").is_empty() {
        shown.push_str("\nHex Dump:\n");
        shown.push_str(string("/HexDump"));
    }
    out.extend_from_slice(shown.as_bytes());
    Ok(())
}

/// Labels and what they label, in two columns.
fn columns(indent: &str, lines: &[(&str, String)]) -> String {
    let width = lines.iter().map(|(label, _)| label.len() + 1).max().unwrap_or_default();
    lines.iter().fold(String::new(), |mut text, (label, value)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{indent}{label:width$}{value}");
        text
    })
}

/// Bytes as `hexdump -C` and Go show them, without the last line of the former.
fn hex_dump(bytes: &[u8]) -> String {
    let mut dump = String::new();
    for (number, line) in bytes.chunks(DUMP_LINE_BYTES).enumerate() {
        let _ = write!(dump, "{:08x} ", number * DUMP_LINE_BYTES);
        for place in 0..DUMP_LINE_BYTES {
            let byte = line.get(place).map_or_else(|| "  ".to_owned(), |byte| HEXLOWER.encode(&[*byte]));
            let gap = if place == DUMP_LINE_BYTES / 2 { "  " } else { " " };
            let _ = write!(dump, "{gap}{byte}");
        }
        let printable = line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        let _ = writeln!(dump, "  |{}|", printable.collect::<String>());
    }
    dump
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_dumped_as_go_does() {
        // The example in the documentation of encoding/hex.
        let dump = hex_dump(b"Go is an open source programming language.");
        assert_eq!(
            dump,
            "00000000  47 6f 20 69 73 20 61 6e  20 6f 70 65 6e 20 73 6f  |Go is an open so|\n\
             00000010  75 72 63 65 20 70 72 6f  67 72 61 6d 6d 69 6e 67  |urce programming|\n\
             00000020  20 6c 61 6e 67 75 61 67  65 2e                    | language.|\n"
        );
        assert_eq!(hex_dump(b""), "");
    }
}
