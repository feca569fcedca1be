//! `ls`.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use holdfast_dag::unixfs::Mtime;
use serde_json::{Value, json};

use super::Context;
use super::cid_text::CidText;
use super::layout::aligned;
use super::paths;
use super::registry::{Arg, Call, Command, CommandError, Opt, Request, Response, TextForm};
use super::time::{CivilTime, MONTHS};
use crate::services::unixfs::{LsEntry, LsKind, LsOptions};

/// The bits of Go's file modes that say what is not a plain file.
const GO_MODE_DIRECTORY: u32 = 1 << 31;
const GO_MODE_SYMLINK: u32 = 1 << 27;
const GO_MODE_SETUID: u32 = 1 << 23;
const GO_MODE_SETGID: u32 = 1 << 22;
const GO_MODE_STICKY: u32 = 1 << 20;

/// Narrowest column where entries are printed one by one, and nothing is known of those to come.
const STREAM_COLUMN_MIN: usize = 10;
/// A modification time further back is shown with its year: half a year, in seconds.
const RECENT_SECONDS: i64 = 182 * 86_400;
/// The same for times ahead of the clock.
const AHEAD_SECONDS: i64 = 86_400;

pub(super) fn command() -> Command {
    Command::new("ls", "List directory contents for Unix filesystem objects.")
        .help(
            "Lists what directories hold: CID, size in bytes and name. Directories end with a slash.\n\nWith --long, \
             mode and modification time (UTC) are printed too; a hyphen stands for what was not preserved.",
        )
        .arg(
            Arg::text("ipfs-path", "The path to the IPFS objects to list links from.")
                .required()
                .variadic()
                .stdin(),
        )
        .opt(Opt::bool("headers v", "Print table headers (Hash, Size, Name)."))
        .opt(Opt::bool("resolve-type", "Resolve linked objects to find out their types.").default(true))
        .opt(Opt::bool("size", "Resolve linked objects to find out their file size.").default(true))
        .opt(Opt::bool("stream s", "Stream directory entries, unsorted, as they are found."))
        .opt(Opt::bool("long l", "Print mode and modification time too."))
        .run(run)
        .text_with(|_| Table { last: String::new() })
        .always_text()
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let cids = CidText::of_call(&request)?;
    let unixfs = context.node().await?.unixfs();
    let options = LsOptions { resolve_type: request.bool("resolve-type"), size: request.bool("size") };
    let paths = paths::parse_all(request.args())?;
    if !request.bool("stream") {
        let mut objects = Vec::with_capacity(paths.len());
        for (path, given) in paths.iter().zip(request.args()) {
            let entries = unixfs.ls(path, options).await.map_err(CommandError::from_error)?;
            let mut entries: Vec<LsEntry> = entries.try_collect().await.map_err(CommandError::from_error)?;
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            let links: Vec<Value> = entries.iter().map(|entry| link(entry, cids)).collect();
            objects.push(json!({ "Hash": given, "Links": links }));
        }
        return Ok(Response::One(json!({ "Objects": objects })));
    }
    let args = request.args().to_vec();
    let listed = stream::iter(paths.into_iter().zip(args)).then(move |(path, given)| {
        let unixfs = unixfs.clone();
        async move {
            let entries = unixfs.ls(&path, options).await.map_err(CommandError::from_error)?;
            Ok::<_, CommandError>(entries.map(move |entry| {
                let entry = entry.map_err(CommandError::from_error)?;
                Ok(json!({ "Objects": [{ "Hash": given, "Links": [link(&entry, cids)] }] }))
            }))
        }
    });
    Ok(Response::Stream(Box::pin(listed.try_flatten())))
}

fn link(entry: &LsEntry, cids: CidText) -> Value {
    json!({
        "Name": String::from_utf8_lossy(&entry.name),
        "Hash": cids.text(&entry.cid),
        "Size": entry.size,
        "Type": entry.kind as u8,
        "Target": String::from_utf8_lossy(&entry.target),
        "Mode": go_mode(entry),
        "ModTime": entry.mtime.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), rfc3339),
    })
}

/// A mode in Go's form; 0 where none was preserved.
fn go_mode(entry: &LsEntry) -> u32 {
    let Some(mode) = entry.mode.filter(|mode| *mode != 0) else { return 0 };
    let kind = match entry.kind {
        LsKind::Directory => GO_MODE_DIRECTORY,
        LsKind::Symlink => GO_MODE_SYMLINK,
        LsKind::File | LsKind::Unknown => 0,
    };
    let special = [(0o4000, GO_MODE_SETUID), (0o2000, GO_MODE_SETGID), (0o1000, GO_MODE_STICKY)];
    let special = special.into_iter().filter(|(bit, _)| mode & bit != 0);
    special.fold(kind | (mode & 0o777), |mode, (_, bit)| mode | bit)
}

