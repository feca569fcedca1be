//! `files stat`.

use holdfast_dag::read::NodeKind;
use serde_json::{Map, Value};

use super::super::Context;
use super::super::cid_text::CidText;
use super::super::layout::human_bytes;
use super::super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response};
use super::super::time::{CivilTime, MONTHS};
use super::options::{AnyPath, any_path};
use crate::services::files::{FilesStat, Locality};

/// The bits of Go's file modes that say what is not a plain file.
const GO_MODE_DIRECTORY: u32 = 1 << 31;
const GO_MODE_SYMLINK: u32 = 1 << 27;
const GO_MODE_SETUID: u32 = 1 << 23;
const GO_MODE_SETGID: u32 = 1 << 22;
const GO_MODE_STICKY: u32 = 1 << 20;

/// Letters of Go's mode bits, from the highest on.
const GO_MODE_LETTERS: &str = "dalTLDpSugct?";

const DEFAULT_FORMAT: &str = "<hash>\nSize: <size>\nCumulativeSize: <cumulsize>\nChildBlocks: <childs>\nType: <type>\n\
     Mode: <mode> (<mode-octal>)\nMtime: <mtime>";

/// What stands for metadata that is not there.
const NOT_SET: &str = "not set";

pub(super) fn stat() -> Command {
    Command::new("stat", "Display file status.")
        .help("Describes what is at a path of the tree, or at a content path.")
        .arg(Arg::text("path", "Path to node to stat.").required())
        .opt(
            Opt::string(
                "format",
                "Print statistics in given format. Allowed tokens: <hash> <size> <cumulsize> <type> <childs> and \
                 optional <mode> <mode-octal> <mtime> <mtime-secs> <mtime-nsecs>. Conflicts with other format options.",
            )
            .default(DEFAULT_FORMAT),
        )
        .opt(Opt::bool(
            "hash",
            "Print only hash. Implies '--format=<hash>'. Conflicts with other format options.",
        ))
        .opt(Opt::bool(
            "size",
            "Print only size. Implies '--format=<cumulsize>'. Conflicts with other format options.",
        ))
        .opt(Opt::bool(
            "with-local",
            "Compute the amount of the dag that is local, and if possible the total size.",
        ))
        .run(run)
        .text(text)
}

/// The one format that was asked for.
fn format(call: &Call) -> Result<&str, CommandError> {
    let (hash, size, format) = (call.bool("hash"), call.bool("size"), call.text("format"));
    let own = format != DEFAULT_FORMAT;
    match (hash, size, own) {
        (true, false, false) => Ok("<hash>"),
        (false, true, false) => Ok("<cumulsize>"),
        (false, false, _) => Ok(format),
        _ => Err(CommandError::client(
            "invalid parameters: format was set by multiple options. Only one format option is allowed",
        )),
    }
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    format(&request)?;
    let node = context.node().await?;
    let path = any_path(request.arg(0))?;
    let cids = CidText::of_call(&request)?;
    let files = node.files();
    let cid = match path {
        AnyPath::Mfs(path) => files.resolve(path).await.map_err(CommandError::from_error)?,
        AnyPath::Content(path) => node.resolve_block(&path).await.map_err(CommandError::from_error)?,
    };
    let stat = files.stat_cid(cid).await.map_err(CommandError::from_error)?;
    if matches!(stat.info.kind, NodeKind::Other(_)) {
        return Err(CommandError::new("not unixfs node (proto or raw)"));
    }
    let locality = if request.bool("with-local") {
        Some(files.locality(cid).await.map_err(CommandError::from_error)?)
    } else {
        None
    };
    Ok(Response::One(value(&stat, locality, cids)))
}

fn value(stat: &FilesStat, locality: Option<Locality>, cids: CidText) -> Value {
    let FilesStat { cid, info } = stat;
    let mut out = Map::new();
    let mut put = |name: &str, value: Value| drop(out.insert(name.to_owned(), value));
    put("Hash", cids.text(cid).into());
    put("Size", info.filesize.into());
    put("CumulativeSize", info.cumulative_bytes.into());
    put("Blocks", info.links.into());
    put("Type", if info.kind.is_directory() { "directory" } else { "file" }.into());
    if let Some(Locality { complete, bytes }) = locality {
        // What is false or zero is left out, as Go does.
        put("WithLocality", true.into());
        if complete {
            put("Local", true.into());
        }
        if bytes > 0 {
            put("SizeLocal", bytes.into());
        }
    }
    if let Some(mtime) = info.mtime.filter(|mtime| mtime.nanos != Some(0)) {
        if mtime.seconds != 0 {
            put("Mtime", mtime.seconds.into());
        }
        if let Some(nanos) = mtime.nanos {
            put("MtimeNsecs", nanos.into());
        }
    }
    match go_mode(info.kind, info.mode.unwrap_or(0)) {
        0 => {}
        mode => put("Mode", format!("{mode:04o}").into()),
    }
    Value::Object(out)
}

