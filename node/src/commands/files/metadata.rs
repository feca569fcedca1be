//! `files chcid`, `chmod` and `touch`.

use holdfast_dag::unixfs::Mtime;

use super::super::Context;
use super::super::registry::{Arg, Command, CommandError, Opt, Request, Response, Status};
use super::options::{cid_builder, cid_options, path};
use crate::go_text::go_quote;
use crate::services::files::{FilesError, MfsPath, now};

pub(super) fn chcid() -> Command {
    Command::new("chcid", "Change the CID version or hash function of the root node of a given path.")
        .help(
            "Names a directory by another kind of CID. What is in it keeps its names. The root of the tree is named \
             as Import.CidVersion and Import.HashFunction of the config say.",
        )
        .arg(Arg::text("path", "Path to change (must not be '/').").required())
        .opts(cid_options())
        .run(run_chcid)
}

async fn run_chcid(context: Context, request: Request) -> Result<Response, CommandError> {
    let files = context.node().await?.files();
    if request.arg(0) == "/" {
        return Err(CommandError::from_error(FilesError::RootFormat));
    }
    let (path, flush) = (MfsPath::clean(request.arg(0)), request.bool("flush"));
    match cid_builder(&request)? {
        Some(builder) => files.chcid(path, builder, flush).await.map_err(CommandError::from_error)?,
        None if flush => drop(files.flush(path).await.map_err(CommandError::from_error)?),
        None => {}
    }
    Ok(Response::Empty)
}

pub(super) fn chmod() -> Command {
    Command::new("chmod", "Change optional POSIX mode permissions.")
        .help("Stores permissions with a file or directory: 0644. 0 removes what is stored.")
        .status(Status::Experimental)
        .arg(Arg::text("mode", "Mode to apply to node (numeric notation).").required())
        .arg(Arg::text("path", "Path to apply mode.").required())
        .run(run_chmod)
}

async fn run_chmod(context: Context, request: Request) -> Result<Response, CommandError> {
    let files = context.node().await?.files();
    let path = path(request.arg(1))?;
    let mode = mode(request.arg(0))?;
    files.chmod(path, mode).await.map_err(CommandError::from_error)?;
    Ok(Response::Empty)
}

/// A mode in octal digits, as Kubo reads it: as one of Go's file modes, whose bits for setuid, setgid and sticky lie
/// where a user will hardly look for them.
fn mode(text: &str) -> Result<u32, CommandError> {
    let bad = |why: &str| CommandError::new(format!("strconv.ParseInt: parsing {}: {why}", go_quote(text)));
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit)) {
        return Err(bad("invalid syntax"));
    }
    let magnitude = i64::from_str_radix(digits, 8).map_err(|_| bad("value out of range"))?;
    let number = if negative { -magnitude } else { magnitude };
    let number = i32::try_from(number).map_err(|_| bad("value out of range"))?;
    let go = number.cast_unsigned();
    Ok((go & 0x00c0_0000) >> 12 | (go & 0x0010_0000) >> 11 | go & 0o777)
}

pub(super) fn touch() -> Command {
    Command::new("touch", "Set or change optional POSIX modification times.")
        .help("Stores a modification time with a file or directory: now, or the one given.")
        .status(Status::Experimental)
        .arg(Arg::text("path", "Path of target to update.").required())
        .opt(Opt::int64("mtime", "Modification time in seconds before or since the Unix Epoch."))
        .opt(Opt::uint("mtime-nsecs", "Modification time fraction in nanoseconds."))
        .run(run_touch)
}

async fn run_touch(context: Context, request: Request) -> Result<Response, CommandError> {
    let files = context.node().await?.files();
    let path = path(request.arg(0))?;
    let mtime = match request.int("mtime") {
        0 => now(),
        seconds => {
            let nanos = request.uint("mtime-nsecs");
            let (more, nanos) = (nanos / 1_000_000_000, u32::try_from(nanos % 1_000_000_000).unwrap_or(0));
            let seconds = seconds.saturating_add(i64::try_from(more).unwrap_or(0));
            Mtime { seconds, nanos: Some(nanos).filter(|nanos| *nanos > 0) }
        }
    };
    files.touch(path, mtime).await.map_err(CommandError::from_error)?;
    Ok(Response::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_read_as_kubo_reads_them() {
        assert_eq!(mode("0644").unwrap(), 0o644);
        assert_eq!(mode("644").unwrap(), 0o644);
        assert_eq!(mode("4755").unwrap(), 0o755);
        assert_eq!(mode("40000755").unwrap(), 0o4755);
        assert_eq!(mode("-1").unwrap(), 0o7777);
        for (text, words) in [
            ("abc", "strconv.ParseInt: parsing \"abc\": invalid syntax"),
            ("", "strconv.ParseInt: parsing \"\": invalid syntax"),
            ("0o644", "strconv.ParseInt: parsing \"0o644\": invalid syntax"),
            ("777777777777", "strconv.ParseInt: parsing \"777777777777\": value out of range"),
        ] {
            assert_eq!(mode(text).unwrap_err().message, words);
        }
    }
}