fn rfc3339(mtime: Mtime) -> String {
    let fraction = match mtime.nanos.unwrap_or(0) {
        0 => String::new(),
        nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
    };
    let CivilTime { year, month, day, hour, minute, second } = CivilTime::of_unix(mtime.seconds);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z")
}

/// The table of `ls`; it remembers which object came last.
struct Table {
    last: String,
}

impl TextForm for Table {
    fn value(&mut self, call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
        let list = |value: &Value, name: &str| {
            value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
        };
        let width_min = if call.bool("stream") { STREAM_COLUMN_MIN } else { 1 };
        let mut lines: Vec<Vec<String>> = Vec::new();
        for object in list(value, "Objects") {
            let hash = object.get("Hash").and_then(Value::as_str).unwrap_or_default();
            if hash != self.last {
                if call.args().len() > 1 {
                    if !self.last.is_empty() {
                        lines.push(Vec::new());
                    }
                    lines.push(vec![format!("{hash}:")]);
                }
                if call.bool("headers") {
                    lines.push(headers(call));
                }
                hash.clone_into(&mut self.last);
            }
            lines.extend(list(&object, "Links").iter().map(|link| row(call, link)));
        }
        out.extend_from_slice(aligned(&lines, width_min).as_bytes());
        Ok(())
    }
}

fn headers(call: &Call) -> Vec<String> {
    let long = call.bool("long");
    let columns =
        [("Mode", long), ("Hash", true), ("Size", call.bool("size")), ("ModTime", long), ("Name", true)];
    columns.into_iter().filter(|(_, shown)| *shown).map(|(name, _)| name.to_owned()).collect()
}

fn row(call: &Call, link: &Value) -> Vec<String> {
    let text = |name: &str| link.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| link.get(name).and_then(Value::as_u64).unwrap_or_default();
    let is_directory = number("Type") == LsKind::Directory as u64;
    let mut cells = Vec::with_capacity(5);
    if call.bool("long") {
        cells.push(mode_text(number("Mode").try_into().unwrap_or(0)));
    }
    cells.push(text("Hash").to_owned());
    if call.bool("size") {
        cells.push(if is_directory { "-".to_owned() } else { number("Size").to_string() });
    }
    if call.bool("long") {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed();
        cells.push(time_text(text("ModTime"), now));
    }
    cells.push(format!("{}{}", text("Name"), if is_directory { "/" } else { "" }));
    cells
}

/// A mode in Go's form, as `ls -l` prints it.
fn mode_text(mode: u32) -> String {
    if mode == 0 {
        return "-".to_owned();
    }
    let kind = match mode {
        mode if mode & GO_MODE_DIRECTORY != 0 => 'd',
        mode if mode & GO_MODE_SYMLINK != 0 => 'l',
        _ => '-',
    };
    let mut out = String::from(kind);
    for (shift, special, letter) in
        [(6, GO_MODE_SETUID, 's'), (3, GO_MODE_SETGID, 's'), (0, GO_MODE_STICKY, 't')]
    {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        out.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

/// A time as `ls -l` prints it: with the time of day if it is recent, else with the year.
fn time_text(text: &str, now: i64) -> String {
    let Some(time) = CivilTime::parse(text).filter(|time| time.year > 1) else { return "-".to_owned() };
    let month = usize::from(time.month).checked_sub(1).and_then(|index| MONTHS.get(index)).unwrap_or(&"");
    let age = now - time.to_unix();
    if (-AHEAD_SECONDS..RECENT_SECONDS).contains(&age) {
        format!("{month} {:02} {:02}:{:02}", time.day, time.hour, time.minute)
    } else {
        format!("{month} {:02}  {:04}", time.day, time.year)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_and_times_are_printed_like_ls() {
        assert_eq!(mode_text(0), "-");
        assert_eq!(mode_text(0o644), "-rw-r--r--");
        assert_eq!(mode_text(GO_MODE_DIRECTORY | 0o755), "drwxr-xr-x");
        assert_eq!(mode_text(GO_MODE_SETUID | GO_MODE_STICKY | 0o745), "-rwsr--r-t");
        assert_eq!(mode_text(GO_MODE_SETGID | 0o644), "-rw-r-Sr--");
        let time = "2023-11-14T22:13:20Z";
        assert_eq!(time_text(time, 1_700_000_000), "Nov 14 22:13");
        assert_eq!(time_text(time, 1_800_000_000), "Nov 14  2023");
        assert_eq!(time_text("0001-01-01T00:00:00Z", 1_700_000_000), "-");
        assert_eq!(
            rfc3339(Mtime { seconds: 1_700_000_000, nanos: Some(120_000_000) }),
            "2023-11-14T22:13:20.12Z"
        );
    }
}