/// A mode in Go's form; 0 where none is stored. Symbolic links have one even then.
fn go_mode(kind: NodeKind, mode: u32) -> u32 {
    let of_kind = match kind {
        NodeKind::Directory | NodeKind::HamtShard => GO_MODE_DIRECTORY,
        NodeKind::Symlink => GO_MODE_SYMLINK,
        NodeKind::File | NodeKind::Raw | NodeKind::Other(_) => 0,
    };
    if mode == 0 {
        return if kind == NodeKind::Symlink { of_kind | 0o777 } else { 0 };
    }
    let special = [(0o4000, GO_MODE_SETUID), (0o2000, GO_MODE_SETGID), (0o1000, GO_MODE_STICKY)];
    let special = special.into_iter().filter(|(bit, _)| mode & bit != 0);
    special.fold(of_kind | (mode & 0o777), |mode, (_, bit)| mode | bit)
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let number = |name: &str| value.get(name).and_then(Value::as_i64).unwrap_or_default();
    let words = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mode = u32::from_str_radix(&words("Mode"), 8).unwrap_or(0);
    let (mut mode_text, mut octal) = (NOT_SET.to_owned(), NOT_SET.to_owned());
    if mode != 0 {
        mode_text = go_mode_text(mode).to_lowercase();
        octal = format!("0{:o}", mode & 0o777);
    }
    let seconds = number("Mtime");
    let mut times = [NOT_SET; 3].map(str::to_owned);
    if seconds > 0 {
        times = [date(seconds), seconds.to_string(), number("MtimeNsecs").to_string()];
    }
    let [mtime, mtime_secs, mtime_nsecs] = times;
    let mut line = format(call)?.to_owned();
    for (token, value) in [
        ("<hash>", words("Hash")),
        ("<size>", number("Size").to_string()),
        ("<cumulsize>", number("CumulativeSize").to_string()),
        ("<childs>", number("Blocks").to_string()),
        ("<type>", words("Type")),
        ("<mode>", mode_text),
        ("<mode-octal>", octal),
        ("<mtime>", mtime),
        ("<mtime-secs>", mtime_secs),
        ("<mtime-nsecs>", mtime_nsecs),
    ] {
        line = line.replace(token, &value);
    }
    line.push('\n');
    if value.get("WithLocality").is_some() {
        let (local, all) = (number("SizeLocal").unsigned_abs(), number("CumulativeSize").unsigned_abs());
        #[expect(clippy::cast_precision_loss, reason = "it is printed with two digits")]
        let percent = 100.0 * local as f64 / all as f64;
        let shares = format!("Local: {} of {} ({percent:.2}%)\n", human_bytes(local), human_bytes(all));
        line.push_str(&shares);
    }
    out.extend_from_slice(line.as_bytes());
    Ok(())
}

/// `14 Nov 2023, 22:13:20 UTC`.
fn date(seconds: i64) -> String {
    let CivilTime { year, month, day, hour, minute, second } = CivilTime::of_unix(seconds);
    let month = usize::from(month).checked_sub(1).and_then(|index| MONTHS.get(index)).unwrap_or(&"");
    format!("{day} {month} {year}, {hour:02}:{minute:02}:{second:02} UTC")
}

/// A mode as Go writes it.
fn go_mode_text(mode: u32) -> String {
    let mut out: String = GO_MODE_LETTERS
        .chars()
        .enumerate()
        .filter(|(at, _)| mode >> (31 - at) & 1 == 1)
        .map(|(_, letter)| letter)
        .collect();
    if out.is_empty() {
        out.push('-');
    }
    out.extend("rwxrwxrwx".chars().enumerate().map(
        |(at, letter)| {
            if mode >> (8 - at) & 1 == 1 { letter } else { '-' }
        },
    ));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_dates_are_those_of_go() {
        assert_eq!(go_mode_text(0o644), "-rw-r--r--");
        assert_eq!(go_mode_text(go_mode(NodeKind::Directory, 0o755)), "drwxr-xr-x");
        assert_eq!(go_mode_text(go_mode(NodeKind::Symlink, 0)), "Lrwxrwxrwx");
        assert_eq!(go_mode_text(go_mode(NodeKind::File, 0o4755)), "urwxr-xr-x");
        assert_eq!(go_mode(NodeKind::Directory, 0), 0);
        assert_eq!(format!("{:04o}", go_mode(NodeKind::Directory, 0o755)), "20000000755");
        assert_eq!(date(1_700_000_000), "14 Nov 2023, 22:13:20 UTC");
        assert_eq!(date(1_704_067_205), "1 Jan 2024, 00:00:05 UTC");
    }
}
